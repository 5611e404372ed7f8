/* See virtio_host.h. */
#include "test/unit/virtio_host.h"

#include <stdlib.h>
#include <string.h>

#include "guestlib/guest.h"
#include "guestlib/loop.h"
#include "test/unit/fake_hypercall/guestlib/hypercall.h"

#define EVENT_BIT 5u
#define SIGNAL_SLOT 9u

struct bh_device_info host_info;
struct queue_end host_queue;
uint8_t *host_window;
static struct bh_domain_info domain = {.tsc_hz = 1000000000};
static uint64_t pending;

static void require(bool holds) {
    if (!holds)
        abort();
}

const struct bh_domain_info *guest_domain(void) {
    return &domain;
}

const struct bh_device_info *guest_device(enum bh_class class, unsigned index) {
    return class == host_info.class && index == 0 ? &host_info : NULL;
}

static uint64_t zeroed(size_t bytes) {
    void *memory = aligned_alloc(4096, (bytes + 4095) & ~(size_t)4095);
    require(memory); // cppcheck-suppress uninitdata
    memset(memory, 0, bytes);
    return (uintptr_t)memory;
}

void host_start(enum bh_class class, uint32_t client_units, uint32_t server_units,
                uint32_t window_bytes) {
    host_info = (struct bh_device_info){
        .class = class,
        .signal_slot = SIGNAL_SLOT,
        .event_bit = EVENT_BIT,
        .client_va = zeroed(BH_QUEUE_HEADER_BYTES + client_units * 16),
        .server_va = zeroed(BH_QUEUE_HEADER_BYTES + server_units * 16),
        .client_units = client_units,
        .server_units = server_units,
        .window_va = zeroed(window_bytes),
        .window_bytes = window_bytes,
    };
    host_window = (uint8_t *)host_info.window_va;
    pending = 0;
    require(queue_server_open(&host_queue, (void *)host_info.server_va, server_units,
                              (void *)host_info.client_va, client_units, window_bytes, 1) == BH_OK);
    loop_init(64, domain.tsc_hz);
}

void host_stop(void) {
    free((void *)host_info.client_va);
    free((void *)host_info.server_va);
    free((void *)host_info.window_va);
}

void host_wake(void) {
    pending |= 1ull << EVENT_BIT;
}

void host_publish(void) {
    if (queue_publish(&host_queue))
        host_wake();
    queue_sleep(&host_queue);
}

enum bh_status hc_signal(bh_slot event) {
    struct bh_request request;
    struct bh_segment segments[BH_QUEUE_SEGMENTS_MAX];
    bool bad;
    enum queue_take take;
    require(event == SIGNAL_SLOT);
    while ((take = queue_take_request(&host_queue, &request, segments, &bad)) == QUEUE_TAKEN) {
        require(!bad);
        host_serve(&request, segments);
    }
    require(take == QUEUE_EMPTY); /* the VMM keeps to the protocol, whatever its guest does */
    host_publish();
    return BH_OK;
}

enum bh_status hc_wait(uint64_t mask, uint64_t deadline_tsc, uint64_t *bits, uint64_t *group) {
    *bits = pending & mask;
    *group = 0;
    pending &= ~mask;
    if (*bits)
        return BH_OK;
    if (deadline_tsc != BH_DEADLINE_POLL)
        loop_stop(0);
    return BH_TIMEOUT;
}

void host_run(void) {
    loop_run();
}
