/* Volumes by name: "disk:N", "partition:NAME", "archive:FILE". */
#include "mgmt/block/volume.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guestlib/archive.h"
#include "mgmt/block/table.h"

#define DISKS_MAX 64u

static struct disk *disks[DISKS_MAX];
static unsigned disk_count, tables_to_read;
static struct volume *open_volumes;
static const uint8_t *archive;
static size_t archive_bytes;
static bool started;
static void (*ready_handler)(void *context);
static void *ready_context;

void disk_add(struct disk *disk) {
    if (disk_count == DISKS_MAX) {
        log_line("block", "%s: one disk too many: not used", disk->name);
        return;
    }
    disk->in_flight = 0;
    disk->index = disk_count;
    disks[disk_count++] = disk;
    log_line("block", "disk:%u is %s, %llu MiB%s", disk->index, disk->name,
             (unsigned long long)(disk->sectors >> 11), disk->read_only ? ", read-only" : "");
}

static bool ready(void) {
    return started && tables_to_read == 0;
}

static void tell_if_ready(void) {
    if (!ready() || !ready_handler)
        return;
    void (*handler)(void *context) = ready_handler;
    ready_handler = NULL;
    handler(ready_context);
}

static void table_done(struct disk *disk) {
    (void)disk;
    tables_to_read--;
    tell_if_ready();
}

void block_start(const uint8_t *boot_archive, size_t bytes) {
    archive = boot_archive;
    archive_bytes = bytes;
    tables_to_read = disk_count;
    started = true;
    for (unsigned i = 0; i < disk_count; i++)
        table_read(disks[i], table_done);
    tell_if_ready();
}

void block_when_ready(void (*handler)(void *context), void *context) {
    ready_handler = handler;
    ready_context = context;
    tell_if_ready();
}

static enum bh_status refuse(enum bh_status status, char *error, size_t error_bytes,
                             const char *why, const char *name) {
    snprintf(error, error_bytes, "%s: %s", name, why);
    return status;
}

/* What follows "kind:" in a source; NULL if it is of another kind. */
static const char *after_kind(const char *source, const char *kind) {
    size_t length = strlen(kind);
    return strncmp(source, kind, length) == 0 ? source + length : NULL;
}

static enum bh_status find_disk(struct volume *v, const char *number, char *error,
                                size_t error_bytes) {
    char *end;
    unsigned long index = strtoul(number, &end, 10);
    bool digits = number[0] >= '0' && number[0] <= '9' && *end == '\0';
    if (!digits || index >= disk_count)
        return refuse(BH_BAD_ARG, error, error_bytes, "there is no such disk", number);
    v->disk = disks[index];
    v->sectors = v->disk->sectors;
    return BH_OK;
}

static enum bh_status find_partition(struct volume *v, const char *name, char *error,
                                     size_t error_bytes) {
    for (const struct partition *p = table_partitions(); p; p = p->next) {
        if (strcmp(p->gpt.name, name) != 0)
            continue;
        if (v->disk)
            return refuse(BH_BAD_ARG, error, error_bytes, "two partitions have this name", name);
        v->disk = p->disk;
        v->first_sector = p->first_sector;
        v->sectors = p->sectors;
    }
    return v->disk
               ? BH_OK
               : refuse(BH_BAD_ARG, error, error_bytes, "there is no partition of this name", name);
}

static enum bh_status find_file(struct volume *v, const struct block_settings *s, const char *name,
                                char *error, size_t error_bytes) {
    if (!s->read_only && !s->throw_away)
        return refuse(BH_BAD_ARG, error, error_bytes,
                      "a file of the boot archive is read-only or throw-away", name);
    v->memory = archive ? archive_find(archive, archive_bytes, name, &v->memory_bytes) : NULL;
    if (!v->memory)
        return refuse(BH_BAD_ARG, error, error_bytes, "the boot archive has no such file", name);
    v->sectors = v->memory_bytes / BH_SECTOR_BYTES + (v->memory_bytes % BH_SECTOR_BYTES != 0);
    if (v->sectors == 0)
        return refuse(BH_BAD_ARG, error, error_bytes, "the file is empty", name);
    size_t length = strlen(name);
    memcpy(v->id, name, length < sizeof(v->id) ? length : sizeof(v->id));
    return BH_OK;
}

static enum bh_status find(struct volume *v, const struct block_settings *s, char *error,
                           size_t error_bytes) {
    const char *name;
    if ((name = after_kind(s->source, "disk:")))
        return find_disk(v, name, error, error_bytes);
    if ((name = after_kind(s->source, "partition:")))
        return find_partition(v, name, error, error_bytes);
    if ((name = after_kind(s->source, "archive:")))
        return find_file(v, s, name, error, error_bytes);
    return refuse(BH_BAD_ARG, error, error_bytes, "not disk:N, partition:NAME or archive:FILE",
                  s->source);
}

/* Whole disks and their partitions are the same sectors. */
static bool conflicts(const struct volume *a, const struct volume *b) {
    return a->disk && a->disk == b->disk && a->first_sector < b->first_sector + b->sectors &&
           b->first_sector < a->first_sector + a->sectors &&
           (a->claims_writing || b->claims_writing);
}

enum bh_status volume_open(struct volume *v, const struct block_settings *s, char *error,
                           size_t error_bytes) {
    *v = (struct volume){0};
    if (!memchr(s->source, '\0', sizeof(s->source)))
        return refuse(BH_BAD_ARG, error, error_bytes, "the name does not end", "source");
    if (!ready())
        return refuse(BH_AGAIN, error, error_bytes, "partition tables are still being read",
                      s->source);
    enum bh_status status = find(v, s, error, error_bytes);
    if (status != BH_OK)
        return status;
    v->writable = s->throw_away || !s->read_only;
    v->claims_writing = v->writable && !s->throw_away;
    if (v->claims_writing && v->disk->read_only)
        return refuse(BH_BAD_ARG, error, error_bytes, "the disk is read-only", s->source);
    for (const struct volume *other = open_volumes; other; other = other->next)
        if (conflicts(v, other))
            return refuse(BH_BUSY, error, error_bytes, "in use: one writer at a time", s->source);
    if (s->throw_away && !(v->overlay = overlay_create()))
        return refuse(BH_NO_MEMORY, error, error_bytes, "no memory", s->source);
    v->next = open_volumes;
    open_volumes = v;
    return BH_OK;
}

void volume_close(struct volume *v) {
    struct volume **at = &open_volumes;
    while (*at != v)
        at = &(*at)->next;
    *at = v->next;
    if (v->overlay)
        overlay_destroy(v->overlay);
}
