/* Who runs: priorities, quanta, budgets; the heap of deadlines against a sorted list. */
#include "test/unit/core_test.h"

enum { A = 40, B = 50, C = 60 };
#define QUANTUM 2000ull

/* Time passes for who runs; the timer interrupts when it was set to. Returns who runs then. */
static struct context *run_for(uint64_t ticks) {
    struct cpu *cpu = cpus[0];
    uint64_t end = fake.now + ticks;
    unsigned interrupts = 0;
    while (cpu->arch.timer <= end) {
        if (cpu->arch.timer > fake.now)
            fake.now = cpu->arch.timer;
        timer_interrupt();
        world_exit();
        world_check();
        assert_true(interrupts++ < 1000); /* else it never lets anybody run */
    }
    fake.now = end;
    return cpu->current;
}

static uint64_t time_of(uint32_t context) {
    return ((struct context *)world_object(context))->cpu_time;
}

static void sleep_for_good(void) {
    STATUS(W_PENDING, call(BH_HC_WAIT, 0, BH_DEADLINE_NEVER));
}

static void test_highest_priority_runs(void **state) {
    (void)state;
    struct context *low = world_spawn(A, 16, 2, 0), *mid = world_spawn(B, 16, 5, 0);
    assert_ptr_equal(cpus[0]->current, world.init);
    sleep_for_good();
    assert_ptr_equal(cpus[0]->current, mid);
    world_raw(mid, BH_HC_YIELD, (const uint64_t[6]){0});
    assert_ptr_equal(world_exit(), mid);
    world_raw(mid, BH_HC_WAIT, (const uint64_t[6]){1, fake.now + 100});
    assert_ptr_equal(world_exit(), low);
    assert_ptr_equal(run_for(99), low);
    assert_ptr_equal(run_for(1), mid);
    STATUS(BH_TIMEOUT, mid->arch.status);
}

static void test_quanta_take_turns(void **state) {
    (void)state;
    struct context *a = world_spawn(A, 16, 5, QUANTUM), *b = world_spawn(B, 16, 5, QUANTUM);
    sleep_for_good();
    struct context *first = cpus[0]->current, *second = first == a ? b : a;
    assert_ptr_equal(run_for(QUANTUM - 1), first);
    assert_ptr_equal(run_for(1), second);
    assert_ptr_equal(run_for(QUANTUM), first);
    run_for(100 * QUANTUM);
    assert_in_range(time_of(A), 50 * QUANTUM, 52 * QUANTUM);
    assert_in_range(time_of(B), 50 * QUANTUM, 52 * QUANTUM);
}

static void test_woken_goes_to_the_head(void **state) {
    (void)state;
    struct context *a = world_spawn(A, 16, 5, QUANTUM);
    sleep_for_good();
    assert_ptr_equal(cpus[0]->current, a);
    run_for(500);
    world_raw(a, BH_HC_WAIT, (const uint64_t[6]){1, fake.now + 1000});
    assert_null(world_exit());
    run_for(1000);
    assert_ptr_equal(cpus[0]->current, a);
    assert_int_equal(cpus[0]->arch.timer, fake.now + QUANTUM - 500); /* what is left of it */
}

static void test_preempted_keeps_its_place(void **state) {
    (void)state;
    struct context *a = world_spawn(A, 16, 5, QUANTUM), *b = world_spawn(B, 16, 5, QUANTUM);
    struct context *high = world_spawn(C, 16, 8, 0);
    sleep_for_good();
    world_raw(high, BH_HC_WAIT, (const uint64_t[6]){1, fake.now + 300});
    struct context *first = world_exit(), *second = first == a ? b : a;
    assert_ptr_equal(run_for(300), high);
    world_raw(high, BH_HC_WAIT, (const uint64_t[6]){1, BH_DEADLINE_NEVER});
    assert_ptr_equal(world_exit(), first);
    assert_ptr_equal(run_for(QUANTUM - 301), first);
    assert_ptr_equal(run_for(1), second);
}

