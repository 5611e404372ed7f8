/* Any bytes as a partition table, with and without checksums made right. What comes out lies on the
 * disk and does not overlap. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mgmt/block/gpt.h"

#define DISK_BLOCKS 4096u

static void put32(uint8_t *at, uint32_t value) {
    memcpy(at, &value, sizeof(value));
}

static void require(int holds) {
    if (!holds)
        abort();
}

/* Else no input would ever get beyond the checksums. */
static void make_valid(uint8_t *header, const uint8_t *entries, uint32_t entries_bytes) {
    uint32_t header_bytes;
    memcpy(header, "EFI PART\0\0\1", 12);
    memcpy(&header_bytes, header + 12, 4);
    if (header_bytes < 92 || header_bytes > 512)
        header_bytes = 92;
    put32(header + 12, header_bytes);
    put32(header + 24, 1);
    put32(header + 28, 0);
    put32(header + 88, gpt_crc(entries, entries_bytes));
    put32(header + 16, 0);
    put32(header + 16, gpt_crc(header, header_bytes));
}

static void check(const struct gpt_header *h, const struct gpt_partition *p, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        require(p[i].blocks > 0 && p[i].first_block >= h->first_usable &&
                p[i].blocks <= h->last_usable - p[i].first_block + 1 &&
                h->last_usable < DISK_BLOCKS);
        require(strlen(p[i].name) < GPT_NAME_BYTES);
        for (unsigned n = 0; n < i; n++)
            require(p[n].first_block + p[n].blocks <= p[i].first_block ||
                    p[i].first_block + p[i].blocks <= p[n].first_block);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t header[512], entries[GPT_ENTRIES_BYTES_MAX];
    static struct gpt_partition partitions[GPT_PARTITIONS_MAX];
    struct gpt_header parsed;
    unsigned count;
    memset(header, 0, sizeof(header));
    memset(entries, 0, sizeof(entries));
    bool valid = size && data[0] & 1;
    size_t first = size < 100 ? size : 100;
    memcpy(header, data, first);
    memcpy(entries, data + first, size - first < sizeof(entries) ? size - first : sizeof(entries));
    if (valid) { /* 64 entries of 128 bytes, unless the input wants something bounded of its own */
        uint32_t numbers[2];
        memcpy(numbers, header + 80, sizeof(numbers));
        if (numbers[1] < 128 || numbers[1] > 4096 ||
            numbers[0] > GPT_ENTRIES_BYTES_MAX / numbers[1]) {
            put32(header + 80, numbers[0] = 64);
            put32(header + 84, numbers[1] = 128);
        }
        if (data[0] & 2) { /* bounds that hold, and partitions near them */
            static const uint64_t usable[2] = {34, 4000};
            memcpy(header + 40, usable, sizeof(usable));
            memset(header + 72, 0, 8);
            header[72] = 2;
            for (size_t at = 0; at < sizeof(entries); at += 128) {
                memset(entries + at + 34, 0, 6);
                memset(entries + at + 42, 0, 6);
            }
        }
        make_valid(header, entries, numbers[0] * numbers[1]);
    }
    gpt_has_protective_mbr(header);
    if (!gpt_parse_header(header, sizeof(header), 1, DISK_BLOCKS, &parsed))
        return 0;
    require((uint64_t)parsed.entries * parsed.entry_bytes <= sizeof(entries));
    if (gpt_parse_entries(&parsed, entries, partitions, &count))
        check(&parsed, partitions, count);
    return 0;
}
