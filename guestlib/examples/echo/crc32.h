/* CRC-32 as in gzip and Ethernet: polynomial EDB88320h, reflected. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Continues `crc`, 0 at first. */
uint32_t crc32(uint32_t crc, const void *bytes, size_t count);
