/* Random numbers and keyed hashes from the seed that the host gives every guest anew. Good for what
 * peers on the network must not guess (ports, sequence numbers, table orders); not a source of
 * keys: the host knows the seed. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* SipHash-2-4 of the bytes under a 128-bit key. */
uint64_t siphash(const uint64_t key[2], const void *bytes, size_t count);

/* The same under a key of this start of this guest. */
uint64_t random_hash(const void *bytes, size_t count);

uint64_t random_u64(void);
