/* Mappings: large and small pages, progress over AGAIN, failures half way, moving a mapped slot, a
 * Space that dies. */
#include "test/unit/core_test.h"

#define VA 0x40000000ull
#define MIB2 0x200000ull
enum { REGION = 20, SPACE = 21, RW = BH_REGION_READ | BH_REGION_WRITE };

static void set_up(uint64_t pages, uint64_t pool) {
    OK(scrub(W_FRAMES));
    OK(retype(W_FRAMES, BH_TYPE_REGION, pages, REGION));
    OK(retype(W_OBJECTS, BH_TYPE_SPACE, pool, SPACE));
}

static uint64_t map(uint32_t region, uint32_t space, uint64_t va, uint64_t rights) {
    return call(BH_HC_MAP, OWN(region), OWN(space), va, rights);
}

static bool present(uint64_t va) {
    return fake_translate(world_object(SPACE), va).present;
}

static void test_large_pages_where_both_addresses_allow(void **state) {
    (void)state;
    set_up(1025, 8);
    OK(map(REGION, SPACE, VA, RW));
    struct fake_page page = fake_translate(world_object(SPACE), VA + MIB2 + 5 * PAGE_BYTES);
    assert_true(page.large);
    assert_int_equal(page.pa, FAKE_FRAME_BASE + MIB2 + 5 * PAGE_BYTES);
    assert_int_equal(page.rights, RW);
    assert_false(fake_translate(world_object(SPACE), VA + 2 * MIB2).large);
    assert_false(present(VA + 2 * MIB2 + PAGE_BYTES));
    OK(finish(BH_HC_UNMAP, OWN(REGION)));
    assert_false(present(VA));
    assert_false(present(VA + 2 * MIB2));
}

static void test_long_map_and_unmap_go_on_after_again(void **state) {
    (void)state;
    enum { LONG = 2 * ARCH_MAP_ENTRIES + ARCH_MAP_ENTRIES / 2 };
    set_up(LONG, 16);
    uint64_t va = VA + PAGE_BYTES; /* small pages only */
    STATUS(BH_AGAIN, map(REGION, SPACE, va, RW));
    assert_int_equal(fake.entries, ARCH_MAP_ENTRIES);
    call(BH_HC_CAP_INFO, OWN(REGION), 1);
    assert_int_equal(world_value(0), LONG);
    assert_int_equal(world_value(1), ARCH_MAP_ENTRIES);
    STATUS(BH_BUSY, map(REGION, SPACE, va + PAGE_BYTES, RW));
    STATUS(BH_AGAIN, map(REGION, SPACE, va, RW));
    OK(map(REGION, SPACE, va, RW));
    STATUS(BH_BUSY, map(REGION, SPACE, va, RW));
    assert_int_equal(fake_translate(world_object(SPACE), va + (LONG - 1) * PAGE_BYTES).pa,
                     FAKE_FRAME_BASE + (LONG - 1) * PAGE_BYTES);

    STATUS(BH_AGAIN, call(BH_HC_UNMAP, OWN(REGION)));
    assert_int_equal(fake.entries, REMOVE_WORK);
    assert_true(fake.flushes > 0);
    assert_false(present(va + (LONG - 1) * PAGE_BYTES));
    assert_true(present(va));
    OK(map(REGION, SPACE, va, RW)); /* partly unmapped, then mapped again */
    OK(finish(BH_HC_UNMAP, OWN(REGION)));
    assert_false(present(va));
    OK(call(BH_HC_UNMAP, OWN(REGION)));
}

