/* Between a disk's driver and mgmt/block/: what a disk is and what can be asked of it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "abi/block.h"
#include "abi/queue.h"
#include "mgmt/platform.h"

#define DISK_ID_BYTES 20u             /* virtio 1.2, 5.2.6.1; the ABI's BH_BLOCK_ID is the same */
#define DISK_SECTORS_MAX (1ull << 54) /* so that bytes fit into 63 bits; drivers refuse more */

enum disk_operation {
    DISK_READ,
    DISK_WRITE,
    DISK_FLUSH,
    DISK_DISCARD,
    DISK_WRITE_ZEROES,
    DISK_ID, /* one segment of DISK_ID_BYTES */
};

struct disk_segment {
    struct hpa hpa;
    uint32_t bytes;
};

/* A client's segments, and where its memory is in several stretches one more for each. */
#define DISK_SEGMENTS_MAX (BH_QUEUE_SEGMENTS_MAX + 10u)

/* Memory is the caller's until done. The caller has checked: the range lies on the disk; sector,
 * sectors and each segment are multiples of the disk's block_bytes; operations are supported. */
struct disk_request {
    enum disk_operation operation;
    uint64_t sector;
    uint64_t sectors; /* for READ and WRITE: what the segments hold */
    unsigned segments;
    struct disk_segment segment[DISK_SEGMENTS_MAX]; /* of READ, WRITE and ID */
    /* OK, IO_ERROR, BAD_CALL (the device does not know the operation after all). */
    void (*done)(struct disk_request *request, enum bh_status status);
    /* The driver's: */
    struct disk_request *next;
    uint64_t issued_sectors;
    unsigned issued_segments; /* whole ones */
    uint32_t issued_bytes;    /* of the segment after those */
    unsigned pieces_in_flight;
    enum bh_status status;
};

struct disk {
    const char *name; /* for messages */
    uint64_t sectors;
    uint32_t block_bytes;    /* granularity of requests, a power of two, 512 or more */
    uint32_t physical_bytes; /* size and alignment that the disk likes best */
    bool read_only;
    bool can_discard, can_write_zeroes;
    unsigned requests_max; /* that the caller may have in flight, 1 and up */
    /* done may run before submit returns. */
    void (*submit)(struct disk *disk, struct disk_request *request);
    /* Waited for too long, for example by a detach: makes everything in flight fail. */
    void (*give_up)(struct disk *disk);
    /* mgmt/block/'s: */
    unsigned in_flight;
    unsigned index;
};

/* For drivers, before block_start: registers a disk, which is there for good. */
void disk_add(struct disk *disk);
