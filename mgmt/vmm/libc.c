/* What of the C library this program cannot take from newlib: functions with variable arguments
 * begin by storing SIMD registers (when their caller says that it used some, which nobody here
 * does; but a check of the linked file cannot tell). */
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "guestlib/guest.h"

/* newlib calls it for a failed assert(), and declares it with other attributes. */
_Noreturn void __assert_func(const char *file, int line, const char *function,
                             const char *expression);

void __assert_func(const char *file, int line, const char *function, const char *expression) {
    guest_panic("%s:%d: %s: %s does not hold", file, line, function, expression);
}

int printf(const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int bytes = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    guest_output(text, strlen(text));
    return bytes;
}

int snprintf(char *to, size_t bytes, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(to, bytes, format, arguments);
    va_end(arguments);
    return length;
}