static void test_bad_arguments(void **state) {
    (void)state;
    set_up(2, 8);
    STATUS(BH_BAD_ARG, map(REGION, SPACE, VA + 1, RW));
    STATUS(BH_BAD_ARG, map(REGION, SPACE, 0, RW));
    STATUS(BH_BAD_ARG, map(REGION, SPACE, BH_USER_VA_MIN - PAGE_BYTES, RW));
    STATUS(BH_BAD_ARG, map(REGION, SPACE, BH_USER_VA_END, RW));
    STATUS(BH_BAD_ARG, map(REGION, SPACE, BH_USER_VA_END - PAGE_BYTES, RW));
    STATUS(BH_BAD_ARG, map(REGION, SPACE, ~0ull << 12, RW));
    static const uint64_t bad_rights[] = {0,     BH_REGION_WRITE, BH_REGION_EXEC, 6, 7, 9,
                                          0x101, ~0ull,           1ull << 32 | 1};
    for (size_t i = 0; i < sizeof(bad_rights) / sizeof(bad_rights[0]); i++)
        STATUS(BH_BAD_ARG, map(REGION, SPACE, VA, bad_rights[i]));
    OK(call(BH_HC_COPY, OWN(REGION), OWN(30), BH_REGION_READ));
    STATUS(BH_BAD_RIGHTS, map(30, SPACE, VA, RW));
    STATUS(BH_BAD_RIGHTS, map(30, SPACE, VA, BH_REGION_READ | BH_REGION_EXEC));
    OK(call(BH_HC_COPY, OWN(SPACE), OWN(31), BH_SPACE_BIND));
    STATUS(BH_BAD_RIGHTS, map(30, 31, VA, BH_REGION_READ));
    STATUS(BH_BAD_CAP, map(SPACE, REGION, VA, RW));
    assert_null(((struct space *)world_object(SPACE))->mapped);
    assert_int_equal(((struct space *)world_object(SPACE))->pool_used, 1);
    OK(map(REGION, SPACE, BH_USER_VA_MIN, RW));
    OK(map(30, SPACE, BH_USER_VA_END - 2 * PAGE_BYTES, BH_REGION_READ));
}

static void test_an_address_in_use(void **state) {
    (void)state;
    set_up(4, 8);
    OK(call(BH_HC_COPY, OWN(REGION), OWN(30), RW));
    OK(map(REGION, SPACE, VA, RW));
    STATUS(BH_BUSY, map(30, SPACE, VA + 3 * PAGE_BYTES, RW));
    assert_null(world_slot(30)->region.space);
    STATUS(BH_BUSY, map(30, SPACE, VA - 2 * PAGE_BYTES, RW)); /* half of it is free */
    assert_int_equal(world_slot(30)->region.mapped, 2);
    STATUS(BH_BUSY, map(30, SPACE, VA + MIB2, RW));
    OK(call(BH_HC_UNMAP, OWN(30)));
    assert_true(present(VA));
    assert_false(present(VA - PAGE_BYTES));
    OK(map(30, SPACE, VA + 4 * PAGE_BYTES, RW));
}

static void test_pool_used_up_half_way(void **state) {
    (void)state;
    set_up(600, 4); /* root and one table of each level: 512 pages */
    uint64_t va = VA + PAGE_BYTES;
    STATUS(BH_NO_MEMORY, finish(BH_HC_MAP, OWN(REGION), OWN(SPACE), va, RW));
    assert_int_equal(world_slot(REGION)->region.mapped, 511);
    STATUS(BH_NO_MEMORY, finish(BH_HC_MAP, OWN(REGION), OWN(SPACE), va, RW));
    assert_int_equal(world_slot(REGION)->region.mapped, 511);
    OK(finish(BH_HC_UNMAP, OWN(REGION)));
    call(BH_HC_CAP_INFO, OWN(SPACE), 1);
    assert_int_equal(world_value(0), 4);
    assert_int_equal(world_value(1), 0); /* table pages stay */
}

static void test_moved_slots_keep_their_mapping(void **state) {
    (void)state;
    set_up(3, 8);
    for (uint32_t i = 0; i < 3; i++) {
        OK(call(BH_HC_COPY, OWN(REGION), OWN(30 + i), RW, i, 1));
        OK(map(30 + i, SPACE, VA + i * MIB2, RW));
    }
    for (uint32_t i = 0; i < 3; i++)
        OK(call(BH_HC_MOVE, OWN(30 + i), OWN(40 + i)));
    assert_true(present(VA + MIB2));
    for (uint32_t i = 0; i < 3; i++) {
        OK(call(BH_HC_DELETE, OWN(40 + i)));
        assert_false(present(VA + i * MIB2));
    }
    assert_null(((struct space *)world_object(SPACE))->mapped);
}

