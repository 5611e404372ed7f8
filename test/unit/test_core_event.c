/* Events of both sizes, badges, masks; interrupt sources. */
#include "test/unit/core_test.h"

enum { SMALL = 20, LARGE = 21, BADGED = 30, CONTEXT = 40 };
#define POLL BH_DEADLINE_POLL

static void rebind(uint32_t event) {
    struct write_held held = lock_write(this_cpu());
    world.init->blocked |= BLOCK_STOPPED; /* by the back door: who runs cannot rebind itself */
    OK(bind(held, world_slot(W_CONTEXT), BH_BIND_CTX_EVENT, world_slot(event)));
    world.init->blocked &= ~(uint32_t)BLOCK_STOPPED;
    unlock_write(held);
}

static void badge(uint32_t event, uint64_t value) {
    OK(call(BH_HC_COPY, OWN(event), OWN(BADGED), BH_EVENT_SIGNAL, value));
}

static void signal(uint32_t event, uint64_t value) {
    badge(event, value);
    OK(call(BH_HC_SIGNAL, BADGED));
    OK(call(BH_HC_DELETE, OWN(BADGED)));
}

static void took(uint64_t mask, uint64_t bits, uint64_t group) {
    OK(call(BH_HC_WAIT, mask, POLL));
    assert_int_equal(world_value(0), bits);
    assert_int_equal(world_value(1), group);
}

static void test_small_event_takes_what_the_mask_admits(void **state) {
    (void)state;
    STATUS(BH_TIMEOUT, call(BH_HC_WAIT, ~0ull, POLL));
    OK(call(BH_HC_SIGNAL, W_EVENT)); /* the original's badge is 0 */
    signal(W_EVENT, 5);
    signal(W_EVENT, 63);
    STATUS(BH_TIMEOUT, call(BH_HC_WAIT, 0, POLL));
    STATUS(BH_TIMEOUT, call(BH_HC_WAIT, 2, POLL));
    took(1ull << 5 | 1ull << 6, 1ull << 5, 0);
    took(~0ull, 1ull << 63 | 1, 0);
    STATUS(BH_TIMEOUT, call(BH_HC_WAIT, ~0ull, POLL));
}

static void test_large_event_takes_the_lowest_admitted_group(void **state) {
    (void)state;
    OK(retype(W_OBJECTS, BH_TYPE_EVENT, 4096, LARGE));
    rebind(LARGE);
    signal(LARGE, 64ull * 3 + 1);
    signal(LARGE, 64ull * 3 + 60);
    signal(LARGE, 64ull * 7);
    signal(LARGE, 4095);
    took(~0ull << 4, 1, 7);
    took(~0ull, 1ull << 1 | 1ull << 60, 3);
    STATUS(BH_TIMEOUT, call(BH_HC_WAIT, ~0ull >> 1, POLL));
    took(1ull << 63, 1ull << 63, 63);
    STATUS(BH_TIMEOUT, call(BH_HC_WAIT, ~0ull, POLL));
}

/* A taker may leave a summary bit behind whose word a signal on another CPU has lost to it: an
 * empty group must not hide the others. */
static void test_empty_group_does_not_hide_the_next(void **state) {
    (void)state;
    OK(retype(W_OBJECTS, BH_TYPE_EVENT, 4096, LARGE));
    rebind(LARGE);
    signal(LARGE, 64ull * 9 + 2);
    ((struct event *)world_object(LARGE))->summary |= 1ull << 4;
    took(~0ull, 1ull << 2, 9);
    STATUS(BH_TIMEOUT, call(BH_HC_WAIT, ~0ull, POLL));
}

