/* Vcpus, guest Spaces, state pages and doorbells: what the core makes of them. The test is the
 * processor: a Context whose `vcpu` is set would be in guest mode. */
#include "test/unit/core_test.h"

enum { SPC = 20, VCPU, PAGE, PAGES, EVT, DEEP };

static const struct vcpu *the_vcpu(void) {
    return world_object(VCPU);
}

/* A Vcpu with everything bound; the state page is the second of two. */
static int boot_vcpu(void **state) {
    boot(state);
    fake.guest_mode = true;
    OK(finish(BH_HC_RETYPE, OWN(W_OBJECTS), BH_TYPE_SPACE, 8, OWN(SPC), BH_SPACE_GUEST));
    OK(retype(W_OBJECTS, BH_TYPE_VCPU, 0, VCPU));
    OK(scrub(W_SHARED));
    OK(retype(W_SHARED, BH_TYPE_REGION, 2, PAGES));
    OK(call(BH_HC_COPY, OWN(PAGES), OWN(PAGE), BH_RIGHTS_ALL, 1, 1));
    OK(call(BH_HC_BIND, OWN(VCPU), BH_BIND_VCPU_SPACE, OWN(SPC)));
    OK(call(BH_HC_BIND, OWN(VCPU), BH_BIND_VCPU_STATE, OWN(PAGE)));
    assert_ptr_equal(the_vcpu()->page,
                     arch_object_pointer((struct pa){FAKE_SHARED_BASE + PAGE_BYTES}));
    memset(the_vcpu()->page, 0, PAGE_BYTES);
    return 0;
}
#define VCPU_TEST(function) cmocka_unit_test_setup(function, boot_vcpu)

static uint64_t run(uint64_t groups, uint64_t deadline, uint64_t mask) {
    return call(BH_HC_VCPU_RUN, VCPU, groups, deadline, mask);
}

/* Its run has begun and has not ended. */
static void assert_runs(void) {
    assert_ptr_equal(world.init->vcpu, the_vcpu());
    assert_ptr_equal(the_vcpu()->runner, world.init);
    assert_int_equal(world.init->arch.status, W_PENDING);
    assert_true(cpus[0]->enter_guest);
}

static void assert_ended(uint64_t status, uint64_t exit) {
    assert_null(world.init->vcpu);
    assert_null(the_vcpu()->runner);
    assert_int_equal(world.init->arch.status, status);
    assert_int_equal(world_value(0), exit);
}

static void test_needs_guest_mode(void **state) {
    (void)state;
    STATUS(BH_NOT_READY, retype(W_OBJECTS, BH_TYPE_VCPU, 0, VCPU));
    STATUS(BH_NOT_READY,
           finish(BH_HC_RETYPE, OWN(W_OBJECTS), BH_TYPE_SPACE, 8, OWN(SPC), BH_SPACE_GUEST));
    fake.guest_mode = true;
    STATUS(BH_BAD_ARG, retype(W_FRAMES, BH_TYPE_VCPU, 0, VCPU));
    STATUS(BH_BAD_ARG, retype(W_OBJECTS, BH_TYPE_VCPU, 1, VCPU));
    OK(retype(W_OBJECTS, BH_TYPE_VCPU, 0, VCPU));
    assert_int_equal((uintptr_t)the_vcpu() % PAGE_BYTES, 0);
}

static void test_run_and_exit(void **state) {
    (void)state;
    run(BH_VCPU_ALL, BH_DEADLINE_NEVER, 0);
    assert_runs();
    assert_int_equal(the_vcpu()->arch.loaded, BH_VCPU_ALL);
    vcpu_exit(world_object(VCPU), BH_EXIT_HLT);
    assert_ended(BH_OK, BH_EXIT_HLT);
    assert_int_equal(the_vcpu()->page->exit, BH_EXIT_HLT);
    the_vcpu()->page->cr0 = FAKE_BAD_CR0;
    run(BH_VCPU_CONTROL, BH_DEADLINE_NEVER, 0);
    assert_ended(BH_OK, BH_EXIT_INVALID_STATE);
}

