/* The newc reader, with archives that are right and archives that lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guestlib/archive.h"
#include "mgmt/domain/files.h"

static uint8_t archive[4096];
static size_t archive_bytes;

static size_t add_raw(const char *name, uint32_t mode, uint32_t name_bytes, uint32_t file_bytes) {
    size_t header = archive_bytes;
    archive_bytes += (size_t)sprintf((char *)archive + archive_bytes,
                                     "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
                                     1, mode, 0, 0, 1, 0, file_bytes, 0, 0, 0, 0, name_bytes, 0);
    strcpy((char *)archive + archive_bytes, name);
    archive_bytes = (archive_bytes + strlen(name) + 1 + 3) & ~(size_t)3;
    return header;
}

static size_t add(const char *name, const char *contents) {
    size_t header = add_raw(name, 0100644, (uint32_t)strlen(name) + 1, (uint32_t)strlen(contents));
    memcpy(archive + archive_bytes, contents, strlen(contents));
    archive_bytes = (archive_bytes + strlen(contents) + 3) & ~(size_t)3;
    return header;
}

static void add_trailer(void) {
    add_raw("TRAILER!!!", 0, 11, 0);
}

static int clear(void **state) {
    (void)state;
    memset(archive, 0, sizeof archive);
    archive_bytes = 0;
    return 0;
}

/* In a block of exactly that size, so that the sanitizer sees every byte too far. mgmt's table of
 * files has to find the same. */
static const uint8_t *find(const char *name, size_t *bytes, size_t length) {
    static uint8_t *copy;
    free(copy);
    copy = malloc(length ? length : 1);
    memcpy(copy, archive, length);
    const uint8_t *found = archive_find(copy, length, name, bytes);
    size_t by_table;
    files_start(copy, length);
    assert_ptr_equal(files_find(name, &by_table), found);
    if (found)
        assert_int_equal(by_table, *bytes);
    return found;
}

static void assert_contents(const char *name, const char *contents) {
    size_t bytes;
    const uint8_t *found = find(name, &bytes, archive_bytes);
    assert_non_null(found);
    assert_int_equal(bytes, strlen(contents));
    assert_memory_equal(found, contents, bytes);
}

static void finds_files_by_name(void **state) {
    (void)state;
    size_t bytes;
    add("a", "first");
    add("./dir/b.txt", "second one");
    add("empty", "");
    add_trailer();
    assert_contents("a", "first");
    assert_contents("dir/b.txt", "second one");
    assert_contents("empty", "");
    assert_null(find("b.txt", &bytes, archive_bytes));
    assert_null(find("", &bytes, archive_bytes));
}

static void the_first_of_a_name_counts(void **state) {
    (void)state;
    char name[8];
    add("a", "first");
    add("a", "second");
    for (unsigned i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "%u", i);
        add(name, name);
    }
    add_trailer();
    assert_contents("a", "first");
    for (unsigned i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "%u", i);
        assert_contents(name, name);
    }
}

static void passes_folders_and_links_over(void **state) {
    (void)state;
    struct archive_entry entry;
    uint64_t offset = 0;
    size_t bytes;
    add_raw("folder", 0040755, 7, 0);
    add_raw("link", 0120777, 5, 4);
    memcpy(archive + archive_bytes, "file", 4);
    archive_bytes += 4;
    add("file", "x");
    add_trailer();
    assert_null(find("folder", &bytes, archive_bytes));
    assert_null(find("link", &bytes, archive_bytes));
    assert_contents("file", "x");
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(archive_next(archive, archive_bytes, &offset, &entry), ARCHIVE_ENTRY);
        assert_int_equal(entry.is_file, i == 2);
    }
    assert_int_equal(archive_next(archive, archive_bytes, &offset, &entry), ARCHIVE_END);
}

