/* What the compiler calls for larger copies and fills. Quadwords, because one REP iteration is one
 * counted instruction. */
#include <stddef.h>
#include <stdint.h>

void *memset(void *to, int byte, size_t bytes);
void *memcpy(void *to, const void *from, size_t bytes);

void *memset(void *to, int byte, size_t bytes) {
    void *at = to;
    uint64_t pattern = 0x0101010101010101ull * (uint8_t)byte;
    size_t quads = bytes / 8, rest = bytes % 8;
    __asm__ volatile("rep stosq" : "+D"(at), "+c"(quads) : "a"(pattern) : "memory");
    __asm__ volatile("rep stosb" : "+D"(at), "+c"(rest) : "a"(pattern) : "memory");
    return to;
}

void *memcpy(void *to, const void *from, size_t bytes) {
    void *at = to;
    size_t quads = bytes / 8, rest = bytes % 8;
    __asm__ volatile("rep movsq" : "+D"(at), "+S"(from), "+c"(quads)::"memory");
    __asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(rest)::"memory");
    return to;
}
