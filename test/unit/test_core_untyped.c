/* Untyped memory: watermark, restart, clean and dirty, sizes at the edges. */
#include "test/unit/core_test.h"

static bool zero(const void *memory, size_t bytes) {
    const uint8_t *at = memory;
    for (size_t i = 0; i < bytes; i++)
        if (at[i])
            return false;
    return true;
}

/* Makes all object memory of the machine's Untyped dirty again, as former objects would. */
static void soil_objects(void) {
    struct slot *untyped = world_slot(W_OBJECTS);
    memset((uint8_t *)arch_object_pointer(untyped->base) + untyped->untyped.used, 0xa5,
           untyped->untyped.pages * PAGE_BYTES - untyped->untyped.used);
    untyped->untyped.clean = untyped->untyped.used;
}

static void test_watermark_rises_and_objects_do_not_overlap(void **state) {
    (void)state;
    OK(retype(W_OBJECTS, BH_TYPE_EVENT, 64, 20));
    OK(retype(W_OBJECTS, BH_TYPE_IRQ, 0, 21));
    OK(retype(W_OBJECTS, BH_TYPE_CAPTABLE, 2, 22));
    uint8_t *event = world_object(20), *irq = world_object(21), *table = world_object(22);
    assert_true(irq >= event + object_bytes(BH_TYPE_EVENT, 64));
    assert_true(table >= irq + object_bytes(BH_TYPE_IRQ, 0));
    assert_int_equal((uintptr_t)table % 64, 0);
    assert_int_equal(world_slot(22)->flags, SLOT_ORIGINAL);
    assert_int_equal(world_slot(22)->rights, BH_RIGHTS_ALL);
}

static void test_pools_are_page_aligned(void **state) {
    (void)state;
    OK(retype(W_OBJECTS, BH_TYPE_EVENT, 64, 20));
    OK(retype(W_OBJECTS, BH_TYPE_SPACE, 1, 21));
    struct space *space = world_object(21);
    assert_int_equal((uintptr_t)space->arch.root % PAGE_BYTES, 0);
    assert_int_equal(space->pool_used, 1);
}

static void test_children_are_page_aligned_in_object_memory(void **state) {
    (void)state;
    OK(retype(W_OBJECTS, BH_TYPE_EVENT, 64, 20));
    OK(retype(W_OBJECTS, BH_TYPE_UNTYPED, 1, 21));
    assert_int_equal(world_slot(21)->base.raw, world_slot(W_OBJECTS)->base.raw + PAGE_BYTES);
    call(BH_HC_CAP_INFO, OWN(W_OBJECTS), 1);
    assert_int_equal(world_value(0), 1024);
    assert_int_equal(world_value(1), 1022);
}

static void test_all_of_it_and_not_a_page_more(void **state) {
    (void)state;
    STATUS(BH_NO_MEMORY, retype(W_OBJECTS, BH_TYPE_UNTYPED, 1025, 20));
    OK(retype(W_OBJECTS, BH_TYPE_UNTYPED, 1023, 20));
    STATUS(BH_NO_MEMORY, retype(W_OBJECTS, BH_TYPE_UNTYPED, 2, 21));
    OK(retype(W_OBJECTS, BH_TYPE_UNTYPED, 1, 21));
    STATUS(BH_NO_MEMORY, retype(W_OBJECTS, BH_TYPE_EVENT, 64, 22));
}

