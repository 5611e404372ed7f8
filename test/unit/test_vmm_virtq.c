/* Virtqueues, honest and hostile. */
#include <string.h>

#include "mgmt/vmm/virtq.h"
#include "unit.h"
#include "vmm_guest.h"

#define DESCRIPTORS 0x10000u
#define AVAILABLE 0x11000u
#define USED 0x12000u
#define DATA 0x20000u
enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };

static struct virtq q;
static struct virtq_chain chain;

static int setup(void **state) {
    (void)state;
    guest_reset();
    q = (struct virtq){.size = 8,
                       .enabled = true,
                       .descriptors = GPA(DESCRIPTORS),
                       .available = GPA(AVAILABLE),
                       .used = GPA(USED)};
    return 0;
}

static void describe(unsigned index, uint64_t address, uint32_t bytes, uint16_t flags,
                     uint16_t next) {
    uint8_t *at = guest_ram + DESCRIPTORS + 16 * index;
    memcpy(at, &address, 8);
    memcpy(at + 8, &bytes, 4);
    memcpy(at + 12, &flags, 2);
    memcpy(at + 14, &next, 2);
}

static uint16_t *available(unsigned word) {
    return (uint16_t *)(void *)(guest_ram + AVAILABLE + 2 * word);
}

static void offer(uint16_t head) {
    uint16_t *index = available(1);
    *available(2 + *index % 8) = head;
    ++*index;
}

static void a_chain(void **state) {
    (void)state;
    assert_true(virtq_is_valid(&q));
    assert_int_equal(virtq_take(&q, &chain), VIRTQ_EMPTY);
    describe(3, DATA, 16, NEXT, 5);
    describe(5, DATA + 0x100, 100, NEXT | WRITE, 1);
    describe(1, DATA + 0x200, 1, WRITE, 0);
    memcpy(guest_ram + DATA, "0123456789abcdef", 16);
    offer(3);
    assert_int_equal(virtq_take(&q, &chain), VIRTQ_TAKEN);
    assert_true(chain.head == 3 && chain.readable == 1 && chain.writable == 2);
    assert_true(chain.readable_bytes == 16 && chain.writable_bytes == 101);
    char text[6];
    assert_true(virtq_read(&chain, 10, text, 6));
    assert_memory_equal(text, "abcdef", 6);
    assert_false(virtq_read(&chain, 11, text, 6));
    assert_false(virtq_read(&chain, ~0u, text, 2));
    assert_true(virtq_write(&chain, 99, "xy", 2)); /* across two segments */
    assert_true(guest_ram[DATA + 0x163] == 'x' && guest_ram[DATA + 0x200] == 'y');
    assert_false(virtq_write(&chain, 100, "xy", 2));
    virtq_give(&q, chain.head, 101);
    uint32_t used[3];
    memcpy(used, guest_ram + USED, sizeof(used));
    assert_true(used[0] >> 16 == 1 && used[1] == 3 && used[2] == 101);
    assert_true(virtq_wants_interrupt(&q));
    assert_false(virtq_wants_interrupt(&q)); /* told */
    *available(0) = 1;
    virtq_give(&q, 0, 0);
    assert_false(virtq_wants_interrupt(&q)); /* not wanted */
}

static void put_back(void **state) {
    (void)state;
    describe(0, DATA, 16, 0, 0);
    offer(0);
    offer(0);
    assert_int_equal(virtq_take(&q, &chain), VIRTQ_TAKEN);
    assert_int_equal(virtq_take(&q, &chain), VIRTQ_TAKEN);
    virtq_untake(&q, 2);
    assert_int_equal(virtq_take(&q, &chain), VIRTQ_TAKEN);
    assert_int_equal(virtq_take(&q, &chain), VIRTQ_TAKEN);
    assert_int_equal(virtq_take(&q, &chain), VIRTQ_EMPTY);
}

static void expect_broken(void) {
    offer(0);
    assert_int_equal(virtq_take(&q, &chain), VIRTQ_BROKEN);
    assert_int_equal(virtq_take(&q, &chain), VIRTQ_BROKEN); /* for good */
    setup(NULL);
}

static void hostile_chains(void **state) {
    (void)state;
    describe(0, DATA, 16, NEXT, 0); /* a loop */
    expect_broken();
    describe(0, DATA, 16, NEXT, 8); /* no such descriptor */
    expect_broken();
    describe(0, GUEST_RAM_BYTES - 8, 16, 0, 0); /* beyond RAM */
    expect_broken();
    describe(0, ~0ull - 7, 16, 0, 0);
    expect_broken();
    describe(0, DATA, 16, INDIRECT, 0); /* not offered */
    expect_broken();
    describe(0, DATA, 16, NEXT | WRITE, 1); /* readable after writable */
    describe(1, DATA, 16, 0, 0);
    expect_broken();
    *available(1) = 100; /* more than there are */
    expect_broken();
    offer(9);
    *available(2) = 9; /* no such head */
    assert_int_equal(virtq_take(&q, &chain), VIRTQ_BROKEN);
}

static void hostile_areas(void **state) {
    (void)state;
    struct virtq good = q;
    static const uint64_t bad[] = {~0ull, GUEST_RAM_BYTES, GUEST_RAM_BYTES - 16, 1};
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        q = good;
        q.descriptors = GPA(bad[i]);
        assert_false(virtq_is_valid(&q));
        q = good;
        q.available = GPA(bad[i]);
        assert_false(virtq_is_valid(&q));
        q = good;
        q.used = GPA(bad[i]);
        assert_false(virtq_is_valid(&q));
    }
    for (unsigned size = 0; size < 0x10000; size++) {
        q = good;
        q.size = (uint16_t)size;
        assert_int_equal(virtq_is_valid(&q), size > 0 && size <= 256 && (size & (size - 1)) == 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_chain, setup),
        cmocka_unit_test_setup(put_back, setup),
        cmocka_unit_test_setup(hostile_chains, setup),
        cmocka_unit_test_setup(hostile_areas, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
