#include "mgmt/init/newc.h"

#include <stdbool.h>

/* cpio(5), "new ASCII format": a magic number, then 13 fields of 8 hexadecimal digits. */
#define HEADER_BYTES 110u
#define FIELD_FILE_BYTES 6u
#define FIELD_NAME_BYTES 11u /* its NUL included */

static bool hex_field(const uint8_t *header, unsigned field, size_t *value) {
    *value = 0;
    for (unsigned i = 0; i < 8; i++) {
        uint8_t c = header[6 + 8 * field + i];
        unsigned digit;
        if (c >= '0' && c <= '9')
            digit = c - '0';
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            digit = (c | 0x20u) - 'a' + 10;
        else
            return false;
        *value = *value << 4 | digit;
    }
    return true;
}

static bool starts_with(const uint8_t *bytes, const char *text, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (bytes[i] != (uint8_t)text[i])
            return false;
    return true;
}

/* Names and contents are padded to 4 bytes from the archive's start. */
static size_t align4(size_t offset) {
    return (offset + 3) & ~(size_t)3;
}

const uint8_t *newc_find(const uint8_t *archive, size_t archive_bytes, const char *name,
                         size_t *bytes) {
    size_t wanted_bytes = 1;
    while (name[wanted_bytes - 1])
        wanted_bytes++;
    size_t at = 0;
    while (at <= archive_bytes && archive_bytes - at >= HEADER_BYTES) {
        const uint8_t *header = archive + at;
        size_t name_bytes, file_bytes;
        if (!starts_with(header, "070701", 6) ||
            !hex_field(header, FIELD_NAME_BYTES, &name_bytes) ||
            !hex_field(header, FIELD_FILE_BYTES, &file_bytes))
            return NULL;
        size_t name_at = at + HEADER_BYTES;
        if (name_bytes > archive_bytes - name_at)
            return NULL;
        size_t file_at = align4(name_at + name_bytes);
        if (file_at > archive_bytes || file_bytes > archive_bytes - file_at)
            return NULL;
        if (name_bytes == wanted_bytes && starts_with(archive + name_at, name, name_bytes)) {
            *bytes = file_bytes;
            return archive + file_at;
        }
        at = align4(file_at + file_bytes);
    }
    return NULL;
}
