/* The structural calls on capabilities and memory. */
#include "hv/core/call.h"

/*@ predicate is_sane{L}(struct slot *s) =
  @   s->ports.first + s->ports.count <= 65536 &&
  @   (s->type == BH_TYPE_REGION ==> s->base.raw + s->pages * 4096 <= 0xffffffffffffffff) &&
  @   (s->type == BH_TYPE_EVENT ==> \valid_read((struct event *)s->object)); */

/* The type's own part of a copy: `copy` starts as the source's contents. */
/*@ requires \valid_read(source) && \valid(copy) && \separated(source, copy);
  @ requires copy->base.raw == source->base.raw && copy->pages == source->pages;
  @ requires copy->ports.first == source->ports.first && copy->ports.count == source->ports.count;
  @ requires is_sane(source);
  @ assigns copy->ref.badge, copy->region, copy->base, copy->pages, copy->ports;
  @ ensures \result == BH_OK && source->type == BH_TYPE_REGION ==>
  @   source->base.raw <= copy->base.raw &&
  @   copy->base.raw + copy->pages * 4096 <= source->base.raw + source->pages * 4096;
  @ ensures \result == BH_OK && source->type == BH_TYPE_PORTS ==>
  @   source->ports.first <= copy->ports.first &&
  @   copy->ports.first + copy->ports.count <= source->ports.first + source->ports.count;
  @ ensures \result == BH_OK && source->type == BH_TYPE_CPU ==>
  @   copy->ref.badge <= source->ref.badge;
  @ ensures \result == BH_OK ==> source->type != BH_TYPE_UNTYPED; */
static enum bh_status derive(const struct slot *source, struct slot *copy, uint64_t a, uint64_t b) {
    switch (source->type) {
    case BH_TYPE_UNTYPED:
        return BH_BAD_ARG;
    case BH_TYPE_EVENT:
        if (!(source->flags & SLOT_ORIGINAL))
            return BH_OK;
        copy->ref.badge = a;
        return a < 64ull * ((struct event *)source->object)->words ? BH_OK : BH_BAD_ARG;
    case BH_TYPE_CPU:
        copy->ref.badge = a;
        return a <= source->ref.badge ? BH_OK : BH_BAD_ARG;
    case BH_TYPE_REGION:
        region_forget(copy);
        if (b == 0)
            return BH_OK;
        if (!within(source->pages, a, b))
            return BH_BAD_ARG;
        copy->base = pa_add(source->base, a * PAGE_BYTES);
        copy->pages = (uint32_t)b;
        return BH_OK;
    case BH_TYPE_PORTS:
        if (b == 0)
            return BH_OK;
        if (a < source->ports.first || !within(source->ports.count, a - source->ports.first, b))
            return BH_BAD_ARG;
        copy->ports.first = (uint32_t)a;
        copy->ports.count = (uint32_t)b;
        return BH_OK;
    default:
        return BH_OK;
    }
}

/*@ requires \valid(parent) && \valid(child) && \valid_read(contents);
  @ requires \separated(parent, child, contents) && parent->depth < BH_DEPTH_MAX;
  @ requires parent->next == \null || (\valid(parent->next) &&
  @   \separated(parent->next, child, parent, contents));
  @ assigns *child, parent->next, parent->next->prev;
  @ ensures child->rights == rights && child->flags == 0 && child->depth == parent->depth + 1; */
static void insert_copy(struct slot *parent, struct slot *child, const struct slot *contents,
                        uint8_t rights) {
    *child = *contents;
    child->rights = rights;
    child->flags = 0;
    slot_insert_child(parent, child);
}

/*@ requires \valid_read(call) && \valid(call->slot[0]) && \valid(call->slot[1]);
  @ requires \separated(call, call->slot[0], call->slot[1]) || call->slot[0] == call->slot[1];
  @ requires call->slot[0]->next == \null || (\valid(call->slot[0]->next) &&
  @   \separated(call->slot[0]->next, call, call->slot[1], call->slot[0]));
  @ requires is_sane(call->slot[0]);
  @ ensures \result.status == BH_OK ==> \old(call->slot[1]->type) == BH_TYPE_NONE;
  @ ensures \result.status == BH_OK ==>
  @   (call->slot[1]->rights & ~\old(call->slot[0]->rights)) == 0;
  @ ensures \result.status == BH_OK ==> call->slot[1]->depth == call->slot[0]->depth + 1;
  @ ensures \result.status == BH_OK ==> call->slot[1]->flags == 0;
  @ ensures \result.status == BH_OK ==> call->slot[0]->rights == \old(call->slot[0]->rights); */
