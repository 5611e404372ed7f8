/* What several vCPUs of one guest are promised, tried from within. Command line: how many there
 * are, then `check`, or what the last of them is to do: `off`, `reset`, `triple`. Each claim that
 * holds is said in a line "smp: CLAIM holds"; one that does not ends the guest with "smp: CLAIM
 * fails". All vCPUs halt whenever they have nothing to do, so that a lost wake-up shows as a guest
 * that hangs. */
#include "test/guest/hvm/kernel.h"
#include "test/guest/hvm/layout.h"

#define VECTOR_TOKEN 0x40u /* TOKENS of them */
#define TOKENS 3u
#define HOPS 2000u
#define VECTOR_COUNT 0x50u
#define VECTOR_ARM 0x51u
#define VECTOR_TIMER 0x52u
#define VECTOR_WAKE 0x53u /* no handler */
#define VECTOR_NMI 2u
#define TICKS 10u
#define TICK_TSC 300000u

#define TIMER_DEADLINE 0x40000u
#define TSC_DEADLINE 0x6e0u
#define COMMAND_LOGICAL 0x800u
#define COMMAND_LOWEST 0x100u
#define COMMAND_NMI 0x400u
#define COMMAND_ALL 0x80000u
#define COMMAND_OTHERS 0xc0000u
#define KVM_SYSTEM_TIME 0x4b564d01u

static uint32_t vcpus;
static volatile uint32_t counted[CPUS_MAX]; /* VECTOR_COUNT and NMIs that each has had */
static volatile uint32_t ticked[CPUS_MAX];

static uint32_t self(void) {
    return (uint32_t)rdmsr(APIC_ID);
}

static void claim(const char *name, bool holds) {
    say("smp: ");
    say(name);
    say(holds ? " holds\n" : " fails\n");
    if (!holds)
        power_off();
}

static void idle(void) {
    for (;;)
        sleep_until_interrupt();
}

/* --- Clocks: each vCPU's own pvclock, one time --- */

static _Alignas(64) volatile struct {
    uint32_t version, reserved;
    uint64_t tsc_at, system_ns;
    uint32_t multiplier;
    int8_t shift;
    uint8_t flags, reserved2[2];
} clocks[CPUS_MAX][2]; /* a cache line each */

static void use_clock(uint32_t id) {
    wrmsr(KVM_SYSTEM_TIME, (uint64_t)clocks[id] | 1);
}

static uint64_t clock_ns(uint32_t id, uint64_t tsc) {
    uint64_t passed = tsc - clocks[id]->tsc_at;
    int8_t shift = clocks[id]->shift;
    passed = shift < 0 ? passed >> -shift : passed << shift;
    return clocks[id]->system_ns +
           (uint64_t)((unsigned __int128)passed * clocks[id]->multiplier >> 32);
}

/* --- Tokens go round from vCPU to vCPU; whoever has one looks at the time --- */

static volatile uint32_t hops[TOKENS];
static volatile bool time_went_back;
static volatile uint64_t last_tsc[TOKENS], last_ns[TOKENS];

static void token(struct frame *frame) {
    uint32_t which = (uint32_t)frame->vector - VECTOR_TOKEN, id = self();
    uint64_t tsc = rdtsc(), ns = clock_ns(id, tsc);
    time_went_back |= tsc < last_tsc[which] || ns < last_ns[which];
    last_tsc[which] = tsc;
    last_ns[which] = ns;
    apic_end();
    if (++hops[which] < HOPS)
        apic_send((id + 1 + which) % vcpus, APIC_COMMAND_FIXED | (uint32_t)frame->vector);
    else
        apic_send(0, APIC_COMMAND_FIXED | VECTOR_WAKE);
}

static bool tokens_done(void) {
    for (uint32_t i = 0; i < TOKENS; i++)
        if (hops[i] < HOPS)
            return false;
    return true;
}

static void check_tokens(void) {
    for (uint32_t i = 0; i < TOKENS; i++)
        apic_send(i % vcpus, APIC_COMMAND_FIXED | (VECTOR_TOKEN + i));
    while (!tokens_done())
        sleep_until_interrupt();
    claim("every IPI arrives", true);
    claim("one time for all", !time_went_back && last_ns[0] > 0);
}

/* --- Destinations --- */

static void count(struct frame *frame) {
    uint32_t id = self();
    counted[id]++;
    if (frame->vector != VECTOR_NMI)
        apic_end();
    if (id != 0)
        apic_send(0, APIC_COMMAND_FIXED | VECTOR_WAKE);
}

