/* The guest's RAM as the VMM sees it: ranges of guest-physical addresses, each mapped here.
 * Whatever lies in it belongs to the guest and can change at any time: copy once, check the copy.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/domain.h"

/* A guest-physical address. A type of its own, so that it is never mistaken for a pointer. */
struct gpa {
    uint64_t value;
};
#define GPA(address) ((struct gpa){address})

/* Copies them; ranges that follow one another become one. Up to BH_GUEST_RAM_MAX. */
void ram_init(const struct bh_guest_ram *ranges, uint32_t count);

/* The bytes at gpa .. gpa + bytes, or NULL if not all of them lie in one range of RAM. bytes may be
 * 0. */
void *ram_at(struct gpa gpa, uint64_t bytes);

/* How many bytes of RAM come before `at`, which ram_at returned: holes do not count. */
uint64_t ram_before(const void *at);

/* False: not all RAM; nothing was copied. */
bool ram_read(struct gpa gpa, void *to, size_t bytes);
bool ram_write(struct gpa gpa, const void *from, size_t bytes);

uint32_t ram_ranges(void);
/* The index-th range: where it begins, and how long it is. */
struct gpa ram_range(uint32_t index, uint64_t *bytes);
