/* TSC ticks and nanoseconds. Exact in 64 bits for frequencies up to 18 GHz: the remainder of a
 * second times 10^9 still fits. (128-bit division would need libgcc.) */
#pragma once

#include <stdint.h>

#define NS_PER_S 1000000000ull

static inline uint64_t tsc_read(void) {
    return __builtin_ia32_rdtsc();
}

static inline uint64_t tsc_to_ns(uint64_t tsc, uint64_t hz) {
    return tsc / hz * NS_PER_S + tsc % hz * NS_PER_S / hz;
}

/* Rounded up, so that the moment has come when the TSC shows it; ~0 if it lies beyond the TSC. */
static inline uint64_t tsc_from_ns(uint64_t ns, uint64_t hz) {
    uint64_t seconds = ns / NS_PER_S;
    if (seconds >= ~0ull / hz - 1)
        return ~0ull;
    return seconds * hz + (ns % NS_PER_S * hz + NS_PER_S - 1) / NS_PER_S;
}