static void test_revoking_a_region_unmaps_what_was_derived(void **state) {
    (void)state;
    set_up(8, 8);
    OK(call(BH_HC_COPY, OWN(REGION), OWN(30), RW, 2, 4));
    OK(call(BH_HC_COPY, OWN(30), OWN(31), BH_REGION_READ, 1, 1));
    OK(map(30, SPACE, VA, RW));
    OK(map(31, SPACE, VA + MIB2, BH_REGION_READ));
    assert_int_equal(fake_translate(world_object(SPACE), VA + MIB2).pa,
                     FAKE_FRAME_BASE + 3 * PAGE_BYTES);
    OK(call(BH_HC_NARROW, OWN(REGION), 0));
    assert_true(present(VA));
    OK(finish(BH_HC_REVOKE, OWN(REGION)));
    assert_false(present(VA));
    assert_false(present(VA + MIB2));
}

static void test_partly_mapped_region_dies(void **state) {
    (void)state;
    set_up(1300, 16);
    STATUS(BH_AGAIN, map(REGION, SPACE, VA + PAGE_BYTES, RW));
    OK(finish(BH_HC_DELETE, OWN(REGION)));
    assert_false(present(VA + PAGE_BYTES));
    assert_null(((struct space *)world_object(SPACE))->mapped);
}

static void test_space_dies_with_mappings(void **state) {
    (void)state;
    set_up(8, 8);
    OK(map(REGION, SPACE, VA, RW));
    OK(finish(BH_HC_DELETE, OWN(SPACE)));
    call(BH_HC_CAP_INFO, OWN(REGION), 1);
    assert_int_equal(world_value(1), 0);
    OK(retype(W_OBJECTS, BH_TYPE_SPACE, 8, SPACE));
    OK(map(REGION, SPACE, VA, RW));
}

/* Between two steps of a Space's death a page is either still mapped and in its Region, or neither:
 * a Context bound to the Space meanwhile would otherwise use frames that nobody can take back. */
static void test_space_that_dies_in_steps_stays_consistent(void **state) {
    (void)state;
    enum { TABLE = 22, COPIES = 600 };
    set_up(COPIES, 16);
    OK(retype(W_OBJECTS, BH_TYPE_CAPTABLE, COPIES + 1, TABLE));
    for (uint32_t i = 1; i <= COPIES; i++) {
        OK(call(BH_HC_COPY, OWN(REGION), BH_REF(TABLE, i), RW, i - 1, 1));
        OK(call(BH_HC_MAP, BH_REF(TABLE, i), OWN(SPACE), VA + i * PAGE_BYTES, RW));
    }
    const struct captable *table = world_object(TABLE);
    STATUS(BH_AGAIN, call(BH_HC_DELETE, OWN(SPACE)));
    for (uint32_t i = 1; i <= COPIES; i++)
        assert_int_equal(present(VA + i * PAGE_BYTES), table->slot[i].region.space != NULL);
    OK(finish(BH_HC_DELETE, OWN(SPACE)));
    for (uint32_t i = 1; i <= COPIES; i++)
        assert_null(table->slot[i].region.space);
}

static void test_unmap_needs_no_rights_but_a_region(void **state) {
    (void)state;
    set_up(1, 8);
    OK(map(REGION, SPACE, VA, RW));
    OK(call(BH_HC_NARROW, OWN(REGION), 0));
    STATUS(BH_BAD_CAP, call(BH_HC_UNMAP, OWN(SPACE)));
    STATUS(BH_BAD_CAP, call(BH_HC_UNMAP, OWN(99)));
    STATUS(BH_BAD_CAP, call(BH_HC_UNMAP, BH_OWN(REGION)));
    OK(call(BH_HC_UNMAP, OWN(REGION)));
    assert_false(present(VA));
}

static uint64_t dirty(uint64_t page) {
    return call(BH_HC_REGION_DIRTY, OWN(REGION), page);
}

static void assert_dirty(uint64_t page, uint64_t bits, uint64_t pages) {
    OK(dirty(page));
    assert_int_equal(world_value(0), bits);
    assert_int_equal(world_value(1), pages);
    assert_int_equal(fake.flushes, 1);
}

