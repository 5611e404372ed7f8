/* memcpy in place of newlib's, whose words are moved one by one by two instructions each: windows
 * and files are copied by the megabyte. */
#include <stdint.h>
#include <string.h>

enum { WORD = 8, STRING_MIN = 256 }; /* below, starting the string instruction takes longer */

/* Less than a word. The barrier keeps the loop from becoming a call of memcpy. */
static void copy_short(uint8_t *to, const uint8_t *from, size_t bytes) {
    uint32_t first, last;
    if (bytes >= sizeof(first)) {
        __builtin_memcpy(&first, from, sizeof(first));
        __builtin_memcpy(&last, from + bytes - sizeof(last), sizeof(last));
        __builtin_memcpy(to, &first, sizeof(first));
        __builtin_memcpy(to + bytes - sizeof(last), &last, sizeof(last));
        return;
    }
    while (bytes--) {
        to[bytes] = from[bytes];
        __asm__ volatile("" ::: "memory");
    }
}

/* What is copied may be memory that another writes to: a byte may be read twice here, but whoever
 * checks the copy checks what was stored last. */
void *memcpy(void *restrict to, const void *restrict from, size_t bytes) {
    uint8_t *target = to;
    const uint8_t *source = from;
    uint64_t word;
    if (bytes < WORD) {
        copy_short(target, source, bytes);
        return to;
    }
    /* The last word, which may overlap the one before; then whole words from the beginning. */
    __builtin_memcpy(&word, source + bytes - WORD, WORD);
    __builtin_memcpy(target + bytes - WORD, &word, WORD);
    size_t words = bytes / WORD;
    if (bytes >= STRING_MIN) {
        __asm__ volatile("rep movsq" : "+D"(target), "+S"(source), "+c"(words)::"memory");
        return to;
    }
    while (words--) {
        __builtin_memcpy(&word, source + words * WORD, WORD);
        __builtin_memcpy(target + words * WORD, &word, WORD);
        __asm__ volatile("" ::: "memory");
    }
    return to;
}
