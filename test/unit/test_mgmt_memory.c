/* mgmt's memory: the buddy tree of Untypeds, DMA memory and device registers on top of it. */
#include "test/unit/mgmt_world.h"

#include "mgmt/domain/memory.h"
#include "mgmt/host.h"
#include "mgmt/hv.h"
#include "mgmt/layout.h"
#include "mgmt/platform.h"

static void test_chunks_are_aligned_and_disjoint(void **state) {
    (void)state;
    static uint8_t owner[MGMT_WORLD_FRAMES * 2];
    memset(owner, 0, sizeof(owner));
    uint64_t start = mgmt_world_info()->untyped[1].base;
    for (unsigned i = 0; i < 200; i++) {
        chunk c;
        unsigned order = i % 4;
        assert_int_equal(memory_alloc(BH_KIND_FRAME, order, &c), BH_OK);
        assert_int_equal(memory_pages(c), 1u << order);
        assert_int_equal(memory_base(c) % (BH_PAGE_BYTES << order), 0);
        uint64_t page = (memory_base(c) - start) / BH_PAGE_BYTES;
        for (uint64_t p = page; p < page + memory_pages(c); p++)
            assert_int_equal(owner[p]++, 0);
    }
}

/* Random allocations and frees end with everything merged: the same largest block and the same
 * slots. */
static void test_everything_merges_again(void **state) {
    (void)state;
    struct memory_account before = memory_account(BH_KIND_FRAME);
    int largest = memory_largest(BH_KIND_FRAME);
    unsigned slots = mgmt_world_slots_used();
    chunk held[64] = {0};
    uint32_t random = 1;
    for (unsigned i = 0; i < 3000; i++) {
        random = random * 1664525 + 1013904223;
        unsigned at = random >> 26;
        if (held[at]) {
            memory_free(held[at]);
            held[at] = 0;
        } else if (memory_alloc(BH_KIND_FRAME, (random >> 8) % 7, &held[at])) {
            held[at] = 0;
        }
    }
    for (unsigned i = 0; i < 64; i++)
        if (held[i])
            memory_free(held[i]);
    struct memory_account after = memory_account(BH_KIND_FRAME);
    assert_memory_equal(&before, &after, sizeof(before));
    assert_int_equal(memory_largest(BH_KIND_FRAME), largest);
    assert_int_equal(mgmt_world_slots_used(), slots);
}

static void test_all_of_it_can_be_had(void **state) {
    (void)state;
    uint64_t pages = 0, free_pages = memory_account(BH_KIND_FRAME).free;
    chunk c;
    while (memory_alloc(BH_KIND_FRAME, 0, &c) == BH_OK)
        pages++;
    /* The slots for blocks run out first, or all pages have been given. */
    assert_true(pages == free_pages || pages > 200);
    assert_int_equal(memory_alloc(BH_KIND_FRAME, 0, &c), BH_NO_MEMORY);
    assert_int_equal(memory_account(BH_KIND_FRAME).free, free_pages - pages);
}

/* Whatever call fails, nothing is lost. */
static void test_failures_are_undone(void **state) {
    (void)state;
    struct memory_account before = memory_account(BH_KIND_FRAME);
    unsigned slots = mgmt_world_slots_used(), failures = 0;
    for (unsigned n = 1; n < 64; n++) {
        chunk c;
        mgmt_world_fail(n);
        if (memory_alloc(BH_KIND_FRAME, 0, &c) == BH_OK)
            memory_free(c);
        else
            failures++;
        mgmt_world_fail(0);
        struct memory_account after = memory_account(BH_KIND_FRAME);
        assert_memory_equal(&before, &after, sizeof(before));
        assert_int_equal(mgmt_world_slots_used(), slots);
    }
    assert_true(failures > 5);
}

/* What was cleaned before it was freed is clean when it is given out again, in whatever pieces. */
static void test_clean_memory_stays_clean(void **state) {
    (void)state;
    chunk c[4], whole;
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(memory_alloc(BH_KIND_FRAME, 6, &c[i]), BH_OK);
        memory_scrub(c[i]);
    }
    for (unsigned i = 0; i < 4; i++)
        memory_free(c[i ^ 2]);
    assert_int_equal(memory_alloc(BH_KIND_FRAME, 8, &whole), BH_OK);
    assert_int_equal(memory_scrub_step(whole), BH_OK); /* nothing to do: one step cleans less */
    memory_free(whole);
}