struct result act_copy(const struct call *call) {
    struct slot *source = call->slot[0], *destination = call->slot[1];
    if (slot_empty(source))
        return answer(BH_BAD_CAP);
    if (!slot_empty(destination))
        return answer(BH_BUSY);
    if (!slot_may_have_child(source))
        return answer(BH_TOO_DEEP);
    struct slot copy = *source;
    enum bh_status status = derive(source, &copy, call->value[3], call->value[4]);
    if (status != BH_OK)
        return answer(status);
    insert_copy(source, destination, &copy, rights_narrowed(source->rights, call->value[2]));
    return answer(BH_OK);
}

struct result act_move(const struct call *call) {
    struct slot *source = call->slot[0], *destination = call->slot[1];
    if (slot_empty(source))
        return answer(BH_BAD_CAP);
    if (!slot_empty(destination))
        return answer(BH_BUSY);
    slot_move(source, destination);
    if (destination->type == BH_TYPE_REGION)
        region_moved(destination);
    return answer(BH_OK);
}

/*@ requires \valid_read(call) && \valid(call->slot[0]) && \separated(call, call->slot[0]);
  @ assigns call->slot[0]->rights;
  @ ensures \result.status == BH_OK ==>
  @   (call->slot[0]->rights & ~\old(call->slot[0]->rights)) == 0;
  @ ensures \result.status != BH_OK ==> call->slot[0]->rights == \old(call->slot[0]->rights); */
struct result act_narrow(const struct call *call) {
    struct slot *slot = call->slot[0];
    if (slot_empty(slot))
        return answer(BH_BAD_CAP);
    slot->rights = rights_narrowed(slot->rights, call->value[1]);
    return answer(BH_OK);
}

struct result act_map(const struct call *call) {
    if (call->value[3] > BH_RIGHTS_ALL)
        return answer(BH_BAD_ARG);
    return answer(region_map(call->held, call->slot[0], call->slot[1]->object, call->value[2],
                             (uint32_t)call->value[3]));
}

struct result act_unmap(const struct call *call) {
    uint32_t work = REMOVE_WORK;
    return answer(region_unmap(call->held, call->slot[0], &work) ? BH_OK : BH_AGAIN);
}

struct result act_bind(const struct call *call) {
    if (call->value[1] > BH_BIND_VCPU_STATE)
        return answer(BH_BAD_ARG);
    return answer(bind(call->held, call->slot[0], (enum bh_binding)call->value[1], call->slot[2]));
}

struct result act_cap_info(const struct call *call) {
    const struct slot *slot = call->slot[0];
    const struct space *space = slot->object;
    uint64_t kind = 0, badge = 0, size = 0, part = 0;
    switch (slot->type) {
    case BH_TYPE_UNTYPED:
        kind = slot->untyped.kind;
        size = part = slot->untyped.pages;
        if (slot_has_children(slot))
            part -= align_up(slot->untyped.used, PAGE_BYTES) / PAGE_BYTES;
        break;
    case BH_TYPE_REGION:
        kind = slot->region.kind;
        size = slot->pages;
        part = slot->region.mapped;
        break;
    case BH_TYPE_SPACE:
        kind = space->kind;
        size = space->pool_pages;
        part = space->pool_pages - space->pool_used;
        break;
    case BH_TYPE_CAPTABLE:
        size = ((const struct captable *)slot->object)->count;
        break;
    case BH_TYPE_EVENT:
    case BH_TYPE_CPU:
        badge = slot->ref.badge;
        break;
    case BH_TYPE_PORTS:
        size = slot->ports.first;
        part = slot->ports.count;
        break;
    default:
        break;
    }
    uint64_t original = slot->flags & SLOT_ORIGINAL ? 1 : 0;
    uint64_t description = slot->type | (uint64_t)slot->rights << 8 | (uint64_t)slot->depth << 16 |
                           original << 24 | kind << 32;
    if (call->value[1] > 1)
        return answer(BH_BAD_ARG);
    return call->value[1] == 0 ? (struct result){BH_OK, description, badge}
                               : (struct result){BH_OK, size, part};
}

struct result act_region_address(const struct call *call) {
    return (struct result){BH_OK, call->slot[0]->base.raw, 0};
}
