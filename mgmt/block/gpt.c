/* GUID partition tables. UEFI Specification 2.10, 5.3.2 (header), 5.3.3 (entries), 5.2.3
 * (protective MBR). */
#include "mgmt/block/gpt.h"

#include <string.h>

#define MBR_ENTRIES 446u
#define MBR_ENTRY_BYTES 16u
#define MBR_ENTRY_COUNT 4u
#define MBR_ENTRY_TYPE 4u
#define MBR_TYPE_PROTECTIVE 0xeeu
#define MBR_SIGNATURE 510u

#define HEADER_BYTES_MIN 92u
#define HEADER_REVISION 8u
#define HEADER_BYTES 12u
#define HEADER_CRC 16u
#define HEADER_OWN_BLOCK 24u
#define HEADER_FIRST_USABLE 40u
#define HEADER_LAST_USABLE 48u
#define HEADER_ENTRIES_BLOCK 72u
#define HEADER_ENTRIES 80u
#define HEADER_ENTRY_BYTES 84u
#define HEADER_ENTRIES_CRC 88u
#define REVISION_1_0 0x00010000u

#define ENTRY_BYTES_MIN 128u
#define ENTRY_TYPE_BYTES 16u
#define ENTRY_FIRST 32u
#define ENTRY_LAST 40u
#define ENTRY_NAME 56u
#define ENTRY_NAME_UNITS 36u

#define CRC_POLYNOMIAL 0xedb88320u /* IEEE 802.3, bits reversed */

static uint16_t read_le16(const uint8_t *at) {
    return (uint16_t)(at[0] | at[1] << 8);
}

static uint32_t read_le32(const uint8_t *at) {
    return read_le16(at) | (uint32_t)read_le16(at + 2) << 16;
}

static uint64_t read_le64(const uint8_t *at) {
    return read_le32(at) | (uint64_t)read_le32(at + 4) << 32;
}

static uint32_t crc_add(uint32_t crc, uint8_t byte) {
    crc ^= byte;
    for (unsigned bit = 0; bit < 8; bit++)
        crc = (crc >> 1) ^ (crc & 1u ? CRC_POLYNOMIAL : 0);
    return crc;
}

uint32_t gpt_crc(const uint8_t *bytes, uint32_t count) {
    uint32_t crc = ~0u;
    for (uint32_t i = 0; i < count; i++)
        crc = crc_add(crc, bytes[i]);
    return ~crc;
}

bool gpt_has_protective_mbr(const uint8_t *block) {
    if (block[MBR_SIGNATURE] != 0x55 || block[MBR_SIGNATURE + 1] != 0xaa)
        return false;
    for (unsigned i = 0; i < MBR_ENTRY_COUNT; i++)
        if (block[MBR_ENTRIES + i * MBR_ENTRY_BYTES + MBR_ENTRY_TYPE] == MBR_TYPE_PROTECTIVE)
            return true;
    return false;
}

/* The header's checksum counts its own field as zero. */
static uint32_t header_crc(const uint8_t *block, uint32_t header_bytes) {
    uint32_t crc = ~0u;
    for (uint32_t i = 0; i < header_bytes; i++)
        crc = crc_add(crc, i >= HEADER_CRC && i < HEADER_CRC + 4 ? 0 : block[i]);
    return ~crc;
}

static bool header_bounded(const struct gpt_header *h, uint32_t block_bytes, uint64_t disk_blocks) {
    bool entry_size = h->entry_bytes >= ENTRY_BYTES_MIN &&
                      (h->entry_bytes & (h->entry_bytes - 1)) == 0 &&
                      h->entry_bytes <= GPT_ENTRIES_BYTES_MAX;
    if (!entry_size || h->entries == 0 || h->entries > GPT_ENTRIES_BYTES_MAX / h->entry_bytes)
        return false;
    uint64_t table_blocks = (h->entries * h->entry_bytes + block_bytes - 1) / block_bytes;
    return h->entries_block > GPT_HEADER_BLOCK && h->entries_block < disk_blocks &&
           table_blocks <= disk_blocks - h->entries_block && h->first_usable > GPT_HEADER_BLOCK &&
           h->first_usable <= h->last_usable && h->last_usable < disk_blocks;
}

