/* A valid GPT in memory, to be damaged by tests. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "mgmt/block/gpt.h"

#define SECTOR ((size_t)512)
#define IMAGE_BLOCKS 2048u
#define IMAGE_ENTRIES 128u
#define IMAGE_ENTRIES_BLOCKS 32u /* 16 KiB */
#define IMAGE_FIRST_USABLE 34u
#define IMAGE_LAST_USABLE (IMAGE_BLOCKS - 34u)

static inline void image_put(uint8_t *at, uint64_t value, unsigned bytes) {
    memcpy(at, &value, bytes);
}

static inline void image_entry(uint8_t *entries, unsigned index, uint64_t first, uint64_t last,
                               const char *name) {
    uint8_t *entry = entries + (size_t)128 * index;
    memset(entry, 0, 128);
    memset(entry, 0xaa, 16);
    image_put(entry + 32, first, 8);
    image_put(entry + 40, last, 8);
    for (unsigned i = 0; name[i]; i++)
        entry[56 + 2 * i] = (uint8_t)name[i];
}

/* Header at `own`, for entries that are complete. */
static inline void image_header(uint8_t *header, uint64_t own, uint64_t entries_block,
                                const uint8_t *entries) {
    memset(header, 0, 512);
    memcpy(header, "EFI PART", 8);
    image_put(header + 8, 0x10000, 4);
    image_put(header + 12, 92, 4);
    image_put(header + 24, own, 8);
    image_put(header + 32, own == 1 ? IMAGE_BLOCKS - 1 : 1, 8);
    image_put(header + 40, IMAGE_FIRST_USABLE, 8);
    image_put(header + 48, IMAGE_LAST_USABLE, 8);
    image_put(header + 72, entries_block, 8);
    image_put(header + 80, IMAGE_ENTRIES, 4);
    image_put(header + 84, 128, 4);
    image_put(header + 88, gpt_crc(entries, IMAGE_ENTRIES * 128), 4);
    image_put(header + 16, gpt_crc(header, 92), 4);
}

static inline void image_seal(uint8_t *header) {
    image_put(header + 16, 0, 4);
    image_put(header + 16, gpt_crc(header, 92), 4);
}

/* Two partitions, "data" and "log", 512-byte blocks. */
static inline void image_make(uint8_t disk[IMAGE_BLOCKS * SECTOR]) {
    uint8_t *entries = disk + 2 * SECTOR;
    memset(disk, 0, 34 * SECTOR);
    disk[446 + 4] = 0xee;
    disk[510] = 0x55;
    disk[511] = 0xaa;
    image_entry(entries, 0, 100, 199, "data");
    image_entry(entries, 5, 200, 1000, "log");
    image_header(disk + 512, 1, 2, entries);
    memcpy(disk + (IMAGE_BLOCKS - 33) * SECTOR, entries, IMAGE_ENTRIES * 128);
    image_header(disk + (IMAGE_BLOCKS - 1) * SECTOR, IMAGE_BLOCKS - 1, IMAGE_BLOCKS - 33, entries);
}
