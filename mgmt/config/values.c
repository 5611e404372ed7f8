#include "mgmt/config/values.h"

#include <string.h>

bool value_number(const char *text, uint64_t least, uint64_t most, uint64_t *out) {
    uint64_t value = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++)
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
            return false;
    if (at == text || *at != '\0' || value < least || value > most)
        return false;
    *out = value;
    return true;
}

bool value_yes_no(const char *text, bool *out) {
    bool yes = strcmp(text, "yes") == 0;
    if (!yes && strcmp(text, "no") != 0)
        return false;
    *out = yes;
    return true;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Two digits. The second is not looked at when the first is none, so that a NUL ends it. */
static bool hex_byte(const char *text, uint8_t *out) {
    int high = hex_digit(text[0]);
    int low = high < 0 ? -1 : hex_digit(text[1]);
    if (low < 0)
        return false;
    *out = (uint8_t)(high << 4 | low);
    return true;
}

bool value_uuid(const char *text, uint8_t out[16]) {
    uint8_t bytes[16];
    for (unsigned i = 0; i < 16; i++, text += 2) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            if (*text++ != '-')
                return false;
        if (!hex_byte(text, &bytes[i]))
            return false;
    }
    if (*text != '\0')
        return false;
    memcpy(out, bytes, sizeof(bytes));
    return true;
}

bool value_mac(const char *text, uint8_t out[6]) {
    uint8_t bytes[6];
    for (unsigned i = 0; i < 6; i++, text += 2) {
        if (i > 0 && *text++ != ':')
            return false;
        if (!hex_byte(text, &bytes[i]))
            return false;
    }
    if (*text != '\0')
        return false;
    memcpy(out, bytes, sizeof(bytes));
    return true;
}

/* Four decimal bytes; returns the first character after them, or NULL. */
static const char *ipv4_bytes(const char *text, uint8_t bytes[4]) {
    for (unsigned i = 0; i < 4; i++) {
        if (i > 0 && *text++ != '.')
            return NULL;
        unsigned value = 0, digits = 0;
        for (; *text >= '0' && *text <= '9' && digits < 3; digits++)
            value = value * 10 + (unsigned)(*text++ - '0');
        if (digits == 0 || value > 255)
            return NULL;
        bytes[i] = (uint8_t)value;
    }
    return text;
}

bool value_ipv4(const char *text, uint32_t *out) {
    uint8_t bytes[4];
    const char *end = ipv4_bytes(text, bytes);
    if (!end || *end != '\0')
        return false;
    memcpy(out, bytes, sizeof(bytes));
    return true;
}

/* One group of 1 to 4 hexadecimal digits; returns the first character after it, or NULL. */
static const char *ipv6_group(const char *text, uint8_t bytes[2]) {
    unsigned value = 0, digits = 0;
    for (; hex_digit(*text) >= 0 && digits < 4; digits++)
        value = value << 4 | (unsigned)hex_digit(*text++);
    bytes[0] = (uint8_t)(value >> 8);
    bytes[1] = (uint8_t)value;
    return digits > 0 ? text : NULL;
}

/* RFC 4291, 2.2, forms 1 and 2 (an IPv4 address in dots at the end is refused: no guest has one).
 */
#define NO_GAP 9u
bool value_ipv6(const char *text, uint8_t out[16]) {
    uint8_t bytes[16] = {0};
    unsigned groups = 0, gap = NO_GAP; /* gap: how many groups stand before "::" */
    if (text[0] == ':' && text[1] == ':') {
        gap = 0;
        text += 2;
    }
    while (*text != '\0' && groups < 8) {
        text = ipv6_group(text, &bytes[2 * groups]);
        if (!text)
            return false;
        groups++;
        if (*text == '\0')
            break;
        if (*text++ != ':')
            return false;
        if (*text == ':') {
            if (gap != NO_GAP)
                return false;
            gap = groups;
            text++;
        } else if (*text == '\0') {
            return false; /* a single colon at the end */
        }
    }
    if (*text != '\0' || (gap == NO_GAP) != (groups == 8))
        return false;
    if (gap != NO_GAP) {
        unsigned tail = groups - gap;
        memmove(&bytes[16 - 2 * tail], &bytes[2 * gap], 2 * tail);
        memset(&bytes[2 * gap], 0, 16 - 2 * groups);
    }
    memcpy(out, bytes, sizeof(bytes));
    return true;
}

uint64_t value_unit(const char *unit) {
    static const struct {
        const char *name;
        uint64_t bytes;
    } units[] = {
        {"b", 1},
        {"bytes", 1},
        {"KB", 1000},
        {"k", 1ull << 10},
        {"KiB", 1ull << 10},
        {"MB", 1000000},
        {"M", 1ull << 20},
        {"MiB", 1ull << 20},
        {"GB", 1000000000},
        {"G", 1ull << 30},
        {"GiB", 1ull << 30},
        {"T", 1ull << 40},
        {"TiB", 1ull << 40},
    };
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (strcmp(unit, units[i].name) == 0)
            return units[i].bytes;
    return 0;
}

static bool is_alphanumeric(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool value_is_name(const char *text) {
    if (!is_alphanumeric(*text))
        return false;
    for (; *text; text++)
        if (!is_alphanumeric(*text) && *text != '-' && *text != '_' && *text != '.')
            return false;
    return true;
}

bool value_is_path(const char *text) {
    bool part_begins = true;
    for (; *text; text++) {
        if (part_begins && !is_alphanumeric(*text) && *text != '_')
            return false;
        part_begins = *text == '/';
        if (!part_begins && !is_alphanumeric(*text) && !strchr("-_.+", *text))
            return false;
    }
    return !part_begins;
}

bool value_is_plain(const char *text) {
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text, next = (unsigned char)text[1];
        bool is_c1 = byte == 0xc2 && next >= 0x80 && next < 0xa0; /* U+0080 to U+009F */
        if (byte < ' ' || byte == 0x7f || is_c1)
            return false;
    }
    return true;
}
