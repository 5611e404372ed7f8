#include "guestlib/examples/echo/crc32.h"

uint32_t crc32(uint32_t crc, const void *bytes, size_t count) {
    static uint32_t table[256];
    if (table[1] == 0) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t value = i;
            for (unsigned bit = 0; bit < 8; bit++)
                value = value & 1 ? value >> 1 ^ 0xedb88320u : value >> 1;
            table[i] = value;
        }
    }
    const uint8_t *at = bytes;
    crc = ~crc;
    while (count-- > 0)
        crc = crc >> 8 ^ table[(crc ^ *at++) & 0xff];
    return ~crc;
}
