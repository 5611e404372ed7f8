/* Queue pairs: the one transport between a client (front end) and a server (back end). Version 1.
 *
 * The client owns the submission queue, the server the completion queue. Each lies in memory that
 * its owner may write and the peer may only read: what a consumer has to tell its producer (how far
 * it has read, when it wants to be woken) therefore stands in the consumer's own queue.
 *
 * All indices are free-running 32-bit counters of units; slot = index & (units - 1). One request is
 * a header unit and `segments` segment units, consecutive in index order (they may wrap), published
 * together by one store to `tail`. A completion is one unit. The client never has more requests
 * outstanding than the completion queue has units, so that completing never blocks.
 *
 * Rules for a reader: load the peer's tail once (acquire); if it is more than `units` ahead of the
 * own head, disconnect the peer; copy a unit once, check the copy, use the copy.
 *
 * Sleep and wake. Producer: write units, store tail (release), full barrier, load the peer's
 * `wake`; signal if and only if the peer asked: (uint32_t)(tail - wake - 1) < (uint32_t)(tail -
 * old_tail). Consumer that wants to sleep: store wake = own head (wake me when tail passes it),
 * full barrier, load tail again; only if still empty, wait. While awake it leaves wake where it is:
 * behind, so no signal.
 *
 * Tags belong to the client from submission to completion. Offsets are relative to the window,
 * memory both sides have mapped; a segment must lie in [0, window_bytes). */
#pragma once

#include <stdint.h>

#define BH_QUEUE_VERSION 1u
#define BH_QUEUE_HEADER_BYTES 256u
#define BH_QUEUE_UNITS_MAX 4096u
#define BH_QUEUE_SEGMENTS_MAX 32u

/* Header of either queue; units follow at BH_QUEUE_HEADER_BYTES. Every word is written by the
 * queue's owner only, and stands on a cache line of its own. */
struct bh_queue_header {
    uint32_t tail; /* units published in this queue */
    uint32_t pad0[15];
    uint32_t head; /* units of the PEER's queue that the owner has consumed */
    uint32_t pad1[15];
    uint32_t wake; /* the owner wants a signal when the peer's tail passes this */
    uint32_t pad2[15];
    /* server: raised when a new server took over: resubmit. client: the server's, as it was when
     * the client opened; while the two differ nobody takes anything from the other's queue. */
    uint32_t generation;
    uint32_t state; /* enum bh_queue_state */
    uint32_t pad3[14];
};

enum bh_queue_state {
    BH_QUEUE_CLOSED = 0, /* not attached yet, or shut down in order */
    BH_QUEUE_OPEN = 1,
    BH_QUEUE_BROKEN = 2, /* server only: the client broke the protocol and was disconnected */
};

/* One unit of a submission queue: a request's header ... */
struct bh_request {
    uint8_t operation; /* of the class: block.h, net.h, console.h, control.h */
    uint8_t segments;  /* 0..BH_QUEUE_SEGMENTS_MAX */
    uint16_t flags;    /* of the class; unknown bits: BAD_ARG */
    uint32_t tag;
    uint64_t argument; /* of the class */
};

/* ... or one of its segments. */
struct bh_segment {
    uint64_t offset; /* into the window */
    uint32_t bytes;
    uint32_t reserved; /* 0 */
};

/* One unit of a completion queue. */
struct bh_completion {
    uint32_t tag;
    uint16_t status; /* enum bh_status */
    uint16_t flags;  /* of the class */
    uint64_t value;  /* of the class */
};

_Static_assert(sizeof(struct bh_queue_header) == BH_QUEUE_HEADER_BYTES, "layout");
_Static_assert(sizeof(struct bh_request) == 16 && sizeof(struct bh_segment) == 16, "unit");
_Static_assert(sizeof(struct bh_completion) == 16, "unit");