static void test_badges(void **state) {
    (void)state;
    OK(retype(W_OBJECTS, BH_TYPE_EVENT, 64, SMALL));
    OK(retype(W_OBJECTS, BH_TYPE_EVENT, 4096, LARGE));
    STATUS(BH_BAD_ARG, call(BH_HC_COPY, OWN(SMALL), OWN(BADGED), 3, 64));
    STATUS(BH_BAD_ARG, call(BH_HC_COPY, OWN(LARGE), OWN(BADGED), 3, 4096));
    STATUS(BH_BAD_ARG, call(BH_HC_COPY, OWN(SMALL), OWN(BADGED), 3, 1ull << 32));
    badge(LARGE, 4095);
    OK(call(BH_HC_COPY, OWN(BADGED), OWN(31), 3, 7)); /* inherited, whatever is asked for */
    call(BH_HC_CAP_INFO, OWN(31), 0);
    assert_int_equal(world_value(1), 4095);
    assert_int_equal(world_slot(31)->rights, BH_EVENT_SIGNAL);
}

static void test_signal_needs_its_right(void **state) {
    (void)state;
    OK(call(BH_HC_COPY, OWN(W_EVENT), OWN(30), BH_EVENT_RECEIVE));
    STATUS(BH_BAD_RIGHTS, call(BH_HC_SIGNAL, 30));
    STATUS(BH_BAD_CAP, call(BH_HC_SIGNAL, 0));
    STATUS(BH_BAD_CAP, call(BH_HC_SIGNAL, 31));
    STATUS(BH_BAD_CAP, call(BH_HC_SIGNAL, W_TABLE_SLOTS));
    STATUS(BH_BAD_CAP, call(BH_HC_SIGNAL, 1ull << 32 | W_EVENT));
    STATUS(BH_BAD_CAP, call(BH_HC_SIGNAL, OWN(W_EVENT)));
    STATUS(BH_BAD_CAP, call(BH_HC_SIGNAL, W_CONTEXT));
    STATUS(BH_TIMEOUT, call(BH_HC_WAIT, ~0ull, POLL));
}

static void test_masked_bits_wake_nobody(void **state) {
    (void)state;
    struct context *low = world_spawn(CONTEXT, 16, 2, 0);
    OK(call(BH_HC_COPY, OWN(W_EVENT), BH_REF(CONTEXT + 2, 1), BH_EVENT_SIGNAL, 3));
    OK(call(BH_HC_COPY, OWN(W_EVENT), BH_REF(CONTEXT + 2, 2), BH_EVENT_SIGNAL, 4));
    STATUS(W_PENDING, call(BH_HC_WAIT, 1ull << 4, BH_DEADLINE_NEVER));
    assert_ptr_equal(cpus[0]->current, low);
    OK(world_raw(low, BH_HC_SIGNAL, (const uint64_t[6]){1}));
    assert_ptr_equal(world_exit(), low);
    OK(world_raw(low, BH_HC_SIGNAL, (const uint64_t[6]){2}));
    assert_ptr_equal(world_exit(), world.init);
    OK(world.init->arch.status);
    assert_int_equal(world_value(0), 1ull << 4);
    took(~0ull, 1ull << 3, 0);
}

/* --- Interrupts ---------------------------------------------------------------------------------
 */

enum { IRQ = 50 };

static struct irq *make_irq(void) {
    OK(retype(W_OBJECTS, BH_TYPE_IRQ, 0, IRQ));
    OK(call(BH_HC_COPY, OWN(W_EVENT), OWN(IRQ + 1), BH_EVENT_SIGNAL, 8));
    OK(call(BH_HC_BIND, OWN(IRQ), BH_BIND_IRQ_EVENT, OWN(IRQ + 1)));
    return world_object(IRQ);
}

static void test_one_signal_until_acknowledged(void **state) {
    (void)state;
    struct irq *irq = make_irq();
    STATUS(BH_NOT_READY, call(BH_HC_IRQ_ACK, IRQ));
    OK(call(BH_HC_IRQ_ATTACH, OWN(IRQ), W_SYSTEM, BH_IRQ_SOURCE_MSI));
    assert_int_equal(world_value(0), 0xfee00000);
    irq_deliver(irq);
    took(~0ull, 1ull << 8, 0);
    irq_deliver(irq);
    irq_deliver(irq);
    STATUS(BH_TIMEOUT, call(BH_HC_WAIT, ~0ull, POLL));
    OK(call(BH_HC_IRQ_ACK, IRQ));
    took(~0ull, 1ull << 8, 0); /* what came meanwhile is one more */
    OK(call(BH_HC_IRQ_ACK, IRQ));
    STATUS(BH_TIMEOUT, call(BH_HC_WAIT, ~0ull, POLL));
    assert_int_equal(fake.unmasked, 2);
}