static void test_freeing_revokes(void **state) {
    (void)state;
    chunk c;
    assert_int_equal(memory_alloc(BH_KIND_FRAME, 2, &c), BH_OK);
    memory_scrub(c);
    assert_int_equal(hv_retype(OWN(c), BH_TYPE_REGION, 4, OWN(MGMT_SLOT_DOMAIN), 0), BH_OK);
    assert_int_equal(hv_map(OWN(MGMT_SLOT_DOMAIN), OWN(BH_INIT_SPACE), MGMT_VA_RAM, BH_REGION_READ),
                     BH_OK);
    memory_free(c);
    uint64_t word, badge;
    assert_int_equal(hv_cap_info(OWN(MGMT_SLOT_DOMAIN), 0, &word, &badge), BH_OK);
    assert_int_equal(word & 0xff, BH_TYPE_NONE);
}

static void test_dma_memory(void **state) {
    (void)state;
    struct memory_account before = memory_account(BH_KIND_FRAME);
    struct dma_memory memory;
    assert_int_equal(dma_alloc(3 * BH_PAGE_BYTES + 1, &memory), BH_OK);
    assert_int_equal(memory.bytes, 4 * BH_PAGE_BYTES);
    assert_int_equal(memory.hpa.raw % memory.bytes, 0);
    for (size_t i = 0; i < memory.bytes; i++)
        assert_int_equal(((uint8_t *)memory.va)[i], 0);
    dma_free(&memory);
    assert_int_equal(dma_alloc(0, &memory), BH_NO_MEMORY);
    assert_int_equal(dma_alloc(1ull << 40, &memory), BH_NO_MEMORY);
    for (unsigned n = 1; n < 20; n++) {
        mgmt_world_fail(n);
        if (dma_alloc(1, &memory) == BH_OK)
            dma_free(&memory);
        mgmt_world_fail(0);
    }
    struct memory_account after = memory_account(BH_KIND_FRAME);
    assert_memory_equal(&before, &after, sizeof(before));
}

static void test_device_registers(void **state) {
    (void)state;
    uint64_t base = mgmt_world_info()->untyped[2].base, page = BH_PAGE_BYTES;
    volatile void *va;
    /* In any order, at any place, of any size; each page once. */
    assert_int_equal(mmio_map((struct hpa){base + 100 * page}, page, &va), BH_OK);
    assert_int_equal((uint64_t)va, MGMT_VA_DEVICE + base + 100 * page);
    assert_int_equal(mmio_map((struct hpa){base + 3 * page}, 13 * page, &va), BH_OK);
    assert_int_equal(mmio_map((struct hpa){base}, 3 * page, &va), BH_OK);
    assert_int_equal(mmio_map((struct hpa){base + 101 * page}, 7 * page, &va), BH_OK);
    assert_int_equal(mmio_map((struct hpa){base + 100 * page}, page, &va), BH_BAD_ARG);
    /* A range that only in the end runs into a taken page leaves nothing behind. */
    struct memory_account before = memory_account(BH_KIND_DEVICE);
    assert_int_equal(mmio_map((struct hpa){base + 90 * page}, 20 * page, &va), BH_BAD_ARG);
    struct memory_account after = memory_account(BH_KIND_DEVICE);
    assert_memory_equal(&before, &after, sizeof(before));
    assert_int_equal(mmio_map((struct hpa){base + 90 * page}, 10 * page, &va), BH_OK);
    assert_int_equal(mmio_map((struct hpa){0x1000}, page, &va), BH_BAD_ARG);
    assert_int_equal(mmio_map((struct hpa){base + 1}, page, &va), BH_BAD_ARG);
    assert_int_equal(mmio_map((struct hpa){base}, 0, &va), BH_BAD_ARG);
    assert_int_equal(mmio_map((struct hpa){base}, ~0ull - page + 1, &va), BH_BAD_ARG);
}

static void count(void *context) {
    ++*(unsigned *)context;
}

static void test_interrupts(void **state) {
    (void)state;
    unsigned hits = 0, slots = mgmt_world_slots_used();
    struct msi msi;
    assert_int_equal(gsi_open(4, count, &hits), BH_OK);
    assert_int_equal(msi_open(count, &hits, &msi), BH_OK);
    unsigned more = mgmt_world_slots_used();
    assert_true(more > slots);
    assert_int_not_equal(gsi_open(100, count, &hits), BH_OK); /* no such pin */
    assert_int_equal(mgmt_world_slots_used(), more);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_chunks_are_aligned_and_disjoint, mgmt_world_boot),
        cmocka_unit_test_setup(test_everything_merges_again, mgmt_world_boot),
        cmocka_unit_test_setup(test_all_of_it_can_be_had, mgmt_world_boot),
        cmocka_unit_test_setup(test_failures_are_undone, mgmt_world_boot),
        cmocka_unit_test_setup(test_clean_memory_stays_clean, mgmt_world_boot),
        cmocka_unit_test_setup(test_freeing_revokes, mgmt_world_boot),
        cmocka_unit_test_setup(test_dma_memory, mgmt_world_boot),
        cmocka_unit_test_setup(test_device_registers, mgmt_world_boot),
        cmocka_unit_test_setup(test_interrupts, mgmt_world_boot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
