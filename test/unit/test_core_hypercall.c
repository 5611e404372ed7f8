/* The dispatcher and what every call answers to nonsense: a status and no effect. */
#include "test/unit/core_test.h"

/* Everything that a call could have changed: all objects but the caller's registers. */
static uint64_t fingerprint(void) {
    const uint64_t *word = arch_object_pointer((struct pa){FAKE_OBJECT_BASE});
    uint64_t bytes = W_BOOT_PAGES * PAGE_BYTES + world_slot(W_OBJECTS)->untyped.used;
    const uint64_t *end = word + bytes / sizeof(*word);
    const uint64_t *registers = (const uint64_t *)&world.init->arch;
    uint64_t sum = 0;
    for (; word < end; word++)
        if (word < registers || word >= registers + sizeof(world.init->arch) / sizeof(*word))
            sum = sum * 0x9e3779b97f4a7c15ull + *word;
    return sum;
}

static void test_unknown_numbers(void **state) {
    (void)state;
    STATUS(BH_BAD_CALL, call(BH_HC_COUNT));
    STATUS(BH_BAD_CALL, call(1ull << 32));
    STATUS(BH_BAD_CALL, call(~0ull));
    OK(call(BH_HC_NULL));
    assert_int_equal(world_value(0), BH_ABI_VERSION);
}

/* Calls that name a slot, with the argument that is a bh_ref or a slot, and arguments that are
 * otherwise good. */
static const struct {
    uint64_t words[7];
    uint64_t bound_arguments; /* bit i: argument i is a reference that must be structural */
} good[] = {
    {{BH_HC_RETYPE, OWN(W_OBJECTS), BH_TYPE_EVENT, 64, OWN(30), 0}, 1 << 0 | 1 << 3},
    {{BH_HC_COPY, OWN(W_EVENT), OWN(31), 3, 1, 0}, 1 << 0 | 1 << 1},
    {{BH_HC_MOVE, OWN(W_PORTS), OWN(32)}, 1 << 0 | 1 << 1},
    {{BH_HC_NARROW, OWN(W_SYSTEM), BH_SYSTEM_LOG}, 1 << 0},
    {{BH_HC_DELETE, OWN(W_CPU1)}, 1 << 0},
    {{BH_HC_REVOKE, OWN(W_EVENT)}, 1 << 0},
    {{BH_HC_SCRUB, OWN(W_SHARED)}, 1 << 0},
    {{BH_HC_MAP, OWN(20), OWN(W_SPACE), 0x40000000, BH_REGION_READ}, 1 << 0 | 1 << 1},
    {{BH_HC_UNMAP, OWN(20)}, 1 << 0},
    {{BH_HC_BIND, OWN(21), BH_BIND_IRQ_EVENT, OWN(W_EVENT)}, 1 << 0 | 1 << 2},
};
enum { GOOD = sizeof(good) / sizeof(good[0]) };

static void make_victims(void) {
    scrub(W_FRAMES);
    OK(retype(W_FRAMES, BH_TYPE_REGION, 1, 20));
    OK(retype(W_OBJECTS, BH_TYPE_IRQ, 0, 21));
    OK(retype(W_OBJECTS, BH_TYPE_CAPTABLE, 16, 22));
    OK(call(BH_HC_COPY, OWN(W_TABLE), OWN(23), BH_CAPTABLE_BIND));
}

