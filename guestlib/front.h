/* What all front ends have in common: one device's queue pair, its window, and the requests in
 * flight, kept so that they can be made again when a new server takes over. A class (block_front.c,
 * ...) makes requests and is told their completions. A server that breaks the protocol costs the
 * guest this device and nothing else: every request ends with DISCONNECTED. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "abi/domain.h"
#include "guestlib/loop.h"
#include "guestlib/queue.h"
#include "guestlib/window.h"

struct front_request {
    void *owner;         /* of the class */
    uint64_t argument;   /* see bh_request */
    uint32_t chain;      /* its buffers in the window, or WINDOW_NONE */
    uint32_t bare_bytes; /* without buffers: length of its one segment at offset 0; 0: no segment */
    bool elsewhere;      /* its buffers are where the class says */
    uint8_t operation;
    bool in_flight;
    uint64_t order; /* of submission */
};

struct front;
struct front_class {
    /* The request has ended; its chain is the class's again. Status OK may come with any value:
     * check it. Runs inside front_service; may submit. */
    void (*completed)(struct front *front, const struct front_request *request,
                      const struct bh_completion *completion);
    /* The segments of a request whose buffers are not in the window's bounce space: fills in up to
     * BH_QUEUE_SEGMENTS_MAX and returns how many, each time the same for the same request. May be
     * NULL: there are no such requests. */
    unsigned (*segments)(const struct front *front, const struct front_request *request,
                         struct bh_segment *segments);
    /* After completions and after a disconnect: there may be room now. May be NULL. */
    void (*room)(struct front *front);
};

struct front {
    const struct bh_device_info *device;
    const struct front_class *class;
    struct queue_end queue;
    struct window window;
    struct front_request *requests; /* indexed by tag */
    uint32_t tags;
    uint32_t next_tag;
    uint64_t order;
    uint64_t resubmit_next, resubmit_end; /* orders that a new server has still to be told */
    struct loop_work work;                /* publishes what was submitted in this turn */
    bool in_service;
};

/* Opens the device's queue pair, with up to tags_max requests in flight, and handles its Event bit.
 * False: no memory, or nonsense in the device's description. */
bool front_open(struct front *front, const struct bh_device_info *device,
                const struct front_class *class, uint32_t tags_max, uint32_t chunk_bytes);

/* Makes a request; in_flight and order are filled in. It is published at the end of this turn of
 * the loop, or by front_service. False: no room now, `room` will be called; or disconnected. */
bool front_submit(struct front *front, struct front_request request);

/* Takes completions, publishes submissions, signals. For those who cannot wait for the loop. */
void front_service(struct front *front);

/* Services until done(argument) or until `timeout_ns` have passed; sleeps in between. False:
 * timeout. For start-up and the last words; nothing else runs meanwhile. */
bool front_wait(struct front *front, bool (*done)(void *argument), void *argument,
                uint64_t timeout_ns);

static inline bool front_disconnected(const struct front *front) {
    return front->queue.broken;
}
