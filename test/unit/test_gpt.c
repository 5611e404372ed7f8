/* Partition tables: valid ones, and what a disk could hold instead. */
#include "unit.h"

#include "gpt_image.h"

static uint8_t disk[IMAGE_BLOCKS * SECTOR];
static uint8_t *const header = disk + 512, *const entries = disk + 1024;
static struct gpt_header parsed;
static struct gpt_partition partitions[GPT_PARTITIONS_MAX];
static unsigned count;

static int setup(void **state) {
    (void)state;
    image_make(disk);
    return 0;
}

static bool header_good(void) {
    return gpt_parse_header(header, 512, 1, IMAGE_BLOCKS, &parsed);
}

static bool entries_good(void) {
    image_header(header, 1, 2, entries);
    return header_good() && gpt_parse_entries(&parsed, entries, partitions, &count);
}

static void a_valid_table_is_read(void **state) {
    (void)state;
    assert_int_equal(gpt_crc((const uint8_t *)"123456789", 9),
                     0xcbf43926); /* the usual check value */
    assert_true(gpt_has_protective_mbr(disk));
    assert_true(header_good());
    assert_true(gpt_parse_entries(&parsed, entries, partitions, &count));
    assert_int_equal(count, 2);
    assert_string_equal(partitions[0].name, "data");
    assert_int_equal(partitions[0].first_block, 100);
    assert_int_equal(partitions[0].blocks, 100);
    assert_string_equal(partitions[1].name, "log");
    assert_true(gpt_parse_header(disk + (IMAGE_BLOCKS - 1) * SECTOR, 512, IMAGE_BLOCKS - 1,
                                 IMAGE_BLOCKS, &parsed));
}

static void every_damaged_bit_of_a_header_is_seen(void **state) {
    (void)state;
    for (unsigned bit = 0; bit < 92 * 8; bit++) {
        header[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(header_good());
        header[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(header_good());
    entries[40] ^= 1;
    assert_true(header_good());
    assert_false(gpt_parse_entries(&parsed, entries, partitions, &count));
}

/* With a right checksum. */
static void headers_out_of_bounds(void **state) {
    (void)state;
    static const struct {
        unsigned offset, bytes;
        uint64_t value;
    } bad[] = {
        {8, 4, 0x20000},       /* revision */
        {12, 4, 91},           /* shorter than a header */
        {12, 4, 513},          /* longer than the block */
        {24, 8, 2},            /* stands elsewhere */
        {40, 8, 1},            /* usable blocks begin inside the table */
        {40, 8, IMAGE_BLOCKS}, /* or behind their end */
        {48, 8, IMAGE_BLOCKS}, /* or end behind the disk */
        {48, 8, ~0ull},
        {72, 8, 1},                 /* entries on top of the header */
        {72, 8, IMAGE_BLOCKS - 31}, /* entries beyond the disk */
        {72, 8, ~0ull},
        {80, 4, 0},
        {80, 4, 513},        /* more bytes than we take */
        {80, 4, 0x80000001}, /* a product that overflows */
        {84, 4, 0},
        {84, 4, 64},
        {84, 4, 129},
        {84, 4, 0x80000000},
    };
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        image_make(disk);
        image_put(header + bad[i].offset, bad[i].value, bad[i].bytes);
        image_seal(header);
        assert_false(header_good());
    }
}

static void partitions_out_of_bounds(void **state) {
    (void)state;
    static const struct {
        uint64_t first, last;
    } bad[] = {
        {33, 50}, /* begins in the table */
        {1900, IMAGE_LAST_USABLE + 1},
        {1500, 1499}, /* ends too late, before it begins */
        {1500, ~0ull},
        {~0ull, ~0ull},
        {150, 160},   /* inside "data" */
        {1000, 1000}, /* the last block of "log" */
        {50, 1900},   /* around both */
    };
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        image_entry(entries, 9, bad[i].first, bad[i].last, "x");
        assert_false(entries_good());
    }
    image_entry(entries, 9, 1001, 1001, "x");
    assert_true(entries_good());
    assert_int_equal(count, 3);
}

static void more_partitions_than_we_take(void **state) {
    (void)state;
    static uint8_t many[256 * 128];
    struct gpt_header h = {
        .entries = 256, .entry_bytes = 128, .first_usable = 34, .last_usable = 1000};
    for (unsigned i = 0; i < 128; i++)
        image_entry(many, i * 2, 34 + i, 34 + i, "p");
    h.entries_crc = gpt_crc(many, sizeof(many));
    assert_true(gpt_parse_entries(&h, many, partitions, &count));
    assert_int_equal(count, 128);
    image_entry(many, 255, 900, 900, "p");
    h.entries_crc = gpt_crc(many, sizeof(many));
    assert_false(gpt_parse_entries(&h, many, partitions, &count));
}

static void names_become_clean_utf8(void **state) {
    (void)state;
    static const uint16_t name[] = {'a', 0x1b, 0xe4, 0x20ac, 0xd83d, 0xde00, 0x7f, 'b'};
    for (unsigned i = 0; i < 8; i++)
        image_put(entries + 56 + (size_t)2 * i, name[i], 2);
    assert_true(entries_good());
    assert_string_equal(partitions[0].name, "a?\xc3\xa4\xe2\x82\xac???b");
    for (unsigned i = 0; i < 36; i++)
        image_put(entries + 56 + (size_t)2 * i, 0x20ac, 2);
    assert_true(entries_good());
    assert_int_equal(strlen(partitions[0].name), 108);
}

static void without_a_protective_mbr_there_is_no_table(void **state) {
    (void)state;
    disk[450] = 0x83;
    assert_false(gpt_has_protective_mbr(disk));
    disk[450 + 48] = 0xee;
    assert_true(gpt_has_protective_mbr(disk));
    disk[511] = 0;
    assert_false(gpt_has_protective_mbr(disk));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_valid_table_is_read, setup),
        cmocka_unit_test_setup(every_damaged_bit_of_a_header_is_seen, setup),
        cmocka_unit_test_setup(headers_out_of_bounds, setup),
        cmocka_unit_test_setup(partitions_out_of_bounds, setup),
        cmocka_unit_test_setup(more_partitions_than_we_take, setup),
        cmocka_unit_test_setup(names_become_clean_utf8, setup),
        cmocka_unit_test_setup(without_a_protective_mbr_there_is_no_table, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