static void test_sizes_out_of_bounds(void **state) {
    (void)state;
    static const struct {
        enum bh_type type;
        uint64_t size;
    } bad[] = {
        {BH_TYPE_NONE, 1},
        {BH_TYPE_UNTYPED, 0},
        {BH_TYPE_UNTYPED, UNTYPED_PAGES_MAX + 1},
        {BH_TYPE_UNTYPED, 1ull << 52},
        {BH_TYPE_UNTYPED, ~0ull},
        {BH_TYPE_REGION, 1}, /* object memory is never mapped */
        {BH_TYPE_SPACE, 0},
        {BH_TYPE_SPACE, BH_SPACE_POOL_MAX + 1},
        {BH_TYPE_SPACE, ~0ull},
        {BH_TYPE_CAPTABLE, 1},
        {BH_TYPE_CAPTABLE, BH_CAPTABLE_SLOTS_MAX + 1},
        {BH_TYPE_CAPTABLE, 1ull << 58},
        {BH_TYPE_CONTEXT, 1},
        {BH_TYPE_EVENT, 0},
        {BH_TYPE_EVENT, 128},
        {BH_TYPE_IRQ, 1},
        {BH_TYPE_PORTS, 1},
        {BH_TYPE_CPU, 0},
        {BH_TYPE_SYSTEM, 0},
        {BH_TYPE_VCPU, 1},
        {BH_TYPE_DEVICE, 0},
        {BH_TYPE_DEVICE + 1, 0},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        STATUS(BH_BAD_ARG, retype(W_OBJECTS, bad[i].type, bad[i].size, 20));
        assert_int_equal(world_slot(20)->type, BH_TYPE_NONE);
    }
    STATUS(BH_BAD_ARG, call(BH_HC_RETYPE, OWN(W_OBJECTS), 1ull << 32 | BH_TYPE_EVENT, 64, OWN(20)));
    STATUS(BH_BAD_ARG, call(BH_HC_RETYPE, OWN(W_OBJECTS), BH_TYPE_EVENT, 64, OWN(20), 1));
    STATUS(BH_BAD_ARG, call(BH_HC_RETYPE, OWN(W_OBJECTS), BH_TYPE_SPACE, 1, OWN(20), 2));
    STATUS(BH_BAD_ARG, call(BH_HC_RETYPE, OWN(W_OBJECTS), BH_TYPE_SPACE, 1, OWN(20), 1ull << 32));
    assert_int_equal(world_slot(W_OBJECTS)->untyped.used, 0);
}

static void test_kind_of_memory_must_suit(void **state) {
    (void)state;
    scrub(W_FRAMES);
    STATUS(BH_BAD_ARG, retype(W_FRAMES, BH_TYPE_EVENT, 64, 20));
    STATUS(BH_BAD_ARG, retype(W_SHARED, BH_TYPE_CAPTABLE, 2, 20));
    STATUS(BH_BAD_ARG, retype(W_DEVICE, BH_TYPE_CONTEXT, 0, 20));
    STATUS(BH_BAD_ARG, retype(W_FRAMES, BH_TYPE_REGION, REGION_PAGES_MAX + 1ull, 20));
    OK(retype(W_FRAMES, BH_TYPE_UNTYPED, 4, 20));
    OK(retype(W_DEVICE, BH_TYPE_UNTYPED, 4, 21));
    OK(retype(21, BH_TYPE_REGION, 4, 22)); /* device memory is not scrubbed */
    assert_int_equal(world_slot(20)->untyped.kind, BH_KIND_FRAME);
    assert_int_equal(world_slot(22)->region.kind, BH_KIND_DEVICE);
}

static void test_destination_occupied(void **state) {
    (void)state;
    OK(retype(W_OBJECTS, BH_TYPE_EVENT, 64, 20));
    STATUS(BH_BUSY, retype(W_OBJECTS, BH_TYPE_EVENT, 64, 20));
    STATUS(BH_BUSY, retype(W_OBJECTS, BH_TYPE_EVENT, 64, W_OBJECTS));
    assert_int_equal(world_slot(W_OBJECTS)->untyped.used, object_bytes(BH_TYPE_EVENT, 64));
}

