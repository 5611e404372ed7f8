/* Both ends of a queue pair. Every index of the peer goes through peer_index, every unit through
 * copy_unit: there is no other read of memory that the peer can write. */
#include "guestlib/queue.h"

#include <assert.h>
#include <string.h>

union unit {
    uint64_t word[2];
    struct bh_request request;
    struct bh_segment segment;
    struct bh_completion completion;
};

static union unit *unit_at(const struct bh_queue_header *queue, uint32_t units, uint32_t index) {
    uintptr_t first = (uintptr_t)queue + BH_QUEUE_HEADER_BYTES;
    return (union unit *)(first + (index & (units - 1)) * sizeof(union unit));
}

/* Atomic, so that the compiler reads each word once: what was checked is what is used. */
static union unit copy_unit(const struct queue_end *q, uint32_t index) {
    const union unit *from = unit_at(q->peer, q->peer_units, index);
    union unit copy;
    copy.word[0] = __atomic_load_n(&from->word[0], __ATOMIC_RELAXED);
    copy.word[1] = __atomic_load_n(&from->word[1], __ATOMIC_RELAXED);
    return copy;
}

static void write_unit(struct queue_end *q, union unit unit) {
    union unit *to = unit_at(q->own, q->own_units, q->tail++);
    __atomic_store_n(&to->word[0], unit.word[0], __ATOMIC_RELAXED);
    __atomic_store_n(&to->word[1], unit.word[1], __ATOMIC_RELAXED);
}

static bool in_step(const struct queue_end *q) {
    return __atomic_load_n(&q->peer->generation, __ATOMIC_ACQUIRE) == q->generation;
}

/* Reads an index of the peer's. False while the two ends are not of one generation: then it counts
 * something else. A client raises its generation after it reset its indices, a server before;
 * looking on both sides of the load catches either in the middle. */
static bool peer_index(const struct queue_end *q, const uint32_t *index, uint32_t *value) {
    if (q->broken || !in_step(q))
        return false;
    *value = __atomic_load_n(index, __ATOMIC_ACQUIRE);
    return in_step(q);
}

static bool units_valid(uint32_t units) {
    return units >= 2 && units <= BH_QUEUE_UNITS_MAX && (units & (units - 1)) == 0;
}

static void publish_header(struct bh_queue_header *own, uint32_t tail, uint32_t head,
                           uint32_t wake) {
    __atomic_store_n(&own->tail, tail, __ATOMIC_RELEASE);
    __atomic_store_n(&own->head, head, __ATOMIC_RELEASE);
    __atomic_store_n(&own->wake, wake, __ATOMIC_RELEASE);
}

static enum bh_status open_end(struct queue_end *q, struct bh_queue_header *own, uint32_t own_units,
                               const struct bh_queue_header *peer, uint32_t peer_units,
                               uint64_t window_bytes, uint32_t generation) {
    if (!units_valid(own_units) || !units_valid(peer_units))
        return BH_BAD_ARG;
    *q = (struct queue_end){.own = own,
                            .peer = peer,
                            .own_units = own_units,
                            .peer_units = peer_units,
                            .window_bytes = window_bytes,
                            .generation = generation};
    return BH_OK;
}

enum bh_status queue_client_open(struct queue_end *q, struct bh_queue_header *own,
                                 uint32_t own_units, const struct bh_queue_header *peer,
                                 uint32_t peer_units, uint64_t window_bytes) {
    uint32_t generation = __atomic_load_n(&peer->generation, __ATOMIC_ACQUIRE);
    enum bh_status status = open_end(q, own, own_units, peer, peer_units, window_bytes, generation);
    if (status != BH_OK)
        return status;
    publish_header(own, 0, 0, 0);
    __atomic_store_n(&own->state, BH_QUEUE_OPEN, __ATOMIC_RELEASE);
    __atomic_store_n(&own->generation, generation, __ATOMIC_RELEASE);
    return BH_OK;
}

enum bh_status queue_server_open(struct queue_end *q, struct bh_queue_header *own,
                                 uint32_t own_units, const struct bh_queue_header *peer,
                                 uint32_t peer_units, uint64_t window_bytes, uint32_t generation) {
    enum bh_status status = open_end(q, own, own_units, peer, peer_units, window_bytes, generation);
    if (status != BH_OK)
        return status;
    __atomic_store_n(&own->generation, generation, __ATOMIC_RELEASE);
    publish_header(own, 0, 0, 0);
    __atomic_store_n(&own->state, BH_QUEUE_OPEN, __ATOMIC_RELEASE);
    return BH_OK;
}

