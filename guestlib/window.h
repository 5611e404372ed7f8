/* The window of a queue pair: bounce space that the server sees too, divided into chunks of one
 * size. A request's buffers are a chain of chunks, so that nothing fragments. The bookkeeping is
 * private memory; the server can change the contents at any time, so copy out once, then look. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/queue.h"

#define WINDOW_NONE UINT32_MAX

struct window_chunk {
    uint32_t next;  /* of the chain or of the free list, or WINDOW_NONE */
    uint32_t bytes; /* in use, from the chunk's beginning */
};

struct window {
    uint8_t *base;
    uint32_t chunk_bytes;
    uint32_t free_first, free_count;
    struct window_chunk *chunks;
};

/* False: no memory, or not even one chunk fits. */
bool window_init(struct window *window, void *base, uint64_t window_bytes, uint32_t chunk_bytes);

/* A chain for `bytes` (1 and up), or WINDOW_NONE if there are too few free chunks. */
uint32_t window_take(struct window *window, size_t bytes);

/* Gives a chain back; WINDOW_NONE is allowed. */
void window_give(struct window *window, uint32_t chain);

/* Makes one chain of two; `chain` may be WINDOW_NONE. */
uint32_t window_append(struct window *window, uint32_t chain, uint32_t tail);

/* The chain as segments; returns their number. There must be room: chunks <= BH_QUEUE_SEGMENTS_MAX.
 */
unsigned window_segments(const struct window *window, uint32_t chain, struct bh_segment *segments);

/* Between private memory and a chain, `at` bytes from the chain's beginning; must lie within it. */
void window_write(struct window *window, uint32_t chain, size_t at, const void *from, size_t bytes);
void window_read(const struct window *window, uint32_t chain, size_t at, void *to, size_t bytes);
