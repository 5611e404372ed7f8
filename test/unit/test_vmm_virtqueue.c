/* The device's side of a virtqueue, with a driver that is honest and one that is not. */
#include "test/unit/unit.h"

#include "mgmt/vmm/virtio/virtqueue.h"
#include "test/unit/virtio_guest.h"

#define SIZE 16u
#define TABLE 0x10000u

static struct guest_queue g;
static struct virtqueue q;
static struct virtqueue_chain chain;

static struct virtqueue_settings settings(void) {
    return (struct virtqueue_settings){
        .size = SIZE, .desc = {g.desc}, .avail = {g.avail}, .used = {g.used}};
}

static void open_queue(bool indirect, bool event_index) {
    guest_start();
    g = (struct guest_queue){.size = SIZE,
                             .desc = guest_alloc(SIZE * 16, 16),
                             .avail = guest_alloc(6 + SIZE * 2, 2),
                             .used = guest_alloc(6 + SIZE * 8, 4),
                             .indirect = indirect,
                             .event_index = event_index};
    struct virtqueue_settings s = settings();
    s.indirect = indirect;
    s.event_index = event_index;
    assert_true(virtqueue_open(&q, &s));
}

static void show(void) {
    guest_avail(&g)[1] = g.avail_next;
}

static void assert_broken(void) {
    show();
    assert_int_equal(virtqueue_take(&q, &chain), VIRTQUEUE_BROKEN);
    assert_true(q.broken);
    assert_int_equal(virtqueue_take(&q, &chain), VIRTQUEUE_BROKEN);
    uint16_t used = guest_used(&g)[1];
    virtqueue_complete(&q, 0, 0);
    assert_false(virtqueue_publish(&q));
    assert_true(virtqueue_want_notification(&q));
    assert_int_equal(guest_used(&g)[1], used);
}

static void refuses_bad_rings(void **state) {
    (void)state;
    open_queue(false, false);
    struct virtqueue_settings s = settings();
    const uint16_t sizes[] = {0, 3, 12, 512, 65535};
    for (unsigned i = 0; i < 5; i++) {
        s.size = sizes[i];
        assert_false(virtqueue_open(&q, &s));
        assert_int_equal(virtqueue_take(&q, &chain), VIRTQUEUE_BROKEN);
    }
    s = settings();
    s.desc.value += 8;
    assert_false(virtqueue_open(&q, &s));
    s = settings();
    s.avail.value++;
    assert_false(virtqueue_open(&q, &s));
    s = settings();
    s.used.value += 2;
    assert_false(virtqueue_open(&q, &s));
    const uint64_t bad[] = {GUEST_RAM_BYTES - 16, GUEST_RAM_BYTES, 0xfffffffffffffff0ull,
                            GUEST_HIGH_BASE - 16, GUEST_HIGH_BASE + GUEST_HIGH_BYTES - 16};
    for (unsigned i = 0; i < 5; i++) {
        s = settings();
        s.desc.value = bad[i];
        assert_false(virtqueue_open(&q, &s));
        s = settings();
        s.avail.value = bad[i];
        assert_false(virtqueue_open(&q, &s));
        s = settings();
        s.used.value = bad[i];
        assert_false(virtqueue_open(&q, &s));
    }
}

static void serves_chains(bool indirect, bool event_index) {
    open_queue(indirect, event_index);
    assert_int_equal(virtqueue_take(&q, &chain), VIRTQUEUE_EMPTY);
    for (unsigned i = 0; i < 10000; i++) {
        struct guest_buffer buffers[] = {
            {0x1000, 16, false}, {GUEST_HIGH_BASE, 0x100, false}, {0x2000, 1, true}};
        uint16_t head = guest_add(&g, buffers + i % 2, 3 - i % 2);
        show();
        assert_int_equal(virtqueue_take(&q, &chain), VIRTQUEUE_TAKEN);
        assert_int_equal(chain.head, head);
        assert_int_equal(chain.readable, 2 - i % 2);
        assert_int_equal(chain.writable, 1);
        assert_int_equal(chain.readable_bytes, 0x100 + (i % 2 ? 0 : 16));
        assert_int_equal(chain.writable_bytes, 1);
        assert_ptr_equal(chain_writable(&chain)->data, guest_ram + 0x2000);
        assert_ptr_equal(chain.piece[1 - i % 2].data, guest_high);
        assert_int_equal(virtqueue_take(&q, &chain), VIRTQUEUE_EMPTY);
        virtqueue_complete(&q, head, i);
        assert_true(virtqueue_publish(&q));
        uint32_t id, bytes;
        assert_true(guest_take(&g, &id, &bytes));
        assert_int_equal(id, head);
        assert_int_equal(bytes, i);
    }
}

