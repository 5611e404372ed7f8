/* hv's log: a ring in shared frames, which init reads, and the serial line. hv never reads back
 * what lies in the shared frames. */
#include "hv/x86/x86.h"

_Alignas(PAGE_BYTES) uint8_t log_frames[LOG_PAGES * PAGE_BYTES];
_Alignas(PAGE_BYTES) uint8_t bootinfo_frame[PAGE_BYTES];

enum { TEXT_BYTES = sizeof(log_frames) - sizeof(struct bh_log) };

static struct bh_log *const ring = (void *)log_frames;
static uint64_t written;
static const char digits[] = "0123456789abcdef";
char build_text[2 * BUILD_ID_BYTES + 1];

void log_init(void) {
    ring->magic = BH_LOG_MAGIC;
    ring->bytes = TEXT_BYTES;
    for (unsigned i = 0; i < 2 * BUILD_ID_BYTES; i++)
        build_text[i] = digits[build_id[i / 2] >> (i % 2 ? 0 : 4) & 0xf];
}

static void put(char byte) {
    ring->text[written++ % TEXT_BYTES] = byte;
    if (byte == '\n')
        serial_write('\r');
    serial_write(byte);
}

void arch_log(const char *text, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        put(text[i]);
    __atomic_store_n(&ring->written, written, __ATOMIC_RELEASE);
}

static void put_number(uint64_t value, unsigned base, unsigned width, char fill) {
    char text[20]; /* 2^64 has 20 digits */
    unsigned count = 0;
    do {
        text[count++] = digits[value % base];
        value /= base;
    } while (value);
    for (; width > count; width--)
        put(fill);
    while (count)
        put(text[--count]);
}

void log_vprint(const char *format, va_list arguments) {
    for (; *format; format++) {
        if (*format != '%') {
            put(*format);
            continue;
        }
        format++;
        char fill = *format == '0' ? '0' : ' ';
        unsigned width = 0;
        for (; *format >= '0' && *format <= '9'; format++)
            width = width * 10 + (unsigned)(*format - '0');
        bool is_long = *format == 'l';
        if (is_long)
            format++;
        if (*format == 's') {
            for (const char *text = va_arg(arguments, const char *); *text; text++)
                put(*text);
        } else {
            uint64_t value = is_long ? va_arg(arguments, uint64_t) : va_arg(arguments, uint32_t);
            put_number(value, *format == 'x' ? 16 : 10, width, fill);
        }
    }
    __atomic_store_n(&ring->written, written, __ATOMIC_RELEASE);
}

void log_print(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    log_vprint(format, arguments);
    va_end(arguments);
}
