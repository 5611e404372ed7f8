/* Any frame, as a guest or the network may send it. What the filter lets through must hold, by a
 * second and simpler reading of the bytes: own MAC address, a known protocol, own IPv4 address. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mgmt/net/filter.h"

#define SETTING_BYTES 10u /* of the input: offload fields, where to split, which rules */

static const struct filter_rules strict = {{2, 0, 0, 0, 0, 1}, {10, 0, 0, 1}, {0xfd, [15] = 1}};
static const struct filter_rules loose = {{2, 0, 0, 0, 0, 1}, {0}, {0}};

static void require(int holds) {
    if (!holds)
        abort();
}

static void check_passed(const struct filter_rules *rules, const uint8_t *data, size_t bytes) {
    require(bytes >= 14 && memcmp(data + 6, rules->mac, 6) == 0);
    unsigned type = (unsigned)data[12] << 8 | data[13];
    require(type == 0x0800 || type == 0x0806 || type == 0x86dd);
    require(bytes >= 14 + (type == 0x0806 ? 28u : type == 0x0800 ? 20u : 40u));
    if (rules == &strict && type == 0x0800)
        require(memcmp(data + 26, rules->ipv4, 4) == 0);
    if (type == 0x0806)
        require(memcmp(data + 22, rules->mac, 6) == 0);
}

static void check_copy(const struct frame *frame, const uint8_t *data, size_t bytes) {
    static uint8_t copy[BH_NET_FRAME_BYTES_MAX];
    struct frame_cursor cursor = {.frame = frame};
    require(frame_read(&cursor, copy, sizeof(copy)) == bytes && memcmp(copy, data, bytes) == 0);
}

/* Else most inputs would end at the MAC address or the IP header's first byte. */
static void make_likely(uint8_t *data, size_t size, uint8_t how) {
    static const uint8_t types[4][2] = {{0x08, 0x00}, {0x86, 0xdd}, {0x08, 0x06}, {0x81, 0x00}};
    if (how & 2 && size >= 12)
        memcpy(data + 6, strict.mac, 6);
    if (how & 4 && size >= 14)
        memcpy(data + 12, types[how >> 4 & 3], 2);
    if (how & 8 && size >= 20 && data[12] == 0x08 && data[13] == 0) {
        data[14] = 0x45;
        data[16] = (uint8_t)((size - 14) >> 8);
        data[17] = (uint8_t)(size - 14);
    }
    if (how & 8 && size >= 54 && data[12] == 0x86) {
        data[14] = 0x60;
        data[18] = (uint8_t)((size - 54) >> 8);
        data[19] = (uint8_t)(size - 54);
    }
    if (how & 64 && size >= 42 && data[12] == 0x08)
        memcpy(data + 26, strict.ipv4, 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct frame frame;
    if (size < SETTING_BYTES)
        return 0;
    const struct filter_rules *rules = data[8] & 1 ? &strict : &loose;
    uint32_t split = data[9];
    memcpy(&frame.offload, data, sizeof(frame.offload));
    static uint8_t bytes[BH_NET_FRAME_BYTES_MAX + 1];
    uint8_t how = data[8];
    data += SETTING_BYTES;
    size -= SETTING_BYTES;
    if (size > sizeof(bytes))
        size = sizeof(bytes);
    memcpy(bytes, data, size);
    make_likely(bytes, size, how);
    data = bytes;
    if (split > size)
        split = (uint32_t)size;
    const struct frame_piece pieces[2] = {{data, split}, {data + split, (uint32_t)size - split}};
    if (!frame_take(&frame, pieces, 2))
        return 0;
    check_copy(&frame, data, size);
    if (frame_parse(&frame)) {
        if (filter_allows(rules, &frame))
            check_passed(rules, data, size);
        if (frame_offload_valid(&frame, 1500) && frame.offload.flags & BH_NET_NEEDS_CHECKSUM)
            require(frame.offload.checksum_start + frame.offload.checksum_offset + 2u <= size);
    }
    uint16_t vlan;
    if (frame_untag(&frame, &vlan)) {
        require(vlan < 4096);
        if (frame_parse(&frame))
            frame_offload_valid(&frame, 1500);
        frame_tag(&frame, 7);
        struct frame_cursor cursor = {.frame = &frame};
        static uint8_t copy[BH_NET_FRAME_BYTES_MAX + FRAME_TAG_BYTES];
        require(frame_read(&cursor, copy, sizeof(copy)) == frame.bytes);
    }
    return 0;
}
