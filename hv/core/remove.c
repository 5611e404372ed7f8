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

/* Ends the object of an original without descendants. False: not done yet; until it is, the object
 * is a whole one that has fewer references or mappings. */
static bool object_destroy(struct write_held held, struct slot *original, uint32_t *work) {
    void *object = original->object;
    if (!unbind_all(held, original, work))
        return false;
    switch (original->type) {
    case BH_TYPE_SPACE:
        if (!space_clear(held, object, work))
            return false;
        arch_space_retire(object);
        return true;
    case BH_TYPE_CAPTABLE:
        captable_die(object);
        return true;
    case BH_TYPE_CONTEXT:
        work_take(work, CONTEXT_WORK);
        context_destroy(object);
        return true;
    case BH_TYPE_VCPU:
        arch_vcpu_retire(object);
        return true;
    case BH_TYPE_IRQ:
        if (((struct irq *)object)->attached)
            arch_irq_detach(object);
        return true;
    default: /* Untyped, Region, Event: nothing beyond the slot */
        return true;
    }
}

/* Removes one leaf. False: out of work, part of it is done. */
static bool remove_leaf(struct write_held held, struct slot *leaf, uint32_t *work) {
    if (!*work)
        return false;
    if (leaf->flags & SLOT_HIDDEN) {
        work_take(work, 1);
        unbind(held, leaf);
        return true;
    }
    if (leaf->type == BH_TYPE_REGION && !region_unmap(held, leaf, work))
        return false;
    if ((leaf->flags & SLOT_ORIGINAL) && !object_destroy(held, leaf, work))
        return false;
    if (leaf->type == BH_TYPE_UNTYPED)
        untyped_give_back(leaf);
    work_take(work, 1); /* last: however little a call may do, it gets ahead */
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
            bool emptied = slot_empty(slot) ? work_take(work, 1)
                                            : remove_descendants(held, slot, work) &&
                                                  remove_leaf(held, slot, work);
            if (!emptied)
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