static void test_regions_only_of_clean_memory(void **state) {
    (void)state;
    STATUS(BH_DIRTY, retype(W_FRAMES, BH_TYPE_REGION, 1, 20));
    STATUS(BH_AGAIN, call(BH_HC_SCRUB, OWN(W_FRAMES)));
    assert_int_equal(world_value(0), ARCH_SCRUB_PAGES * PAGE_BYTES);
    assert_int_equal(fake.scrubbed_pages, ARCH_SCRUB_PAGES);
    STATUS(BH_DIRTY, retype(W_FRAMES, BH_TYPE_REGION, ARCH_SCRUB_PAGES + 1, 20));
    OK(retype(W_FRAMES, BH_TYPE_REGION, ARCH_SCRUB_PAGES, 20));
    STATUS(BH_DIRTY, retype(W_FRAMES, BH_TYPE_REGION, 1, 21));
}

static void test_scrub_does_not_touch_what_was_given_out(void **state) {
    (void)state;
    call(BH_HC_SCRUB, OWN(W_FRAMES));
    OK(retype(W_FRAMES, BH_TYPE_REGION, 1, 20));
    OK(retype(W_FRAMES, BH_TYPE_UNTYPED, ARCH_SCRUB_PAGES,
              21)); /* half of it beyond the clean part */
    for (uint32_t i = 0; i <= ARCH_SCRUB_PAGES; i++)
        *fake_frame(FAKE_FRAME_BASE + i * PAGE_BYTES) = 7;
    OK(scrub(W_FRAMES));
    for (uint32_t i = 0; i <= ARCH_SCRUB_PAGES; i++)
        assert_int_equal(*fake_frame(FAKE_FRAME_BASE + i * PAGE_BYTES), 7);
    for (uint32_t i = ARCH_SCRUB_PAGES + 1; i < 4096; i++)
        assert_int_equal(*fake_frame(FAKE_FRAME_BASE + i * PAGE_BYTES), 0);
}

static void test_child_inherits_what_is_clean(void **state) {
    (void)state;
    call(BH_HC_SCRUB, OWN(W_FRAMES)); /* 16 pages */
    OK(retype(W_FRAMES, BH_TYPE_REGION, 4, 20));
    OK(retype(W_FRAMES, BH_TYPE_UNTYPED, 20, 21)); /* 12 of its 20 pages are clean */
    STATUS(BH_DIRTY, retype(21, BH_TYPE_REGION, 13, 22));
    OK(retype(21, BH_TYPE_REGION, 12, 22));
    STATUS(BH_DIRTY, retype(21, BH_TYPE_REGION, 1, 23));
    OK(retype(W_FRAMES, BH_TYPE_UNTYPED, 20, 24));
    STATUS(BH_DIRTY, retype(24, BH_TYPE_REGION, 1, 25));
}

static void test_restart_makes_everything_dirty(void **state) {
    (void)state;
    OK(scrub(W_FRAMES));
    OK(retype(W_FRAMES, BH_TYPE_REGION, 8, 20));
    *fake_frame(FAKE_FRAME_BASE) = 7; /* its owner writes */
    OK(call(BH_HC_DELETE, OWN(20)));
    STATUS(BH_DIRTY, retype(W_FRAMES, BH_TYPE_REGION, 1, 20));
    STATUS(BH_AGAIN, call(BH_HC_SCRUB, OWN(W_FRAMES)));
    assert_int_equal(*fake_frame(FAKE_FRAME_BASE), 0);
    OK(retype(W_FRAMES, BH_TYPE_REGION, 1, 20));
    assert_int_equal(world_slot(20)->base.raw, FAKE_FRAME_BASE);
}

/* Two halves of an Untyped, deleted in the order in which an allocator has to. */
static void delete_halves(void) {
    OK(call(BH_HC_DELETE, OWN(21)));
    OK(call(BH_HC_DELETE, OWN(20)));
}

static void test_halves_that_were_not_used_are_as_clean_as_they_were(void **state) {
    (void)state;
    OK(scrub(W_FRAMES));
    uint64_t half = world_slot(W_FRAMES)->untyped.pages / 2;
    OK(retype(W_FRAMES, BH_TYPE_UNTYPED, half, 20));
    OK(retype(W_FRAMES, BH_TYPE_UNTYPED, half, 21));
    delete_halves();
    OK(retype(W_FRAMES, BH_TYPE_REGION, 2 * half, 20));
}