static void test_structure_needs_manage(void **state) {
    (void)state;
    make_victims();
    for (size_t i = 0; i < GOOD; i++)
        for (unsigned argument = 0; argument < 6; argument++) {
            if (!(good[i].bound_arguments >> argument & 1))
                continue;
            uint64_t words[7];
            memcpy(words, good[i].words, sizeof(words));
            uint64_t index = words[1 + argument] & 0xffffffff;
            static const struct {
                uint64_t table, index, status;
            } bad[] = {
                {0, ~0ull, BH_BAD_CAP},       /* the caller's own table is not enough */
                {23, ~0ull, BH_BAD_RIGHTS},   /* a table without MANAGE */
                {99, ~0ull, BH_BAD_CAP},      /* an empty slot */
                {W_EVENT, ~0ull, BH_BAD_CAP}, /* no table */
                {W_TABLE_SLOTS, ~0ull, BH_BAD_CAP},
                {0xffffffff, ~0ull, BH_BAD_CAP},
                {W_TABLE, 0, BH_BAD_CAP},
                {W_TABLE, W_TABLE_SLOTS, BH_BAD_CAP},
                {W_TABLE, 0xffffffff, BH_BAD_CAP},
                {22, 16, BH_BAD_CAP},
            };
            for (size_t j = 0; j < sizeof(bad) / sizeof(bad[0]); j++) {
                words[1 + argument] =
                    BH_REF(bad[j].table, bad[j].index == ~0ull ? index : bad[j].index);
                if (words[1 + argument] == 0)
                    continue; /* BIND: unbind */
                uint64_t before = fingerprint();
                STATUS(bad[j].status, world_call(words));
                assert_int_equal(fingerprint(), before);
                assert_int_equal(world_value(0), 0);
                assert_int_equal(world_value(1), 0);
            }
        }
    for (size_t i = 0; i < GOOD; i++)
        OK(world_finish(good[i].words));
}

/* Random registers: whatever the status, if it is an error nothing has changed. */
static void test_errors_have_no_effect(void **state) {
    (void)state;
    make_victims();
    static const uint64_t interesting[] = {
        0,          1,          2,
        3,          5,          12,
        16,         20,         21,
        22,         64,         4096,
        0x40000000, 0x10000,    OWN(1),
        OWN(4),     OWN(9),     OWN(10),
        OWN(20),    OWN(21),    OWN(22),
        OWN(30),    OWN(31),    OWN(0),
        OWN(255),   OWN(256),   BH_REF(22, 1),
        ~0ull,      1ull << 63, 1ull << 32,
        BH_OWN(4),  BH_OWN(20), 0xffffffff,
    };
    srand(3);
    for (unsigned i = 0; i < 3000; i++) {
        uint64_t words[7] = {(uint64_t)(rand() % (BH_HC_COUNT + 1))};
        if (words[0] == BH_HC_WAIT || words[0] == BH_HC_REVOKE || words[0] == BH_HC_DELETE ||
            words[0] == BH_HC_CTX_SUSPEND || words[0] == BH_HC_NARROW || words[0] == BH_HC_MOVE)
            continue; /* they would take the caller's own means away */
        for (unsigned j = 1; j < 7; j++)
            words[j] = interesting[(unsigned)rand() % (sizeof(interesting) / sizeof(uint64_t))];
        uint64_t before = fingerprint(), status = world_call(words);
        assert_true(status <= BH_NOT_READY);
        if (status != BH_OK && status != BH_AGAIN && status != BH_NO_MEMORY && status != BH_BUSY)
            assert_int_equal(fingerprint(), before);
        if (status != BH_OK && words[0] != BH_HC_SCRUB)
            assert_int_equal(world_value(0), 0);
    }
}

static void test_copy_narrows(void **state) {
    (void)state;
    make_victims();
    OK(call(BH_HC_COPY, OWN(20), OWN(30), BH_REGION_READ | BH_REGION_EXEC));
    OK(call(BH_HC_COPY, OWN(30), OWN(31), ~0ull));
    assert_int_equal(world_slot(31)->rights, BH_REGION_READ | BH_REGION_EXEC);
    assert_int_equal(world_slot(31)->flags, 0);
    OK(call(BH_HC_NARROW, OWN(30), ~0ull << 8 | BH_REGION_READ));
    assert_int_equal(world_slot(30)->rights, BH_REGION_READ);
    OK(call(BH_HC_NARROW, OWN(30), ~0ull));
    assert_int_equal(world_slot(30)->rights, BH_REGION_READ);
    OK(call(BH_HC_COPY, OWN(20), OWN(32), 0));
    assert_int_equal(world_slot(32)->rights, 0);
    STATUS(BH_BAD_CAP, call(BH_HC_NARROW, OWN(99), 0));
    STATUS(BH_BAD_CAP, call(BH_HC_COPY, OWN(99), OWN(33), 0));
    STATUS(BH_BUSY, call(BH_HC_COPY, OWN(20), OWN(20), 0));
    STATUS(BH_BUSY, call(BH_HC_MOVE, OWN(20), OWN(20)));
    STATUS(BH_BAD_CAP, call(BH_HC_MOVE, OWN(99), OWN(33)));
    STATUS(BH_BAD_ARG, call(BH_HC_COPY, OWN(W_FRAMES), OWN(33), ~0ull));
}

