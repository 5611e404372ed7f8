/* Class block. Version 1. Sectors are 512 bytes whatever the device's own sector size. */
#pragma once

#include <stdint.h>

#define BH_SECTOR_BYTES 512u

enum bh_block_operation {
    BH_BLOCK_READ = 0,  /* argument = first sector; segments: multiples of 512 bytes, to fill */
    BH_BLOCK_WRITE = 1, /* argument = first sector; segments: multiples of 512 bytes, to store */
    BH_BLOCK_FLUSH = 2, /* no segments; completes when all completed writes are on stable storage */
    BH_BLOCK_DISCARD = 3,      /* argument = first sector; one segment: offset 0, bytes = length */
    BH_BLOCK_WRITE_ZEROES = 4, /* the same; afterwards the range reads as zeroes */
    BH_BLOCK_ID = 5,           /* one segment of at least 20 bytes: serial number, NUL-padded */
};
/* Completion value: bytes transferred. Statuses: OK, BAD_ARG (range, length, flags), BAD_RIGHTS
 * (write to a read-only volume), BAD_CALL (operation not supported by this volume), IO_ERROR. */

#define BH_BLOCK_READ_ONLY 0x1u /* flags of bh_block_info */
#define BH_BLOCK_CAN_DISCARD 0x2u
/* For a VMM: its guest's RAM belongs to the window. It begins at offset window_bytes and goes on in
 * the order of bh_guest_info.ram, without gaps. A segment may cross from one stretch of RAM to the
 * next only where a multiple of the device's own sectors ends. */
#define BH_BLOCK_DIRECT 0x4u

struct bh_block_info {
    uint64_t sectors;
    uint32_t flags;
    uint32_t physical_bytes;    /* size and alignment that avoid read-modify-write */
    uint32_t request_bytes_max; /* in all segments of one request together */
    uint32_t reserved;
};
_Static_assert(sizeof(struct bh_block_info) == 24, "layout");
