/* Contexts: references, and the reasons not to run in every order. */
#include "test/unit/core_test.h"

enum { CTX = 40, SPC, TBL, EVT };

static uint64_t state_of(uint32_t context) {
    OK(call(BH_HC_CTX_GET, OWN(context), BH_REG_STATE));
    return world_value(0);
}

/* Lets the first Context sleep for good; who runs then? */
static struct context *let_others_run(void) {
    STATUS(W_PENDING, call(BH_HC_WAIT, 0, BH_DEADLINE_NEVER));
    return cpus[0]->current;
}

/* Brings the first Context back. */
static void take_over(void) {
    struct write_held held = lock_write(this_cpu());
    context_end_wait(world.init, BH_OK, 0, 0);
    unlock_write(held);
    assert_ptr_equal(world_exit(), world.init);
}

static void advance(uint64_t ticks) {
    fake.now += ticks;
    timer_interrupt();
    world_exit();
    world_check();
}

static void test_resume_needs_all_parts(void **state) {
    (void)state;
    OK(retype(W_OBJECTS, BH_TYPE_CONTEXT, 0, CTX));
    OK(retype(W_OBJECTS, BH_TYPE_SPACE, 4, SPC));
    OK(retype(W_OBJECTS, BH_TYPE_CAPTABLE, 4, TBL));
    STATUS(BH_NOT_READY, call(BH_HC_CTX_RESUME, OWN(CTX)));
    OK(call(BH_HC_BIND, OWN(CTX), BH_BIND_CTX_SPACE, OWN(SPC)));
    STATUS(BH_NOT_READY, call(BH_HC_CTX_RESUME, OWN(CTX)));
    OK(call(BH_HC_BIND, OWN(CTX), BH_BIND_CTX_TABLE, OWN(TBL)));
    STATUS(BH_NOT_READY, call(BH_HC_CTX_RESUME, OWN(CTX)));
    OK(call(BH_HC_CTX_SCHED, OWN(CTX), W_CPU0, 3));
    OK(call(BH_HC_CTX_RESUME, OWN(CTX)));
    assert_int_equal(state_of(CTX), BH_CTX_READY);
    OK(call(BH_HC_CTX_RESUME, OWN(CTX)));
    OK(call(BH_HC_CTX_SUSPEND, OWN(CTX)));
    OK(call(BH_HC_CTX_SUSPEND, OWN(CTX)));
    assert_int_equal(state_of(CTX), BH_CTX_STOPPED);
    OK(call(BH_HC_BIND, OWN(CTX), BH_BIND_CTX_SPACE, 0));
    STATUS(BH_NOT_READY, call(BH_HC_CTX_RESUME, OWN(CTX)));
}

