/* See virtqueue.h. read_once and copy_desc are the only reads of the guest's memory. */
#include "mgmt/vmm/virtio/virtqueue.h"

#include <string.h>

#include "mgmt/virtio/ring.h"

/* In 16-bit words from the ring's beginning, 2.7.6 and 2.7.8. */
#define RING_FLAGS 0u
#define RING_INDEX 1u
#define RING_ENTRIES 2u
#define USED_ENTRY_WORDS 4u

static uint16_t read_once(const uint16_t *word) {
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static void store(uint16_t *word, uint16_t value) {
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

/* Indirect tables need not be aligned, so this is no atomic load. The compiler may not look at the
 * original again afterwards: the copy could be anything. */
static struct virtq_desc copy_desc(const uint8_t *table, uint16_t index) {
    struct virtq_desc copy;
    memcpy(&copy, table + (size_t)index * sizeof(copy), sizeof(copy));
    __asm__ volatile("" : "+m"(copy) : : "memory");
    return copy;
}

bool virtqueue_open(struct virtqueue *q, const struct virtqueue_settings *s) {
    *q = (struct virtqueue){
        .size = s->size, .indirect = s->indirect, .event_index = s->event_index, .broken = true};
    if (s->size == 0 || s->size > VIRTQUEUE_SIZE_MAX || (s->size & (s->size - 1u)) ||
        s->desc.value % VIRTQ_DESC_ALIGN || s->avail.value % VIRTQ_AVAIL_ALIGN ||
        s->used.value % VIRTQ_USED_ALIGN)
        return false;
    /* Flags, index and the other side's event beside the entries. */
    q->desc = ram_at(s->desc, s->size * sizeof(struct virtq_desc));
    q->avail = ram_at(s->avail, (3u + s->size) * sizeof(uint16_t));
    q->used = ram_at(s->used, 3u * sizeof(uint16_t) + s->size * sizeof(struct virtq_used_entry));
    q->broken = !q->desc || !q->avail || !q->used;
    return !q->broken;
}

static const uint16_t *used_event(const struct virtqueue *q) {
    return q->avail + RING_ENTRIES + q->size;
}

static uint16_t *avail_event(const struct virtqueue *q) {
    return q->used + RING_ENTRIES + (size_t)USED_ENTRY_WORDS * q->size;
}

static bool add_piece(struct virtqueue_chain *chain, const struct virtq_desc *d) {
    bool writable = d->flags & VIRTQ_DESC_WRITE;
    uint32_t *bytes = writable ? &chain->writable_bytes : &chain->readable_bytes;
    if (!writable && chain->writable)
        return false; /* 2.7.4.2: what the device writes comes last */
    if (d->bytes == 0)
        return true;
    /* 2.7.5.2: a chain is no longer than 4 GiB. */
    uint8_t *data = ram_at(GPA(d->address), d->bytes);
    if (!data || d->bytes > UINT32_MAX - chain->readable_bytes - chain->writable_bytes)
        return false;
    chain->piece[chain->readable + chain->writable] = (struct piece){data, d->bytes};
    *bytes += d->bytes;
    if (writable)
        chain->writable++;
    else
        chain->readable++;
    return true;
}

/* A table of descriptors, and how many of them have been followed: more than there are is a loop.
 */
struct table {
    const uint8_t *desc;
    uint32_t count, followed;
    bool indirect;
};

static bool enter_indirect(const struct virtqueue *q, const struct virtq_desc *d,
                           struct table *table) {
    uint32_t count = d->bytes / (uint32_t)sizeof(*d);
    if (!q->indirect || table->indirect || d->flags & VIRTQ_DESC_NEXT || d->bytes % sizeof(*d) ||
        count == 0 || count > VIRTQUEUE_SIZE_MAX)
        return false; /* 2.7.5.3.1 */
    *table = (struct table){ram_at(GPA(d->address), d->bytes), count, 0, true};
    return table->desc;
}

static bool follow(const struct virtqueue *q, struct virtqueue_chain *chain) {
    struct table table = {q->desc, q->size, 0, false};
    for (uint16_t index = chain->head;;) {
        if (index >= table.count || table.followed++ == table.count ||
            chain->readable + chain->writable == VIRTQUEUE_SIZE_MAX)
            return false;
        struct virtq_desc d = copy_desc(table.desc, index);
        if (d.flags & VIRTQ_DESC_INDIRECT) {
            if (!enter_indirect(q, &d, &table))
                return false;
            index = 0;
            continue;
        }
        if (!add_piece(chain, &d))
            return false;
        if (!(d.flags & VIRTQ_DESC_NEXT))
            return chain->readable + chain->writable > 0;
        index = d.next;
    }
}

enum virtqueue_take virtqueue_take(struct virtqueue *q, struct virtqueue_chain *chain) {
    if (q->broken)
        return VIRTQUEUE_BROKEN;
    uint16_t index = read_once(q->avail + RING_INDEX);
    if (index == q->avail_next)
        return VIRTQUEUE_EMPTY;
    /* Those given back and not yet published still belong to the device. */
    uint16_t ahead = (uint16_t)(index - q->avail_next);
    uint16_t outstanding = (uint16_t)(q->avail_next - q->used_published);
    if ((uint32_t)ahead + outstanding <= q->size) {
        chain->head = read_once(q->avail + RING_ENTRIES + (q->avail_next & (q->size - 1u)));
        chain->readable = chain->writable = 0;
        chain->readable_bytes = chain->writable_bytes = 0;
        q->avail_next++;
        if (follow(q, chain))
            return VIRTQUEUE_TAKEN;
    }
    q->broken = true;
    return VIRTQUEUE_BROKEN;
}

void virtqueue_put_back(struct virtqueue *q, uint16_t count) {
    q->avail_next = (uint16_t)(q->avail_next - count);
}

void virtqueue_complete(struct virtqueue *q, uint16_t head, uint32_t bytes) {
    if (q->broken)
        return;
    size_t slot = q->used_next++ & (q->size - 1u);
    uint16_t *entry = q->used + RING_ENTRIES + slot * USED_ENTRY_WORDS;
    struct virtq_used_entry e = {head, bytes};
    memcpy(entry, &e, sizeof(e));
}

void virtqueue_take_back(struct virtqueue *q, uint16_t count) {
    q->used_next = (uint16_t)(q->used_next - count);
}

bool virtqueue_publish(struct virtqueue *q) {
    uint16_t old = q->used_published;
    if (q->broken || old == q->used_next)
        return false;
    store(q->used + RING_INDEX, q->used_next);
    q->used_published = q->used_next;
    /* The index is visible before the driver's wish is read (2.7.7.2, 2.7.8). */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!q->event_index)
        return !(read_once(q->avail + RING_FLAGS) & VIRTQ_AVAIL_NO_INTERRUPT);
    uint16_t event = read_once(used_event(q));
    return (uint16_t)(q->used_next - event - 1) < (uint16_t)(q->used_next - old);
}

bool virtqueue_want_notification(struct virtqueue *q) {
    if (q->broken)
        return true;
    if (q->event_index)
        store(avail_event(q), q->avail_next);
    else
        store(q->used + RING_FLAGS, 0);
    /* The wish is visible before the index is looked at again. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return read_once(q->avail + RING_INDEX) == q->avail_next;
}

void virtqueue_refuse_notification(struct virtqueue *q) {
    /* With the event index, an avail_event that stays behind is refusal enough. */
    if (!q->event_index && !q->broken)
        store(q->used + RING_FLAGS, VIRTQ_USED_NO_NOTIFY);
}
