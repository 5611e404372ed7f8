/* ECMA-48 control sequences: ESC [ parameters final. Only the finals of a list are let through. */
#include "mgmt/console/screen.h"

#include <stdbool.h>
#include <string.h>

#define ESC 0x1bu
#define CSI_FINALS "ABCDGHJKdfm" /* cursor; erase in page and line; SGR */

static size_t release(struct screen *s, char *out) {
    size_t bytes = s->bytes;
    memcpy(out, s->held, bytes);
    s->bytes = 0;
    s->continuations = 0;
    return bytes;
}

static size_t drop(struct screen *s) {
    s->bytes = 0;
    s->continuations = 0;
    return 0;
}

/* Keeps a byte of a sequence; too long a one is dropped. */
static size_t hold(struct screen *s, uint8_t byte) {
    if (s->bytes == sizeof(s->held))
        return drop(s);
    s->held[s->bytes++] = (char)byte;
    return 0;
}

/* A byte after ESC. */
static size_t in_sequence(struct screen *s, uint8_t byte, char *out) {
    if (s->bytes == 1)
        return byte == '[' ? hold(s, byte) : drop(s);
    if ((byte >= '0' && byte <= '9') || byte == ';')
        return hold(s, byte);
    if (byte < 0x40 || byte > 0x7e || !strchr(CSI_FINALS, byte) || s->bytes == sizeof(s->held))
        return drop(s);
    hold(s, byte);
    return release(s, out);
}

/* How many bytes follow the first of a UTF-8 character (RFC 3629); 0: it begins none. */
static uint8_t continuations(uint8_t byte) {
    if (byte >= 0xc2 && byte <= 0xdf)
        return 1;
    if (byte >= 0xe0 && byte <= 0xef)
        return 2;
    return byte >= 0xf0 && byte <= 0xf4 ? 3 : 0;
}

/* A byte within a UTF-8 character. U+0080 to U+009F are control characters, too. */
static size_t in_character(struct screen *s, uint8_t byte, char *out) {
    bool is_control = (uint8_t)s->held[0] == 0xc2 && byte < 0xa0;
    if (byte < 0x80 || byte > 0xbf || is_control)
        return drop(s);
    s->continuations--;
    hold(s, byte);
    return s->continuations == 0 ? release(s, out) : 0;
}

size_t screen_show(struct screen *s, uint8_t byte, char out[SCREEN_BYTES_MAX]) {
    if (s->continuations)
        return in_character(s, byte, out);
    if (s->bytes)
        return in_sequence(s, byte, out);
    s->continuations = continuations(byte);
    if (byte == ESC || s->continuations)
        return hold(s, byte);
    if (byte < ' ' ? !strchr("\a\b\t\n\r", byte) || byte == 0 : byte >= 0x7f)
        return 0;
    out[0] = (char)byte;
    return 1;
}