/* Who wakes another of its own domain gives way to it, and goes on where it was when that one waits
 * again; a stranger's turn comes no sooner. */
static void test_gives_way_to_its_own(void **state) {
    (void)state;
    struct context *a = world_spawn(A, 16, 5, QUANTUM), *stranger = world_spawn(B, 16, 5, QUANTUM);
    struct context *sibling = world_spawn(C, 16, 5, QUANTUM);
    STATUS(BH_OK, call(BH_HC_CTX_SUSPEND, OWN(C)));
    STATUS(BH_OK, call(BH_HC_BIND, OWN(C), BH_BIND_CTX_TABLE, OWN(A + 2)));
    STATUS(BH_OK, call(BH_HC_CTX_RESUME, OWN(C)));
    STATUS(BH_OK, call(BH_HC_COPY, OWN(C + 3), BH_REF(A + 2, 3), BH_EVENT_SIGNAL, 0));
    STATUS(BH_OK, call(BH_HC_COPY, OWN(B + 3), BH_REF(A + 2, 4), BH_EVENT_SIGNAL, 0));
    sleep_for_good();
    while (!stranger->blocked || !sibling->blocked) {
        struct context *now = cpus[0]->current;
        uint64_t number = now == a ? BH_HC_YIELD : BH_HC_WAIT;
        world_raw(now, number, (const uint64_t[6]){1, BH_DEADLINE_NEVER});
        world_exit();
    }
    assert_ptr_equal(cpus[0]->current, a);
    world_raw(a, BH_HC_YIELD, (const uint64_t[6]){0}); /* a new turn */
    world_exit();
    run_for(500);
    world_raw(a, BH_HC_SIGNAL, (const uint64_t[6]){4});
    assert_ptr_equal(world_exit(), a);
    world_raw(a, BH_HC_SIGNAL, (const uint64_t[6]){3});
    assert_ptr_equal(world_exit(), sibling);
    run_for(300);
    world_raw(sibling, BH_HC_WAIT, (const uint64_t[6]){1, BH_DEADLINE_NEVER});
    assert_ptr_equal(world_exit(), a);
    assert_int_equal(cpus[0]->arch.timer,
                     fake.now + QUANTUM - 800); /* its turn went on meanwhile */
    assert_ptr_equal(run_for(QUANTUM - 800), stranger);
}

/* Without a quantum there is no round robin, however often the timer interrupts. */
static void test_no_quantum_no_turns(void **state) {
    (void)state;
    struct context *a = world_spawn(A, 16, 5, 0), *b = world_spawn(B, 16, 5, 0);
    struct context *high = world_spawn(C, 16, 8, 0);
    sleep_for_good();
    world_raw(high, BH_HC_WAIT, (const uint64_t[6]){1, fake.now + 300});
    struct context *first = world_exit(), *second = first == a ? b : a;
    timer_interrupt();
    assert_ptr_equal(world_exit(), first);
    assert_ptr_equal(run_for(300), high);
    world_raw(high, BH_HC_WAIT, (const uint64_t[6]){1, BH_DEADLINE_NEVER});
    assert_ptr_equal(world_exit(), first);
    assert_ptr_equal(run_for(1000000), first);
    world_raw(first, BH_HC_YIELD, (const uint64_t[6]){0});
    assert_ptr_equal(world_exit(), second);
    world_raw(second, BH_HC_YIELD, (const uint64_t[6]){0});
    assert_ptr_equal(world_exit(), first);
    timer_interrupt();
    assert_ptr_equal(world_exit(), first);
}

static void test_budget_caps(void **state) {
    (void)state;
    struct context *a = world_spawn(A, 16, 5, 0), *b = world_spawn(B, 16, 2, 0);
    OK(call(BH_HC_CTX_SCHED, OWN(A), W_CPU0, 5, 0, 2000, 10000));
    sleep_for_good();
    assert_ptr_equal(cpus[0]->current, a);
    assert_ptr_equal(run_for(1999), a);
    assert_ptr_equal(run_for(1), b);
    assert_true(a->blocked & BLOCK_BUDGET);
    assert_ptr_equal(run_for(7999), b);
    assert_ptr_equal(run_for(1), a);
    run_for(100000);
    assert_in_range(time_of(A), 20000, 26000);
}

