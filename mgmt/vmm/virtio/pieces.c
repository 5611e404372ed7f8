/* See pieces.h. */
#include "mgmt/vmm/virtio/pieces.h"

#include <string.h>

#include "mgmt/vmm/ram.h"

/* Where a walk over a part of the stream stands. */
struct walk {
    const struct piece *piece;
    unsigned count; /* pieces left */
    uint32_t skip;  /* bytes of the first that come before the part */
    uint32_t left;  /* bytes of the part */
};

static struct walk walk_at(const struct piece *pieces, unsigned count, uint32_t at,
                           uint32_t bytes) {
    while (count > 0 && at >= pieces->bytes) {
        at -= pieces->bytes;
        pieces++;
        count--;
    }
    return (struct walk){pieces, count, at, bytes};
}

/* The next contiguous bytes; .bytes = 0 at the end. */
static struct piece walk_next(struct walk *walk) {
    if (walk->count == 0 || walk->left == 0)
        return (struct piece){NULL, 0};
    uint32_t bytes = walk->piece->bytes - walk->skip;
    struct piece next = {walk->piece->data + walk->skip, bytes < walk->left ? bytes : walk->left};
    walk->left -= next.bytes;
    walk->skip = 0;
    walk->piece++;
    walk->count--;
    return next;
}

uint32_t pieces_read(const struct piece *pieces, unsigned count, uint32_t at, void *to,
                     uint32_t bytes) {
    struct walk walk = walk_at(pieces, count, at, bytes);
    uint32_t done = 0;
    for (struct piece p; (p = walk_next(&walk)).bytes; done += p.bytes)
        memcpy((uint8_t *)to + done, p.data, p.bytes);
    return done;
}

uint32_t pieces_write(const struct piece *pieces, unsigned count, uint32_t at, const void *from,
                      uint32_t bytes) {
    struct walk walk = walk_at(pieces, count, at, bytes);
    uint32_t done = 0;
    for (struct piece p; (p = walk_next(&walk)).bytes; done += p.bytes)
        memcpy(p.data, (const uint8_t *)from + done, p.bytes);
    return done;
}

unsigned pieces_part(const struct piece *pieces, unsigned count, uint32_t at, uint32_t bytes,
                     struct piece *out) {
    struct walk walk = walk_at(pieces, count, at, bytes);
    unsigned made = 0;
    for (struct piece p; (p = walk_next(&walk)).bytes;)
        out[made++] = p;
    return made;
}

bool pieces_are_multiples(const struct piece *pieces, unsigned count, uint32_t unit) {
    uint64_t all = 0;
    for (unsigned i = 0; i < count; i++)
        all |= (uintptr_t)pieces[i].data | pieces[i].bytes;
    return all % unit == 0;
}

unsigned pieces_segments(const struct piece *pieces, unsigned count, uint32_t at, uint64_t base,
                         struct bh_segment *segments, unsigned max, uint32_t *bytes) {
    struct walk walk = walk_at(pieces, count, at, *bytes);
    unsigned made = 0;
    *bytes = 0;
    for (struct piece p; made < max && (p = walk_next(&walk)).bytes; *bytes += p.bytes)
        segments[made++] = (struct bh_segment){base + ram_before(p.data), p.bytes, 0};
    return made;
}

void pieces_to_window(const struct piece *pieces, unsigned count, uint32_t at, uint32_t bytes,
                      struct window *window, uint32_t chain) {
    struct walk walk = walk_at(pieces, count, at, bytes);
    uint32_t done = 0;
    for (struct piece p; (p = walk_next(&walk)).bytes; done += p.bytes)
        window_write(window, chain, done, p.data, p.bytes);
}

void pieces_from_window(const struct piece *pieces, unsigned count, uint32_t at, uint32_t bytes,
                        const struct window *window, uint32_t chain) {
    struct walk walk = walk_at(pieces, count, at, bytes);
    uint32_t done = 0;
    for (struct piece p; (p = walk_next(&walk)).bytes; done += p.bytes)
        window_read(window, chain, done, p.data, p.bytes);
}
