/* How fast the TSC and the LAPIC's timer count. The 8254's channel 2 is the reference (Intel 8254
 * data sheet); CPUID leaf 15h is more exact, and believed when it agrees. */
#include "hv/boot/boot.h"

enum { PIT_HZ = 1193182, PIT_CHANNEL_2 = 0x42, PIT_CONTROL = 0x43 };
enum { CONTROL_COUNT_DOWN = 0xb0 }; /* channel 2: low byte then high, mode 0, binary */
enum { CONTROL_LATCH = 0x80 };      /* channel 2: the next two reads are of this moment */
enum { PORT_B = 0x61, PORT_B_GATE = 1 << 0, PORT_B_SPEAKER = 1 << 1, PORT_B_OUTPUT = 1 << 5 };
enum { MEASURE_TICKS = PIT_HZ / 100, TRIES = 8, WAIT_SAMPLES = 100000, TRUSTED_PERCENT = 1 };

struct sample {
    uint64_t tsc, lapic;
    uint16_t pit; /* counts down */
};

/* All three at one moment. An SMI, or the host of a virtual machine, may come between: of a few
 * tries the one that took the least time counts. */
static struct sample take_sample(void) {
    struct sample best = {0};
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < TRIES; i++) {
        struct sample sample = {.tsc = arch_now()};
        out8(PIT_CONTROL, CONTROL_LATCH);
        sample.lapic = lapic_timer_elapsed();
        sample.pit = in8(PIT_CHANNEL_2);
        sample.pit = (uint16_t)(sample.pit | in8(PIT_CHANNEL_2) << 8);
        uint64_t took = arch_now() - sample.tsc;
        if (took < least) {
            least = took;
            best = sample;
        }
    }
    return best;
}

/* What is counted in at least MEASURE_TICKS of the 8254; all 0 if that does not count. */
static struct sample measure(void) {
    uint8_t port_b = (uint8_t)(in8(PORT_B) & ~(PORT_B_SPEAKER | PORT_B_GATE));
    struct sample start, end = {0};
    for (unsigned i = 0; i < TRIES; i++) {
        out8(PORT_B, port_b);
        out8(PIT_CONTROL, CONTROL_COUNT_DOWN);
        out8(PIT_CHANNEL_2, UINT8_MAX);
        out8(PIT_CHANNEL_2, UINT8_MAX);
        lapic_timer_start();
        out8(PORT_B, port_b | PORT_B_GATE);
        start = end = take_sample();
        for (unsigned j = 0; start.pit - end.pit < MEASURE_TICKS && j < WAIT_SAMPLES; j++)
            end = take_sample();
        if (in8(PORT_B) & PORT_B_OUTPUT)
            continue; /* it has passed 0 meanwhile */
        end.tsc -= start.tsc;
        end.lapic -= start.lapic;
        end.pit = start.pit - end.pit;
        return end;
    }
    return (struct sample){0};
}

/* TSC frequency by CPUID leaf 15h, 0 if it does not say. */
static uint64_t tsc_hz_by_cpuid(void) {
    if (cpuid(0, 0).eax < 0x15)
        return 0;
    struct cpuid leaf = cpuid(0x15, 0);
    return leaf.eax ? (uint64_t)leaf.ecx * leaf.ebx / leaf.eax : 0;
}

uint64_t clock_init(void) {
    uint64_t by_cpuid = tsc_hz_by_cpuid();
    struct sample counted = measure();
    bool measured = counted.pit >= MEASURE_TICKS;
    uint64_t hz = measured ? counted.tsc * PIT_HZ / counted.pit : 0;
    if (!measured && !(by_cpuid && features.tsc_deadline))
        panic("the 8254 timer does not count, and the processor does not tell its TSC's frequency");
    lapic_timer_init(counted.lapic, counted.tsc);
    uint64_t apart = hz > by_cpuid ? hz - by_cpuid : by_cpuid - hz;
    bool trusted = by_cpuid && (!measured || apart < hz / 100 * TRUSTED_PERCENT);
    return trusted ? by_cpuid : hz;
}
