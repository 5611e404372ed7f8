/* Finds one file in a newc cpio archive. The archive came with the boot image, but it is parsed as
 * if it had not: every length is checked against what is left before it is used. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The file's bytes inside the archive, or NULL: not there, or the archive is damaged before it. */
const uint8_t *newc_find(const uint8_t *archive, size_t archive_bytes, const char *name,
                         size_t *bytes);