static void serves_direct(void **state) {
    (void)state;
    serves_chains(false, false);
}

static void serves_indirect_with_events(void **state) {
    (void)state;
    serves_chains(true, true);
}

/* Past 65,535, twice. */
static void indices_wrap(void **state) {
    (void)state;
    open_queue(false, true);
    struct guest_buffer buffer = {0x1000, 16, false};
    for (unsigned i = 0; i < 140000; i++) {
        uint16_t head = guest_add(&g, &buffer, 1);
        show();
        assert_int_equal(virtqueue_take(&q, &chain), VIRTQUEUE_TAKEN);
        virtqueue_complete(&q, head, 0);
        assert_true(virtqueue_publish(&q));
        uint32_t id, bytes;
        assert_true(guest_take(&g, &id, &bytes));
        assert_true(virtqueue_want_notification(&q));
    }
}

static void mixes_direct_and_indirect(void **state) {
    (void)state;
    open_queue(true, false);
    uint64_t table = guest_alloc(32, 1) + 1; /* not aligned */
    struct virtq_desc t[2] = {{0x3000, 7, VIRTQ_DESC_NEXT, 1}, {0x4000, 9, VIRTQ_DESC_WRITE, 0}};
    memcpy(guest_ram + table, t, sizeof t);
    *guest_desc(&g, 3) = (struct virtq_desc){0x2000, 5, VIRTQ_DESC_NEXT, 9};
    *guest_desc(&g, 9) = (struct virtq_desc){table, 32, VIRTQ_DESC_INDIRECT, 0};
    guest_avail(&g)[2] = 3;
    g.avail_next = 1;
    show();
    assert_int_equal(virtqueue_take(&q, &chain), VIRTQUEUE_TAKEN);
    assert_int_equal(chain.readable_bytes, 12);
    assert_int_equal(chain.writable_bytes, 9);
}

static void puts_back(void **state) {
    (void)state;
    open_queue(false, false);
    struct guest_buffer buffer = {0x1000, 16, true};
    for (unsigned i = 0; i < 4; i++)
        guest_add(&g, &buffer, 1);
    show();
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(virtqueue_take(&q, &chain), VIRTQUEUE_TAKEN);
        virtqueue_complete(&q, chain.head, 1);
    }
    virtqueue_take_back(&q, 2);
    virtqueue_put_back(&q, 2);
    assert_true(virtqueue_publish(&q));
    assert_int_equal(guest_used(&g)[1], 1);
    for (unsigned i = 1; i < 4; i++) {
        assert_int_equal(virtqueue_take(&q, &chain), VIRTQUEUE_TAKEN);
        assert_int_equal(chain.head, i);
    }
    assert_int_equal(virtqueue_take(&q, &chain), VIRTQUEUE_EMPTY);
}

