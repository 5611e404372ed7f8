/* The structural calls on capabilities and memory. */
#include "hv/core/call.h"

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
        if (!within(source->ports.count, a - source->ports.first, b)) /* huge if it lies below */
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
