/* Counts, from within, what an exit to the VMM costs a guest. For each line "ID ROUNDS" on its
 * console it makes that many rounds and prints "bench: ID MEDIAN": under -icount shift=0 the TSC
 * counts instructions. The host's counters, read before and after, tell the transitions. */
#include "mgmt/vmm/power.h"
#include "test/guest/hvm/kernel.h"
#include "test/guest/hvm/layout.h"

enum { SAMPLES_MAX = 2001 };

static uint64_t sample[SAMPLES_MAX];

static uint64_t median(uint64_t count) {
    for (uint64_t i = 1; i < count; i++)
        for (uint64_t j = i; j && sample[j] < sample[j - 1]; j--) {
            uint64_t t = sample[j];
            sample[j] = sample[j - 1];
            sample[j - 1] = t;
        }
    return sample[count / 2];
}

static void nothing(void) {
}

static void port_read(void) {
    in16(POWER_PM1_CONTROL);
}

/* As any 64-bit kernel's, this code runs above 4 GiB. */
static void run_high(void (*function)(void)) {
    ((void (*)(void))((uint64_t)function + HIGH_ALIAS))();
}

static void cpuid_exit_low(void) {
    cpuid(0, 0);
}

static void cpuid_exit(void) {
    run_high(cpuid_exit_low);
}

static void msr_read_low(void) {
    rdmsr(APIC_TASK_PRIORITY);
}

static void msr_read(void) {
    run_high(msr_read_low);
}

/* --- IPIs: vCPU 1 sleeps, answers, sleeps --- */

#define VECTOR_CALL 0x40u
#define VECTOR_ANSWER 0x41u

static volatile bool answered;

static void on_call(struct frame *frame) {
    (void)frame;
    apic_end();
    answered = true;
    apic_send(0, APIC_COMMAND_FIXED | VECTOR_ANSWER);
}

static void on_quiet_call(struct frame *frame) {
    (void)frame;
    apic_end();
    answered = true;
}

static void sleep_for_good(void) {
    for (;;)
        sleep_until_interrupt();
}

static void ask(void) {
    static bool up;
    answered = false;
    if (!up)
        cpu_start(1, sleep_for_good);
    up = true;
    apic_send(1, APIC_COMMAND_FIXED | VECTOR_CALL);
}

/* There and back, both asleep in between. */
static void ipi_round(void) {
    on_interrupt(VECTOR_CALL, on_call);
    ask();
    while (!answered)
        sleep_until_interrupt();
}

/* There alone; the one who asks does not sleep. */
static void ipi_spin(void) {
    on_interrupt(VECTOR_CALL, on_quiet_call);
    ask();
    while (!answered)
        __asm__ volatile("pause");
}

static uint64_t count_rounds(void (*round)(void), uint64_t rounds) {
    for (uint64_t i = 0; i < rounds; i++) {
        uint64_t start = rdtsc();
        round();
        sample[i] = rdtsc() - start;
    }
    return median(rounds);
}

static const struct {
    const char *id;
    void (*round)(void);
} figures[] = {
    {"hvm_pio_exit", port_read},
    {"hvm_cpuid_exit", cpuid_exit},
    {"hvm_cpuid_exit_low", cpuid_exit_low},
    {"hvm_msr_exit", msr_read},
    {"hvm_ipi_round", ipi_round},
    {"hvm_ipi_spin", ipi_spin},
};

static void run(const char *id, uint64_t rounds) {
    uint64_t overhead = count_rounds(nothing, 101);
    for (unsigned i = 0; i < sizeof(figures) / sizeof(figures[0]); i++) {
        if (!same(id, figures[i].id))
            continue;
        uint64_t value = count_rounds(figures[i].round, rounds) - overhead;
        say("bench: ");
        say(id);
        say(" ");
        say_number(value);
        say("\n");
        return;
    }
    say("bench: no such figure\n");
}

void kernel_main(const char *arguments) {
    (void)arguments;
    char line[64];
    say("bench: ready\n");
    for (;;) {
        read_line(line, sizeof(line));
        char *blank = line;
        while (*blank && *blank != ' ')
            blank++;
        const char *number = *blank ? blank + 1 : blank;
        *blank = 0;
        uint64_t rounds = parse_number(&number);
        run(line, rounds < 1 ? 1 : rounds > SAMPLES_MAX ? SAMPLES_MAX : rounds);
    }
}
