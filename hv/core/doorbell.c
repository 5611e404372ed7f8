/* Doorbells: I/O ports of a guest Space where an OUT does nothing but signal an Event. Each is a
 * hidden slot, a child of the Event's capability, in a page of the Space's pool. */
#include "hv/core/call.h"

_Static_assert(BH_DOORBELLS_MAX * sizeof(struct slot) == PAGE_BYTES, "one page");

static struct slot *find(const struct space *space, uint64_t port, uint32_t width) {
    for (uint32_t i = 0; i < space->doorbells_used; i++) {
        struct slot *doorbell = &space->doorbell[i];
        if (doorbell->type != BH_TYPE_NONE && doorbell->ref.port == port &&
            doorbell->ref.width == width)
            return doorbell;
    }
    return NULL;
}

/* A place for one more, or NULL. */
static struct slot *find_free(struct space *space) {
    if (!space->doorbell)
        space->doorbell = space_pool_take(space);
    for (uint32_t i = 0; space->doorbell && i < BH_DOORBELLS_MAX; i++)
        if (space->doorbell[i].type == BH_TYPE_NONE) {
            if (i == space->doorbells_used)
                space->doorbells_used++;
            return &space->doorbell[i];
        }
    return NULL;
}

struct result act_doorbell(const struct call *call) {
    struct space *space = call->slot[0]->object;
    struct slot *event = call->slot[3];
    uint64_t port = call->value[1], width = call->value[2];
    if (space->kind != BH_SPACE_GUEST || (width != 1 && width != 2 && width != 4) ||
        port > UINT16_MAX)
        return answer(BH_BAD_ARG);
    if (event && !slot_may_have_child(event))
        return answer(BH_TOO_DEEP);
    struct slot *doorbell = find(space, port, (uint32_t)width);
    if (doorbell)
        unbind(call->held, doorbell);
    if (!event)
        return answer(BH_OK);
    doorbell = find_free(space);
    if (!doorbell)
        return answer(BH_NO_MEMORY);
    slot_refer(doorbell, event, space, ROLE_DOORBELL);
    doorbell->ref.width = (uint8_t)width;
    doorbell->ref.port = (uint16_t)port;
    return answer(BH_OK);
}

bool doorbell_ring(const struct space *space, uint64_t port, uint32_t width) {
    struct read_held held = lock_read(this_cpu());
    struct slot *doorbell = find(space, port, width);
    if (doorbell)
        event_signal(doorbell->object, doorbell->ref.badge);
    unlock_read(held);
    return doorbell != NULL;
}

bool doorbells_remove(struct write_held held, struct space *space, uint32_t *work) {
    for (; space->doorbells_used; space->doorbells_used--) {
        if (!work_take(work, 1))
            return false;
        unbind(held, &space->doorbell[space->doorbells_used - 1]);
    }
    return true;
}
