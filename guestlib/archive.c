/* newc cpio, as `cpio -H newc` writes it: "070701", thirteen numbers of eight hexadecimal digits,
 * the name with its NUL, padding to 4 bytes, the contents, padding to 4 bytes. */
#include "guestlib/archive.h"

#include <string.h>

/* Positions of the numbers that matter. */
enum { FIELD_MODE = 1, FIELD_FILE_BYTES = 6, FIELD_NAME_BYTES = 11 };

#define MODE_TYPE 0170000u
#define MODE_REGULAR 0100000u

static bool hex_field(const uint8_t *header, unsigned field, uint32_t *value) {
    const uint8_t *digits = header + 6 + (size_t)8 * field;
    *value = 0;
    for (unsigned i = 0; i < 8; i++) {
        uint32_t digit;
        if (digits[i] >= '0' && digits[i] <= '9')
            digit = digits[i] - '0';
        else if (digits[i] >= 'a' && digits[i] <= 'f')
            digit = digits[i] - 'a' + 10u;
        else if (digits[i] >= 'A' && digits[i] <= 'F')
            digit = digits[i] - 'A' + 10u;
        else
            return false;
        *value = *value << 4 | digit;
    }
    return true;
}

static uint64_t align4(uint64_t offset) {
    return (offset + 3) & ~3ull;
}

enum archive_result archive_entry(const uint8_t *piece, size_t piece_bytes, uint64_t offset,
                                  uint64_t archive_bytes, struct archive_entry *entry) {
    uint32_t mode, name_bytes;
    if (piece_bytes < ARCHIVE_HEADER_BYTES || memcmp(piece, "070701", 6) != 0 ||
        !hex_field(piece, FIELD_MODE, &mode) ||
        !hex_field(piece, FIELD_FILE_BYTES, &entry->bytes) ||
        !hex_field(piece, FIELD_NAME_BYTES, &name_bytes))
        return ARCHIVE_DAMAGED;
    const char *name = (const char *)piece + ARCHIVE_HEADER_BYTES;
    if (name_bytes == 0 || name_bytes > ARCHIVE_NAME_BYTES_MAX ||
        name_bytes > piece_bytes - ARCHIVE_HEADER_BYTES || memchr(name, 0, name_bytes) == NULL)
        return ARCHIVE_DAMAGED;
    if (strcmp(name, "TRAILER!!!") == 0)
        return ARCHIVE_END;
    /* No overflow: offset <= archive_bytes, which a device or memory bounds, plus 32-bit numbers.
     */
    entry->contents = align4(offset + ARCHIVE_HEADER_BYTES + name_bytes);
    if (entry->contents > archive_bytes || entry->bytes > archive_bytes - entry->contents)
        return ARCHIVE_DAMAGED;
    entry->next = align4(entry->contents + entry->bytes);
    entry->is_file = (mode & MODE_TYPE) == MODE_REGULAR;
    if (strncmp(name, "./", 2) == 0)
        name += 2;
    memcpy(entry->name, name, strlen(name) + 1); /* fits: name_bytes was checked */
    return ARCHIVE_ENTRY;
}

enum archive_result archive_next(const uint8_t *archive, size_t archive_bytes, uint64_t *offset,
                                 struct archive_entry *entry) {
    if (*offset >= archive_bytes)
        return ARCHIVE_DAMAGED; /* without a trailer it was cut off */
    enum archive_result result =
        archive_entry(archive + *offset, archive_bytes - *offset, *offset, archive_bytes, entry);
    if (result == ARCHIVE_ENTRY)
        *offset = entry->next;
    return result;
}

const uint8_t *archive_find(const uint8_t *archive, size_t archive_bytes, const char *name,
                            size_t *bytes) {
    struct archive_entry entry;
    uint64_t offset = 0;
    while (archive_next(archive, archive_bytes, &offset, &entry) == ARCHIVE_ENTRY) {
        if (entry.is_file && strcmp(entry.name, name) == 0) {
            *bytes = entry.bytes;
            return archive + entry.contents;
        }
    }
    return NULL;
}
