/* A split virtqueue, driver's side. Each request takes one slot. With indirect descriptors a slot
 * is one descriptor and a table of its own; without, the descriptor table is cut into groups of
 * segments_max, and a slot is a group: so there is no descriptor allocation that could fragment or
 * go wrong. */
#include "mgmt/drivers/virtq.h"

#include <assert.h>
#include <stdlib.h>

#include "mgmt/pci/mmio.h"
#include "mgmt/virtio/ring.h"

#define USED_ALIGN_BYTES 64u /* 4 needed (2.7); a cache line of its own is kinder */

struct virtq_slot {
    uint32_t writable_bytes; /* what the device may claim */
    uint16_t next_free;
    bool in_flight;
};

/* Where things lie in q->memory. */
struct layout {
    size_t avail, used, tables, bytes;
};

static struct layout layout_of(const struct virtq_settings *s) {
    struct layout l;
    l.avail = s->size * sizeof(struct virtq_desc);
    size_t avail_end =
        l.avail + sizeof(uint16_t) * (3u + s->size); /* flags, idx, ring, used_event */
    l.used = (avail_end + USED_ALIGN_BYTES - 1) & ~(size_t)(USED_ALIGN_BYTES - 1);
    size_t used_end = l.used + sizeof(uint16_t) * 3u + s->size * sizeof(struct virtq_used_entry);
    l.tables = (used_end + USED_ALIGN_BYTES - 1) & ~(size_t)(USED_ALIGN_BYTES - 1);
    l.bytes = l.tables;
    if (s->indirect)
        l.bytes += (size_t)s->size * s->segments_max * sizeof(struct virtq_desc);
    return l;
}

static uint8_t *at(const struct virtq *q, size_t offset) {
    return (uint8_t *)q->memory.va + offset;
}

static uint16_t *avail_word(const struct virtq *q, unsigned index) {
    return (uint16_t *)(void *)at(q, (size_t)(q->avail.raw - q->memory.hpa.raw)) + index;
}

static uint16_t *used_word(const struct virtq *q, unsigned index) {
    return (uint16_t *)(void *)at(q, (size_t)(q->used.raw - q->memory.hpa.raw)) + index;
}

static uint16_t *avail_flags(const struct virtq *q) {
    return avail_word(q, 0);
}

static uint16_t *avail_index(const struct virtq *q) {
    return avail_word(q, 1);
}

static uint16_t *used_event(const struct virtq *q) {
    return avail_word(q, 2u + q->settings.size);
}

static const uint16_t *used_flags(const struct virtq *q) {
    return used_word(q, 0);
}

static const uint16_t *used_index(const struct virtq *q) {
    return used_word(q, 1);
}

static const struct virtq_used_entry *used_ring(const struct virtq *q) {
    return (const struct virtq_used_entry *)(const void *)used_word(q, 2);
}

static const uint16_t *avail_event(const struct virtq *q) {
    return (const uint16_t *)(const void *)(used_ring(q) + q->settings.size);
}