static void refuses_an_archive_cut_anywhere(void **state) {
    (void)state;
    struct archive_entry entry;
    add("a", "first");
    add("b", "second");
    size_t trailer = archive_bytes;
    add_trailer();
    for (size_t length = 0; length < trailer + ARCHIVE_HEADER_BYTES + 11; length++) {
        uint8_t *copy = malloc(length ? length : 1);
        uint64_t offset = 0;
        enum archive_result result;
        memcpy(copy, archive, length);
        do
            result = archive_next(copy, length, &offset, &entry);
        while (result == ARCHIVE_ENTRY);
        assert_int_equal(result, ARCHIVE_DAMAGED);
        free(copy);
    }
}

static void refuses_lies_about_sizes(void **state) {
    (void)state;
    static const char *const file_sizes[] = {"FFFFFFFF", "80000000", "00001000",
                                             "0000000G", "       1", "-0000001"};
    static const char *const name_sizes[] = {"00000000", "FFFFFFFF", "00000101", "00000001",
                                             "00000ZZZ"};
    size_t bytes;
    for (size_t i = 0; i < sizeof file_sizes / sizeof file_sizes[0]; i++) {
        clear(NULL);
        size_t header = add("a", "contents");
        add_trailer();
        memcpy(archive + header + 6 + 8 * 6, file_sizes[i], 8);
        assert_null(find("a", &bytes, archive_bytes));
    }
    for (size_t i = 0; i < sizeof name_sizes / sizeof name_sizes[0]; i++) {
        clear(NULL);
        size_t header = add("a", "contents");
        add_trailer();
        memcpy(archive + header + 6 + 8 * 11, name_sizes[i], 8);
        assert_null(find("a", &bytes, archive_bytes));
    }
}

static void refuses_other_formats(void **state) {
    (void)state;
    size_t bytes;
    add("a", "x");
    add_trailer();
    archive[5] = '2'; /* newc with checksums */
    assert_null(find("a", &bytes, archive_bytes));
}

static void reads_piece_by_piece(void **state) {
    (void)state;
    struct archive_entry entry;
    add("a", "first");
    size_t second = add("b", "second");
    add_trailer();
    /* As if only this header had been read, of an archive in which the contents end far away. */
    assert_int_equal(archive_entry(archive + second, ARCHIVE_HEADER_BYTES + 2, 1000000 + second,
                                   2000000, &entry),
                     ARCHIVE_ENTRY);
    assert_int_equal(entry.contents, 1000000 + second + ARCHIVE_HEADER_BYTES + 2);
    assert_int_equal(entry.next, entry.contents + 8);
    assert_int_equal(archive_entry(archive + second, ARCHIVE_HEADER_BYTES + 2, 1000000 + second,
                                   1000000 + second + ARCHIVE_HEADER_BYTES + 2 + 5, &entry),
                     ARCHIVE_DAMAGED);
}

static void survives_random_damage(void **state) {
    (void)state;
    uint32_t random = 1;
    add("a", "first");
    add("some/longer/name.html", "<p>contents</p>");
    add_trailer();
    for (unsigned round = 0; round < 50000; round++) {
        size_t bytes;
        random = random * 1664525 + 1013904223;
        uint8_t *at = archive + (random >> 8) % archive_bytes, saved = *at;
        *at = (uint8_t)random;
        const uint8_t *found = find("some/longer/name.html", &bytes, archive_bytes);
        if (found)
            assert_in_range(bytes, 0, archive_bytes);
        *at = saved;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(finds_files_by_name, clear),
        cmocka_unit_test_setup(the_first_of_a_name_counts, clear),
        cmocka_unit_test_setup(passes_folders_and_links_over, clear),
        cmocka_unit_test_setup(refuses_an_archive_cut_anywhere, clear),
        cmocka_unit_test_setup(refuses_lies_about_sizes, clear),
        cmocka_unit_test_setup(refuses_other_formats, clear),
        cmocka_unit_test_setup(reads_piece_by_piece, clear),
        cmocka_unit_test_setup(survives_random_damage, clear),
    };
    return cmocka_run_group_tests_name("archive", tests, NULL, NULL);
}