static void test_attach(void **state) {
    (void)state;
    make_irq();
    STATUS(BH_BAD_ARG, call(BH_HC_IRQ_ATTACH, OWN(IRQ), W_SYSTEM, FAKE_GSIS));
    STATUS(BH_BAD_CAP, call(BH_HC_IRQ_ATTACH, OWN(IRQ), W_EVENT, 3));
    STATUS(BH_BAD_CAP, call(BH_HC_IRQ_ATTACH, OWN(W_EVENT), W_SYSTEM, 3));
    OK(call(BH_HC_COPY, OWN(W_SYSTEM), OWN(60), (uint8_t)~BH_SYSTEM_IRQ));
    STATUS(BH_BAD_RIGHTS, call(BH_HC_IRQ_ATTACH, OWN(IRQ), 60, 3));
    OK(call(BH_HC_COPY, OWN(IRQ), OWN(61), BH_IRQ_ACK));
    STATUS(BH_BAD_RIGHTS, call(BH_HC_IRQ_ATTACH, OWN(61), W_SYSTEM, 3));
    uint32_t vectors = fake.vectors_free;
    fake.vectors_free = 0;
    STATUS(BH_NO_MEMORY, call(BH_HC_IRQ_ATTACH, OWN(IRQ), W_SYSTEM, 3));
    fake.vectors_free = vectors;
    OK(call(BH_HC_IRQ_ATTACH, OWN(IRQ), W_SYSTEM, 3 | BH_IRQ_GSI_LEVEL));
    assert_int_equal(world_value(0), 0);
    STATUS(BH_BUSY, call(BH_HC_IRQ_ATTACH, OWN(IRQ), W_SYSTEM, 4));
    STATUS(BH_HAS_CHILDREN, call(BH_HC_DELETE, OWN(IRQ)));
    OK(call(BH_HC_REVOKE, OWN(IRQ)));
    OK(call(BH_HC_DELETE, OWN(IRQ)));
    assert_int_equal(fake.detached, 1);
    assert_int_equal(fake.vectors_free, vectors);
    assert_false(slot_has_children(world_slot(IRQ + 1)));
}

static void test_revoked_event_only_mutes_the_irq(void **state) {
    (void)state;
    struct irq *irq = make_irq();
    OK(call(BH_HC_IRQ_ATTACH, OWN(IRQ), W_SYSTEM, 3));
    OK(call(BH_HC_REVOKE, OWN(IRQ + 1)));
    irq_deliver(irq);
    STATUS(BH_TIMEOUT, call(BH_HC_WAIT, ~0ull, POLL));
    OK(call(BH_HC_IRQ_ACK, IRQ));
}

static void test_interrupt_before_its_event_is_told_at_bind(void **state) {
    (void)state;
    struct irq *irq = make_irq();
    OK(call(BH_HC_IRQ_ATTACH, OWN(IRQ), W_SYSTEM, 3));
    OK(call(BH_HC_BIND, OWN(IRQ), BH_BIND_IRQ_EVENT, 0));
    irq_deliver(irq);
    STATUS(BH_TIMEOUT, call(BH_HC_WAIT, ~0ull, POLL));
    OK(call(BH_HC_BIND, OWN(IRQ), BH_BIND_IRQ_EVENT, OWN(IRQ + 1)));
    took(~0ull, 1ull << 8, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_small_event_takes_what_the_mask_admits),
        TEST(test_large_event_takes_the_lowest_admitted_group),
        TEST(test_empty_group_does_not_hide_the_next),
        TEST(test_badges),
        TEST(test_signal_needs_its_right),
        TEST(test_masked_bits_wake_nobody),
        TEST(test_one_signal_until_acknowledged),
        TEST(test_attach),
        TEST(test_revoked_event_only_mutes_the_irq),
        TEST(test_interrupt_before_its_event_is_told_at_bind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
