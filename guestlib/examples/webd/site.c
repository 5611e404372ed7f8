#include "guestlib/examples/webd/site.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guestlib/archive.h"

#define FILES_MAX 65536u
#define PIECE_BYTES 4096u /* at least a header that begins anywhere in its first sector */

_Static_assert(PIECE_BYTES >= BH_SECTOR_BYTES + ARCHIVE_ENTRY_BYTES_MAX, "a header fits");

static struct {
    struct block_front *block;
    void (*done)(bool ok);
    uint64_t archive_bytes;
    uint64_t offset; /* of the next header */
    struct block_io io;
    uint8_t piece[PIECE_BYTES];
    struct site_file *files;
    unsigned count, room;
} site;

static int by_name(const void *a, const void *b) {
    const struct site_file *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static void finish(bool ok) {
    if (ok)
        qsort(site.files, site.count, sizeof *site.files, by_name);
    site.done(ok);
}

static bool add(const struct archive_entry *entry) {
    if (site.count == site.room) {
        unsigned room = site.room ? site.room * 2 : 16;
        if (room > FILES_MAX)
            return false;
        struct site_file *files = realloc(site.files, room * sizeof *files);
        if (!files)
            return false;
        site.files = files;
        site.room = room;
    }
    struct site_file *file = &site.files[site.count];
    file->name = strdup(entry->name);
    file->offset = entry->contents;
    file->bytes = entry->bytes;
    if (!file->name)
        return false;
    site.count++;
    return true;
}

/* Reads the sectors from the one where the next header begins. */
static void read_piece(void) {
    site.io.sector = site.offset / BH_SECTOR_BYTES;
    uint64_t left = site.archive_bytes - site.io.sector * BH_SECTOR_BYTES;
    site.io.bytes = left < PIECE_BYTES ? (uint32_t)left : PIECE_BYTES;
    block_front_submit(site.block, &site.io);
}

/* The headers that lie in the piece as a whole. */
static void piece_read(struct block_io *io, enum bh_status status) {
    uint64_t start = io->sector * BH_SECTOR_BYTES, end = start + io->bytes;
    if (status != BH_OK) {
        printf("webd: reading sector %llu failed, status %d\n", (unsigned long long)io->sector,
               status);
        finish(false);
        return;
    }
    do {
        struct archive_entry entry;
        enum archive_result result =
            archive_entry(site.piece + (site.offset - start), end - site.offset, site.offset,
                          site.archive_bytes, &entry);
        if (result == ARCHIVE_END) {
            finish(true);
            return;
        }
        if (result == ARCHIVE_DAMAGED || (entry.is_file && !add(&entry))) {
            printf("webd: the archive is damaged at byte %llu, or too large for this domain\n",
                   (unsigned long long)site.offset);
            finish(false);
            return;
        }
        site.offset = entry.next;
    } while (site.offset + ARCHIVE_ENTRY_BYTES_MAX <= end);
    if (site.offset < site.archive_bytes) {
        read_piece();
        return;
    }
    puts("webd: the archive has no end");
    finish(false);
}

void site_load(struct block_front *block, void (*done)(bool ok)) {
    site.block = block;
    site.done = done;
    site.archive_bytes = block_front_info(block)->sectors * BH_SECTOR_BYTES;
    site.io =
        (struct block_io){.operation = BH_BLOCK_READ, .buffer = site.piece, .done = piece_read};
    read_piece();
}

const struct site_file *site_find(const char *name) {
    struct site_file key = {.name = (char *)(uintptr_t)name};
    return bsearch(&key, site.files, site.count, sizeof *site.files, by_name);
}

unsigned site_files(void) {
    return site.count;
}
