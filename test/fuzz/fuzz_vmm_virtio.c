/* A guest that does anything with a virtio device: accesses of any size to configuration space,
 * BARs and notify ports, rings and requests set up half right, RAM changed at any time, resets in
 * between; the server answers when the input says so, and the disk has the guest's RAM or not.
 * Nothing may be accessed outside the guest's RAM, the device must never break the queue pair's
 * protocol, and every request ends. NET: 1 network, 0 block. */
#include <stdlib.h>
#include <string.h>

#include "mgmt/vmm/bus.h"
#include "mgmt/vmm/pci.h"
#include "test/unit/virtio_guest.h"
#include "test/unit/virtio_host.h"
#if NET
#include "mgmt/virtio/net.h"
#include "mgmt/vmm/virtio/net.h"
#define OPEN virtio_net_open(0, 2)
#define QUEUES 5u
#define FEATURE (VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_MQ)
#else
#include "mgmt/virtio/block.h"
#include "mgmt/vmm/virtio/blk.h"
#define OPEN virtio_blk_open(0, 2)
#define QUEUES 2u
#define FEATURE VIRTIO_BLK_F_FLUSH
#endif

#define STEP_BYTES 8u
#define HELD_MAX 512u
#define SIZE 8u

static struct guest_device g;
static struct guest_queue queue[QUEUES];
static struct {
    uint32_t tag;
    uint64_t value;
    bool receive;
} held[HELD_MAX];
static unsigned held_count;
static struct pci_function *function;
static uint32_t bars[2];

static void require(bool holds) {
    if (!holds)
        abort();
}

/* With io='direct' the server has the guest's RAM behind the window, and what it reads lands there.
 */
static void set_direct(bool direct) {
    if (NET)
        return;
    host_info.block.flags = BH_BLOCK_CAN_DISCARD | (direct ? BH_BLOCK_DIRECT : 0);
    host_queue.window_bytes =
        host_info.window_bytes + (direct ? GUEST_RAM_BYTES + GUEST_HIGH_BYTES : 0);
}

/* A segment behind the window is whole sectors of one stretch of RAM. */
static void transfer(const struct bh_request *request, const struct bh_segment *segment) {
    uint64_t at = segment->offset - host_info.window_bytes;
    if (NET || segment->offset + segment->bytes <= host_info.window_bytes)
        return;
    require(segment->offset >= host_info.window_bytes);
    require((segment->offset | segment->bytes) % BH_SECTOR_BYTES == 0);
    require(at >= GUEST_RAM_BYTES || at + segment->bytes <= GUEST_RAM_BYTES);
    if (request->operation != BH_BLOCK_WRITE)
        memset(at < GUEST_RAM_BYTES ? guest_ram + at : guest_high + (at - GUEST_RAM_BYTES),
               (uint8_t)request->tag, segment->bytes);
}

void host_serve(const struct bh_request *request, const struct bh_segment *segments) {
    uint64_t bytes = 0;
    for (unsigned i = 0; i < request->segments; i++) {
        bytes += segments[i].bytes;
        transfer(request, &segments[i]);
    }
    require(held_count < HELD_MAX);
    held[held_count].tag = request->tag;
    held[held_count].receive = NET && request->operation == BH_NET_RECEIVE;
    held[held_count++].value = bytes;
}

/* Answers one request, in any order. */
static void answer(uint8_t which, uint8_t how, uint8_t bytes) {
    if (held_count == 0)
        return;
    unsigned i = which % held_count;
    uint64_t value = held[i].receive ? bytes * 8u + 1u : held[i].value;
    if (held[i].receive && how & 0x10)
        value |= (uint64_t)BH_NET_GSO_TCP4 << 48 | (uint64_t)1000 << 32;
    if (held[i].receive && how & 0x20)
        value |= (uint64_t)(how >> 6) << 56;
    queue_complete(&host_queue, held[i].tag, how & 8 && !held[i].receive ? BH_IO_ERROR : BH_OK,
                   how & 3, value);
    held[i] = held[--held_count];
    host_publish();
}

/* BARs back to where they were. The input may have moved them anywhere, over configuration space as
 * well: so they are switched off first, which no guest could do there. */
static void restore_bars(void) {
    for (unsigned i = 0; i < 2; i++)
        function->bar[i].range.length = 0;
    for (unsigned i = 0; i < 2; i++)
        guest_config_write(PCI_BAR0 + 4 * i, 4, bars[i]);
}

static void set_up(uint64_t features, bool direct) {
    restore_bars();
    memset(guest_ram, 0, 0x10000);
    guest_alloc_reset();
    guest_write(g.common + VIRTIO_COMMON_STATUS, 1, 0);
    if (guest_status(&g) != 0)
        return; /* it waits for the server */
    set_direct(direct);
    guest_probe(&g);
    if (!guest_negotiate(&g, features))
        return;
    for (uint16_t i = 0; i < QUEUES; i++)
        guest_queue_set(&g, &queue[i], i, SIZE, features);
    guest_run(&g);
}