static void notifications_and_interrupts(void **state) {
    (void)state;
    struct guest_buffer buffer = {0x1000, 16, true};
    for (unsigned events = 0; events < 2; events++) {
        open_queue(false, events);
        virtqueue_refuse_notification(&q);
        if (!events)
            assert_int_equal(guest_used(&g)[0], VIRTQ_USED_NO_NOTIFY);
        assert_true(virtqueue_want_notification(&q));
        assert_int_equal(guest_used(&g)[0], 0);
        guest_add(&g, &buffer, 1);
        guest_add(&g, &buffer, 1);
        show();
        assert_false(virtqueue_want_notification(&q));
        /* The driver wants to know of the second completion only, or of none. */
        guest_avail(&g)[0] = VIRTQ_AVAIL_NO_INTERRUPT;
        guest_avail(&g)[2 + SIZE] = 1;
        virtqueue_complete(&q, 0, 0);
        assert_false(virtqueue_publish(&q));
        virtqueue_complete(&q, 1, 0);
        assert_int_equal(virtqueue_publish(&q), events);
        assert_false(virtqueue_publish(&q)); /* nothing new */
    }
}

/* --- hostile --- */

static void index_jumps(void **state) {
    (void)state;
    const uint16_t jumps[] = {SIZE + 1, 1000, 0x8000, 0xffff /* backwards */};
    for (unsigned i = 0; i < 4; i++) {
        open_queue(false, false);
        g.avail_next = jumps[i];
        assert_broken();
    }
}

static void offers_more_than_there_is(void **state) {
    (void)state;
    open_queue(false, false);
    struct guest_buffer buffer = {0x1000, 16, true};
    for (unsigned i = 0; i < SIZE; i++)
        guest_add(&g, &buffer, 1);
    show();
    for (unsigned i = 0; i < SIZE; i++)
        assert_int_equal(virtqueue_take(&q, &chain), VIRTQUEUE_TAKEN);
    virtqueue_complete(&q, 0, 0); /* not published: the driver cannot have it again */
    guest_add(&g, &buffer, 1);
    assert_broken();
}

static void one(struct virtq_desc d) {
    *guest_desc(&g, 0) = d;
    guest_avail(&g)[2] = 0;
    g.avail_next = 1;
}

static void bad_descriptors(void **state) {
    (void)state;
    const struct virtq_desc bad[] = {
        {GUEST_RAM_BYTES - 8, 16, 0, 0},       /* end outside */
        {0xa0000000, 16, 0, 0},                /* outside */
        {0xffffffffffffffffull, 16, 0, 0},     /* wraps */
        {0x1000, 0xffffffff, 0, 0},            /* too long */
        {0x1000, 16, VIRTQ_DESC_NEXT, SIZE},   /* next out of range */
        {0x1000, 16, VIRTQ_DESC_NEXT, 0xffff}, /* likewise */
        {0x1000, 16, VIRTQ_DESC_NEXT, 0},      /* loop */
        {0x1000, 0, VIRTQ_DESC_NEXT, 0},       /* loop of nothing */
        {0x1000, 0, 0, 0},                     /* nothing */
        {0x1000, 16, VIRTQ_DESC_INDIRECT, 0},  /* not negotiated */
    };
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        open_queue(false, false);
        one(bad[i]);
        assert_broken();
    }
    open_queue(false, false);
    one((struct virtq_desc){0x1000, 16, 0, 0});
    guest_avail(&g)[2] = SIZE; /* a head that is not there */
    assert_broken();
}

static void bad_indirect_tables(void **state) {
    (void)state;
    const struct virtq_desc bad[] = {
        {TABLE, 0, VIRTQ_DESC_INDIRECT, 0},
        {TABLE, 24, VIRTQ_DESC_INDIRECT, 0},
        {TABLE, 257 * 16, VIRTQ_DESC_INDIRECT, 0},
        {TABLE, 0xfffffff0, VIRTQ_DESC_INDIRECT, 0},
        {GUEST_RAM_BYTES - 16, 32, VIRTQ_DESC_INDIRECT, 0},
        {TABLE, 16, VIRTQ_DESC_INDIRECT | VIRTQ_DESC_NEXT, 0},
        {TABLE, 32, VIRTQ_DESC_INDIRECT, 0}, /* what is in it: see below */
    };
    const struct virtq_desc inside[] = {
        {0x2000, 16, VIRTQ_DESC_INDIRECT, 0}, /* nested */
        {0x2000, 16, VIRTQ_DESC_NEXT, 2},     /* beyond the table */
        {0x2000, 16, VIRTQ_DESC_NEXT, 0},     /* loop */
    };
    for (unsigned i = 0; i < 7 + 2; i++) {
        open_queue(true, false);
        one(bad[i < 7 ? i : 6]);
        *(struct virtq_desc *)guest_at(0x2000) = (struct virtq_desc){0x3000, 16, 0, 0};
        *(struct virtq_desc *)guest_at(TABLE) = inside[i < 6 ? 0 : i - 6];
        assert_broken();
    }
}