static void test_bind_rules(void **state) {
    (void)state;
    static const struct {
        enum bh_binding what;
        uint32_t object, target;
        uint8_t object_rights, target_rights;
    } rules[] = {
        {BH_BIND_CTX_SPACE, CTX, SPC, BH_CONTEXT_BIND, BH_SPACE_BIND},
        {BH_BIND_CTX_TABLE, CTX, TBL, BH_CONTEXT_BIND, BH_CAPTABLE_BIND},
        {BH_BIND_CTX_EVENT, CTX, EVT, BH_CONTEXT_BIND, BH_EVENT_RECEIVE},
        {BH_BIND_CTX_FAULT, CTX, EVT, BH_CONTEXT_BIND, BH_EVENT_SIGNAL},
        {BH_BIND_IRQ_EVENT, 60, EVT, BH_IRQ_BIND, BH_EVENT_SIGNAL},
    };
    world_spawn(CTX, 16, 3, 0);
    OK(retype(W_OBJECTS, BH_TYPE_IRQ, 0, 60));
    STATUS(BH_BUSY, call(BH_HC_BIND, OWN(CTX), BH_BIND_CTX_FAULT, OWN(EVT))); /* it runs */
    OK(call(BH_HC_CTX_SUSPEND, OWN(CTX)));
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        uint64_t what = rules[i].what;
        uint32_t object = rules[i].object, target = rules[i].target;
        OK(call(BH_HC_COPY, OWN(object), OWN(70), (uint8_t)~rules[i].object_rights));
        OK(call(BH_HC_COPY, OWN(target), OWN(71), (uint8_t)~rules[i].target_rights));
        STATUS(BH_BAD_RIGHTS, call(BH_HC_BIND, OWN(70), what, OWN(target)));
        STATUS(BH_BAD_RIGHTS, call(BH_HC_BIND, OWN(object), what, OWN(71)));
        STATUS(BH_BAD_CAP, call(BH_HC_BIND, OWN(object), what, OWN(W_PORTS)));
        STATUS(BH_BAD_CAP, call(BH_HC_BIND, OWN(W_PORTS), what, OWN(target)));
        STATUS(BH_BAD_CAP, call(BH_HC_BIND, OWN(99), what, OWN(target)));
        STATUS(BH_BAD_CAP, call(BH_HC_BIND, OWN(object), what, OWN(99)));
        STATUS(BH_BAD_CAP, call(BH_HC_BIND, BH_OWN(object), what, OWN(target)));
        OK(call(BH_HC_BIND, OWN(object), what, OWN(target)));
        OK(call(BH_HC_BIND, OWN(object), what, 0));
        OK(call(BH_HC_DELETE, OWN(70)));
        OK(call(BH_HC_DELETE, OWN(71)));
        assert_false(slot_has_children(world_slot(target)) && target != EVT && i == 4);
    }
    STATUS(BH_BAD_ARG, call(BH_HC_BIND, OWN(CTX), 7, OWN(SPC)));
    STATUS(BH_BAD_ARG, call(BH_HC_BIND, OWN(CTX), 1ull << 32, OWN(SPC)));
}

static void test_an_event_has_one_waiter(void **state) {
    (void)state;
    world_spawn(CTX, 16, 3, 0);
    OK(retype(W_OBJECTS, BH_TYPE_CONTEXT, 0, 60));
    STATUS(BH_BUSY, call(BH_HC_BIND, OWN(60), BH_BIND_CTX_EVENT, OWN(EVT)));
    OK(call(BH_HC_COPY, OWN(EVT), OWN(61), 3, 9));
    STATUS(BH_BUSY, call(BH_HC_BIND, OWN(60), BH_BIND_CTX_EVENT, OWN(61)));
    OK(call(BH_HC_BIND, OWN(60), BH_BIND_CTX_FAULT, OWN(61))); /* that is another matter */
    OK(call(BH_HC_CTX_SUSPEND, OWN(CTX)));
    OK(call(BH_HC_BIND, OWN(CTX), BH_BIND_CTX_EVENT, OWN(61))); /* the same Event again */
    assert_ptr_equal(((struct event *)world_object(EVT))->waiter, world_object(CTX));
    OK(call(BH_HC_REVOKE, OWN(61)));
    assert_null(((struct event *)world_object(EVT))->waiter);
    OK(call(BH_HC_BIND, OWN(60), BH_BIND_CTX_EVENT, OWN(EVT)));
    OK(finish(BH_HC_DELETE, OWN(60)));
    assert_null(((struct event *)world_object(EVT))->waiter);
}

static void test_suspended_wait_goes_on(void **state) {
    (void)state;
    struct context *other = world_spawn(CTX, 16, 3, 0);
    assert_ptr_equal(let_others_run(), other);
    STATUS(W_PENDING, world_raw(other, BH_HC_WAIT, (const uint64_t[6]){2, BH_DEADLINE_NEVER}));
    world_exit();
    take_over();
    assert_int_equal(state_of(CTX), BH_CTX_WAITING);
    STATUS(BH_BUSY, call(BH_HC_BIND, OWN(CTX), BH_BIND_CTX_FAULT, OWN(EVT)));
    STATUS(BH_BUSY, call(BH_HC_CTX_SET, OWN(CTX), BH_REG_RAX, 1));
    OK(call(BH_HC_CTX_SUSPEND, OWN(CTX)));
    assert_int_equal(state_of(CTX), BH_CTX_STOPPED);
    OK(call(BH_HC_CTX_RESUME, OWN(CTX)));
    assert_int_equal(state_of(CTX), BH_CTX_WAITING);
    OK(call(BH_HC_CTX_SUSPEND, OWN(CTX)));
    OK(call(BH_HC_COPY, OWN(EVT), OWN(60), 3, 1));
    OK(call(BH_HC_SIGNAL, 60)); /* ends the wait, not the suspension */
    OK(other->arch.status);
    assert_int_equal(other->arch.value[0], 2);
    assert_int_equal(state_of(CTX), BH_CTX_STOPPED);
    OK(call(BH_HC_CTX_RESUME, OWN(CTX)));
    assert_int_equal(state_of(CTX), BH_CTX_READY);
}