static void add_chain(const uint8_t *s) {
    struct guest_queue *q = &queue[(s[1] >> 3 << 1 | (s[1] & 1)) % QUEUES];
    if (!q->size || q->next_desc >= SIZE)
        return;
    uint64_t at = 0x20000 + s[2] * 512u;
    uint64_t payload = s[3] & 0x10 ? 0x40000 + s[2] * 512u : at + 16 + s[5];
    uint32_t header[4] = {s[3] % 16u | (uint32_t)s[5] << 16, 0, s[4], 0};
    memcpy(guest_ram + at, header, sizeof(header));
    struct guest_buffer b[3] = {
        {at, 16, s[1] & 2}, {payload, s[6] * 256u, s[1] & 4 || s[1] & 2}, {at + 256, 1, true}};
    guest_add(q, b, 1 + s[7] % 3u);
    guest_kick(&g, q);
}

static uint64_t target(const uint8_t *s) {
    return (s[2] & 1 ? g.common : g.msix_table & ~0xfffull) + s[3] + (uint64_t)(s[4] & 15) * 256;
}

static void access(const uint8_t *s) {
    static const unsigned sizes[] = {1, 2, 4, 8};
    unsigned bytes = sizes[s[1] & 3];
    uint64_t value;
    memcpy(&value, s, 8);
    value = s[1] & 4 ? value >> 40 : s[7];
    switch (s[1] >> 4 & 7) {
    case 0:
    case 1:
        guest_write(target(s), bytes, value);
        break;
    case 2:
        guest_read(target(s), bytes);
        break;
    case 3:
        guest_config_write(s[3], bytes, (uint32_t)value);
        break;
    case 4:
        guest_config_read(s[3] + (s[4] & 1u) * 250u, bytes);
        break;
    case 5:
        bus_port_write((uint16_t)(g.notify_port + s[3] % 64), bytes, value);
        break;
    case 6:
        bus_port_read((uint16_t)(g.notify_port + s[3] % 64), bytes);
        break;
    }
}

static void step(const uint8_t *s) {
    static const uint64_t features[] = {0,
                                        VIRTIO_F_INDIRECT_DESC,
                                        VIRTIO_F_EVENT_IDX,
                                        FEATURE,
                                        1ull << 15,
                                        1ull << 13,
                                        1ull << 1,
                                        1ull << 7};
    switch (s[0] % 8) {
    case 0: {
        uint64_t chosen = VIRTIO_F_VERSION_1;
        for (unsigned i = 0; i < 8; i++)
            chosen |= s[1] >> i & 1 ? features[i] : 0;
        set_up(chosen, s[2] & 1);
        break;
    }
    case 1:
    case 2:
        add_chain(s);
        break;
    case 3:
        host_run();
        break;
    case 4:
        answer(s[1], s[2], s[3]);
        break;
    case 5:
    case 6:
        access(s);
        break;
    case 7:
        guest_ram[(s[1] | s[2] << 8 | (s[3] & 3) << 16) % GUEST_RAM_BYTES] = s[4];
        break;
    }
}

static void answer_all(void) {
    for (unsigned i = 0; i < held_count;)
        if (held[i].receive)
            i++;
        else
            answer((uint8_t)i, 0, 0);
}

/* Once: a device is never closed. */
static void open_device(void) {
    guest_start();
    host_start(NET ? BH_CLASS_NET : BH_CLASS_BLOCK, 128, 64, 64 * 1024);
    if (NET)
        host_info.net = (struct bh_net_info){.mtu = 1500, .features = 3};
    else
        host_info.block = (struct bh_block_info){.sectors = 1000,
                                                 .flags = BH_BLOCK_CAN_DISCARD,
                                                 .physical_bytes = 512,
                                                 .request_bytes_max = 16 * 1024};
    struct virtio_device *d = OPEN;
    require(d);
    function = &d->function;
    pci_add(function, 1);
    for (unsigned i = 0; i < 2; i++)
        bars[i] = guest_config_read(PCI_BAR0 + 4 * i, 4);
}

/* Whatever was asked ends, and then so does a reset. */
static void start_over(void) {
    restore_bars();
    guest_probe(&g);
    guest_write(g.common + VIRTIO_COMMON_STATUS, 1, 0);
    for (unsigned i = 0; i < 200 && guest_status(&g) != 0; i++) {
        host_run();
        answer_all();
    }
    require(guest_status(&g) == 0);
    host_run();
    memset(queue, 0, sizeof(queue));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool open;
    if (!open)
        open_device();
    open = true;
    guest_alloc_reset();
    start_over();
    for (size_t i = 0; i + STEP_BYTES <= size; i += STEP_BYTES)
        step(data + i);
    start_over();
    return 0;
}
