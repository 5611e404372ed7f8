#include "mgmt/console/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "mgmt/platform.h"

#define KEPT_BYTES 65536u

static struct {
    char kept[KEPT_BYTES]; /* byte n ever written lies at n % KEPT_BYTES */
    uint64_t written;
    void (*shown)(void *context, const char *line, size_t bytes);
    void *context;
} log_state;

void log_on_line(void (*shown)(void *context, const char *line, size_t bytes), void *context) {
    log_state.shown = shown;
    log_state.context = context;
}

static void keep(char c) {
    log_state.kept[log_state.written++ % KEPT_BYTES] = c;
}

/* Appends a byte as printable ASCII; returns how many characters that took. */
static size_t escape(char *out, size_t room, unsigned char byte) {
    static const char digits[] = "0123456789abcdef";
    bool plain = byte >= ' ' && byte < 0x7f;
    char text[4] = {(char)byte};
    size_t bytes = 1;
    if (!plain) {
        memcpy(text, "\\x", 2);
        text[2] = digits[byte >> 4];
        text[3] = digits[byte & 15];
        bytes = 4;
    }
    if (bytes > room)
        return 0;
    memcpy(out, text, bytes);
    return bytes;
}

void log_line(const char *part, const char *format, ...) {
    char raw[LOG_LINE_BYTES], line[LOG_LINE_BYTES];
    int head = snprintf(raw, sizeof(raw), "%s: ", part);
    va_list arguments;
    va_start(arguments, format);
    if (head > 0 && (size_t)head < sizeof(raw))
        vsnprintf(raw + head, sizeof(raw) - (size_t)head, format, arguments);
    va_end(arguments);
    size_t bytes = 0;
    for (const char *c = raw; *c; c++)
        bytes += escape(line + bytes, sizeof(line) - bytes, (unsigned char)*c);
    for (size_t i = 0; i < bytes; i++)
        keep(line[i]);
    keep('\n');
    if (log_state.shown)
        log_state.shown(log_state.context, line, bytes);
}

size_t log_read(uint64_t *position, char *out, size_t bytes) {
    if (log_state.written > KEPT_BYTES && *position < log_state.written - KEPT_BYTES)
        *position = log_state.written - KEPT_BYTES;
    size_t count = 0;
    while (count < bytes && *position < log_state.written)
        out[count++] = log_state.kept[(*position)++ % KEPT_BYTES];
    return count;
}
