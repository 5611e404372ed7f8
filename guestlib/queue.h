/* Both ends of a queue pair (abi/queue.h): the code that ships in guests, VMMs and mgmt alike.
 *
 * A queue_end is private to one side and keeps its own copy of every index it wrote: nothing is
 * ever read back from memory, and nothing the peer can write is read twice. It must never trust the
 * peer: every index, count and offset from there is clamped or refused, and a peer that breaks the
 * protocol makes the end `broken`, after which all calls do nothing. It does no hypercalls: calls
 * return whether the peer wants a signal. No allocation; all functions bounded by the queue's
 * units. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "abi/queue.h"
#include "abi/status.h"

struct queue_end {
    struct bh_queue_header *own;        /* writable here, read-only for the peer */
    const struct bh_queue_header *peer; /* the other way round */
    uint32_t own_units, peer_units;     /* powers of two, <= BH_QUEUE_UNITS_MAX */
    uint64_t window_bytes;
    uint32_t tail;        /* units written to own, published or not */
    uint32_t published;   /* what own->tail holds */
    uint32_t head;        /* units of peer consumed */
    uint32_t outstanding; /* requests without a completion */
    uint32_t generation;  /* of the server that this end is open for */
    bool broken;          /* the peer broke the protocol; for good */
};

/* The client's end: own = submissions. Units must be powers of two, 2..BH_QUEUE_UNITS_MAX, else
 * BAD_ARG. Opens the queue (state OPEN) for the server there is: after queue_server_open, not
 * before. */
enum bh_status queue_client_open(struct queue_end *q, struct bh_queue_header *own,
                                 uint32_t own_units, const struct bh_queue_header *peer,
                                 uint32_t peer_units, uint64_t window_bytes);

/* The server's end: own = completions. `generation` is published, differs from that of any server
 * before on this queue, and is not 0. The caller signals the client, which takes nothing from a new
 * server before it has opened its own end again. */
enum bh_status queue_server_open(struct queue_end *q, struct bh_queue_header *own,
                                 uint32_t own_units, const struct bh_queue_header *peer,
                                 uint32_t peer_units, uint64_t window_bytes, uint32_t generation);

/* Client: writes a request and its request->segments segments; not visible to the server before
 * queue_publish. False if there is no room now (or the end is broken): take completions, then try
 * again. */
bool queue_push(struct queue_end *q, const struct bh_request *request,
                const struct bh_segment *segments);

/* Client: takes one completion. False if there is none (or broken). */
bool queue_take_completion(struct queue_end *q, struct bh_completion *completion);

enum queue_take { QUEUE_EMPTY, QUEUE_TAKEN, QUEUE_BROKEN };

/* Server: takes one request: copies header and segments once and checks the copies (segment count,
 * window bounds without overflow, outstanding requests). segments must have room for
 * BH_QUEUE_SEGMENTS_MAX. A request whose segments are out of bounds does not break the queue: it
 * comes back with *bad set, to be completed with BAD_ARG. Index overruns and segment counts above
 * the maximum break it (state BROKEN). */
enum queue_take queue_take_request(struct queue_end *q, struct bh_request *request,
                                   struct bh_segment *segments, bool *bad);

/* Server: writes one completion, not visible before queue_publish. Never lacks room
 * (queue_take_request saw to that); does nothing on a broken end. */
void queue_complete(struct queue_end *q, uint32_t tag, enum bh_status status, uint16_t flags,
                    uint64_t value);

/* Both: makes everything written visible. True if the peer asked to be signalled for it. */
bool queue_publish(struct queue_end *q);

/* Both: asks the peer for a signal and looks again. True if the peer's queue is still empty: it is
 * safe to wait. False: something has come meanwhile, take it. */
bool queue_sleep(struct queue_end *q);

/* Server: disconnects the client for good: state BROKEN. */
void queue_break(struct queue_end *q);

/* Client: the server's generation now; when it changed, resubmit what was in flight after
 * queue_client_open. */
uint32_t queue_generation(const struct queue_end *q);