/* Sleeping does not renew a budget: not even for a moment before the timer strikes. */
static void test_used_up_budget_survives_a_sleep(void **state) {
    (void)state;
    struct context *a = world_spawn(A, 16, 5, 0), *b = world_spawn(B, 16, 2, 0);
    OK(call(BH_HC_COPY, OWN(A + 3), BH_REF(B + 2, 1), BH_EVENT_SIGNAL, 0));
    OK(call(BH_HC_CTX_SCHED, OWN(A), W_CPU0, 5, 0, 2000, 100000));
    sleep_for_good();
    fake.now += 2000; /* the timer is late */
    world_raw(a, BH_HC_WAIT, (const uint64_t[6]){1, BH_DEADLINE_NEVER});
    assert_ptr_equal(world_exit(), b);
    OK(world_raw(b, BH_HC_SIGNAL, (const uint64_t[6]){1}));
    assert_ptr_equal(world_exit(), b);
    OK(a->arch.status);
    world_check();
    assert_ptr_equal(run_for(97999), b);
    assert_ptr_equal(run_for(1), a);
}

static void test_throttled_and_suspended(void **state) {
    (void)state;
    struct context *a = world_spawn(A, 16, 5, 0);
    OK(call(BH_HC_CTX_SCHED, OWN(A), W_CPU0, 5, 0, 2000, 100000));
    STATUS(W_PENDING, call(BH_HC_WAIT, 0, fake.now + 3000));
    assert_ptr_equal(run_for(3000), world.init);
    assert_int_equal(a->blocked, BLOCK_BUDGET);
    OK(call(BH_HC_CTX_GET, OWN(A), BH_REG_STATE));
    assert_int_equal(world_value(0), BH_CTX_THROTTLED);
    OK(call(BH_HC_CTX_SUSPEND, OWN(A)));
    assert_ptr_equal(run_for(200000), world.init);
    OK(call(BH_HC_CTX_GET, OWN(A), BH_REG_STATE));
    assert_int_equal(world_value(0), BH_CTX_STOPPED);
    OK(call(BH_HC_CTX_RESUME, OWN(A)));
    OK(call(BH_HC_CTX_GET, OWN(A), BH_REG_STATE));
    assert_int_equal(world_value(0), BH_CTX_READY);
}

static void test_endless_quantum_does_not_flood_with_interrupts(void **state) {
    (void)state;
    struct context *a = world_spawn(A, 16, 5, 0);
    OK(call(BH_HC_CTX_SCHED, OWN(A), W_CPU0, 5, ~0ull));
    sleep_for_good();
    assert_ptr_equal(run_for(1000000), a);
    assert_true(cpus[0]->arch.timer > fake.now);
}

static void test_sched_arguments(void **state) {
    (void)state;
    world_spawn(A, 16, 5, 0);
    OK(call(BH_HC_COPY, OWN(W_CPU0), OWN(70), BH_CPU_SCHEDULE, 7));
    STATUS(BH_BAD_ARG, call(BH_HC_COPY, OWN(70), OWN(71), BH_CPU_SCHEDULE, 8));
    OK(call(BH_HC_COPY, OWN(70), OWN(71), 0, 7));
    STATUS(BH_BAD_RIGHTS, call(BH_HC_CTX_SCHED, OWN(A), 71, 1));
    STATUS(BH_BAD_CAP, call(BH_HC_CTX_SCHED, OWN(A), W_EVENT, 1));
    STATUS(BH_BAD_ARG, call(BH_HC_CTX_SCHED, OWN(A), 70, 8));
    STATUS(BH_BAD_ARG, call(BH_HC_CTX_SCHED, OWN(A), W_CPU0, BH_PRIORITIES));
    STATUS(BH_BAD_ARG, call(BH_HC_CTX_SCHED, OWN(A), W_CPU0, 1ull << 32));
    STATUS(BH_BAD_ARG, call(BH_HC_CTX_SCHED, OWN(A), 70, 7, 999));
    STATUS(BH_BAD_ARG, call(BH_HC_CTX_SCHED, OWN(A), 70, 7, 0, 999, 5000));
    STATUS(BH_BAD_ARG, call(BH_HC_CTX_SCHED, OWN(A), 70, 7, 0, 5001, 5000));
    OK(call(BH_HC_CTX_SCHED, OWN(A), 70, 7, 1000, 1000, 1000));
    OK(call(BH_HC_CTX_SCHED, OWN(A), W_CPU1, 7));
    sleep_for_good();
    assert_null(cpus[0]->current);
    assert_ptr_equal(cpus[1]->ready[7], world_object(A));
}