static void test_sub_ranges(void **state) {
    (void)state;
    OK(scrub(W_FRAMES));
    OK(retype(W_FRAMES, BH_TYPE_REGION, 8, 20));
    STATUS(BH_BAD_ARG, call(BH_HC_COPY, OWN(20), OWN(30), 1, 8, 1));
    STATUS(BH_BAD_ARG, call(BH_HC_COPY, OWN(20), OWN(30), 1, 4, 5));
    STATUS(BH_BAD_ARG, call(BH_HC_COPY, OWN(20), OWN(30), 1, ~0ull, 2));
    STATUS(BH_BAD_ARG, call(BH_HC_COPY, OWN(20), OWN(30), 1, 1, ~0ull));
    OK(call(BH_HC_COPY, OWN(20), OWN(30), BH_RIGHTS_ALL, 4, 4));
    STATUS(BH_BAD_ARG, call(BH_HC_COPY, OWN(30), OWN(31), 1, 1, 4));
    OK(call(BH_HC_COPY, OWN(30), OWN(31), BH_REGION_ADDR, 3, 1));
    OK(call(BH_HC_REGION_ADDRESS, OWN(31)));
    assert_int_equal(world_value(0), FAKE_FRAME_BASE + 7 * PAGE_BYTES);
    OK(call(BH_HC_REGION_ADDRESS, BH_OWN(31)));
    OK(call(BH_HC_COPY, OWN(20), OWN(32), (uint8_t)~BH_REGION_ADDR));
    STATUS(BH_BAD_RIGHTS, call(BH_HC_REGION_ADDRESS, OWN(32)));
    STATUS(BH_BAD_CAP, call(BH_HC_REGION_ADDRESS, OWN(W_EVENT)));
}

static void test_ports(void **state) {
    (void)state;
    OK(call(BH_HC_COPY, OWN(W_PORTS), OWN(30), BH_RIGHTS_ALL, 0x3f8, 8));
    STATUS(BH_BAD_ARG, call(BH_HC_COPY, OWN(30), OWN(31), 3, 0x3f7, 1));
    STATUS(BH_BAD_ARG, call(BH_HC_COPY, OWN(30), OWN(31), 3, 0x3ff, 2));
    STATUS(BH_BAD_ARG, call(BH_HC_COPY, OWN(30), OWN(31), 3, 0x3f9, ~0ull));
    STATUS(BH_BAD_ARG, call(BH_HC_COPY, OWN(30), OWN(31), 3, 0x400, 1));
    OK(call(BH_HC_COPY, OWN(30), OWN(31), BH_PORTS_IN, 0x3fe, 2));
    fake.port_value = 0x1234;
    OK(call(BH_HC_PORT_IN, 31, 0x3fe, 2));
    assert_int_equal(world_value(0), 0x1234);
    STATUS(BH_BAD_RIGHTS, call(BH_HC_PORT_OUT, 31, 0x3fe, 2, 1));
    STATUS(BH_BAD_ARG, call(BH_HC_PORT_IN, 31, 0x3ff, 2));
    STATUS(BH_BAD_ARG, call(BH_HC_PORT_IN, 30, 0x3fd, 4));
    STATUS(BH_BAD_ARG, call(BH_HC_PORT_IN, 30, 0x3f7, 1));
    STATUS(BH_BAD_ARG, call(BH_HC_PORT_IN, 30, 0x3f8, 3));
    STATUS(BH_BAD_ARG, call(BH_HC_PORT_IN, 30, 0x3f8, 8));
    STATUS(BH_BAD_ARG, call(BH_HC_PORT_IN, 30, 0x103f8, 1));
    STATUS(BH_BAD_ARG, call(BH_HC_PORT_IN, W_PORTS, 0xffff, 2));
    STATUS(BH_BAD_ARG, call(BH_HC_PORT_OUT, W_PORTS, W_PORT_FIRST - 1, 1, 0));
    assert_int_equal(fake.ports_done, 1);
    OK(call(BH_HC_PORT_OUT, 30, 0x3fc, 4, 0x1ffffffffull));
    assert_int_equal(fake.port_value, 0xffffffff);
}

