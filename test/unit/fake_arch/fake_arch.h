/* The fake architecture layer of the native tests: a machine made of arrays. Object memory is a
 * buffer, frame memory a byte per page (0: zeroed), page tables are 4-level ones in the pool's own
 * pages, and a translation stays usable after unmapping until it is flushed. What the core does
 * with it is counted, so that a test can tell bounded work from unbounded. */
#pragma once

#include <setjmp.h>
#include <stdbool.h>

#include "hv/core/core.h"

#define FAKE_OBJECT_BASE 0x10000000ull
#define FAKE_OBJECT_PAGES 1200u
#define FAKE_FRAME_BASE 0x40000000ull /* 2 MiB aligned */
#define FAKE_FRAME_PAGES 8192u
#define FAKE_SHARED_BASE 0x80000000ull
#define FAKE_SHARED_PAGES 64u
#define FAKE_DEVICE_BASE 0xfe000000ull
#define FAKE_DEVICE_PAGES 1024u

#define FAKE_CPUS 2u
#define FAKE_GSIS 24u
#define FAKE_VECTORS 8u
#define FAKE_LARGE_PAGES 512u

#define FAKE_GUEST_END (1ull << 40)
/* A state page with this CR0 is refused. */
#define FAKE_BAD_CR0 0xbadu

/* A translation that was taken out of a table and may still be cached. */
struct fake_stale {
    const struct space *space;
    uint64_t va, pa, pages;
};
#define FAKE_STALE_MAX 4096u

extern struct fake {
    uint64_t now;          /* what arch_now() says */
    uint32_t map_entries;  /* entries a call of arch_space_map or _unmap handles at most */
    uint32_t cpu;          /* which one this_cpu() is */
    uint32_t vectors_free; /* for IRQ_ATTACH */
    bool guest_mode;       /* the processor has it */
    jmp_buf *panic;        /* where arch_panic goes; NULL: abort */
    const char *panic_reason;

    /* Counted since fake_count_from_zero(). */
    uint32_t entries, scrubbed_pages, flushes;

    uint32_t port, port_width, port_value, ports_done;
    uint32_t unmasked, detached;
    char log[64];
    uint32_t log_length;

    const struct space *clean_unseen; /* pages were told to be written, and it was not flushed */
    uint32_t stale_count;
    struct fake_stale stale[FAKE_STALE_MAX];
    uint8_t frame_dirty[FAKE_FRAME_PAGES];
    uint8_t shared_dirty[FAKE_SHARED_PAGES];
    struct cpu cpus[FAKE_CPUS];
} fake;

/* All memory dirty (object memory filled with a pattern), nothing mapped, no capability anywhere.
 */
void fake_reset(void);
void fake_count_from_zero(void);

/* The dirt mark of a frame of RAM, or NULL for device memory and addresses that are no RAM. */
uint8_t *fake_frame(uint64_t pa);

/* What a CPU that runs on this Space finds at va, stale translations included. */
struct fake_page {
    bool present, stale, large;
    uint64_t pa;
    uint32_t rights;
    enum bh_kind kind;
};
struct fake_page fake_translate(const struct space *space, uint64_t va);

/* A write of whoever runs on this Space. */
void fake_write(const struct space *space, uint64_t va);

/* Calls `each` for every entry of the Space's tables, in ascending order. */
void fake_walk(const struct space *space,
               void (*each)(void *closure, uint64_t va, uint64_t pages, struct fake_page page),
               void *closure);

/* core_peek.c: the core's private state. */
struct slot *peek_tree(void); /* the first slot in the tree, or NULL */
struct captable *peek_dying(void);
void peek_reset(void);
