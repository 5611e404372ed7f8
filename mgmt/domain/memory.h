/* All memory that mgmt hands out: a buddy allocator whose blocks are Untyped capabilities.
 *
 * A block ("chunk") is 2^order pages, aligned to its size, and one child Untyped in mgmt's
 * CapTable. Splitting is two RETYPEs, merging two DELETEs: hv's Untypeds only ever give memory back
 * as a whole, and a tree of them is how it can be given back in any order. RAM and device memory go
 * through the same tree. Every function undoes what it did when it fails. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "abi/bootinfo.h"

/* A chunk is named by the slot of its Untyped; 0 is none. */
typedef bh_slot chunk;

/* Takes over all Untypeds of `info`. slots_first..slots_first + slots: the slots it may use.
 * OK, NO_MEMORY, or what the first RETYPE answered. */
enum bh_status memory_start(const struct bh_bootinfo *info, bh_slot slots_first, uint32_t slots);

/* A chunk of frame or object memory. Frame memory is not clean yet: see memory_scrub. OK,
 * NO_MEMORY. */
enum bh_status memory_alloc(enum bh_kind kind, unsigned order, chunk *out);

/* Frame memory of `pages` pages in several chunks, adding to the `*count` of at most `max` that are
 * there: in falling powers of two, so that in the stretch that they make each one's place is a
 * multiple of its size, and large pages fit. Fragmentation may make them smaller; the last of all
 * rounds up. OK; NO_MEMORY: the caller frees what there is. */
enum bh_status memory_alloc_pages(uint64_t pages, chunk *chunks, uint32_t max, uint32_t *count);

/* Revokes whatever was made of the chunk, everywhere; it stays allocated, and can be scrubbed. */
void memory_revoke(chunk c);

/* One bounded step of zeroing a chunk of which nothing is made: AGAIN or OK. */
enum bh_status memory_scrub_step(chunk c);
void memory_scrub(chunk c);

/* Revokes whatever was made of the chunk, everywhere, and takes it back. */
void memory_free(chunk c);

/* The device chunk that holds the page at `base`: one that was taken before, or else the largest
 * free one that begins there and has at most `pages` pages. It stays taken for good. *fresh:
 * nothing has been made of it yet. OK, BAD_ARG (not device memory), NO_MEMORY. */
enum bh_status memory_device(uint64_t base, uint64_t pages, chunk *out, bool *fresh);

uint64_t memory_base(chunk c); /* host-physical */
uint64_t memory_pages(chunk c);
unsigned memory_order(chunk c);

/* The smallest order with at least `pages` pages. */
unsigned memory_order_for(uint64_t pages);

/* The largest order that memory_alloc could give now; -1: none. */
int memory_largest(enum bh_kind kind);

/* Accounting, in pages. */
struct memory_account {
    uint64_t total, free;
    uint32_t chunks_used, chunks_free; /* leaves of the tree */
};
struct memory_account memory_account(enum bh_kind kind);
