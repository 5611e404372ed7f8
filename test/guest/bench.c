/* Counts on hv alone, in init's place: the round trip of a hypercall that does nothing, and of a
 * signal to another domain that waits for it and answers. Under -icount shift=0 the TSC counts
 * instructions. Prints "bench: ID VALUE" lines; the value is the median of ROUNDS. */
#include "test/guest/harness.h"

enum { ROUNDS = 201, WARM_UP = 20 };

static uint64_t sample[ROUNDS];

static uint64_t median(void) {
    for (unsigned i = 1; i < ROUNDS; i++)
        for (unsigned j = i; j && sample[j] < sample[j - 1]; j--) {
            uint64_t t = sample[j];
            sample[j] = sample[j - 1];
            sample[j - 1] = t;
        }
    return sample[ROUNDS / 2];
}

static uint64_t counter(enum bh_counter which) {
    uint64_t value = 0;
    hc_system(BH_INIT_SYSTEM, BH_SYSTEM_OP_COUNTER, which, &value);
    return value;
}

/* "bench: id value ring_switches space_switches tlb_flushes": the transitions of one round,
 * measured over all rounds, less those of reading the counters. */
static void report(const char *id, uint64_t value, const uint64_t transitions[3]) {
    say("bench: ");
    say(id);
    say(" ");
    say_number(value);
    for (unsigned i = 0; i < 3; i++) {
        say(" ");
        say_number(transitions[i]);
    }
    say("\n");
}

static const enum bh_counter counters[3] = {BH_COUNTER_RING_SWITCHES, BH_COUNTER_SPACE_SWITCHES,
                                            BH_COUNTER_TLB_FLUSHES};

static void count_rounds(const char *id, void (*round)(void), uint64_t overhead) {
    uint64_t before[3], transitions[3];
    for (unsigned i = 0; i < WARM_UP; i++)
        round();
    for (unsigned i = 0; i < 3; i++)
        before[i] = counter(counters[i]);
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t start = now();
        round();
        sample[i] = now() - start - overhead;
    }
    for (unsigned i = 0; i < 3; i++) /* each reading of a counter enters hv once itself */
        transitions[i] = (counter(counters[i]) - before[i]) / ROUNDS;
    report(id, median(), transitions);
}

static void nothing(void) {
}

static void null_call(void) {
    uint64_t version;
    hc_null(&version);
}

/* Waits at a higher priority and answers. */
static void answers(uint64_t argument) {
    (void)argument;
    for (;;) {
        uint64_t bits, group;
        hc_wait(1, BH_DEADLINE_NEVER, &bits, &group);
        hc_signal(MY_PARENT);
    }
}

static void signal_and_wait(void) {
    uint64_t bits, group;
    hc_signal(TEST_SLOT);
    hc_wait(2, BH_DEADLINE_NEVER, &bits, &group);
}

_Noreturn void guest_start(const struct bh_bootinfo *info) {
    harness_start(info);
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t start = now();
        nothing();
        sample[i] = now() - start;
    }
    uint64_t overhead = median();
    count_rounds("null_hypercall", null_call, overhead);

    struct child child = child_make(0);
    expect_ok(hc_copy(child_cap(child, CHILD_EVENT), BH_REF(BH_INIT_TABLE, TEST_SLOT),
                      BH_EVENT_SIGNAL, 0, 0),
              "copy");
    child_start(child, answers, 0);
    count_rounds("signal_roundtrip", signal_and_wait, overhead);
    finish();
}
