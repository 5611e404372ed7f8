#include "mgmt/vmm/virtq.h"

#include <string.h>

/* 2.7.5, 2.7.6, 2.7.8 */
struct descriptor {
    uint64_t address;
    uint32_t bytes;
    uint16_t flags, next;
};
#define DESCRIPTOR_NEXT 1u
#define DESCRIPTOR_WRITE 2u
#define DESCRIPTOR_INDIRECT 4u
#define AVAILABLE_NO_INTERRUPT 1u
#define RING_OFFSET 4u /* behind flags and index */

struct used_element {
    uint32_t head, bytes;
};

bool virtq_is_valid(const struct virtq *q) {
    if (q->size == 0 || q->size > VIRTQ_SIZE_MAX || (q->size & (q->size - 1)))
        return false;
    return q->descriptors.value % 16 == 0 && q->available.value % 2 == 0 &&
           q->used.value % 4 == 0 && ram_at(q->descriptors, q->size * sizeof(struct descriptor)) &&
           ram_at(q->available, RING_OFFSET + 2u * q->size) &&
           ram_at(q->used, RING_OFFSET + q->size * sizeof(struct used_element));
}

/* The areas were in RAM when the queue was enabled, and RAM does not go away. */
static uint16_t load16(struct gpa base, uint64_t offset) {
    const uint16_t *at = ram_at(GPA(base.value + offset), sizeof(*at));
    return at ? __atomic_load_n(at, __ATOMIC_ACQUIRE) : 0;
}

static bool copy_descriptor(const struct virtq *q, uint16_t index, struct descriptor *out) {
    return index < q->size &&
           ram_read(GPA(q->descriptors.value + index * sizeof(*out)), out, sizeof(*out));
}

/* False: against the rules. */
static bool collect(const struct virtq *q, uint16_t index, struct virtq_chain *chain) {
    chain->head = index;
    chain->readable = chain->writable = 0;
    chain->readable_bytes = chain->writable_bytes = 0;
    for (unsigned count = 0; count < VIRTQ_CHAIN_MAX && count < q->size; count++) {
        struct descriptor d;
        if (!copy_descriptor(q, index, &d) || (d.flags & DESCRIPTOR_INDIRECT))
            return false;
        bool write = d.flags & DESCRIPTOR_WRITE;
        uint32_t *total = write ? &chain->writable_bytes : &chain->readable_bytes;
        if ((!write && chain->writable) || d.bytes > UINT32_MAX - *total)
            return false;
        uint8_t *at = ram_at(GPA(d.address), d.bytes);
        if (!at)
            return false;
        chain->segment[count] = (struct virtq_segment){at, d.bytes};
        *total += d.bytes;
        if (write)
            chain->writable++;
        else
            chain->readable++;
        if (!(d.flags & DESCRIPTOR_NEXT))
            return true;
        index = d.next;
    }
    return false; /* too long, or a loop */
}

enum virtq_take virtq_take(struct virtq *q, struct virtq_chain *chain) {
    if (q->broken || !q->enabled)
        return q->broken ? VIRTQ_BROKEN : VIRTQ_EMPTY;
    uint16_t waiting = (uint16_t)(load16(q->available, 2) - q->next_available);
    if (waiting == 0)
        return VIRTQ_EMPTY;
    uint16_t slot = q->next_available & (uint16_t)(q->size - 1);
    uint16_t head = load16(q->available, RING_OFFSET + 2u * slot);
    if (waiting > q->size || !collect(q, head, chain)) {
        q->broken = true;
        return VIRTQ_BROKEN;
    }
    q->next_available++;
    return VIRTQ_TAKEN;
}

void virtq_untake(struct virtq *q, uint16_t count) {
    q->next_available = (uint16_t)(q->next_available - count);
}

void virtq_give(struct virtq *q, uint16_t head, uint32_t bytes) {
    struct used_element element = {head, bytes};
    uint64_t slot = q->next_used & (uint16_t)(q->size - 1);
    ram_write(GPA(q->used.value + RING_OFFSET + slot * sizeof(element)), &element, sizeof(element));
    q->next_used++;
    uint16_t *index = ram_at(GPA(q->used.value + 2), sizeof(*index));
    if (index)
        __atomic_store_n(index, q->next_used, __ATOMIC_RELEASE);
}

bool virtq_wants_interrupt(struct virtq *q) {
    if (q->next_used == q->signalled_used)
        return false;
    q->signalled_used = q->next_used;
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* the used index before the flag */
    return !(load16(q->available, 0) & AVAILABLE_NO_INTERRUPT);
}

unsigned virtq_slice(const struct virtq_chain *chain, bool writable, uint32_t at, uint32_t bytes,
                     struct virtq_segment *out) {
    unsigned first = writable ? chain->readable : 0, count = 0;
    unsigned end = first + (writable ? chain->writable : chain->readable);
    for (unsigned i = first; i < end && bytes > 0; i++) {
        const struct virtq_segment *segment = &chain->segment[i];
        if (at >= segment->bytes) {
            at -= segment->bytes;
            continue;
        }
        uint32_t piece = segment->bytes - at;
        if (piece > bytes)
            piece = bytes;
        out[count++] = (struct virtq_segment){segment->at + at, piece};
        bytes -= piece;
        at = 0;
    }
    return count;
}

bool virtq_read(const struct virtq_chain *chain, uint32_t at, void *to, uint32_t bytes) {
    struct virtq_segment pieces[VIRTQ_CHAIN_MAX];
    if (at > chain->readable_bytes || bytes > chain->readable_bytes - at)
        return false;
    unsigned count = virtq_slice(chain, false, at, bytes, pieces);
    uint8_t *target = to;
    for (unsigned i = 0; i < count; target += pieces[i++].bytes)
        memcpy(target, pieces[i].at, pieces[i].bytes);
    return true;
}

bool virtq_write(const struct virtq_chain *chain, uint32_t at, const void *from, uint32_t bytes) {
    struct virtq_segment pieces[VIRTQ_CHAIN_MAX];
    if (at > chain->writable_bytes || bytes > chain->writable_bytes - at)
        return false;
    unsigned count = virtq_slice(chain, true, at, bytes, pieces);
    const uint8_t *source = from;
    for (unsigned i = 0; i < count; source += pieces[i++].bytes)
        memcpy(pieces[i].at, source, pieces[i].bytes);
    return true;
}
