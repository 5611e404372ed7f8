/* Reading the disks' partition tables: block 0 and the primary header, its entries; if that one is
 * damaged, the backup header in the last block, its entries. A disk without a protective MBR has no
 * table. */
#include "mgmt/block/table.h"

#include <stdlib.h>

/* Blocks 0 and 1 fit for every block size that drivers let through. */
_Static_assert(GPT_ENTRIES_BYTES_MAX >= 65536u, "entries or a block");
#define BUFFER_BYTES ((size_t)2 * GPT_ENTRIES_BYTES_MAX)

struct reader {
    struct disk *disk;
    void (*done)(struct disk *disk);
    struct disk_request request;
    struct dma_memory buffer;
    struct gpt_header header;
    bool backup; /* the primary one was damaged */
};

static struct partition *partitions;

static void read_header(struct reader *r);

const struct partition *table_partitions(void) {
    return partitions;
}

static struct reader *of_request(struct disk_request *request) {
    return (struct reader *)(void *)((char *)request - offsetof(struct reader, request));
}

static void finish(struct reader *r) {
    void (*done)(struct disk * disk) = r->done;
    struct disk *disk = r->disk;
    dma_free(&r->buffer);
    free(r);
    done(disk);
}

static uint64_t disk_blocks(const struct reader *r) {
    return r->disk->sectors / (r->disk->block_bytes / BH_SECTOR_BYTES);
}

static void read_blocks(struct reader *r, uint64_t block, uint32_t blocks,
                        void (*then)(struct disk_request *request, enum bh_status status)) {
    uint32_t block_sectors = r->disk->block_bytes / BH_SECTOR_BYTES;
    r->request = (struct disk_request){
        .operation = DISK_READ,
        .sector = block * block_sectors,
        .sectors = (uint64_t)blocks * block_sectors,
        .segments = 1,
        .segment = {{r->buffer.hpa, blocks * r->disk->block_bytes}},
        .done = then,
    };
    r->disk->submit(r->disk, &r->request);
}

static void try_backup(struct reader *r, const char *why) {
    log_line("block", "%s: the %s partition table is %s", r->disk->name,
             r->backup ? "backup" : "primary", why);
    if (r->backup) {
        finish(r);
        return;
    }
    r->backup = true;
    read_header(r);
}

/* Newest first in the list; order has no meaning. */
static void add_partition(const struct reader *r, const struct gpt_partition *gpt) {
    uint32_t block_sectors = r->disk->block_bytes / BH_SECTOR_BYTES;
    struct partition *p = malloc(sizeof(*p));
    if (!p) {
        log_line("block", "%s: no memory for partition '%s'", r->disk->name, gpt->name);
        return;
    }
    *p = (struct partition){.gpt = *gpt,
                            .disk = r->disk,
                            .first_sector = gpt->first_block * block_sectors,
                            .sectors = gpt->blocks * block_sectors,
                            .next = partitions};
    partitions = p;
}

static void entries_read(struct disk_request *request, enum bh_status status) {
    static struct gpt_partition found[GPT_PARTITIONS_MAX]; /* 16 KiB: not on the stack */
    struct reader *r = of_request(request);
    unsigned count;
    if (status != BH_OK) {
        try_backup(r, "unreadable");
    } else if (!gpt_parse_entries(&r->header, r->buffer.va, found, &count)) {
        try_backup(r, "damaged");
    } else {
        for (unsigned i = 0; i < count; i++)
            add_partition(r, &found[i]);
        log_line("block", "%s: %u partitions", r->disk->name, count);
        finish(r);
    }
}

static void header_read(struct disk_request *request, enum bh_status status) {
    struct reader *r = of_request(request);
    const uint8_t *first = r->buffer.va;
    if (status != BH_OK) {
        try_backup(r, "unreadable");
        return;
    }
    if (!r->backup && !gpt_has_protective_mbr(first)) {
        finish(r);
        return;
    }
    uint32_t block_bytes = r->disk->block_bytes;
    uint64_t own = r->backup ? disk_blocks(r) - 1 : GPT_HEADER_BLOCK;
    const uint8_t *header = r->backup ? first : first + block_bytes;
    if (!gpt_parse_header(header, block_bytes, own, disk_blocks(r), &r->header)) {
        try_backup(r, "damaged");
        return;
    }
    uint32_t bytes = r->header.entries * r->header.entry_bytes;
    read_blocks(r, r->header.entries_block, (bytes + block_bytes - 1) / block_bytes, entries_read);
}

static void read_header(struct reader *r) {
    if (r->backup)
        read_blocks(r, disk_blocks(r) - 1, 1, header_read);
    else
        read_blocks(r, 0, 2, header_read);
}

void table_read(struct disk *disk, void (*done)(struct disk *disk)) {
    struct reader *r = calloc(1, sizeof(*r));
    if (!r || dma_alloc(BUFFER_BYTES, &r->buffer) != BH_OK) {
        log_line("block", "%s: no memory to read its partition table", disk->name);
        free(r);
        done(disk);
        return;
    }
    r->disk = disk;
    r->done = done;
    if (disk_blocks(r) < 3) /* two headers and anything at all */
        finish(r);
    else
        read_header(r);
}
