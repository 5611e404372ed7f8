/* Reads newc cpio archives: webd's content, mgmt's boot archive. The archive is hostile input:
 * every number is checked before it is used, and names and contents never leave the given bounds.
 *
 * An archive need not be in memory as a whole: archive_entry parses one header from whatever piece
 * the caller has read, and says where the contents lie and where the next header is. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARCHIVE_HEADER_BYTES 110u
#define ARCHIVE_NAME_BYTES_MAX 256u /* NUL included; longer names: the archive is refused */
/* A header and its name: what archive_entry never needs more of. */
#define ARCHIVE_ENTRY_BYTES_MAX (ARCHIVE_HEADER_BYTES + ARCHIVE_NAME_BYTES_MAX)

struct archive_entry {
    char name[ARCHIVE_NAME_BYTES_MAX]; /* as it stands there, without a leading "./" */
    bool is_file;                      /* a regular file; else a folder or something to skip */
    uint64_t contents;                 /* offset of the contents in the archive */
    uint32_t bytes;                    /* of the contents */
    uint64_t next;                     /* offset of the next header */
};

enum archive_result { ARCHIVE_ENTRY, ARCHIVE_END, ARCHIVE_DAMAGED };

/* Parses the header at `offset` of an archive of archive_bytes. `piece` is what the archive holds
 * from there on: ARCHIVE_ENTRY_BYTES_MAX bytes, or all there are if the archive ends before. */
enum archive_result archive_entry(const uint8_t *piece, size_t piece_bytes, uint64_t offset,
                                  uint64_t archive_bytes, struct archive_entry *entry);

/* Archives in memory. Iterate: *offset starts at 0. */
enum archive_result archive_next(const uint8_t *archive, size_t archive_bytes, uint64_t *offset,
                                 struct archive_entry *entry);

/* The contents of the regular file `name`, or NULL: not there, or the archive is damaged before it.
 */
const uint8_t *archive_find(const uint8_t *archive, size_t archive_bytes, const char *name,
                            size_t *bytes);
