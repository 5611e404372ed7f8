/* Taking capabilities away: delete, revoke, and the tear-down of CapTables.
 *
 * Everything goes leaf first, so an original (whose object dies with it) is only ever removed when
 * nothing refers to the object. A CapTable that dies leaves the tree at once and waits on one list;
 * its slots are emptied from there, one after the other, whatever they hold: no recursion, and
 * tables that hold each other's originals are no special case. */
#include "hv/core/call.h"

/* CapTables whose original is gone and whose slots are not all empty yet. */
static struct captable *dying;

static void captable_die(struct captable *table) {
    struct captable **link = dying ? &dying->next : &dying; /* reap() may be at the first */
    table->reaped = 0;
    table->next = *link;
    *link = table;
}

static void irq_destroy(struct write_held held, struct irq *irq) {
    if (irq->attached)
        arch_irq_detach(irq);
    unbind(held, &irq->event);
}

/* Ends the object of an original without descendants. False: not done yet. */
static bool object_destroy(struct write_held held, struct slot *original, uint32_t *work) {
    switch (original->type) {
    case BH_TYPE_SPACE:
        if (!space_clear(held, original->object, work))
            return false;
        doorbells_remove(held, original->object);
        arch_space_retire(original->object);
        return true;
    case BH_TYPE_CAPTABLE:
        captable_die(original->object);
        return true;
    case BH_TYPE_CONTEXT:
        context_destroy(held, original->object);
        return true;
    case BH_TYPE_VCPU:
        vcpu_destroy(held, original->object);
        return true;
    case BH_TYPE_IRQ:
        irq_destroy(held, original->object);
        return true;
    default: /* Untyped, Region, Event: nothing beyond the slot */
        return true;
    }
}

/* Removes one leaf. False: out of work, part of it is done. */
static bool remove_leaf(struct write_held held, struct slot *leaf, uint32_t *work) {
    if (*work == 0)
        return false;
    --*work;
    if (leaf->flags & SLOT_HIDDEN) {
        unbind(held, leaf);
        return true;
    }
    if (leaf->type == BH_TYPE_REGION && !region_unmap(held, leaf, work))
        return false;
    if ((leaf->flags & SLOT_ORIGINAL) && !object_destroy(held, leaf, work))
        return false;
    if (leaf->type == BH_TYPE_UNTYPED)
        untyped_give_back(leaf);
    slot_remove(leaf);
    return true;
}

/* Removes the descendants of `slot`. The first leaf's predecessor in the list is its parent, so
 * going on from there visits every node once. */
static bool remove_descendants(struct write_held held, struct slot *slot, uint32_t *work) {
    struct slot *at = slot;
    while (slot_has_children(slot)) {
        struct slot *leaf = slot_leaf(at);
        at = leaf->prev;
        if (!remove_leaf(held, leaf, work))
            return false;
    }
    return true;
}

bool reap(struct write_held held, uint32_t *work) {
    while (dying) {
        struct captable *table = dying;
        while (table->reaped < table->count) {
            struct slot *slot = &table->slot[table->reaped];
            if (*work == 0)
                return false;
            --*work;
            if (!slot_empty(slot) &&
                (!remove_descendants(held, slot, work) || !remove_leaf(held, slot, work)))
                return false;
            table->reaped++;
        }
        dying = table->next;
    }
    return true;
}

struct result act_delete(const struct call *call) {
    struct slot *slot = call->slot[0];
    uint32_t work = REMOVE_WORK;
    if (!reap(call->held, &work))
        return answer(BH_AGAIN);
    if (slot_empty(slot))
        return answer(BH_OK);
    if (slot_has_children(slot))
        return answer(BH_HAS_CHILDREN);
    bool done = remove_leaf(call->held, slot, &work) && reap(call->held, &work);
    return answer(done ? BH_OK : BH_AGAIN);
}

struct result act_revoke(const struct call *call) {
    struct slot *slot = call->slot[0];
    uint32_t work = REMOVE_WORK;
    while (reap(call->held, &work)) {
        /* The slot may have lain in a table that died. */
        if (slot_empty(slot) || !slot_has_children(slot))
            return answer(BH_OK);
        if (!remove_descendants(call->held, slot, &work))
            break;
    }
    return answer(BH_AGAIN);
}
