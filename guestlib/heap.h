/* The heap behind malloc: one contiguous stretch of memory, boundary tags, and free lists by size
 * class (about eight for each doubling), so that both directions are O(1) and neighbours merge at
 * once. Not thread-safe; nothing here is. Writing past an allocation destroys the heap, as
 * everywhere; freeing twice or freeing what was never allocated aborts where it can be seen. */
#pragma once

#include <stddef.h>

#define HEAP_ALIGNMENT 16u

/* Call once, before any allocation. Memory that is too small to hold anything makes an empty heap.
 */
void heap_init(void *memory, size_t bytes);

/* alignment: a power of two. NULL when there is no room or the size is absurd. */
void *heap_allocate(size_t alignment, size_t bytes);

/* NULL is allowed. */
void heap_release(void *memory);

/* As realloc: the contents move along. NULL: no room, `memory` is unchanged. In place where
 * possible. */
void *heap_resize(void *memory, size_t bytes);

/* Bytes that allocations could get, in pieces. */
size_t heap_free_bytes(void);

/* Allocations that have not been released. */
size_t heap_blocks(void);

/* A program may let its heap grow by further stretches of memory that touch no earlier one.
 * heap_more: at least *bytes, aligned to HEAP_ALIGNMENT; tells in *bytes how many; NULL: there are
 * none. heap_less takes back a stretch that nothing is allocated in, all but one of them. */
void *heap_more(size_t *bytes) __attribute__((weak));
void heap_less(void *memory, size_t bytes) __attribute__((weak));
