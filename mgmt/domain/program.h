/* The program of all VMMs. Its text and constants are the same for each instance, so there is one
 * copy, there as long as anybody uses it, and writable for nobody: not for a VMM, which is given
 * views of it, and not for mgmt, which gives up that right once it is loaded. */
#pragma once

#include <stddef.h>

#include "mgmt/domain/image.h"
#include "mgmt/domain/memory.h"

#define PROGRAM_CHUNKS_MAX 10u

/* Regions that lie one behind the other in a program's addresses. */
struct stretch {
    uint64_t first;     /* page, from BH_IMAGE_VA on, at which the first one begins */
    const chunk *chunk; /* each one wholly a Region ... */
    bh_slot region;     /* ... the i-th in mgmt's slot `region` + i */
    uint32_t chunks;
};

/* Copies pages of an image to the beginning of a chunk, whose Region has to be writable yet. OK, or
 * what the mapping answered. */
enum bh_status program_write(chunk to, bh_ref region, const uint8_t *from, uint64_t pages);

/* Text and constants are there until program_drop. On failure nothing is held. OK, NO_MEMORY, or
 * what a hypercall answered. */
enum bh_status program_hold(const uint8_t *file, const struct image *image);
/* The holder's views are gone. */
void program_drop(void);

/* Where they are. For a holder. */
struct stretch program_stretch(void);
