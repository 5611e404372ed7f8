/* A stream of bytes in the guest's RAM, cut into pieces. Bounds were checked when the pieces were
 * made; the bytes can change at any time, so copy out once, then look. */
#pragma once

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

/* Between [at, at + bytes), which must lie in the stream, and the beginning of a chain of the
 * window. The one place where payload is copied: with io=direct the window is the guest's RAM, and
 * a piece is the segment {data - window base, bytes}, as it is. */
void pieces_to_window(const struct piece *pieces, unsigned count, uint32_t at, uint32_t bytes,
                      struct window *window, uint32_t chain);
void pieces_from_window(const struct piece *pieces, unsigned count, uint32_t at, uint32_t bytes,
                        const struct window *window, uint32_t chain);
