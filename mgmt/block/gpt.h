/* GUID partition tables: parsing only, of bytes that a disk (or whoever had it before) chose. UEFI
 * Specification 2.10, chapter 5. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define GPT_HEADER_BLOCK 1u          /* the primary header; the backup is the disk's last block */
#define GPT_ENTRIES_BYTES_MAX 65536u /* ours; the usual table has 16 KiB */
#define GPT_PARTITIONS_MAX 128u      /* ours; in use, the table may have more entries */
#define GPT_NAME_BYTES 109u          /* 36 UTF-16 units as UTF-8, and NUL */

struct gpt_header {
    uint64_t entries_block;
    uint32_t entries, entry_bytes; /* their product: at most GPT_ENTRIES_BYTES_MAX */
    uint32_t entries_crc;
    uint64_t first_usable, last_usable; /* blocks */
};

struct gpt_partition {
    char name[GPT_NAME_BYTES]; /* UTF-8; never holds a control character */
    uint64_t first_block, blocks;
};

/* Block 0 says that the disk has a GPT (5.2.3). At least 512 bytes. */
bool gpt_has_protective_mbr(const uint8_t *block);

/* `block` is what stands at own_block. False: no header, a wrong checksum, or values out of bounds.
 */
bool gpt_parse_header(const uint8_t *block, uint32_t block_bytes, uint64_t own_block,
                      uint64_t disk_blocks, struct gpt_header *header);

/* `entries` holds header->entries * header->entry_bytes bytes. False, and nothing is to be used: a
 * wrong checksum, a partition outside the usable blocks, two that overlap, or too many. */
bool gpt_parse_entries(const struct gpt_header *header, const uint8_t *entries,
                       struct gpt_partition partitions[GPT_PARTITIONS_MAX], unsigned *count);

uint32_t gpt_crc(const uint8_t *bytes, uint32_t count); /* CRC-32 of IEEE 802.3 */
