#include "mgmt/text.h"

#include <stdarg.h>
#include <stdio.h>

void text_add(struct text *text, const char *format, ...) {
    size_t room = sizeof(text->data) - text->bytes;
    va_list arguments;
    va_start(arguments, format);
    int wanted = vsnprintf(text->data + text->bytes, room, format, arguments);
    va_end(arguments);
    if (wanted > 0)
        text->bytes += (size_t)wanted < room ? (size_t)wanted : room - 1;
}

const char *text_size(char out[24], uint64_t bytes) {
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    unsigned unit = 0;
    uint64_t tenths = bytes * 10;
    while (tenths >= 10240 && unit < 4) {
        tenths = (tenths + 512) / 1024;
        unit++;
    }
    if (tenths % 10 == 0 || tenths >= 1000)
        snprintf(out, 24, "%llu %s", (unsigned long long)(tenths / 10), units[unit]);
    else
        snprintf(out, 24, "%llu.%llu %s", (unsigned long long)(tenths / 10),
                 (unsigned long long)(tenths % 10), units[unit]);
    return out;
}