static void test_what_is_written_shows_once(void **state) {
    (void)state;
    set_up(100, 8);
    OK(finish(BH_HC_MAP, OWN(REGION), OWN(SPACE), VA + PAGE_BYTES, RW));
    assert_dirty(0, ~0ull, 64);
    assert_dirty(64, (1ull << 36) - 1, 36);
    assert_dirty(0, 0, 64);
    fake_write(world_object(SPACE), VA + PAGE_BYTES);
    fake_write(world_object(SPACE), VA + 64 * PAGE_BYTES);
    fake_write(world_object(SPACE), VA + 100 * PAGE_BYTES);
    assert_dirty(0, 1ull << 63 | 1, 64);
    assert_dirty(1, 0, 64);
    assert_dirty(99, 1, 1);
    fake_write(world_object(SPACE), VA + PAGE_BYTES);
    assert_dirty(0, 1, 64);
}

static void test_a_large_page_is_dirty_as_a_whole(void **state) {
    (void)state;
    set_up(514, 8);
    OK(map(REGION, SPACE, VA, RW));
    assert_dirty(0, 1, 512);
    assert_dirty(0, 0, 512);
    fake_write(world_object(SPACE), VA + 300 * PAGE_BYTES);
    STATUS(BH_BAD_ARG, dirty(300));
    STATUS(BH_BAD_ARG, dirty(511));
    assert_dirty(0, 1, 512);
    assert_dirty(512, 3, 2);
}

/* Each mapping has its own account of the same memory. */
static void test_a_mapping_tells_of_its_own_writes(void **state) {
    (void)state;
    set_up(4, 16);
    OK(call(BH_HC_COPY, OWN(REGION), OWN(30), RW | BH_REGION_DIRTY));
    OK(map(REGION, SPACE, VA, RW));
    OK(map(30, SPACE, VA + MIB2, RW));
    assert_dirty(0, 0xf, 4);
    OK(call(BH_HC_REGION_DIRTY, OWN(30), 0));
    assert_int_equal(world_value(0), 0xf);
    fake_write(world_object(SPACE), VA + MIB2 + PAGE_BYTES);
    assert_dirty(0, 0, 4);
    OK(call(BH_HC_REGION_DIRTY, OWN(30), 0));
    assert_int_equal(world_value(0), 2);
}

static void test_dirty_is_refused(void **state) {
    (void)state;
    set_up(1300, 16);
    STATUS(BH_BAD_ARG, dirty(0)); /* not mapped */
    STATUS(BH_AGAIN, map(REGION, SPACE, VA + PAGE_BYTES, RW));
    OK(dirty(ARCH_MAP_ENTRIES - 1));
    STATUS(BH_BAD_ARG, dirty(ARCH_MAP_ENTRIES)); /* not yet */
    STATUS(BH_BAD_ARG, dirty(1 << 27));
    STATUS(BH_BAD_ARG, dirty(~0ull));
    STATUS(BH_BAD_ARG, dirty(1ull << 52));
    OK(finish(BH_HC_UNMAP, OWN(REGION)));
    STATUS(BH_BAD_ARG, dirty(0));
    assert_int_equal(world_value(0), 0);
    assert_int_equal(world_value(1), 0);
    STATUS(BH_BAD_CAP, call(BH_HC_REGION_DIRTY, OWN(SPACE), 0));
    OK(call(BH_HC_NARROW, OWN(REGION), BH_RIGHTS_ALL & ~BH_REGION_DIRTY));
    STATUS(BH_BAD_RIGHTS, dirty(0));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_large_pages_where_both_addresses_allow),
        TEST(test_long_map_and_unmap_go_on_after_again),
        TEST(test_bad_arguments),
        TEST(test_an_address_in_use),
        TEST(test_pool_used_up_half_way),
        TEST(test_moved_slots_keep_their_mapping),
        TEST(test_revoking_a_region_unmaps_what_was_derived),
        TEST(test_partly_mapped_region_dies),
        TEST(test_space_dies_with_mappings),
        TEST(test_space_that_dies_in_steps_stays_consistent),
        TEST(test_unmap_needs_no_rights_but_a_region),
        TEST(test_what_is_written_shows_once),
        TEST(test_a_large_page_is_dirty_as_a_whole),
        TEST(test_a_mapping_tells_of_its_own_writes),
        TEST(test_dirty_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
