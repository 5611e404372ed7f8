/* The boot archive's files by name. An archive is a list; a host with a thousand definitions would
 * spend most of a start on walking along it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* archive: stays where it is, and as it is; NULL: there are no files. Files behind damage are not
 * there. */
void files_start(const uint8_t *archive, size_t bytes);

/* The contents of the file, or NULL. */
const uint8_t *files_find(const char *name, size_t *bytes);
