/* What a guest wrote to a throw-away volume: sectors in memory, over whatever the volume holds.
 * Gone when the volume is closed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define OVERLAY_BYTES_MAX (16u << 20) /* of one volume; then its writes fail */

struct overlay;

struct overlay *overlay_create(void); /* NULL: no memory */
void overlay_destroy(struct overlay *overlay);

/* Stores sectors; `from` NULL stores zeroes. False: full, or no memory; some sectors may have been
 * stored. */
bool overlay_write(struct overlay *overlay, uint64_t sector, const uint8_t *from, uint64_t sectors);

/* Replaces those of the sectors at `to` that were ever written. */
void overlay_patch(const struct overlay *overlay, uint64_t sector, uint8_t *to, uint64_t sectors);
