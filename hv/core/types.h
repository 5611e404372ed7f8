/* Address types and sizes of the core. A host-physical address is a struct: mixing it with a
 * pointer or with an address of a Space does not compile. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_SHIFT 12
#define PAGE_BYTES 4096ull

/* Host-physical address. */
struct pa {
    uint64_t raw;
};

/*@ requires base.raw + bytes <= UINT64_MAX;
  @ assigns \nothing;
  @ ensures \result.raw == base.raw + bytes; */
static inline struct pa pa_add(struct pa base, uint64_t bytes) {
    return (struct pa){base.raw + bytes};
}

/*@ requires power_of_two == 64 || power_of_two == 4096;
  @ requires value + power_of_two <= UINT64_MAX;
  @ assigns \nothing;
  @ ensures value <= \result < value + power_of_two;
  @ ensures \result % power_of_two == 0; */
static inline uint64_t align_up(uint64_t value, uint64_t power_of_two) {
    return (value + power_of_two - 1) & ~(power_of_two - 1);
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* [first, first + count) lies within [0, whole). */
/*@ assigns \nothing;
  @ ensures \result <==> first < whole && first + count <= whole; */
static inline bool within(uint64_t whole, uint64_t first, uint64_t count) {
    return first < whole && count <= whole - first;
}

/*@ assigns \nothing;
  @ ensures \result == \min(a, b); */
static inline uint64_t min_u64(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}