static void test_deadline_passes_while_suspended(void **state) {
    (void)state;
    struct context *other = world_spawn(CTX, 16, 3, 0);
    let_others_run();
    STATUS(W_PENDING, world_raw(other, BH_HC_WAIT, (const uint64_t[6]){2, fake.now + 5000}));
    world_exit();
    take_over();
    OK(call(BH_HC_CTX_SUSPEND, OWN(CTX)));
    OK(call(BH_HC_CTX_SCHED, OWN(CTX), W_CPU0, 4)); /* the deadline survives being placed anew */
    advance(4999);
    STATUS(W_PENDING, other->arch.status);
    advance(1);
    STATUS(BH_TIMEOUT, other->arch.status);
    assert_int_equal(state_of(CTX), BH_CTX_STOPPED);
}

static void test_event_goes_while_waiting(void **state) {
    (void)state;
    struct context *other = world_spawn(CTX, 16, 3, 0);
    let_others_run();
    world_raw(other, BH_HC_WAIT, (const uint64_t[6]){2, fake.now + 5000});
    world_exit();
    take_over();
    OK(finish(BH_HC_REVOKE, OWN(EVT)));
    STATUS(BH_NOT_READY, other->arch.status);
    assert_int_equal(state_of(CTX), BH_CTX_READY);
    assert_null(cpus[0]->timers);
    let_others_run();
    STATUS(BH_NOT_READY, world_raw(other, BH_HC_WAIT, (const uint64_t[6]){~0ull, 0}));
}

static void test_destroyed_while_waiting(void **state) {
    (void)state;
    struct context *other = world_spawn(CTX, 16, 3, 0);
    let_others_run();
    world_raw(other, BH_HC_WAIT, (const uint64_t[6]){2, fake.now + 5000});
    world_exit();
    take_over();
    OK(call(BH_HC_REVOKE, OWN(CTX)));
    OK(call(BH_HC_DELETE, OWN(CTX)));
    assert_null(cpus[0]->timers);
    assert_null(((struct event *)world_object(EVT))->waiter);
    assert_false(slot_has_children(world_slot(SPC)));
    assert_int_equal(other->arch.retired, 1);
    advance(10000);
}

static void test_fault_stops_and_tells(void **state) {
    (void)state;
    struct context *other = world_spawn(CTX, 16, 3, 0);
    OK(call(BH_HC_COPY, OWN(W_EVENT), OWN(60), 3, 6));
    OK(call(BH_HC_CTX_SUSPEND, OWN(CTX)));
    OK(call(BH_HC_BIND, OWN(CTX), BH_BIND_CTX_FAULT, OWN(60)));
    OK(call(BH_HC_CTX_RESUME, OWN(CTX)));
    OK(call(BH_HC_CTX_GET, OWN(CTX), BH_REG_FAULT_VECTOR));
    assert_int_equal(world_value(0), ~0ull);
    STATUS(W_PENDING, call(BH_HC_WAIT, ~0ull, BH_DEADLINE_NEVER));
    assert_ptr_equal(cpus[0]->current, other);
    context_fault(other, 14, 6, 0x1234);
    assert_ptr_equal(world_exit(), world.init);
    OK(world.init->arch.status);
    assert_int_equal(world_value(0), 1ull << 6);
    assert_int_equal(state_of(CTX), BH_CTX_FAULTED);
    OK(call(BH_HC_CTX_GET, OWN(CTX), BH_REG_FAULT_ADDRESS));
    assert_int_equal(world_value(0), 0x1234);
    OK(call(BH_HC_CTX_SUSPEND, OWN(CTX)));
    assert_int_equal(state_of(CTX), BH_CTX_FAULTED);
    OK(call(BH_HC_CTX_SET, OWN(CTX), BH_REG_RIP, 0x20000));
    OK(call(BH_HC_CTX_RESUME, OWN(CTX)));
    assert_int_equal(state_of(CTX), BH_CTX_READY);
}

