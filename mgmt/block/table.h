/* Reading the disks' partition tables at the start, while everything else goes on. */
#pragma once

#include "mgmt/block/disk.h"
#include "mgmt/block/gpt.h"

struct partition {
    struct gpt_partition gpt;
    struct disk *disk;
    uint64_t first_sector, sectors;
    struct partition *next;
};

/* Reads the table of one disk; done(disk) is called exactly once. Partitions found are in the list
 * by then. */
void table_read(struct disk *disk, void (*done)(struct disk *disk));

const struct partition *table_partitions(void);
