/* A stream of bytes in the guest's RAM, cut into pieces. Bounds were checked when the pieces were
 * made; the bytes can change at any time, so copy out once, then look. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guestlib/window.h"

struct piece {
    uint8_t *data;
    uint32_t bytes; /* 1 and up */
};

/* Copies up to `bytes` from, or to, byte `at` of the stream; less where it ends. Returns how many.
 */
uint32_t pieces_read(const struct piece *pieces, unsigned count, uint32_t at, void *to,
                     uint32_t bytes);
uint32_t pieces_write(const struct piece *pieces, unsigned count, uint32_t at, const void *from,
                      uint32_t bytes);

/* The part [at, at + bytes) of the stream, cut off where that ends, in out[0..count). Returns the
 * number of its pieces. `out` may be `pieces`. */
unsigned pieces_part(const struct piece *pieces, unsigned count, uint32_t at, uint32_t bytes,
                     struct piece *out);

/* Whether each piece begins at a multiple of `unit`, which divides a page, and is one long. */
bool pieces_are_multiples(const struct piece *pieces, unsigned count, uint32_t unit);

/* The stream from `at` on as segments of a window in which RAM begins at offset `base`, up to
 * `bytes` and `max` segments; returns how many, and in *bytes how long they are together. */
unsigned pieces_segments(const struct piece *pieces, unsigned count, uint32_t at, uint64_t base,
                         struct bh_segment *segments, unsigned max, uint32_t *bytes);

/* Between [at, at + bytes), which must lie in the stream, and the beginning of a chain of the
 * window. The one place where payload is copied. */
void pieces_to_window(const struct piece *pieces, unsigned count, uint32_t at, uint32_t bytes,
                      struct window *window, uint32_t chain);
void pieces_from_window(const struct piece *pieces, unsigned count, uint32_t at, uint32_t bytes,
                        const struct window *window, uint32_t chain);