static void test_run_is_refused(void **state) {
    (void)state;
    STATUS(BH_BAD_ARG, run(BH_VCPU_ALL + 1, 0, 0));
    STATUS(BH_BAD_CAP, call(BH_HC_VCPU_RUN, SPC, 0, 0, 0));
    STATUS(BH_BAD_CAP, call(BH_HC_VCPU_SYNC, SPC, 0));
    OK(call(BH_HC_COPY, OWN(VCPU), OWN(30), BH_VCPU_BIND));
    STATUS(BH_BAD_RIGHTS, call(BH_HC_VCPU_RUN, 30, 0, 0, 0));
    STATUS(BH_BAD_RIGHTS, call(BH_HC_VCPU_SYNC, 30, 0));
    OK(call(BH_HC_BIND, OWN(VCPU), BH_BIND_VCPU_SPACE, 0));
    STATUS(BH_NOT_READY, run(0, BH_DEADLINE_NEVER, 0));
    OK(call(BH_HC_VCPU_SYNC, VCPU, BH_VCPU_TSC));
    assert_int_equal(the_vcpu()->arch.stored, BH_VCPU_TSC);
    OK(call(BH_HC_BIND, OWN(VCPU), BH_BIND_VCPU_SPACE, OWN(SPC)));
    OK(call(BH_HC_BIND, OWN(VCPU), BH_BIND_VCPU_STATE, 0));
    assert_null(the_vcpu()->page);
    STATUS(BH_NOT_READY, run(0, BH_DEADLINE_NEVER, 0));
    STATUS(BH_NOT_READY, call(BH_HC_VCPU_SYNC, VCPU, 0));
}

static void test_events_end_a_run(void **state) {
    (void)state;
    OK(call(BH_HC_COPY, OWN(W_EVENT), OWN(30), BH_EVENT_SIGNAL, 5));
    OK(call(BH_HC_SIGNAL, 30));
    OK(run(0, BH_DEADLINE_NEVER, 1 << 5)); /* pending already */
    assert_ended(BH_OK, BH_EXIT_NONE);
    run(0, BH_DEADLINE_NEVER, 1 << 6);
    assert_runs();
    event_signal(world.event, 5);
    assert_runs();
    event_signal(world.event, 6);
    assert_ended(BH_OK, BH_EXIT_NONE);
    OK(call(BH_HC_WAIT, 1 << 6, BH_DEADLINE_POLL)); /* it stays pending */
}

static void test_timer_is_set_for_the_deadline(void **state) {
    (void)state;
    uint64_t deadline = fake.now + 5000;
    run(0, deadline, 0);
    assert_runs();
    assert_int_equal(cpus[0]->arch.timer, deadline);
    vcpu_exit(world_object(VCPU), BH_EXIT_HLT);
    run(0, deadline + 1000, 0); /* the timer goes off, and is set anew then */
    assert_int_equal(cpus[0]->arch.timer, deadline);
    fake.now = deadline;
    timer_interrupt();
    world_exit();
    assert_int_equal(cpus[0]->arch.timer, deadline + 1000);
    vcpu_exit(world_object(VCPU), BH_EXIT_HLT);
}

/* Everything that ends a run from outside, while another Context is in it. */
static struct context *start_other(void) {
    struct context *other = world_spawn(40, 64, 5, 0);
    OK(call(BH_HC_COPY, OWN(VCPU), BH_REF(42, 3), BH_VCPU_RUN));
    STATUS(W_PENDING, call(BH_HC_WAIT, 0, fake.now + 100000)); /* the other one runs */
    assert_ptr_equal(cpus[0]->current, other);
    world_raw(other, BH_HC_VCPU_RUN, (const uint64_t[6]){3, 0, BH_DEADLINE_NEVER, 0});
    assert_ptr_equal(other->vcpu, the_vcpu());
    fake.now += 100000;
    timer_interrupt();
    assert_ptr_equal(world_exit(), world.init);
    return other;
}

static void assert_other_stopped(const struct context *other) {
    assert_null(other->vcpu);
    assert_int_equal(other->arch.status, BH_NOT_READY);
}

static void test_taking_away_ends_a_run(void **state) {
    (void)state;
    struct context *other = start_other();
    STATUS(BH_BUSY, run(0, 0, 0));
    STATUS(BH_BUSY, call(BH_HC_VCPU_SYNC, VCPU, 0));
    OK(finish(BH_HC_REVOKE, OWN(SPC)));
    assert_other_stopped(other);
    assert_int_equal(the_vcpu()->space.type, BH_TYPE_NONE);
}