static void readable_after_writable(void **state) {
    (void)state;
    open_queue(false, false);
    struct guest_buffer buffers[] = {{0x1000, 16, true}, {0x2000, 16, false}};
    guest_add(&g, buffers, 2);
    assert_broken();
}

static void long_chains(void **state) {
    (void)state;
    open_queue(true, false);
    for (unsigned i = 0; i < 256; i++) /* all in RAM, one over the other */
        *(struct virtq_desc *)guest_at(TABLE + i * 16) =
            (struct virtq_desc){0, 0x1fffff, i < 255 ? VIRTQ_DESC_NEXT : 0, (uint16_t)(i + 1)};
    one((struct virtq_desc){TABLE, 256 * 16, VIRTQ_DESC_INDIRECT, 0});
    show();
    assert_int_equal(virtqueue_take(&q, &chain), VIRTQUEUE_TAKEN); /* 512 MiB are no crime */
    assert_int_equal(chain.readable, 256);
    /* A direct part before it makes it longer than any table may be. */
    open_queue(true, false);
    for (unsigned i = 0; i < 256; i++)
        *(struct virtq_desc *)guest_at(TABLE + i * 16) =
            (struct virtq_desc){0, 16, i < 255 ? VIRTQ_DESC_NEXT : 0, (uint16_t)(i + 1)};
    *guest_desc(&g, 1) = (struct virtq_desc){TABLE, 256 * 16, VIRTQ_DESC_INDIRECT, 0};
    one((struct virtq_desc){0x3000, 16, VIRTQ_DESC_NEXT, 1});
    assert_broken();
}

static void copies_pieces(void **state) {
    (void)state;
    uint8_t a[5], b[1], c[7], flat[13], out[13];
    struct piece pieces[] = {{a, 5}, {b, 1}, {c, 7}}, part[3];
    for (unsigned i = 0; i < 13; i++)
        flat[i] = (uint8_t)i;
    for (uint32_t at = 0; at <= 14; at++)
        for (uint32_t bytes = 0; bytes <= 14; bytes++) {
            uint32_t expected = at >= 13 ? 0 : bytes < 13 - at ? bytes : 13 - at;
            memset(a, 0xff, sizeof a);
            memset(b, 0xff, sizeof b);
            memset(c, 0xff, sizeof c);
            assert_int_equal(pieces_write(pieces, 3, 0, flat, 13), 13);
            assert_int_equal(pieces_read(pieces, 3, at, out, bytes), expected);
            if (expected)
                assert_memory_equal(out, flat + at, expected);
            unsigned count = pieces_part(pieces, 3, at, bytes, part);
            assert_int_equal(pieces_read(part, count, 0, out, sizeof out), expected);
            if (expected)
                assert_memory_equal(out, flat + at, expected);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_bad_rings),
        cmocka_unit_test(serves_direct),
        cmocka_unit_test(serves_indirect_with_events),
        cmocka_unit_test(indices_wrap),
        cmocka_unit_test(mixes_direct_and_indirect),
        cmocka_unit_test(puts_back),
        cmocka_unit_test(notifications_and_interrupts),
        cmocka_unit_test(index_jumps),
        cmocka_unit_test(offers_more_than_there_is),
        cmocka_unit_test(bad_descriptors),
        cmocka_unit_test(bad_indirect_tables),
        cmocka_unit_test(readable_after_writable),
        cmocka_unit_test(long_chains),
        cmocka_unit_test(copies_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
