/* A booted machine on the fake architecture: one Context with everything, as hv gives it to init.
 * Hypercalls go the way they go on a processor: registers, hypercall(), then the way out. */
#pragma once

#include "test/unit/fake_arch/fake_arch.h"

/* Slots of the first Context's table; all others are empty. */
enum {
    W_TABLE = 1,
    W_SPACE,
    W_CONTEXT,
    W_EVENT,
    W_SYSTEM,
    W_PORTS,
    W_CPU0,
    W_CPU1,
    W_OBJECTS, /* Untyped, object memory */
    W_FRAMES,  /* Untyped, frame memory */
    W_SHARED,
    W_DEVICE,
    W_FREE = 16,
    W_TABLE_SLOTS = 256,
    W_PRIORITY = 10,
    W_PORT_FIRST = 0x100,
    W_BOOT_PAGES = 64,
};

extern struct world {
    struct captable *table;
    struct space *space;
    struct context *init;
    struct event *event;
} world;

/* Everything dirty; object_pages and frame_pages in W_OBJECTS and W_FRAMES. */
void world_boot(uint64_t object_pages, uint64_t frame_pages);

/* The way out of hv. Returns who runs. */
struct context *world_exit(void);

/* What a Context's registers hold as long as its call has not returned. */
#define W_PENDING 0xdeadu

/* One hypercall of `caller`, who runs, without the way out. Returns RAX. */
uint64_t world_raw(struct context *caller, uint64_t number, const uint64_t argument[6]);

/* One hypercall of the first Context, and the way out. */
#define call(...) world_call((const uint64_t[7]){__VA_ARGS__})
uint64_t world_call(const uint64_t words[7]);

/* The same until it does not say AGAIN. */
#define finish(...) world_finish((const uint64_t[7]){__VA_ARGS__})
uint64_t world_finish(const uint64_t words[7]);

/* The first two values that the first Context's last call returned. */
uint64_t world_value(unsigned index);

#define OWN(index) BH_REF(W_TABLE, index)

struct slot *world_slot(uint32_t index); /* of the first Context's table */
void *world_object(uint32_t index);

/* Untyped in slot `untyped` -> new object in slot `destination`: the status. */
uint64_t retype(uint32_t untyped, enum bh_type type, uint64_t size, uint32_t destination);
/* Scrubs to the end. */
uint64_t scrub(uint32_t untyped);

/* A Context with Space (8 pages), CapTable (slots), 64-bit Event in first..first+3, bound, placed
 * on W_CPU0 and resumed. */
struct context *world_spawn(uint32_t first, uint64_t slots, uint64_t priority, uint64_t quantum);

/* Panics when the tree or the queues are not well-formed: see world.c. */
void world_check(void);
