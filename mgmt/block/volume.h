/* Volumes: what a guest's disk stands for, opened by name, and who may write to what at a time. */
#pragma once

#include "mgmt/backend.h"
#include "mgmt/block/disk.h"
#include "mgmt/block/overlay.h"

struct volume {
    struct disk *disk; /* NULL: a file of the boot archive, in memory */
    uint64_t first_sector, sectors;
    const uint8_t *memory;
    size_t memory_bytes;     /* the last sector may be partly beyond */
    struct overlay *overlay; /* NULL unless throw-away */
    bool writable;
    char id[DISK_ID_BYTES]; /* of a file: its name, cut off, NUL-padded */
    /* Private: */
    bool claims_writing; /* of the disk itself */
    struct volume *next;
};

/* One writer, or any number of readers, of each sector. OK, BAD_ARG (no such volume), BUSY,
 * NO_MEMORY, AGAIN (tables are still being read); `error` gets a message. */
enum bh_status volume_open(struct volume *volume, const struct block_settings *settings,
                           char *error, size_t error_bytes);
void volume_close(struct volume *volume);
