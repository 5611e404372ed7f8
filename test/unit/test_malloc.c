/* The heap behind malloc. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "guestlib/heap.h"

#define HEAP_BYTES (1024u * 1024)

static uint8_t *memory;
static size_t free_at_start;

static int init(void **state) {
    (void)state;
    memory = malloc(HEAP_BYTES);
    heap_init(memory, HEAP_BYTES);
    free_at_start = heap_free_bytes();
    return 0;
}

/* Whatever a test did, all must be free again, and in one piece. */
static int check_free(void **state) {
    (void)state;
    assert_int_equal(heap_free_bytes(), free_at_start);
    void *all = heap_allocate(HEAP_ALIGNMENT, free_at_start * 7 / 8);
    assert_non_null(all);
    heap_release(all);
    free(memory);
    return 0;
}

/* What the heap grows by, once a test lets it. */
#define STRETCH_BYTES 65536u
#define STRETCHES 4u
static uint8_t stretch_memory[STRETCHES][STRETCH_BYTES] __attribute__((aligned(16)));
static bool taken[STRETCHES];
static unsigned stretches_left;

void *heap_more(size_t *bytes) {
    for (unsigned i = 0; i < STRETCHES; i++) {
        if (taken[i] || stretches_left == 0 || *bytes > STRETCH_BYTES)
            continue;
        stretches_left--;
        taken[i] = true;
        *bytes = STRETCH_BYTES;
        return stretch_memory[i];
    }
    return NULL;
}

void heap_less(void *at, size_t bytes) {
    size_t offset = (size_t)((uint8_t *)at - stretch_memory[0]);
    assert_int_equal(offset % STRETCH_BYTES, 0);
    assert_int_equal(bytes, STRETCH_BYTES);
    assert_true(taken[offset / STRETCH_BYTES]);
    memset(at, 0xa5, bytes); /* nobody may need it any more */
    taken[offset / STRETCH_BYTES] = false;
    stretches_left++;
}

static void assert_inside(const void *at, size_t bytes) {
    assert_true((const uint8_t *)at >= memory);
    assert_true((const uint8_t *)at + bytes <= memory + HEAP_BYTES);
}

static void loses_little_to_itself(void **state) {
    (void)state;
    assert_true(free_at_start > HEAP_BYTES - 128);
}

static void gives_distinct_aligned_memory(void **state) {
    (void)state;
    uint8_t *blocks[300];
    for (size_t i = 0; i < 300; i++) {
        blocks[i] = heap_allocate(HEAP_ALIGNMENT, i);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % HEAP_ALIGNMENT, 0);
        assert_inside(blocks[i], i);
        memset(blocks[i], (int)i, i);
    }
    for (size_t i = 0; i < 300; i++)
        for (size_t b = 0; b < i; b++)
            assert_int_equal(blocks[i][b], (uint8_t)i);
    for (size_t i = 0; i < 300; i++)
        heap_release(blocks[i * 7 % 300]);
}

static void aligns_as_asked(void **state) {
    (void)state;
    for (size_t alignment = 16; alignment <= 65536; alignment *= 2) {
        void *small = heap_allocate(HEAP_ALIGNMENT, 24), *aligned = heap_allocate(alignment, 100);
        assert_non_null(aligned);
        assert_int_equal((uintptr_t)aligned % alignment, 0);
        assert_inside(aligned, 100);
        memset(aligned, 1, 100);
        heap_release(small);
        heap_release(aligned);
    }
}

static void refuses_absurd_sizes(void **state) {
    (void)state;
    static const size_t sizes[] = {HEAP_BYTES,       SIZE_MAX / 4, SIZE_MAX / 4 + 1, SIZE_MAX / 2,
                                   SIZE_MAX / 2 + 1, SIZE_MAX - 8, SIZE_MAX};
    void *kept = heap_allocate(HEAP_ALIGNMENT, 100);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        assert_null(heap_allocate(HEAP_ALIGNMENT, sizes[i]));
        assert_null(heap_allocate(64, sizes[i]));
        assert_null(heap_resize(kept, sizes[i]));
    }
    assert_null(heap_allocate((size_t)1 << 63, 1));
    heap_release(kept);
}

static void resizes_in_place_where_it_can(void **state) {
    (void)state;
    char *block = heap_allocate(HEAP_ALIGNMENT, 1000);
    strcpy(block, "contents");
    assert_ptr_equal(heap_resize(block, 5000), block);
    assert_ptr_equal(heap_resize(block, 100), block);
    void *wall = heap_allocate(HEAP_ALIGNMENT, 10);
    char *moved = heap_resize(block, 9000);
    assert_ptr_not_equal(moved, block);
    assert_string_equal(moved, "contents");
    void *fresh = heap_resize(NULL, 10);
    assert_non_null(fresh);
    heap_release(fresh);
    heap_release(wall);
    heap_release(moved);
    heap_release(NULL);
}

static void is_exhausted_and_recovers(void **state) {
    (void)state;
    static void *blocks[HEAP_BYTES / 64];
    size_t count = 0;
    while ((blocks[count] = heap_allocate(HEAP_ALIGNMENT, 112)))
        count++;
    assert_true(count > HEAP_BYTES / 128 - 4);
    for (size_t i = 0; i < count; i += 2)
        heap_release(blocks[i]);
    assert_null(heap_allocate(HEAP_ALIGNMENT, 4096)); /* half is free, in holes */
    for (size_t i = 1; i < count; i += 2)
        heap_release(blocks[i]);
}

