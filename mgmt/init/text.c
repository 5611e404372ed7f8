#include "mgmt/init/text.h"

#include "guestlib/hypercall.h"
#include "mgmt/layout.h"

static uint64_t word; /* up to 8 characters, lowest byte first, as SYSTEM's LOG takes them */
static unsigned used;

static void put_byte(char c) {
    word |= (uint64_t)(uint8_t)c << (8 * used++);
    if (used < 8 && c != '\n')
        return;
    uint64_t ignored;
    hc_system(BH_INIT_SYSTEM, BH_SYSTEM_OP_LOG, word, &ignored);
    word = 0;
    used = 0;
}

void text_put(const char *text) {
    while (*text)
        put_byte(*text++);
}

void text_hex(uint64_t value) {
    for (int shift = 60; shift >= 0; shift -= 4)
        put_byte("0123456789abcdef"[value >> shift & 15]);
}

void text_decimal(uint64_t value) {
    char digits[20];
    unsigned count = 0;
    do
        digits[count++] = (char)('0' + value % 10);
    while (value /= 10);
    while (count > 0)
        put_byte(digits[--count]);
}

void text_end(void) {
    put_byte('\n');
}
