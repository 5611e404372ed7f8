/* The memcpy that every program on guestlib has, under another name. */
#include "unit.h"

#include <string.h>

void *copy_of_memcpy(void *restrict to, const void *restrict from, size_t bytes);
#define memcpy copy_of_memcpy
#include "guestlib/copy.c"
#undef memcpy

enum { LONGEST = 600, EDGE = 8 };

/* Every length to beyond where another way begins, every alignment; nothing beside it changes. */
static void copies(void **state) {
    static uint8_t from[LONGEST + 2 * EDGE], to[LONGEST + 2 * EDGE];
    (void)state;
    for (size_t i = 0; i < sizeof(from); i++)
        from[i] = (uint8_t)(i * 7 + 1);
    for (size_t bytes = 0; bytes <= LONGEST; bytes++)
        for (size_t shift = 0; shift < EDGE; shift++) {
            memset(to, 0, sizeof(to));
            assert_ptr_equal(copy_of_memcpy(to + EDGE, from + shift, bytes), to + EDGE);
            assert_memory_equal(to + EDGE, from + shift, bytes);
            for (size_t i = 0; i < EDGE; i++) {
                assert_int_equal(to[i], 0);
                assert_int_equal(to[EDGE + bytes + i], 0);
            }
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(copies)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
