/* The host's log: lines, kept in a ring and shown as they come. Whatever a line is made of, what is
 * kept and shown is printable ASCII: a guest cannot reach a terminal this way. log_line itself is
 * declared in mgmt/platform.h. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define LOG_LINE_BYTES 400u

/* shown(context, line, bytes): each line, without its end. One listener. */
void log_on_line(void (*shown)(void *context, const char *line, size_t bytes), void *context);

/* Goes through what is kept, oldest first: *position is 0 at first; 0 bytes: that was all. */
size_t log_read(uint64_t *position, char *out, size_t bytes);