static void test_a_half_that_was_cleaned_again_counts(void **state) {
    (void)state;
    uint64_t half = world_slot(W_FRAMES)->untyped.pages / 2;
    OK(retype(W_FRAMES, BH_TYPE_UNTYPED, half, 20));
    OK(retype(W_FRAMES, BH_TYPE_UNTYPED, half, 21));
    OK(scrub(20));
    OK(retype(20, BH_TYPE_REGION, 1, 22));
    OK(call(BH_HC_DELETE, OWN(22)));
    OK(scrub(20));
    OK(scrub(21));
    delete_halves();
    OK(retype(W_FRAMES, BH_TYPE_REGION, 2 * half, 20));
}

/* Used and not cleaned since; the other half stays clean where it is the lower one. */
static void test_a_dirty_half_makes_the_whole_dirty(void **state) {
    (void)state;
    uint64_t half = world_slot(W_FRAMES)->untyped.pages / 2;
    for (uint32_t dirty = 20; dirty <= 21; dirty++) {
        OK(scrub(W_FRAMES));
        OK(retype(W_FRAMES, BH_TYPE_UNTYPED, half, 20));
        OK(retype(W_FRAMES, BH_TYPE_UNTYPED, half, 21));
        OK(retype(dirty, BH_TYPE_REGION, 1, 22));
        OK(call(BH_HC_DELETE, OWN(22)));
        delete_halves();
        STATUS(BH_DIRTY, retype(W_FRAMES, BH_TYPE_REGION, 2 * half, 20));
        STATUS(dirty == 20 ? BH_DIRTY : BH_OK, retype(W_FRAMES, BH_TYPE_REGION, half, 20));
        call(BH_HC_DELETE, OWN(20));
    }
}

/* Only the youngest gives back: below it somebody else's memory begins. */
static void test_an_older_half_waits_for_the_restart(void **state) {
    (void)state;
    OK(scrub(W_FRAMES));
    OK(retype(W_FRAMES, BH_TYPE_UNTYPED, 8, 20));
    OK(retype(W_FRAMES, BH_TYPE_UNTYPED, 8, 21));
    OK(call(BH_HC_DELETE, OWN(20)));
    OK(retype(W_FRAMES, BH_TYPE_UNTYPED, 8, 20));
    assert_int_equal(world_slot(20)->base.raw, FAKE_FRAME_BASE + 16 * PAGE_BYTES);
}

static void test_no_restart_while_a_descendant_lives(void **state) {
    (void)state;
    OK(scrub(W_FRAMES));
    OK(retype(W_FRAMES, BH_TYPE_REGION, 8, 20));
    OK(retype(W_FRAMES, BH_TYPE_REGION, 8, 21));
    OK(call(BH_HC_DELETE, OWN(20)));
    OK(retype(W_FRAMES, BH_TYPE_REGION, 8, 20));
    assert_int_equal(world_slot(20)->base.raw, FAKE_FRAME_BASE + 16 * PAGE_BYTES);
}

static void test_object_memory_is_zeroed_again_after_restart(void **state) {
    (void)state;
    OK(retype(W_OBJECTS, BH_TYPE_CAPTABLE, 64, 20));
    OK(call(BH_HC_COPY, OWN(W_EVENT), BH_REF(20, 5), BH_RIGHTS_ALL));
    OK(finish(BH_HC_DELETE, OWN(20)));
    soil_objects();
    OK(retype(W_OBJECTS, BH_TYPE_CAPTABLE, 64, 20));
    const struct captable *table = world_object(20);
    assert_true(zero(table->slot, 64 * sizeof(struct slot)));
}

