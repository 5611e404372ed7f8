/* The seed's two halves are two keys: one for hashes, one for the sequence of random numbers. */
#include "guestlib/random.h"

#include "guestlib/guest.h"

uint64_t random_hash(const void *bytes, size_t count) {
    return siphash(&guest_domain()->seed[0], bytes, count);
}

uint64_t random_u64(void) {
    static uint64_t counter;
    counter++;
    return siphash(&guest_domain()->seed[2], &counter, sizeof counter);
}