static void works_in_no_memory_at_all(void **state) {
    (void)state;
    _Alignas(16) static uint8_t small[256];
    for (size_t bytes = 0; bytes < sizeof small; bytes++) {
        heap_init(small + 1, bytes ? bytes - 1 : 0);
        void *block = heap_allocate(HEAP_ALIGNMENT, 1);
        if (block)
            assert_true((uint8_t *)block + 1 <= small + bytes);
        heap_release(block);
    }
    heap_init(memory, HEAP_BYTES);
}

/* Random operations against a list of what was given out and what was written into it. */
static void survives_random_use(void **state) {
    (void)state;
    static struct {
        uint8_t *at;
        size_t bytes;
        uint8_t fill;
    } blocks[200];
    uint32_t random = 7;
    memset(blocks, 0, sizeof blocks);
    for (unsigned step = 0; step < 200000; step++) {
        random = random * 1664525 + 1013904223;
        size_t i = (random >> 8) % 200, bytes = (random >> 4) % (random % 16 ? 300 : 30000);
        if (blocks[i].at && random >> 31) {
            uint8_t *resized = heap_resize(blocks[i].at, bytes);
            if (!resized)
                continue;
            for (size_t b = 0; b < bytes && b < blocks[i].bytes; b++)
                assert_int_equal(resized[b], blocks[i].fill);
            blocks[i].at = resized;
        } else if (blocks[i].at) {
            for (size_t b = 0; b < blocks[i].bytes; b++)
                assert_int_equal(blocks[i].at[b], blocks[i].fill);
            heap_release(blocks[i].at);
            blocks[i].at = NULL;
            continue;
        } else {
            size_t alignment = (size_t)16 << random % 8;
            blocks[i].at = heap_allocate(alignment, bytes);
            if (!blocks[i].at)
                continue;
            assert_int_equal((uintptr_t)blocks[i].at % alignment, 0);
        }
        assert_inside(blocks[i].at, bytes);
        blocks[i].bytes = bytes;
        blocks[i].fill = (uint8_t)step;
        memset(blocks[i].at, blocks[i].fill, bytes);
    }
    for (size_t i = 0; i < 200; i++)
        heap_release(blocks[i].at);
}

static void *first, *second;

static void free_twice(void) {
    heap_release(first);
    heap_release(first);
}

static void free_twice_after_merging(void) {
    heap_release(first);
    heap_release(second);
    heap_release(second);
}

static void free_the_middle(void) {
    heap_release((uint8_t *)first + 16);
}

static void free_what_was_overrun(void) {
    memset(first, 0xff, 200);
    heap_release(first);
}

static bool aborts(void (*action)(void)) {
    int status;
    pid_t child = fork();
    if (child == 0) {
        fclose(stderr);
        action();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void notices_misuse(void **state) {
    (void)state;
    first = heap_allocate(HEAP_ALIGNMENT, 100);
    second = heap_allocate(HEAP_ALIGNMENT, 100);
    memset(first, 0, 100);
    assert_true(aborts(free_twice));
    assert_true(aborts(free_twice_after_merging));
    assert_true(aborts(free_the_middle));
    assert_true(aborts(free_what_was_overrun));
    heap_release(first);
    heap_release(second);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, init, check_free)

/* It takes stretches when it has to, puts nothing across two of them, and gives back all but one.
 */
static void grows_and_shrinks(void **state) {
    (void)state;
    static uint8_t first[4096];
    static void *blocks[200];
    stretches_left = STRETCHES;
    heap_init(first, sizeof first);
    for (unsigned round = 0; round < 3; round++) {
        unsigned count = 0;
        void *block;
        while (count < 200 && (block = heap_allocate(HEAP_ALIGNMENT, 3000))) {
            memset(block, (int)count, 3000);
            blocks[count++] = block;
        }
        assert_true(count > STRETCHES * 20);
        assert_int_equal(heap_blocks(), count);
        assert_int_equal(stretches_left, 0);
        for (unsigned i = 0; i < count; i++) {
            const uint8_t *bytes = blocks[i];
            assert_int_equal(bytes[0], (uint8_t)i);
            assert_int_equal(bytes[2999], (uint8_t)i);
        }
        for (unsigned i = 0; i < count; i += 2)
            heap_release(blocks[i]);
        for (unsigned i = 1; i < count; i += 2)
            heap_release(blocks[i]);
        assert_int_equal(heap_blocks(), 0);
        assert_int_equal(stretches_left, STRETCHES - 1);
    }
    /* One is kept, and used before another is taken; what is too large for any is refused. */
    void *block = heap_allocate(HEAP_ALIGNMENT, 30000);
    assert_non_null(block);
    assert_int_equal(stretches_left, STRETCHES - 1);
    assert_null(heap_allocate(HEAP_ALIGNMENT, STRETCH_BYTES));
    assert_int_equal(stretches_left, STRETCHES - 1);
    heap_release(block);
    stretches_left = 0;
    memset(taken, 0, sizeof taken);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(loses_little_to_itself),
        TEST(gives_distinct_aligned_memory),
        TEST(aligns_as_asked),
        TEST(refuses_absurd_sizes),
        TEST(resizes_in_place_where_it_can),
        TEST(is_exhausted_and_recovers),
        TEST(works_in_no_memory_at_all),
        TEST(survives_random_use),
        TEST(notices_misuse),
        cmocka_unit_test(grows_and_shrinks),
    };
    return cmocka_run_group_tests_name("malloc", tests, NULL, NULL);
}