bool queue_push(struct queue_end *q, const struct bh_request *request,
                const struct bh_segment *segments) {
    uint32_t head;
    if (!peer_index(q, &q->peer->head, &head))
        return false;
    uint32_t used = q->tail - head;
    if (q->published - head > q->own_units || used > q->own_units) {
        q->broken = true; /* it claims to have read what was not published, or to have unread it */
        return false;
    }
    if (1u + request->segments > q->own_units - used || q->outstanding >= q->peer_units)
        return false;
    write_unit(q, (union unit){.request = *request});
    for (uint32_t i = 0; i < request->segments; i++)
        write_unit(q, (union unit){.segment = segments[i]});
    q->outstanding++;
    return true;
}

bool queue_take_completion(struct queue_end *q, struct bh_completion *completion) {
    uint32_t tail;
    if (!peer_index(q, &q->peer->tail, &tail) || tail == q->head)
        return false;
    if (tail - q->head > q->outstanding) {
        q->broken = true; /* completions for requests that were never made */
        return false;
    }
    *completion = copy_unit(q, q->head).completion;
    q->outstanding--;
    q->head++;
    __atomic_store_n(&q->own->head, q->head, __ATOMIC_RELEASE);
    return true;
}

static bool segment_valid(const struct queue_end *q, const struct bh_segment *segment) {
    return segment->reserved == 0 && segment->offset <= q->window_bytes &&
           segment->bytes <= q->window_bytes - segment->offset;
}

/* Whether the completion queue still has room for one more request's completion: an honest client
 * never asks for more, so that a completion is never written over one that was not taken. */
static bool completion_has_room(const struct queue_end *q) {
    uint32_t taken;
    if (!peer_index(q, &q->peer->head, &taken))
        return false;
    uint32_t waiting = q->published - taken;
    return waiting <= q->own_units && q->tail - taken + q->outstanding < q->own_units;
}

enum queue_take queue_take_request(struct queue_end *q, struct bh_request *request,
                                   struct bh_segment *segments, bool *bad) {
    if (q->broken)
        return QUEUE_BROKEN;
    uint32_t tail;
    if (!peer_index(q, &q->peer->tail, &tail) || tail == q->head)
        return QUEUE_EMPTY;
    uint32_t available = tail - q->head;
    *request = copy_unit(q, q->head).request;
    if (available > q->peer_units || request->segments > BH_QUEUE_SEGMENTS_MAX ||
        request->segments >= available || !completion_has_room(q)) {
        queue_break(q);
        return QUEUE_BROKEN;
    }
    *bad = false;
    for (uint32_t i = 0; i < request->segments; i++) {
        segments[i] = copy_unit(q, q->head + 1 + i).segment;
        if (!segment_valid(q, &segments[i]))
            *bad = true;
    }
    q->head += 1u + request->segments;
    __atomic_store_n(&q->own->head, q->head, __ATOMIC_RELEASE);
    q->outstanding++;
    return QUEUE_TAKEN;
}

void queue_complete(struct queue_end *q, uint32_t tag, enum bh_status status, uint16_t flags,
                    uint64_t value) {
    if (q->broken)
        return;
    assert(q->outstanding > 0);
    q->outstanding--;
    write_unit(q, (union unit){.completion = {
                                   .tag = tag,
                                   .status = (uint16_t)status,
                                   .flags = flags,
                                   .value = value,
                               }});
}

bool queue_publish(struct queue_end *q) {
    if (q->broken || q->tail == q->published)
        return false;
    uint32_t old = q->published;
    __atomic_store_n(&q->own->tail, q->tail, __ATOMIC_RELEASE);
    q->published = q->tail;
    /* The peer stores wake, then looks at tail; here tail is stored, then wake looked at. One of
     * the two sees the other's store. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    uint32_t wake = __atomic_load_n(&q->peer->wake, __ATOMIC_RELAXED);
    return q->tail - wake - 1 < q->tail - old;
}

bool queue_sleep(struct queue_end *q) {
    if (q->broken)
        return true;
    __atomic_store_n(&q->own->wake, q->head, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* see queue_publish */
    uint32_t tail;
    return !peer_index(q, &q->peer->tail, &tail) || tail == q->head;
}

void queue_break(struct queue_end *q) {
    q->broken = true;
    __atomic_store_n(&q->own->state, BH_QUEUE_BROKEN, __ATOMIC_RELEASE);
}

uint32_t queue_generation(const struct queue_end *q) {
    return __atomic_load_n(&q->peer->generation, __ATOMIC_ACQUIRE);
}
