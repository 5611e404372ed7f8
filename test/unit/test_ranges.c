/* Boot's lists of address ranges against a set of half pages: nothing that was taken out may come
 * back, or a domain would be given what is the firmware's or hv's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hv/boot/boot.h"

enum { UNIT = PAGE_BYTES / 2, UNITS = 128 };

static jmp_buf full;

void panic(const char *format, ...) {
    (void)format;
    longjmp(full, 1);
}

static struct ranges list;
static bool held[UNITS];

static void set(uint64_t first, uint64_t end, bool value) {
    for (uint64_t i = first; i < end && i < UNITS; i++)
        held[i] = value;
}

static void assert_same(void) {
    bool listed[UNITS] = {false};
    for (uint32_t i = 0; i < list.count; i++) {
        const struct range *range = &list.at[i];
        assert_true(range->base < range->end);
        assert_true(i == 0 || list.at[i - 1].end < range->base);
        for (uint64_t at = range->base / UNIT; at < range->end / UNIT && at < UNITS; at++)
            listed[at] = true;
    }
    assert_memory_equal(listed, held, sizeof(held));
}

static void random_sets(void **state) {
    (void)state;
    srand(1);
    for (unsigned round = 0; round < 5000; round++) {
        list.count = 0;
        memset(held, 0, sizeof(held));
        for (unsigned i = 0; i < 20; i++) {
            uint64_t first = (uint64_t)rand() % UNITS, end = first + (uint64_t)rand() % 12;
            if (rand() % 2) {
                ranges_add(&list, first * UNIT, end * UNIT);
                set(first, end, true);
            } else { /* whole pages, as many as it touches */
                ranges_subtract(&list, first * UNIT, end * UNIT);
                set(first & ~1ull, (end + 1) & ~1ull, false);
            }
            assert_same();
        }
    }
}

static void up_to_the_last_address(void **state) {
    (void)state;
    list.count = 0;
    ranges_add(&list, 0, 1ull << 52);
    ranges_subtract(&list, PAGE_BYTES + 1, UINT64_MAX);
    assert_int_equal(list.count, 1);
    assert_int_equal(list.at[0].base, 0);
    assert_int_equal(list.at[0].end, PAGE_BYTES);
    ranges_subtract(&list, 0, UINT64_MAX);
    assert_int_equal(list.count, 0);
}

static void too_many_pieces(void **state) {
    (void)state;
    list.count = 0;
    ranges_add(&list, 0, 1ull << 40);
    volatile uint64_t pieces = 1;
    if (!setjmp(full))
        for (; pieces <= RANGES_MAX; pieces++)
            ranges_subtract(&list, pieces * 4 * PAGE_BYTES, (pieces * 4 + 1) * PAGE_BYTES);
    assert_int_equal(pieces, RANGES_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_sets),
        cmocka_unit_test(up_to_the_last_address),
        cmocka_unit_test(too_many_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