static void test_large_objects_are_cleaned_in_steps(void **state) {
    (void)state;
    uint64_t calls = 1;
    while (call(BH_HC_RETYPE, OWN(W_OBJECTS), BH_TYPE_SPACE, 40, OWN(20)) == BH_AGAIN) {
        calls++;
        assert_int_equal(world_slot(20)->type, BH_TYPE_NONE);
        assert_int_equal(world_slot(W_OBJECTS)->untyped.used, 0);
    }
    assert_int_equal(calls, 3);
    assert_int_equal(world_slot(20)->type, BH_TYPE_SPACE);
}

/* The bytes between the watermark and an aligned object count as clean once the object was cleaned:
 * they have to be. A smaller object made instead would find a former one's contents. */
static void test_gap_before_an_aligned_object_is_cleaned_too(void **state) {
    (void)state;
    OK(retype(W_OBJECTS, BH_TYPE_EVENT, 64, 20));
    STATUS(BH_AGAIN, call(BH_HC_RETYPE, OWN(W_OBJECTS), BH_TYPE_SPACE, 40, OWN(21)));
    OK(call(BH_HC_RETYPE, OWN(W_OBJECTS), BH_TYPE_CAPTABLE, 8, OWN(21)));
    const struct captable *table = world_object(21);
    assert_true(zero(table->slot, 8 * sizeof(struct slot)));
}

static void test_scrub_of_what_is_not_scrubbed(void **state) {
    (void)state;
    STATUS(BH_BAD_ARG, call(BH_HC_SCRUB, OWN(W_DEVICE)));
    retype(W_OBJECTS, BH_TYPE_EVENT, 64, 20);
    STATUS(BH_BAD_ARG, call(BH_HC_SCRUB, OWN(W_OBJECTS)));
    assert_int_equal(world_value(0), 0);
    STATUS(BH_BAD_CAP, call(BH_HC_SCRUB, OWN(W_EVENT)));
    OK(scrub(W_SHARED));
    assert_int_equal(world_value(0), FAKE_SHARED_PAGES * PAGE_BYTES);
    OK(call(BH_HC_NARROW, OWN(W_SHARED), 0));
    STATUS(BH_BAD_RIGHTS, call(BH_HC_SCRUB, OWN(W_SHARED)));
    STATUS(BH_BAD_RIGHTS, retype(W_SHARED, BH_TYPE_REGION, 1, 20));
}

static void test_depth_is_bounded(void **state) {
    (void)state;
    uint32_t from = W_FRAMES;
    for (uint32_t i = 0; i < BH_DEPTH_MAX; i++, from = 20 + i - 1)
        OK(retype(from, BH_TYPE_UNTYPED, 4000, 20 + i));
    STATUS(BH_TOO_DEEP, retype(from, BH_TYPE_UNTYPED, 1, 200));
    OK(finish(BH_HC_REVOKE, OWN(W_FRAMES)));
    assert_false(slot_has_children(world_slot(W_FRAMES)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_watermark_rises_and_objects_do_not_overlap),
        TEST(test_pools_are_page_aligned),
        TEST(test_children_are_page_aligned_in_object_memory),
        TEST(test_all_of_it_and_not_a_page_more),
        TEST(test_sizes_out_of_bounds),
        TEST(test_kind_of_memory_must_suit),
        TEST(test_destination_occupied),
        TEST(test_regions_only_of_clean_memory),
        TEST(test_scrub_does_not_touch_what_was_given_out),
        TEST(test_child_inherits_what_is_clean),
        TEST(test_restart_makes_everything_dirty),
        TEST(test_halves_that_were_not_used_are_as_clean_as_they_were),
        TEST(test_a_half_that_was_cleaned_again_counts),
        TEST(test_a_dirty_half_makes_the_whole_dirty),
        TEST(test_an_older_half_waits_for_the_restart),
        TEST(test_no_restart_while_a_descendant_lives),
        TEST(test_object_memory_is_zeroed_again_after_restart),
        TEST(test_large_objects_are_cleaned_in_steps),
        TEST(test_gap_before_an_aligned_object_is_cleaned_too),
        TEST(test_scrub_of_what_is_not_scrubbed),
        TEST(test_depth_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
