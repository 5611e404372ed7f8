/* Untyped memory: making objects of it, and cleaning it. */
#include "hv/core/core.h"

/* What one call zeroes at most: bounds the time with interrupts off. */
enum { CLEAN_STEP_BYTES = ARCH_SCRUB_PAGES * PAGE_BYTES };

/* With the last descendant gone, all of it can be handed out again, and none of it is known to be
 * clean. */
static void restart_if_free(struct slot *untyped) {
    if (untyped->untyped.used && !slot_has_children(untyped)) {
        untyped->untyped.used = 0;
        untyped->untyped.clean = 0;
    }
}

/* Zeroes object memory up to `end` as far as it is not known to be clean, one step; the gap that an
 * object's alignment leaves is zeroed with it, for all below `clean` counts as zero. True when all
 * of it is clean. */
static bool clean_objects(struct slot *untyped, uint64_t end) {
    uint64_t from = untyped->untyped.clean;
    if (from >= end)
        return true;
    uint64_t bytes = min_u64(end - from, CLEAN_STEP_BYTES);
    __builtin_memset(arch_object_pointer(pa_add(untyped->base, from)), 0, bytes);
    untyped->untyped.clean = from + bytes;
    return from + bytes == end;
}

/* Memory of a dying CapTable must not be given out, so that goes first. True if there was anything
 * to do: the Untyped or the destination may have died of it, so the call has to look them up again.
 */
static bool dying_first(struct write_held held) {
    uint32_t work = REMOVE_WORK;
    return !reap(held, &work) || work != REMOVE_WORK;
}

/* May memory of `kind` become `type`? */
static bool kind_suits(enum bh_kind kind, enum bh_type type) {
    if (type == BH_TYPE_UNTYPED)
        return true;
    if (type == BH_TYPE_REGION)
        return kind != BH_KIND_OBJECT;
    return kind == BH_KIND_OBJECT;
}

/* What only a processor with guest mode can use. */
static bool is_for_guests(enum bh_type type, uint32_t kind) {
    return type == BH_TYPE_VCPU || (type == BH_TYPE_SPACE && kind == BH_SPACE_GUEST);
}

/* What a new object takes; 0: no such object, or size out of bounds. */
static uint64_t bytes_of(enum bh_type type, uint64_t size) {
    if (type == BH_TYPE_REGION)
        return size <= REGION_PAGES_MAX ? size * PAGE_BYTES : 0;
    if (type == BH_TYPE_UNTYPED)
        return size <= UNTYPED_PAGES_MAX ? size * PAGE_BYTES : 0;
    return object_bytes(type, size);
}

/* The newest child stands right behind its parent and ends at the watermark: what it had goes back
 * at once, with what is known of it, so that two clean halves make a clean whole. */
void untyped_give_back(const struct slot *child) {
    struct slot *parent = child->prev;
    if (parent->type != BH_TYPE_UNTYPED || parent->depth >= child->depth)
        return;
    uint64_t start = child->base.raw - parent->base.raw;
    uint64_t bytes = child->untyped.pages * PAGE_BYTES;
    if (start + bytes != parent->untyped.used)
        return;
    uint64_t clean = child->untyped.used ? 0 : child->untyped.clean;
    parent->untyped.used = start;
    if (clean < bytes)
        parent->untyped.clean = start + clean;
}

enum bh_status untyped_retype(struct write_held held, struct slot *untyped, enum bh_type type,
                              uint64_t size, struct slot *destination, uint32_t kind) {
    if (dying_first(held))
        return BH_AGAIN;
    restart_if_free(untyped);

    enum bh_kind memory = untyped->untyped.kind;
    bool paged = type == BH_TYPE_UNTYPED || type == BH_TYPE_REGION;
    uint64_t bytes = bytes_of(type, size);
    if (!bytes || !kind_suits(memory, type) ||
        (kind != BH_SPACE_RING3 && (type != BH_TYPE_SPACE || kind != BH_SPACE_GUEST)))
        return BH_BAD_ARG;
    if (is_for_guests(type, kind) && !arch_guest_mode())
        return BH_NOT_READY;
    if (destination->type != BH_TYPE_NONE)
        return BH_BUSY;
    if (!slot_may_have_child(untyped))
        return BH_TOO_DEEP;
    uint64_t total = untyped->untyped.pages * PAGE_BYTES;
    uint64_t start = align_up(untyped->untyped.used, paged ? PAGE_BYTES : object_alignment(type));
    if (start > total || bytes > total - start)
        return BH_NO_MEMORY;
    uint64_t end = start + bytes;
    bool needs_clean = memory == BH_KIND_FRAME || memory == BH_KIND_SHARED;
    if (type == BH_TYPE_REGION && needs_clean && untyped->untyped.clean < end)
        return BH_DIRTY;
    if (!paged && !clean_objects(untyped, end))
        return BH_AGAIN;

    struct pa base = pa_add(untyped->base, start);
    uint64_t clean = untyped->untyped.clean;
    if (type == BH_TYPE_UNTYPED)
        untyped_make(destination, memory, base, size,
                     clean > start ? min_u64(clean, end) - start : 0);
    else if (type == BH_TYPE_REGION)
        region_make(destination, memory, base, (uint32_t)size);
    else
        object_make(destination, type, arch_object_pointer(base), size, kind);
    slot_insert_child(untyped, destination);
    untyped->untyped.used = end;
    if (clean < end)
        untyped->untyped.clean = end;
    return BH_OK;
}

enum bh_status untyped_scrub(struct write_held held, struct slot *untyped, uint64_t *clean) {
    if (dying_first(held))
        return BH_AGAIN;
    if (untyped->untyped.kind != BH_KIND_FRAME && untyped->untyped.kind != BH_KIND_SHARED)
        return BH_BAD_ARG;
    restart_if_free(untyped);
    *clean = untyped->untyped.clean;
    uint64_t total = untyped->untyped.pages * PAGE_BYTES;
    uint64_t bytes = min_u64(total - *clean, CLEAN_STEP_BYTES);
    if (bytes) {
        arch_scrub(pa_add(untyped->base, *clean), (uint32_t)(bytes / PAGE_BYTES));
        held.cpu->counter[BH_COUNTER_SCRUBBED_PAGES] += bytes / PAGE_BYTES;
    }
    *clean += bytes;
    untyped->untyped.clean = *clean;
    return *clean == total ? BH_OK : BH_AGAIN;
}