static void test_taking_the_page_ends_a_run(void **state) {
    (void)state;
    struct context *other = start_other();
    OK(finish(BH_HC_REVOKE, OWN(PAGES)));
    assert_other_stopped(other);
    assert_null(the_vcpu()->page);
    assert_int_equal(world_slot(PAGE)->type, BH_TYPE_NONE);
}

static void test_taking_the_vcpu_ends_a_run(void **state) {
    (void)state;
    struct context *other = start_other();
    const struct vcpu *vcpu = the_vcpu();
    OK(finish(BH_HC_REVOKE, OWN(W_OBJECTS)));
    assert_int_equal(vcpu->arch.retired, 1);
    assert_null(other->vcpu);
    assert_false(slot_has_children(world_slot(PAGE)));
}

static void test_runner_dies(void **state) {
    (void)state;
    start_other();
    OK(finish(BH_HC_DELETE, OWN(40)));
    assert_null(the_vcpu()->runner);
    run(0, BH_DEADLINE_NEVER, 0);
    assert_runs();
    vcpu_exit(world_object(VCPU), BH_EXIT_HLT);
}

static void test_bindings_are_checked(void **state) {
    (void)state;
    world_spawn(40, 16, 5, 0);
    OK(call(BH_HC_CTX_SUSPEND, OWN(40)));
    STATUS(BH_BAD_ARG, call(BH_HC_BIND, OWN(40), BH_BIND_CTX_SPACE, OWN(SPC)));
    STATUS(BH_BAD_ARG, call(BH_HC_BIND, OWN(VCPU), BH_BIND_VCPU_SPACE, OWN(41)));
    STATUS(BH_BAD_ARG, call(BH_HC_BIND, OWN(VCPU), BH_BIND_VCPU_STATE, OWN(PAGES)));
    OK(scrub(W_FRAMES));
    OK(retype(W_FRAMES, BH_TYPE_REGION, 1, 30));
    STATUS(BH_BAD_ARG, call(BH_HC_BIND, OWN(VCPU), BH_BIND_VCPU_STATE, OWN(30)));
    OK(call(BH_HC_NARROW, OWN(PAGE), BH_REGION_READ));
    STATUS(BH_BAD_RIGHTS, call(BH_HC_BIND, OWN(VCPU), BH_BIND_VCPU_STATE, OWN(PAGE)));
    OK(call(BH_HC_NARROW, OWN(VCPU), BH_VCPU_RUN));
    STATUS(BH_BAD_RIGHTS, call(BH_HC_BIND, OWN(VCPU), BH_BIND_VCPU_SPACE, OWN(SPC)));
}

static void test_guest_addresses_and_rights(void **state) {
    (void)state;
    const uint64_t all = BH_REGION_READ | BH_REGION_WRITE | BH_REGION_EXEC;
    OK(scrub(W_FRAMES));
    OK(retype(W_FRAMES, BH_TYPE_REGION, 2, 30));
    STATUS(BH_BAD_ARG, call(BH_HC_MAP, OWN(30), OWN(W_SPACE), BH_USER_VA_MIN, all));
    STATUS(BH_BAD_ARG, call(BH_HC_MAP, OWN(30), OWN(SPC), FAKE_GUEST_END, all));
    STATUS(BH_BAD_ARG, call(BH_HC_MAP, OWN(30), OWN(SPC), FAKE_GUEST_END - PAGE_BYTES, all));
    STATUS(BH_BAD_ARG, call(BH_HC_MAP, OWN(30), OWN(SPC), 0, BH_REGION_WRITE));
    OK(call(BH_HC_MAP, OWN(30), OWN(SPC), 0, all));
    assert_int_equal(fake_translate(world_object(SPC), 0x1000).rights, all);
    OK(finish(BH_HC_UNMAP, OWN(30)));
    OK(call(BH_HC_MAP, OWN(30), OWN(SPC), FAKE_GUEST_END - 2 * PAGE_BYTES, BH_REGION_READ));
}