bool gpt_parse_header(const uint8_t *block, uint32_t block_bytes, uint64_t own_block,
                      uint64_t disk_blocks, struct gpt_header *header) {
    static const uint8_t signature[8] = {'E', 'F', 'I', ' ', 'P', 'A', 'R', 'T'};
    uint32_t header_bytes = read_le32(block + HEADER_BYTES);
    if (memcmp(block, signature, sizeof(signature)) != 0 ||
        read_le32(block + HEADER_REVISION) != REVISION_1_0 || header_bytes < HEADER_BYTES_MIN ||
        header_bytes > block_bytes ||
        header_crc(block, header_bytes) != read_le32(block + HEADER_CRC) ||
        read_le64(block + HEADER_OWN_BLOCK) != own_block)
        return false;
    *header = (struct gpt_header){
        .entries_block = read_le64(block + HEADER_ENTRIES_BLOCK),
        .entries = read_le32(block + HEADER_ENTRIES),
        .entry_bytes = read_le32(block + HEADER_ENTRY_BYTES),
        .entries_crc = read_le32(block + HEADER_ENTRIES_CRC),
        .first_usable = read_le64(block + HEADER_FIRST_USABLE),
        .last_usable = read_le64(block + HEADER_LAST_USABLE),
    };
    return header_bounded(header, block_bytes, disk_blocks);
}

/* One unit of the basic plane as UTF-8. Halves of surrogate pairs and control characters, which
 * would end up in logs, become '?'. */
static char *put_unit(char *to, uint16_t unit) {
    if (unit < 0x20 || unit == 0x7f || (unit >= 0xd800 && unit <= 0xdfff)) {
        *to++ = '?';
    } else if (unit < 0x80) {
        *to++ = (char)unit;
    } else if (unit < 0x800) {
        *to++ = (char)(0xc0 | unit >> 6);
        *to++ = (char)(0x80 | (unit & 0x3f));
    } else {
        *to++ = (char)(0xe0 | unit >> 12);
        *to++ = (char)(0x80 | (unit >> 6 & 0x3f));
        *to++ = (char)(0x80 | (unit & 0x3f));
    }
    return to;
}

static void read_name(const uint8_t *from, char name[GPT_NAME_BYTES]) {
    char *to = name;
    for (unsigned i = 0; i < ENTRY_NAME_UNITS; i++) {
        uint16_t unit = read_le16(from + (size_t)2 * i);
        if (unit == 0)
            break;
        to = put_unit(to, unit);
    }
    *to = '\0';
}

static bool overlaps(const struct gpt_partition *a, const struct gpt_partition *b) {
    return a->first_block < b->first_block + b->blocks &&
           b->first_block < a->first_block + a->blocks;
}

bool gpt_parse_entries(const struct gpt_header *h, const uint8_t *entries,
                       struct gpt_partition partitions[GPT_PARTITIONS_MAX], unsigned *count) {
    static const uint8_t unused[ENTRY_TYPE_BYTES];
    *count = 0;
    if (gpt_crc(entries, h->entries * h->entry_bytes) != h->entries_crc)
        return false;
    for (uint32_t i = 0; i < h->entries; i++) {
        const uint8_t *entry = entries + (size_t)i * h->entry_bytes;
        if (memcmp(entry, unused, sizeof(unused)) == 0)
            continue;
        uint64_t first = read_le64(entry + ENTRY_FIRST);
        uint64_t last = read_le64(entry + ENTRY_LAST);
        if (*count == GPT_PARTITIONS_MAX || first < h->first_usable || first > last ||
            last > h->last_usable)
            return false;
        struct gpt_partition *p = &partitions[*count];
        p->first_block = first;
        p->blocks = last - first + 1;
        read_name(entry + ENTRY_NAME, p->name);
        for (unsigned other = 0; other < *count; other++)
            if (overlaps(p, &partitions[other]))
                return false;
        ++*count;
    }
    return true;
}