static uint16_t load(const uint16_t *word) {
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static void store(uint16_t *word, uint16_t value) {
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

enum bh_status virtq_create(struct virtq *q, const struct virtq_settings *settings) {
    *q = (struct virtq){.settings = *settings};
    const struct virtq_settings *s = &q->settings;
    /* 2.7.5.3.1: a chain, indirect or not, is never longer than the queue. */
    if (s->segments_max == 0 || s->segments_max > s->size)
        return BH_BAD_ARG;
    if (s->segments_max == 1)
        q->settings.indirect = false; /* a table of one costs the device a read and buys nothing */
    q->slots = s->indirect ? s->size : s->size / s->segments_max;
    q->slot = calloc(q->slots, sizeof(*q->slot));
    struct layout l = layout_of(s);
    if (!q->slot || dma_alloc(l.bytes, &q->memory) != BH_OK) {
        free(q->slot);
        return BH_NO_MEMORY;
    }
    q->avail.raw = q->memory.hpa.raw + l.avail;
    q->used.raw = q->memory.hpa.raw + l.used;
    for (uint16_t i = 0; i < q->slots; i++)
        q->slot[i].next_free = i + 1;
    q->free_slots = q->slots;
    return BH_OK;
}

uint16_t virtq_next_slot(const struct virtq *q) {
    return q->free_head;
}

/* Fills descriptors table[first..]; `next` counts from the table's beginning. Returns how many
 * bytes the device may write. */
static uint32_t write_chain(struct virtq_desc *table, uint16_t first,
                            const struct virtq_segment *segments, unsigned count) {
    uint32_t writable_bytes = 0;
    for (unsigned i = 0; i < count; i++) {
        const struct virtq_segment *s = &segments[i];
        struct virtq_desc d = {.address = s->hpa.raw, .bytes = s->bytes};
        if (s->device_writes) {
            d.flags = VIRTQ_DESC_WRITE;
            writable_bytes += s->bytes;
        }
        if (i + 1 < count) {
            d.flags |= VIRTQ_DESC_NEXT;
            d.next = (uint16_t)(first + i + 1);
        }
        table[first + i] = d;
    }
    return writable_bytes;
}

void virtq_add(struct virtq *q, const struct virtq_segment *segments, unsigned count) {
    if (q->broken)
        return;
    assert(q->free_slots > 0); /* the driver's bug: there is no slot behind the last */
    const struct virtq_settings *s = &q->settings;
    struct virtq_desc *ring = q->memory.va;
    uint16_t slot = q->free_head;
    struct virtq_slot *state = &q->slot[slot];
    uint16_t head = s->indirect ? slot : (uint16_t)(slot * s->segments_max);
    if (s->indirect) {
        size_t offset = layout_of(s).tables + (size_t)slot * s->segments_max * sizeof(*ring);
        struct virtq_desc *table = (struct virtq_desc *)(void *)at(q, offset);
        state->writable_bytes = write_chain(table, 0, segments, count);
        ring[head] = (struct virtq_desc){.address = q->memory.hpa.raw + offset,
                                         .bytes = (uint32_t)(count * sizeof(*ring)),
                                         .flags = VIRTQ_DESC_INDIRECT};
    } else {
        state->writable_bytes = write_chain(ring, head, segments, count);
    }
    q->free_head = state->next_free;
    q->free_slots--;
    state->in_flight = true;
    *avail_word(q, 2u + (q->avail_next++ & (s->size - 1u))) = head;
}

/* 2.7.10: with the event index the device asks for a notification when the index passes
 * avail_event. */
static bool device_wants_notification(const struct virtq *q, uint16_t old) {
    if (!q->settings.event_index)
        return !(load(used_flags(q)) & VIRTQ_USED_NO_NOTIFY);
    uint16_t event = load(avail_event(q));
    return (uint16_t)(q->avail_next - event - 1) < (uint16_t)(q->avail_next - old);
}

void virtq_publish(struct virtq *q) {
    uint16_t old = q->avail_published;
    if (q->broken || old == q->avail_next)
        return;
    store(avail_index(q), q->avail_next);
    q->avail_published = q->avail_next;
    __atomic_thread_fence(
        __ATOMIC_SEQ_CST); /* the index is visible before the device's wish is read */
    if (device_wants_notification(q, old))
        mmio_write16(q->notify, q->index);
}

static enum virtq_take give_up(struct virtq *q) {
    q->broken = true;
    return VIRTQ_BROKEN;
}

/* Which slot a descriptor index names, or q->slots. */
static uint16_t slot_of(const struct virtq *q, uint32_t id) {
    uint16_t step = q->settings.indirect ? 1 : q->settings.segments_max;
    if (id % step != 0 || id / step >= q->slots)
        return q->slots;
    return (uint16_t)(id / step);
}

enum virtq_take virtq_take(struct virtq *q, uint16_t *slot, uint32_t *bytes) {
    if (q->broken)
        return VIRTQ_BROKEN;
    uint16_t ahead = (uint16_t)(load(used_index(q)) - q->used_next);
    if (ahead == 0)
        return VIRTQ_EMPTY;
    if (ahead > q->slots - q->free_slots)
        return give_up(q);
    const struct virtq_used_entry *from = &used_ring(q)[q->used_next & (q->settings.size - 1u)];
    struct virtq_used_entry entry = {__atomic_load_n(&from->id, __ATOMIC_RELAXED),
                                     __atomic_load_n(&from->bytes, __ATOMIC_RELAXED)};
    uint16_t taken = slot_of(q, entry.id);
    if (taken == q->slots || !q->slot[taken].in_flight ||
        entry.bytes > q->slot[taken].writable_bytes)
        return give_up(q);
    q->slot[taken].in_flight = false;
    q->slot[taken].next_free = q->free_head;
    q->free_head = taken;
    q->free_slots++;
    q->used_next++;
    *slot = taken;
    *bytes = entry.bytes;
    return VIRTQ_TAKEN;
}

bool virtq_want_interrupt(struct virtq *q) {
    if (q->broken)
        return true;
    if (q->settings.event_index)
        store(used_event(q), q->used_next);
    else
        store(avail_flags(q), 0);
    __atomic_thread_fence(
        __ATOMIC_SEQ_CST); /* the wish is visible before the index is looked at again */
    return load(used_index(q)) == q->used_next;
}

void virtq_refuse_interrupt(struct virtq *q) {
    /* With the event index, a used_event that stays behind is refusal enough. */
    if (!q->settings.event_index)
        store(avail_flags(q), VIRTQ_AVAIL_NO_INTERRUPT);
}
