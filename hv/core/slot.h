/* Slots: where capabilities live, and the derivation tree that all of them form.
 *
 * The tree is one doubly linked list in pre-order with a depth in each node: the descendants of a
 * slot are the nodes that follow it with a greater depth. This file knows the list and nothing of
 * what the capabilities name. All of it is called with the lock held for writing. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "abi/cap.h"
#include "hv/core/types.h"

struct space;
struct context;

enum slot_flags {
    SLOT_ORIGINAL = 1, /* made by retype (or at boot): the object dies with it */
    SLOT_HIDDEN = 2,   /* a reference inside an object, in no CapTable */
};

/* One capability. Zero-filled memory is an empty slot. */
struct slot {
    uint8_t type; /* enum bh_type; NONE: empty, and then nothing else means anything */
    uint8_t rights;
    uint8_t depth;
    uint8_t flags;  /* enum slot_flags */
    uint32_t pages; /* Region: its length */
    struct slot *prev, *next;
    union {
        void *object;   /* Space, CapTable, Context, Event, Irq */
        struct pa base; /* Untyped, Region (a hidden slot as well) */
    };
    union {
        struct {
            uint64_t pages;
            uint64_t used;  /* bytes below the watermark: handed out */
            uint64_t clean; /* bytes from the start known to be zero or handed out; >= used */
            uint8_t kind;   /* enum bh_kind */
        } untyped;
        struct {
            struct space *space;      /* where it is (being) mapped, or NULL */
            struct slot **space_link; /* in the list of all slots mapped in that Space: the */
            struct slot *space_next;  /* pointer to this one, and the next */
            uint64_t kind : 2;        /* enum bh_kind */
            uint64_t va_page : 35;    /* first address >> 12, while space is set */
            uint64_t mapped : 27;     /* pages mapped, from the start */
        } region;
        struct {
            uint64_t badge; /* Event: the bit it sets. Cpu: highest priority */
            void *owner;    /* hidden slots: the object it lies in */
            uint8_t role;   /* hidden slots: enum bh_binding, or ROLE_DOORBELL */
            uint8_t width;  /* doorbells: of the port, in bytes */
            uint16_t port;
        } ref;
        struct {
            uint32_t first, count; /* Ports */
        } ports;
    };
};
_Static_assert(sizeof(struct slot) == 64, "published in the boot information");
#define ROLE_DOORBELL UINT8_MAX

/*@ requires \valid_read(slot);
  @ assigns \nothing;
  @ ensures \result <==> slot->type == BH_TYPE_NONE; */
static inline bool slot_empty(const struct slot *slot) {
    return slot->type == BH_TYPE_NONE;
}

#define REGION_PAGES_MAX ((1u << 27) - 1)
#define UNTYPED_PAGES_MAX (1ull << 40) /* their bytes fit 52 address bits */

/* The only way from a capability's rights to others. */
/*@ assigns \nothing;
  @ ensures (\result & ~rights) == 0; */
static inline uint8_t rights_narrowed(uint8_t rights, uint64_t mask) {
    return rights & (uint8_t)mask;
}

/* Puts a root (depth 0) into the tree: only at boot. The other fields are the caller's to fill. */
void slot_insert_root(struct slot *slot);

/* Puts `child` right after `parent`, one deeper. The caller has checked slot_may_have_child. */
/*@ requires \valid(parent) && \valid(child) && \separated(parent, child);
  @ requires parent->depth < BH_DEPTH_MAX;
  @ requires parent->next == \null ||
  @   (\valid(parent->next) && \separated(parent->next, child, parent));
  @ assigns child->depth, parent->next, child->prev, child->next, parent->next->prev;
  @ ensures child->depth == parent->depth + 1;
  @ ensures parent->next == child && child->prev == parent && child->next == \old(parent->next);
  @ ensures child->next != \null ==> child->next->prev == child; */
void slot_insert_child(struct slot *parent, struct slot *child);
/*@ requires \valid_read(parent);
  @ assigns \nothing;
  @ ensures \result <==> parent->depth < BH_DEPTH_MAX; */
bool slot_may_have_child(const struct slot *parent);

/* Fills a hidden slot of the object `owner`: a child of `target`, naming the same. */
void slot_refer(struct slot *hidden, struct slot *target, void *owner, uint8_t role);

/*@ requires \valid_read(slot) && (slot->next == \null || \valid_read(slot->next));
  @ assigns \nothing;
  @ ensures \result <==> slot->next != \null && slot->next->depth > slot->depth; */
bool slot_has_children(const struct slot *slot);

/* The first leaf at or below `slot`: at most BH_DEPTH_MAX steps. */
struct slot *slot_leaf(struct slot *slot);

/* Takes a leaf out of the tree and empties it. There is no removal of an inner node: its
 * descendants would have to change their depths, or become somebody else's. */
/*@ requires \valid(slot) && \valid(slot->prev) && \separated(slot, slot->prev);
  @ requires slot->next == \null ||
  @   (\valid(slot->next) && \separated(slot, slot->next, slot->prev));
  @ requires slot->next == \null || slot->next->depth <= slot->depth;
  @ assigns slot->prev->next, slot->next->prev, *slot;
  @ ensures \old(slot->prev)->next == \old(slot->next);
  @ ensures \old(slot->next) != \null ==> \old(slot->next)->prev == \old(slot->prev); */
void slot_remove(struct slot *slot);

/* `to` (empty) takes the place of `from` in the tree; `from` is empty afterwards. */
void slot_move(struct slot *from, struct slot *to);
