#include "mgmt/domain/files.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "guestlib/archive.h"

struct file {
    const char *name; /* in the archive; NULL: an empty place */
    const uint8_t *contents;
    size_t bytes;
};

/* Open addressing; at least half of the places are empty, so a search ends soon. */
static struct {
    const uint8_t *archive;
    size_t archive_bytes;
    struct file *file;
    size_t mask; /* places - 1, a power of two */
} files;

/* FNV-1a. Whoever makes the archive owns the host: collisions are no attack. */
static size_t hash_of(const char *name) {
    uint64_t hash = 0xcbf29ce484222325ull;
    while (*name)
        hash = (hash ^ (uint8_t)*name++) * 0x100000001b3ull;
    return (size_t)(hash ^ hash >> 32);
}

/* The file's place, or the empty one where it would be. */
static struct file *place_of(const char *name) {
    size_t at = hash_of(name) & files.mask;
    while (files.file[at].name && strcmp(files.file[at].name, name) != 0)
        at = (at + 1) & files.mask;
    return &files.file[at];
}

/* Of the same name the first one counts. */
static void add(uint64_t header, const struct archive_entry *entry) {
    const char *name = (const char *)files.archive + header + ARCHIVE_HEADER_BYTES;
    if (strncmp(name, "./", 2) == 0)
        name += 2;
    struct file *file = place_of(name);
    if (!file->name)
        *file = (struct file){name, files.archive + entry->contents, entry->bytes};
}

static bool next_entry(uint64_t *offset, struct archive_entry *entry) {
    return archive_next(files.archive, files.archive_bytes, offset, entry) == ARCHIVE_ENTRY;
}

void files_start(const uint8_t *archive, size_t bytes) {
    struct archive_entry entry;
    size_t count = 0, places = 1;
    files.archive = archive;
    files.archive_bytes = archive ? bytes : 0;
    for (uint64_t offset = 0; next_entry(&offset, &entry);)
        count++;
    while (places < 2 * count)
        places *= 2;
    free(files.file);
    files.file = calloc(places, sizeof(*files.file));
    files.mask = places - 1;
    uint64_t header = 0;
    for (uint64_t offset = 0; files.file && next_entry(&offset, &entry); header = offset)
        if (entry.is_file)
            add(header, &entry);
}

const uint8_t *files_find(const char *name, size_t *bytes) {
    if (!files.file) /* no memory for the table */
        return archive_find(files.archive, files.archive_bytes, name, bytes);
    const struct file *file = place_of(name);
    *bytes = file->bytes;
    return file->contents;
}
