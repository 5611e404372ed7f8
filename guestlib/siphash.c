/* SipHash-2-4: Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012. */
#include "guestlib/random.h"

#include <string.h>

struct state {
    uint64_t v0, v1, v2, v3;
};

static uint64_t rotate_left(uint64_t x, unsigned bits) {
    return x << bits | x >> (64 - bits);
}

static void rounds(struct state *s, unsigned count) {
    while (count-- > 0) {
        s->v0 += s->v1;
        s->v1 = rotate_left(s->v1, 13) ^ s->v0;
        s->v0 = rotate_left(s->v0, 32);
        s->v2 += s->v3;
        s->v3 = rotate_left(s->v3, 16) ^ s->v2;
        s->v0 += s->v3;
        s->v3 = rotate_left(s->v3, 21) ^ s->v0;
        s->v2 += s->v1;
        s->v1 = rotate_left(s->v1, 17) ^ s->v2;
        s->v2 = rotate_left(s->v2, 32);
    }
}

static void absorb(struct state *s, uint64_t word) {
    s->v3 ^= word;
    rounds(s, 2);
    s->v0 ^= word;
}

uint64_t siphash(const uint64_t key[2], const void *bytes, size_t count) {
    const uint8_t *at = bytes;
    /* "somepseudorandomlygeneratedbytes" */
    struct state s = {key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d,
                      key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573};
    uint64_t word, last = (uint64_t)count << 56;
    for (; count >= 8; count -= 8, at += 8) {
        memcpy(&word, at, 8);
        absorb(&s, word);
    }
    for (size_t i = 0; i < count; i++)
        last |= (uint64_t)at[i] << (8 * i);
    absorb(&s, last);
    s.v2 ^= 0xff;
    rounds(&s, 4);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