static void test_doorbells(void **state) {
    (void)state;
    const struct space *space = world_object(SPC);
    uint64_t pool = space->pool_used;
    OK(call(BH_HC_COPY, OWN(W_EVENT), OWN(30), BH_EVENT_SIGNAL, 7));
    OK(call(BH_HC_DOORBELL, OWN(SPC), 0xc000, 2, OWN(30)));
    assert_int_equal(space->pool_used, pool + 1);
    assert_true(doorbell_ring(space, 0xc000, 2));
    assert_false(doorbell_ring(space, 0xc000, 4));
    assert_false(doorbell_ring(space, 0xc001, 2));
    OK(call(BH_HC_WAIT, 1 << 7, BH_DEADLINE_POLL));
    for (uint64_t i = 1; i < BH_DOORBELLS_MAX; i++)
        OK(call(BH_HC_DOORBELL, OWN(SPC), i, 1, OWN(30)));
    STATUS(BH_NO_MEMORY, call(BH_HC_DOORBELL, OWN(SPC), 100, 1, OWN(30)));
    OK(call(BH_HC_DOORBELL, OWN(SPC), 5, 1, OWN(30))); /* takes the place of the old one */
    OK(call(BH_HC_DOORBELL, OWN(SPC), 6, 1, 0));
    assert_false(doorbell_ring(space, 6, 1));
    OK(call(BH_HC_DOORBELL, OWN(SPC), 100, 1, OWN(30)));
    OK(finish(BH_HC_REVOKE, OWN(30)));
    assert_false(doorbell_ring(space, 0xc000, 2));
    OK(call(BH_HC_DOORBELL, OWN(SPC), 100, 1, OWN(30)));
    OK(finish(BH_HC_REVOKE, OWN(SPC)));
    OK(finish(BH_HC_DELETE, OWN(SPC))); /* and they die with their Space */
    assert_false(slot_has_children(world_slot(30)));
}

static void test_doorbells_are_checked(void **state) {
    (void)state;
    STATUS(BH_BAD_ARG, call(BH_HC_DOORBELL, OWN(W_SPACE), 1, 1, OWN(W_EVENT)));
    STATUS(BH_BAD_ARG, call(BH_HC_DOORBELL, OWN(SPC), 1, 3, OWN(W_EVENT)));
    STATUS(BH_BAD_ARG, call(BH_HC_DOORBELL, OWN(SPC), 0x10000, 1, OWN(W_EVENT)));
    STATUS(BH_BAD_CAP, call(BH_HC_DOORBELL, OWN(SPC), 1, 1, OWN(W_PORTS)));
    STATUS(BH_BAD_CAP, call(BH_HC_DOORBELL, OWN(W_PORTS), 1, 1, OWN(W_EVENT)));
    STATUS(BH_BAD_CAP, call(BH_HC_DOORBELL, BH_OWN(SPC), 1, 1, OWN(W_EVENT)));
    OK(call(BH_HC_COPY, OWN(W_EVENT), OWN(30), BH_EVENT_RECEIVE));
    STATUS(BH_BAD_RIGHTS, call(BH_HC_DOORBELL, OWN(SPC), 1, 1, OWN(30)));
    OK(call(BH_HC_COPY, OWN(SPC), OWN(31), BH_SPACE_BIND));
    STATUS(BH_BAD_RIGHTS, call(BH_HC_DOORBELL, OWN(31), 1, 1, OWN(W_EVENT)));
    OK(finish(BH_HC_RETYPE, OWN(W_OBJECTS), BH_TYPE_SPACE, 1, OWN(32), BH_SPACE_GUEST));
    STATUS(BH_NO_MEMORY, call(BH_HC_DOORBELL, OWN(32), 1, 1, OWN(W_EVENT)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_needs_guest_mode),
        VCPU_TEST(test_run_and_exit),
        VCPU_TEST(test_run_is_refused),
        VCPU_TEST(test_events_end_a_run),
        VCPU_TEST(test_timer_is_set_for_the_deadline),
        VCPU_TEST(test_taking_away_ends_a_run),
        VCPU_TEST(test_taking_the_page_ends_a_run),
        VCPU_TEST(test_taking_the_vcpu_ends_a_run),
        VCPU_TEST(test_runner_dies),
        VCPU_TEST(test_bindings_are_checked),
        VCPU_TEST(test_guest_addresses_and_rights),
        VCPU_TEST(test_doorbells),
        VCPU_TEST(test_doorbells_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