/* Sends, and waits until the vCPUs of the mask, and none besides, have counted one more. */
static void expect_counts(const char *name, uint32_t to, uint32_t command, uint32_t mask) {
    uint32_t before[CPUS_MAX] = {0};
    for (uint32_t i = 0; i < vcpus; i++)
        before[i] = counted[i];
    apic_send(to, command);
    for (uint32_t i = 0; i < vcpus; i++)
        while ((mask >> i & 1) && counted[i] == before[i])
            sleep_until_interrupt();
    bool exact = true;
    for (uint32_t i = 0; i < vcpus; i++)
        exact &= counted[i] == before[i] + (mask >> i & 1);
    claim(name, exact);
}

static void check_destinations(void) {
    uint32_t all = (1u << vcpus) - 1, fixed = APIC_COMMAND_FIXED | VECTOR_COUNT;
    expect_counts("an IPI to one", vcpus - 1, fixed, 1u << (vcpus - 1));
    expect_counts("an IPI to itself", 0, fixed, 1);
    expect_counts("an IPI to all others", 0, fixed | COMMAND_OTHERS, all & ~1u);
    expect_counts("an IPI to all", 0, fixed | COMMAND_ALL, all);
    expect_counts("a broadcast", ~0u, fixed, all);
    expect_counts("a logical IPI", all & 0xa, fixed | COMMAND_LOGICAL, all & 0xa);
    expect_counts("a lowest-priority IPI", all & 0xa, fixed | COMMAND_LOGICAL | COMMAND_LOWEST,
                  all & 0x2);
    expect_counts("NMIs to all others", 0, APIC_COMMAND_FIXED | COMMAND_NMI | COMMAND_OTHERS,
                  all & ~1u);
}

/* --- Timers --- */

static void arm(struct frame *frame) {
    (void)frame;
    apic_end();
    wrmsr(APIC_LVT_TIMER, TIMER_DEADLINE | VECTOR_TIMER);
    wrmsr(TSC_DEADLINE, rdtsc() + TICK_TSC);
}

static void tick(struct frame *frame) {
    uint32_t id = self();
    if (++ticked[id] < TICKS)
        arm(frame);
    else
        apic_end();
    if (id != 0 && ticked[id] == TICKS)
        apic_send(0, APIC_COMMAND_FIXED | VECTOR_WAKE);
}

static void check_timers(void) {
    apic_send(0, APIC_COMMAND_FIXED | VECTOR_ARM | COMMAND_ALL);
    for (uint32_t i = 0; i < vcpus; i++)
        while (ticked[i] < TICKS)
            sleep_until_interrupt();
    claim("each one's timer", true);
}

/* --- Starting --- */

static volatile uint32_t started;

static void begin(void) {
    use_clock(self());
    started++;
    idle();
}

static void begin_again(void) {
    started = 100;
    idle();
}

static void check_identity(void) {
    uint32_t leaf_1 = cpuid(1, 0).ebx, cores = cpuid(0xb, 1).ebx;
    claim("CPUID knows how many", (leaf_1 >> 16 & 0xff) == vcpus && cores == vcpus);
    claim("CPUID knows which", leaf_1 >> 24 == 0 && cpuid(0xb, 0).edx == 0);
}

static void check_restart(void) {
    cpu_start(1, begin_again);
    while (started != 100)
        __asm__ volatile("pause");
    expect_counts("a vCPU that was started again", 1, APIC_COMMAND_FIXED | VECTOR_COUNT, 2);
}

/* --- Ends --- */

static void reset(void) {
    out8(0xcf9, 0x6);
    idle();
}

static void triple_fault(void) {
    struct __attribute__((packed)) {
        uint16_t limit;
        uint64_t base;
    } none = {0, 0};
    __asm__ volatile("lidt %0; int3" ::"m"(none));
}

static void off(void) {
    power_off();
}

void kernel_main(const char *arguments) {
    static const struct {
        const char *word;
        void (*function)(void);
    } ends[] = {{"off", off}, {"reset", reset}, {"triple", triple_fault}};
    vcpus = (uint32_t)parse_number(&arguments);
    on_interrupt(VECTOR_COUNT, count);
    on_interrupt(VECTOR_NMI, count);
    on_interrupt(VECTOR_ARM, arm);
    on_interrupt(VECTOR_TIMER, tick);
    for (uint32_t i = 0; i < TOKENS; i++)
        on_interrupt((uint8_t)(VECTOR_TOKEN + i), token);
    use_clock(0);
    for (uint32_t i = 1; i < vcpus; i++) {
        bool last = i == vcpus - 1;
        void (*function)(void) = begin;
        for (unsigned k = 0; k < sizeof(ends) / sizeof(ends[0]); k++)
            if (last && same(arguments, ends[k].word))
                function = ends[k].function;
        cpu_start(i, function);
    }
    if (!same(arguments, "check"))
        idle();
    while (started != vcpus - 1)
        __asm__ volatile("pause");
    check_identity();
    check_destinations();
    check_timers();
    check_tokens();
    check_restart();
    say("smp: all held\n");
}