static void test_cap_info(void **state) {
    (void)state;
    OK(call(BH_HC_CAP_INFO, BH_OWN(99), 0));
    assert_int_equal(world_value(0), 0);
    STATUS(BH_BAD_ARG, call(BH_HC_CAP_INFO, BH_OWN(W_EVENT), 2));
    STATUS(BH_BAD_CAP, call(BH_HC_CAP_INFO, BH_OWN(0), 0));
    OK(call(BH_HC_CAP_INFO, BH_OWN(W_SHARED), 0));
    assert_int_equal(world_value(0),
                     BH_TYPE_UNTYPED | 0xff00 | 1ull << 24 | (uint64_t)BH_KIND_SHARED << 32);
    OK(call(BH_HC_COPY, OWN(W_CPU0), OWN(30), 1, 9));
    OK(call(BH_HC_CAP_INFO, OWN(30), 0));
    assert_int_equal(world_value(0), BH_TYPE_CPU | 1 << 8 | 1 << 16);
    assert_int_equal(world_value(1), 9);
    OK(call(BH_HC_CAP_INFO, OWN(W_PORTS), 1));
    assert_int_equal(world_value(0), W_PORT_FIRST);
    assert_int_equal(world_value(1), 0xff00);
    OK(call(BH_HC_CAP_INFO, OWN(W_TABLE), 1));
    assert_int_equal(world_value(0), W_TABLE_SLOTS);
    OK(call(BH_HC_CAP_INFO, OWN(W_SPACE), 1));
    assert_int_equal(world_value(0), 8);
    assert_int_equal(world_value(1), 7);
}

static void test_system(void **state) {
    (void)state;
    OK(call(BH_HC_SYSTEM, W_SYSTEM, BH_SYSTEM_OP_LOG, 0x6948));
    assert_string_equal(fake.log, "Hi");
    STATUS(BH_NOT_READY, call(BH_HC_SYSTEM, W_SYSTEM, BH_SYSTEM_OP_RESET));
    STATUS(BH_BAD_ARG, call(BH_HC_SYSTEM, W_SYSTEM, BH_SYSTEM_OP_RESERVED));
    STATUS(BH_BAD_ARG, call(BH_HC_SYSTEM, W_SYSTEM, 4));
    STATUS(BH_BAD_ARG, call(BH_HC_SYSTEM, W_SYSTEM, BH_SYSTEM_OP_COUNTER, BH_COUNTER_COUNT));
    call(BH_HC_SCRUB, OWN(W_FRAMES));
    OK(call(BH_HC_SYSTEM, W_SYSTEM, BH_SYSTEM_OP_COUNTER, BH_COUNTER_SCRUBBED_PAGES));
    assert_int_equal(world_value(0), ARCH_SCRUB_PAGES);
    static const uint8_t right[] = {BH_SYSTEM_RESET, 0, BH_SYSTEM_LOG, BH_SYSTEM_INFO};
    for (uint64_t operation = 0; operation < sizeof(right); operation++) {
        if (operation == BH_SYSTEM_OP_RESERVED)
            continue;
        OK(call(BH_HC_COPY, OWN(W_SYSTEM), OWN(30), (uint8_t)~right[operation]));
        STATUS(BH_BAD_RIGHTS, call(BH_HC_SYSTEM, 30, operation));
        OK(call(BH_HC_DELETE, OWN(30)));
    }
    STATUS(BH_BAD_CAP, call(BH_HC_SYSTEM, W_EVENT, BH_SYSTEM_OP_LOG));
}

/* What the tree must never be asked for stops hv. */
static void test_removing_an_inner_node_is_a_bug(void **state) {
    (void)state;
    jmp_buf panic;
    OK(call(BH_HC_COPY, OWN(W_EVENT), OWN(30), 3));
    if (setjmp(panic) == 0) {
        fake.panic = &panic;
        slot_remove(world_slot(W_EVENT));
        fail();
    }
    fake.panic = NULL;
    assert_non_null(fake.panic_reason);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_unknown_numbers),
        TEST(test_structure_needs_manage),
        TEST(test_errors_have_no_effect),
        TEST(test_copy_narrows),
        TEST(test_sub_ranges),
        TEST(test_ports),
        TEST(test_cap_info),
        TEST(test_system),
        TEST(test_removing_an_inner_node_is_a_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
