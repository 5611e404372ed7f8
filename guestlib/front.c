/* See front.h. */
#include "guestlib/front.h"

#include <assert.h>
#include <stdlib.h>

#include "guestlib/guest.h"
#include "guestlib/hypercall.h"
#include "guestlib/tsc.h"

/* Completions taken in one turn, so that one device cannot keep all others waiting, nor a server
 * that answers at once what it is asked while it is serviced. */
#define COMPLETIONS_PER_TURN 128u

/* front_wait looks at least this often: it may run on a Context whose Event the server does not
 * signal. */
#define LOOK_NS 1000000u

static bool open_queue(struct front *front) {
    const struct bh_device_info *device = front->device;
    return queue_client_open(&front->queue, (struct bh_queue_header *)device->client_va,
                             device->client_units,
                             (const struct bh_queue_header *)device->server_va,
                             device->server_units, device->window_bytes) == BH_OK;
}

static bool push(struct front *front, uint32_t tag) {
    const struct front_request *request = &front->requests[tag];
    struct bh_segment segments[BH_QUEUE_SEGMENTS_MAX];
    unsigned count = window_segments(&front->window, request->chain, segments);
    if (request->bare_bytes != 0)
        segments[count++] = (struct bh_segment){.offset = 0, .bytes = request->bare_bytes};
    if (request->elsewhere)
        count = front->class->segments(front, request, segments);
    return queue_push(&front->queue,
                      &(struct bh_request){
                          .operation = request->operation,
                          .segments = (uint8_t)count,
                          .tag = tag,
                          .argument = request->argument,
                      },
                      segments);
}

static void end_request(struct front *front, uint32_t tag, struct bh_completion completion) {
    struct front_request request = front->requests[tag];
    front->requests[tag].in_flight = false;
    front->class->completed(front, &request, &completion);
}

static void end_all(struct front *front) {
    for (uint32_t tag = 0; tag < front->tags; tag++)
        if (front->requests[tag].in_flight)
            end_request(front, tag, (struct bh_completion){.tag = tag, .status = BH_DISCONNECTED});
}

/* The oldest request in flight that was submitted at `order` or later; front->tags if there is
 * none. */
static uint32_t oldest_since(const struct front *front, uint64_t order) {
    uint32_t oldest = front->tags;
    for (uint32_t tag = 0; tag < front->tags; tag++) {
        const struct front_request *request = &front->requests[tag];
        if (request->in_flight && request->order >= order &&
            (oldest == front->tags || request->order < front->requests[oldest].order))
            oldest = tag;
    }
    return oldest;
}

/* A new server knows nothing of what its predecessor was asked: ask again, in the same order. The
 * queue may have room for a part only; front_service goes on with the rest. */
static void resubmit(struct front *front) {
    if (queue_generation(&front->queue) != front->queue.generation) {
        open_queue(front);
        front->resubmit_next = 0;
        front->resubmit_end = front->order;
    }
    while (front->resubmit_next < front->resubmit_end) {
        uint32_t tag = oldest_since(front, front->resubmit_next);
        if (tag < front->tags && !push(front, tag))
            return;
        front->resubmit_next =
            tag < front->tags ? front->requests[tag].order + 1 : front->resubmit_end;
    }
}

static void take_completions(struct front *front, unsigned *left) {
    struct bh_completion completion;
    for (; *left > 0; --*left) {
        if (!queue_take_completion(&front->queue, &completion))
            return;
        if (completion.tag >= front->tags || !front->requests[completion.tag].in_flight) {
            front->queue.broken = true;
            return;
        }
        end_request(front, completion.tag, completion);
    }
    loop_post(&front->work);
}

void front_service(struct front *front) {
    bool again;
    unsigned left = COMPLETIONS_PER_TURN;
    front->in_service = true;
    do {
        if (!front->queue.broken)
            resubmit(front);
        take_completions(front, &left);
        bool gone = front->queue.broken;
        if (gone)
            end_all(front);
        if (front->class->room)
            front->class->room(front);
        if (queue_publish(&front->queue))
            hc_signal(front->device->signal_slot);
        /* A push may be what finds the server lying: then nothing else would come to end what is in
         * flight. */
        again = front->queue.broken != gone || (!front->work.posted && !queue_sleep(&front->queue));
    } while (again);
    front->in_service = false;
}

static void service(void *front) {
    front_service(front);
}

bool front_open(struct front *front, const struct bh_device_info *device,
                const struct front_class *class, uint32_t tags_max, uint32_t chunk_bytes) {
    *front = (struct front){.device = device, .class = class};
    if (!open_queue(front))
        return false;
    front->tags = tags_max < device->server_units ? tags_max : device->server_units;
    front->requests = calloc(front->tags, sizeof *front->requests);
    if (!front->requests || !window_init(&front->window, (void *)device->window_va,
                                         device->window_bytes, chunk_bytes)) {
        free(front->requests);
        return false;
    }
    front->work.handler = service;
    front->work.context = front;
    loop_on_event(device->event_bit, service, front);
    return true;
}

bool front_submit(struct front *front, struct front_request request) {
    assert((request.chain != WINDOW_NONE) + (request.bare_bytes != 0) + request.elsewhere <= 1);
    assert(!request.elsewhere || front->class->segments);
    if (front->resubmit_next < front->resubmit_end)
        return false; /* not before what was asked earlier */
    for (uint32_t i = 0; i < front->tags; i++) {
        uint32_t tag = front->next_tag++ % front->tags;
        if (front->requests[tag].in_flight)
            continue;
        request.order = front->order++;
        front->requests[tag] = request;
        front->requests[tag].in_flight = push(front, tag);
        if (!front->in_service)
            loop_post(&front->work);
        return front->requests[tag].in_flight;
    }
    return false;
}

bool front_wait(struct front *front, bool (*done)(void *argument), void *argument,
                uint64_t timeout_ns) {
    uint64_t hz = guest_domain()->tsc_hz;
    uint64_t look_tsc = tsc_from_ns(LOOK_NS, hz);
    uint64_t deadline_tsc = tsc_from_ns(tsc_to_ns(tsc_read(), hz) + timeout_ns, hz);
    for (;;) {
        front_service(front);
        if (done(argument))
            return true;
        uint64_t now = tsc_read();
        if (now >= deadline_tsc)
            return false;
        uint64_t bits, group, mask = 1ull << front->device->event_bit;
        uint64_t look = deadline_tsc - now < look_tsc ? deadline_tsc : now + look_tsc;
        hc_wait(mask, look, &bits, &group); /* whatever it returns, the queue decides */
    }
}
