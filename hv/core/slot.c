/* The derivation tree's list: see slot.h. */
#include "hv/core/slot.h"

#include "hv/core/arch.h"

/* The list starts here; roots are inserted behind it. It holds no capability itself. */
static struct slot head;

/*@ requires \valid(before) && \valid(slot) && \separated(before, slot);
  @ requires before->next == \null ||
  @   (\valid(before->next) && \separated(before->next, slot, before));
  @ assigns before->next, slot->prev, slot->next, before->next->prev;
  @ ensures before->next == slot && slot->prev == before && slot->next == \old(before->next);
  @ ensures slot->next != \null ==> slot->next->prev == slot; */
static void link_after(struct slot *before, struct slot *slot) {
    slot->prev = before;
    slot->next = before->next;
    if (slot->next)
        slot->next->prev = slot;
    before->next = slot;
}

void slot_insert_root(struct slot *slot) {
    slot->depth = 0;
    link_after(&head, slot);
}

bool slot_may_have_child(const struct slot *parent) {
    return parent->depth < BH_DEPTH_MAX;
}

void slot_insert_child(struct slot *parent, struct slot *child) {
    child->depth = parent->depth + 1;
    link_after(parent, child);
}

void slot_refer(struct slot *hidden, struct slot *target, void *owner, uint8_t role) {
    *hidden = *target;
    hidden->flags = SLOT_HIDDEN;
    hidden->ref.owner = owner;
    hidden->ref.role = role;
    slot_insert_child(target, hidden);
}

bool slot_has_children(const struct slot *slot) {
    return slot->next && slot->next->depth > slot->depth;
}

struct slot *slot_leaf(struct slot *slot) {
    while (slot_has_children(slot))
        slot = slot->next;
    return slot;
}

void slot_remove(struct slot *slot) {
    if (slot_has_children(slot))
        arch_panic("slot_remove: not a leaf");
    slot->prev->next = slot->next;
    if (slot->next)
        slot->next->prev = slot->prev;
    *slot = (struct slot){0};
}

void slot_move(struct slot *from, struct slot *to) {
    *to = *from;
    to->prev->next = to;
    if (to->next)
        to->next->prev = to;
    *from = (struct slot){0};
}
