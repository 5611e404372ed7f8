/* Untyped memory: making objects of it, and cleaning it. */
#include "hv/core/call.h"

/*@ predicate is_untyped{L}(struct slot *s) = \valid(s) && s->type == BH_TYPE_UNTYPED &&
  @   s->untyped.pages <= UNTYPED_PAGES_MAX && s->untyped.clean <= s->untyped.pages * 4096 &&
  @   s->untyped.used <= s->untyped.clean &&
  @   s->base.raw + s->untyped.pages * 4096 <= 0x10000000000000; */

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

/* Frames and shared memory: what a new owner could read. */
/*@ requires \valid_read(untyped);
  @ assigns \nothing; */
static bool is_readable(const struct slot *untyped) {
    return untyped->untyped.kind == BH_KIND_FRAME || untyped->untyped.kind == BH_KIND_SHARED;
}

/* Zeroes memory up to `end` as far as it is not known to be clean, one step; the gap that an
 * object's alignment leaves is zeroed with it, for all below `clean` counts as zero. True when all
 * of it is clean. */
/*@ requires is_untyped(untyped) && end <= untyped->untyped.pages * 4096;
  @ assigns untyped->untyped.clean;
  @ ensures \old(untyped->untyped.clean) <= untyped->untyped.clean <=
  @   untyped->untyped.pages * 4096;
  @ ensures \result <==> untyped->untyped.clean >= end; */
static bool clean_up_to(struct write_held held, struct slot *untyped, uint64_t end) {
    uint64_t from = untyped->untyped.clean;
    if (from >= end)
        return true;
    uint64_t bytes = min_u64(end - from, CLEAN_STEP_BYTES);
    struct pa address = pa_add(untyped->base, from);
    if (is_readable(untyped)) {
        arch_scrub(address, (uint32_t)(bytes / PAGE_BYTES));
        held.cpu->counter[BH_COUNTER_SCRUBBED_PAGES] += bytes / PAGE_BYTES;
    } else {
        __builtin_memset(arch_object_pointer(address), 0, bytes);
    }
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
/*@ assigns \nothing; */
static bool kind_suits(enum bh_kind kind, enum bh_type type) {
    if (type == BH_TYPE_UNTYPED)
        return true;
    if (type == BH_TYPE_REGION)
        return kind != BH_KIND_OBJECT;
    return kind == BH_KIND_OBJECT;
}

/* What only a processor with guest mode can use. */
/*@ assigns \nothing; */
static bool is_for_guests(enum bh_type type, uint32_t kind) {
    return type == BH_TYPE_VCPU || (type == BH_TYPE_SPACE && kind == BH_SPACE_GUEST);
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

/* Hands out what follows the watermark, so that nothing is handed out twice. */
/*@ requires is_untyped(untyped) && \valid(destination) && \separated(untyped, destination);
  @ requires untyped->next == \null || (\valid(untyped->next) &&
  @   \separated(untyped->next, destination, untyped));
  @ ensures untyped->untyped.used <= untyped->untyped.clean;
  @ ensures untyped->untyped.clean <= untyped->untyped.pages * 4096;
  @ ensures \result != BH_OK ==> untyped->untyped.used == \old(untyped->untyped.used);
  @ ensures \result == BH_OK ==> \old(destination->type) == BH_TYPE_NONE;
  @ ensures \result == BH_OK ==> untyped->untyped.used > \old(untyped->untyped.used);
  @ ensures \result == BH_OK && type == BH_TYPE_REGION ==>
  @   destination->base.raw >= untyped->base.raw + \old(untyped->untyped.used) &&
  @   destination->base.raw + destination->pages * 4096 ==
  @     untyped->base.raw + untyped->untyped.used;
  @ ensures \result == BH_OK && type == BH_TYPE_UNTYPED ==>
  @   destination->base.raw >= untyped->base.raw + \old(untyped->untyped.used) &&
  @   destination->base.raw + destination->untyped.pages * 4096 ==
  @     untyped->base.raw + untyped->untyped.used; */
static enum bh_status carve(struct write_held held, struct slot *untyped, enum bh_type type,
                            uint64_t size, struct slot *destination, uint32_t kind) {
    enum bh_kind memory = untyped->untyped.kind;
    bool paged = type == BH_TYPE_UNTYPED || type == BH_TYPE_REGION;
    uint64_t bytes = object_bytes(type, size);
    if (!bytes || !kind_suits(memory, type) ||
        (kind != BH_SPACE_RING3 && (type != BH_TYPE_SPACE || kind != BH_SPACE_GUEST)))
        return BH_BAD_ARG;
    if (is_for_guests(type, kind) && !arch_guest_mode())
        return BH_NOT_READY;
    if (!slot_empty(destination))
        return BH_BUSY;
    if (!slot_may_have_child(untyped))
        return BH_TOO_DEEP;
    uint64_t total = untyped->untyped.pages * PAGE_BYTES;
    uint64_t start = align_up(untyped->untyped.used, object_alignment(type));
    if (start > total || bytes > total - start)
        return BH_NO_MEMORY;
    uint64_t end = start + bytes;
    if (type == BH_TYPE_REGION && is_readable(untyped) && untyped->untyped.clean < end)
        return BH_DIRTY;
    if (!paged && !clean_up_to(held, untyped, end))
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

struct result act_retype(const struct call *call) {
    uint64_t type = call->value[1], kind = call->value[4];
    if (type > BH_TYPE_DEVICE || kind > BH_SPACE_DEVICE)
        return answer(BH_BAD_ARG);
    if (dying_first(call->held))
        return answer(BH_AGAIN);
    restart_if_free(call->slot[0]);
    return answer(carve(call->held, call->slot[0], (enum bh_type)type, call->value[2],
                        call->slot[3], (uint32_t)kind));
}

struct result act_scrub(const struct call *call) {
    struct slot *untyped = call->slot[0];
    if (dying_first(call->held))
        return answer(BH_AGAIN);
    if (!is_readable(untyped))
        return answer(BH_BAD_ARG);
    restart_if_free(untyped);
    bool done = clean_up_to(call->held, untyped, untyped->untyped.pages * PAGE_BYTES);
    return (struct result){done ? BH_OK : BH_AGAIN, untyped->untyped.clean, 0};
}
