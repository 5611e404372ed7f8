/* Written sectors: a hash table of chunks of eight sectors, with a bit for each sector that counts.
 */
#include "mgmt/block/overlay.h"

#include <stdlib.h>
#include <string.h>

#include "abi/block.h"

#define CHUNK_SECTORS 8u
#define CHUNK_BYTES (CHUNK_SECTORS * BH_SECTOR_BYTES)
#define CHUNKS_MAX (OVERLAY_BYTES_MAX / CHUNK_BYTES)
#define PLACES (2u * CHUNKS_MAX) /* never more than half full: searches stay short */

/* What volumes must leave of mgmt's memory, in one piece: else a guest that writes could keep
 * others from being started. */
#define RESERVE_BYTES (2u << 20)

struct chunk {
    uint64_t number; /* its first sector / CHUNK_SECTORS */
    uint8_t written; /* bit n: sector n counts */
    uint8_t data[CHUNK_BYTES];
};

struct overlay {
    uint32_t chunks;
    struct chunk *place[PLACES];
};

struct overlay *overlay_create(void) {
    return calloc(1, sizeof(struct overlay));
}

void overlay_destroy(struct overlay *overlay) {
    for (uint32_t i = 0; i < PLACES; i++)
        free(overlay->place[i]);
    free(overlay);
}

/* Where the chunk is, or the empty place where it would be. The multiplier is 2^64 divided by the
 * golden ratio: neighbouring numbers are spread over the table. */
static uint32_t place_of(const struct overlay *o, uint64_t number) {
    uint32_t place = (uint32_t)((number * 0x9e3779b97f4a7c15ull) >> 32) % PLACES;
    while (o->place[place] && o->place[place]->number != number)
        place = (place + 1) % PLACES;
    return place;
}

static struct chunk *make_chunk(void) {
    void *reserve = malloc(RESERVE_BYTES);
    struct chunk *chunk = reserve ? malloc(sizeof(*chunk)) : NULL;
    free(reserve);
    return chunk;
}

static struct chunk *chunk_for_writing(struct overlay *o, uint64_t number) {
    uint32_t place = place_of(o, number);
    if (o->place[place] || o->chunks == CHUNKS_MAX)
        return o->place[place];
    struct chunk *chunk = make_chunk();
    if (!chunk)
        return NULL;
    chunk->number = number;
    chunk->written = 0;
    o->place[place] = chunk;
    o->chunks++;
    return chunk;
}

bool overlay_write(struct overlay *o, uint64_t sector, const uint8_t *from, uint64_t sectors) {
    for (uint64_t i = 0; i < sectors; i++, sector++) {
        struct chunk *chunk = chunk_for_writing(o, sector / CHUNK_SECTORS);
        if (!chunk)
            return false;
        size_t index = sector % CHUNK_SECTORS;
        uint8_t *to = chunk->data + index * BH_SECTOR_BYTES;
        if (from)
            memcpy(to, from + i * BH_SECTOR_BYTES, BH_SECTOR_BYTES);
        else
            memset(to, 0, BH_SECTOR_BYTES);
        chunk->written |= (uint8_t)(1u << index);
    }
    return true;
}

void overlay_patch(const struct overlay *o, uint64_t sector, uint8_t *to, uint64_t sectors) {
    for (uint64_t i = 0; i < sectors; i++, sector++) {
        const struct chunk *chunk = o->place[place_of(o, sector / CHUNK_SECTORS)];
        size_t index = sector % CHUNK_SECTORS;
        if (chunk && chunk->written & 1u << index)
            memcpy(to + i * BH_SECTOR_BYTES, chunk->data + index * BH_SECTOR_BYTES,
                   BH_SECTOR_BYTES);
    }
}