/* --- Deadlines ----------------------------------------------------------------------------------
 */

static void check_heap(const struct timer *timer, unsigned *count, unsigned depth) {
    if (!timer)
        return;
    assert_true(depth < 4096);
    uint32_t left = timer->left ? timer->left->rank : 0;
    uint32_t right = timer->right ? timer->right->rank : 0;
    assert_true(left >= right && timer->rank == right + 1);
    assert_true(!timer->left ||
                (timer->left->parent == timer && timer->left->deadline >= timer->deadline));
    assert_true(!timer->right ||
                (timer->right->parent == timer && timer->right->deadline >= timer->deadline));
    ++*count;
    check_heap(timer->left, count, depth + 1);
    check_heap(timer->right, count, depth + 1);
}

static void test_timers_against_a_plain_list(void **state) {
    (void)state;
    enum { TIMERS = 200, STEPS = 20000 };
    static struct timer timers[TIMERS];
    struct cpu *cpu = cpus[1];
    memset(timers, 0, sizeof(timers));
    srand(7);
    for (unsigned step = 0; step < STEPS; step++) {
        struct timer *timer = &timers[rand() % TIMERS];
        if (rand() % 3)
            timer_arm(cpu, timer, (uint64_t)(rand() % 500));
        else
            timer_cancel(cpu, timer);
        unsigned armed = 0, found = 0;
        uint64_t first = ~0ull;
        for (unsigned i = 0; i < TIMERS; i++)
            if (timers[i].armed) {
                armed++;
                first = min_u64(first, timers[i].deadline);
            }
        check_heap(cpu->timers, &found, 0);
        assert_int_equal(found, armed);
        assert_true(cpu->timers ? cpu->timers->deadline == first : !armed);
        assert_true(!cpu->timers || !cpu->timers->parent);
        assert_true(!cpu->timers || cpu->timers->rank <= 8); /* log2(TIMERS + 1) */
    }
    cpu->timers = NULL;
}

static void test_many_deadlines_at_once(void **state) {
    (void)state;
    enum { MANY = 40 };
    for (uint32_t i = 0; i < MANY; i++) {
        struct context *context = world_spawn(60 + 4 * i, 2, 12, 0);
        world_raw(context, BH_HC_WAIT, (const uint64_t[6]){1, 5000000 + i});
        world_exit();
    }
    run_for(5000100 - fake.now);
    assert_null(cpus[0]->timers);
    for (uint32_t i = 0; i < MANY; i++)
        STATUS(BH_TIMEOUT, ((struct context *)world_object(60 + 4 * i))->arch.status);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_highest_priority_runs),
        TEST(test_quanta_take_turns),
        TEST(test_woken_goes_to_the_head),
        TEST(test_preempted_keeps_its_place),
        TEST(test_gives_way_to_its_own),
        TEST(test_no_quantum_no_turns),
        TEST(test_budget_caps),
        TEST(test_used_up_budget_survives_a_sleep),
        TEST(test_throttled_and_suspended),
        TEST(test_endless_quantum_does_not_flood_with_interrupts),
        TEST(test_sched_arguments),
        TEST(test_timers_against_a_plain_list),
        TEST(test_many_deadlines_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
