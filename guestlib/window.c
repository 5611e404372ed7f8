/* Bounce space: see window.h. */
#include "guestlib/window.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

bool window_init(struct window *window, void *base, uint64_t window_bytes, uint32_t chunk_bytes) {
    uint64_t count = window_bytes / chunk_bytes;
    if (count == 0 || count >= WINDOW_NONE)
        return false;
    struct window_chunk *chunks = calloc(count, sizeof *chunks);
    if (!chunks)
        return false;
    for (uint32_t i = 0; i < count; i++)
        chunks[i].next = i + 1 < count ? i + 1 : WINDOW_NONE;
    *window = (struct window){base, chunk_bytes, 0, (uint32_t)count, chunks};
    return true;
}

uint32_t window_take(struct window *window, size_t bytes) {
    assert(bytes > 0);
    size_t count = (bytes + window->chunk_bytes - 1) / window->chunk_bytes;
    if (count > window->free_count)
        return WINDOW_NONE;
    uint32_t first = window->free_first, last = first;
    for (;;) {
        uint32_t here = bytes < window->chunk_bytes ? (uint32_t)bytes : window->chunk_bytes;
        window->chunks[last].bytes = here;
        bytes -= here;
        if (bytes == 0)
            break;
        last = window->chunks[last].next;
    }
    window->free_first = window->chunks[last].next;
    window->free_count -= (uint32_t)count;
    window->chunks[last].next = WINDOW_NONE;
    return first;
}

void window_give(struct window *window, uint32_t chain) {
    while (chain != WINDOW_NONE) {
        uint32_t next = window->chunks[chain].next;
        window->chunks[chain].next = window->free_first;
        window->free_first = chain;
        window->free_count++;
        chain = next;
    }
}

uint32_t window_append(struct window *window, uint32_t chain, uint32_t tail) {
    if (chain == WINDOW_NONE)
        return tail;
    uint32_t last = chain;
    while (window->chunks[last].next != WINDOW_NONE)
        last = window->chunks[last].next;
    window->chunks[last].next = tail;
    return chain;
}

unsigned window_segments(const struct window *window, uint32_t chain, struct bh_segment *segments) {
    unsigned count = 0;
    for (; chain != WINDOW_NONE; chain = window->chunks[chain].next) {
        assert(count < BH_QUEUE_SEGMENTS_MAX);
        segments[count++] = (struct bh_segment){
            .offset = (uint64_t)chain * window->chunk_bytes,
            .bytes = window->chunks[chain].bytes,
        };
    }
    return count;
}

/* The memory at `at` in the chain and how much of it is contiguous there: 1 and up. */
static uint8_t *find(const struct window *window, uint32_t chain, size_t at, size_t *contiguous) {
    while (at >= window->chunks[chain].bytes) {
        at -= window->chunks[chain].bytes;
        chain = window->chunks[chain].next;
        assert(chain != WINDOW_NONE);
    }
    *contiguous = window->chunks[chain].bytes - at;
    return window->base + (uint64_t)chain * window->chunk_bytes + at;
}

void window_write(struct window *window, uint32_t chain, size_t at, const void *from,
                  size_t bytes) {
    const uint8_t *source = from;
    while (bytes > 0) {
        size_t piece;
        uint8_t *to = find(window, chain, at, &piece);
        if (piece > bytes)
            piece = bytes;
        memcpy(to, source, piece);
        source += piece;
        at += piece;
        bytes -= piece;
    }
}

void window_read(const struct window *window, uint32_t chain, size_t at, void *to, size_t bytes) {
    uint8_t *target = to;
    while (bytes > 0) {
        size_t piece;
        const uint8_t *from = find(window, chain, at, &piece);
        if (piece > bytes)
            piece = bytes;
        memcpy(target, from, piece);
        target += piece;
        at += piece;
        bytes -= piece;
    }
}
