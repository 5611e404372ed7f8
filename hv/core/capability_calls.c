/* The structural calls on capabilities and memory. */
#include "hv/core/call.h"

struct result act_retype(const struct call *call) {
    uint64_t type = call->value[1], kind = call->value[4];
    if (type > BH_TYPE_DEVICE || kind > BH_SPACE_DEVICE)
        return answer(BH_BAD_ARG);
    return answer(untyped_retype(call->held, call->slot[0], (enum bh_type)type, call->value[2],
                                 call->slot[3], (uint32_t)kind));
}

/* The type's own part of a copy: `copy` starts as the source's contents. */
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
        copy->region.space = NULL;
        copy->region.space_prev = copy->region.space_next = NULL;
        copy->region.va_page = copy->region.mapped = 0;
        if (b == 0)
            return BH_OK;
        if (a >= source->pages || b > source->pages - a)
            return BH_BAD_ARG;
        copy->base = pa_add(source->base, a * PAGE_BYTES);
        copy->pages = (uint32_t)b;
        return BH_OK;
    case BH_TYPE_PORTS:
        if (b == 0)
            return BH_OK;
        if (a < source->ports.first || a - source->ports.first >= source->ports.count ||
            b > source->ports.count - (a - source->ports.first))
            return BH_BAD_ARG;
        copy->ports.first = (uint32_t)a;
        copy->ports.count = (uint32_t)b;
        return BH_OK;
    default:
        return BH_OK;
    }
}

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
    copy.rights = source->rights & (uint8_t)call->value[2];
    copy.flags = 0;
    *destination = copy;
    slot_insert_child(source, destination);
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

struct result act_narrow(const struct call *call) {
    struct slot *slot = call->slot[0];
    if (slot_empty(slot))
        return answer(BH_BAD_CAP);
    slot->rights &= (uint8_t)call->value[1];
    return answer(BH_OK);
}

struct result act_delete(const struct call *call) {
    return answer(slot_delete(call->held, call->slot[0]));
}

struct result act_revoke(const struct call *call) {
    return answer(slot_revoke(call->held, call->slot[0]));
}

struct result act_scrub(const struct call *call) {
    struct result result = {.status = BH_OK};
    result.status = untyped_scrub(call->held, call->slot[0], &result.value0);
    return result;
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

/* Words 0 and 1 of CAP_INFO. */
static struct result describe(const struct slot *slot) {
    uint64_t kind = 0, badge = 0;
    if (slot->type == BH_TYPE_UNTYPED)
        kind = slot->untyped.kind;
    else if (slot->type == BH_TYPE_REGION)
        kind = slot->region.kind;
    else if (slot->type == BH_TYPE_SPACE)
        kind = ((const struct space *)slot->object)->kind;
    else if (slot->type == BH_TYPE_EVENT || slot->type == BH_TYPE_CPU)
        badge = slot->ref.badge;
    uint64_t original = slot->flags & SLOT_ORIGINAL ? 1 : 0;
    return (struct result){BH_OK,
                           slot->type | (uint64_t)slot->rights << 8 | (uint64_t)slot->depth << 16 |
                               original << 24 | kind << 32,
                           badge};
}

static struct result measure(const struct slot *slot) {
    const struct space *space = slot->object;
    switch (slot->type) {
    case BH_TYPE_UNTYPED:
        return (struct result){BH_OK, slot->untyped.pages,
                               slot_has_children(slot)
                                   ? slot->untyped.pages -
                                         align_up(slot->untyped.used, PAGE_BYTES) / PAGE_BYTES
                                   : slot->untyped.pages};
    case BH_TYPE_REGION:
        return (struct result){BH_OK, slot->pages, slot->region.mapped};
    case BH_TYPE_CAPTABLE:
        return (struct result){BH_OK, ((struct captable *)slot->object)->count, 0};
    case BH_TYPE_SPACE:
        return (struct result){BH_OK, space->pool_pages, space->pool_pages - space->pool_used};
    case BH_TYPE_PORTS:
        return (struct result){BH_OK, slot->ports.first, slot->ports.count};
    default:
        return answer(BH_OK);
    }
}

struct result act_cap_info(const struct call *call) {
    if (call->value[1] > 1)
        return answer(BH_BAD_ARG);
    return call->value[1] == 0 ? describe(call->slot[0]) : measure(call->slot[0]);
}

struct result act_region_address(const struct call *call) {
    return (struct result){BH_OK, call->slot[0]->base.raw, 0};
}
