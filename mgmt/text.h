/* Text that grows up to a bound, and sizes for people. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct text {
    size_t bytes;
    char data[480];
};

/* Appends; what does not fit is cut. */
void text_add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "3.7 GiB", "512 KiB": two digits are enough to decide by. Returns out. */
const char *text_size(char out[24], uint64_t bytes);