static void test_registers_and_their_rights(void **state) {
    (void)state;
    world_spawn(CTX, 16, 3, 0);
    OK(call(BH_HC_COPY, OWN(CTX), OWN(60), BH_CONTEXT_TIME));
    OK(call(BH_HC_COPY, OWN(CTX), OWN(61), (uint8_t) ~(BH_CONTEXT_READ | BH_CONTEXT_TIME)));
    OK(call(BH_HC_COPY, OWN(CTX), OWN(62), BH_CONTEXT_READ));
    OK(call(BH_HC_CTX_GET, OWN(60), BH_REG_CPU_TIME));
    OK(call(BH_HC_CTX_GET, OWN(60), BH_REG_STATE));
    STATUS(BH_BAD_RIGHTS, call(BH_HC_CTX_GET, OWN(60), BH_REG_RAX));
    STATUS(BH_BAD_RIGHTS, call(BH_HC_CTX_GET, OWN(60), BH_REG_FAULT_ADDRESS));
    for (uint32_t reg = 0; reg < BH_REG_COUNT; reg++) {
        STATUS(BH_BAD_RIGHTS, call(BH_HC_CTX_GET, OWN(61), reg));
        OK(call(BH_HC_CTX_GET, OWN(62), reg));
    }
    STATUS(BH_BAD_ARG, call(BH_HC_CTX_GET, OWN(62), BH_REG_COUNT));
    STATUS(BH_BAD_ARG, call(BH_HC_CTX_GET, OWN(62), 1ull << 32));
    STATUS(BH_BAD_RIGHTS, call(BH_HC_CTX_SET, OWN(62), BH_REG_RAX, 1));
    STATUS(BH_BAD_RIGHTS, call(BH_HC_CTX_SUSPEND, OWN(62)));
    STATUS(BH_BAD_RIGHTS, call(BH_HC_CTX_RESUME, OWN(62)));
    STATUS(BH_BAD_RIGHTS, call(BH_HC_CTX_SCHED, OWN(62), W_CPU0, 1));
    STATUS(BH_BUSY, call(BH_HC_CTX_SET, OWN(CTX), BH_REG_RAX, 1));
    OK(call(BH_HC_CTX_SUSPEND, OWN(CTX)));
    for (uint32_t reg = BH_REG_FAULT_VECTOR; reg < BH_REG_COUNT + 2; reg++)
        STATUS(BH_BAD_ARG, call(BH_HC_CTX_SET, OWN(CTX), reg, 1));
    STATUS(BH_BAD_ARG, call(BH_HC_CTX_SET, OWN(CTX), 1ull << 32, 1));
    STATUS(BH_BAD_ARG, call(BH_HC_CTX_SET, OWN(CTX), BH_REG_RIP, BH_USER_VA_END));
    OK(call(BH_HC_CTX_SET, OWN(CTX), BH_REG_RBX, 77));
    OK(call(BH_HC_CTX_GET, OWN(CTX), BH_REG_RBX));
    assert_int_equal(world_value(0), 77);
}

static void test_caller_suspends_itself(void **state) {
    (void)state;
    struct context *other = world_spawn(CTX, 16, 3, 0);
    OK(call(BH_HC_CTX_SUSPEND, OWN(W_CONTEXT)));
    assert_ptr_equal(cpus[0]->current, other);
    assert_false(world.init->queued);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_resume_needs_all_parts),          TEST(test_bind_rules),
        TEST(test_an_event_has_one_waiter),         TEST(test_suspended_wait_goes_on),
        TEST(test_deadline_passes_while_suspended), TEST(test_event_goes_while_waiting),
        TEST(test_destroyed_while_waiting),         TEST(test_fault_stops_and_tells),
        TEST(test_registers_and_their_rights),      TEST(test_caller_suspends_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
