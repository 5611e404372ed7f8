/* How fast the TSC and the LAPIC's timer count. The 8254's channel 2 is the reference (Intel 8254
 * data sheet); CPUID leaf 15h is more exact, and believed when it agrees. */
#include "hv/boot/boot.h"

enum { PIT_HZ = 1193182, PIT_CHANNEL_2 = 0x42, PIT_CONTROL = 0x43 };
enum { CONTROL_CHANNEL_2_ONE_SHOT = 0xb0 }; /* low byte then high, mode 0, binary */
enum { PORT_B = 0x61, PORT_B_GATE = 1 << 0, PORT_B_SPEAKER = 1 << 1, PORT_B_OUTPUT = 1 << 5 };
enum { MEASURE_TICKS = PIT_HZ / 100, WAIT_READS = 10000000, TRUSTED_PERCENT = 1 };

/* TSC and LAPIC ticks in MEASURE_TICKS of the 8254; false if that does not count. */
static bool measure(uint64_t *tsc, uint64_t *lapic) {
    uint8_t port_b = (uint8_t)(in8(PORT_B) & ~(PORT_B_SPEAKER | PORT_B_GATE));
    out8(PORT_B, port_b);
    out8(PIT_CONTROL, CONTROL_CHANNEL_2_ONE_SHOT);
    out8(PIT_CHANNEL_2, MEASURE_TICKS & 0xff);
    out8(PIT_CHANNEL_2, MEASURE_TICKS >> 8);
    lapic_timer_start();
    out8(PORT_B, port_b | PORT_B_GATE);
    uint64_t start = arch_now();
    unsigned reads = 0;
    while (!(in8(PORT_B) & PORT_B_OUTPUT) && ++reads < WAIT_READS)
        ;
    *tsc = arch_now() - start;
    *lapic = lapic_timer_elapsed();
    out8(PORT_B, port_b);
    return reads > 1 && reads < WAIT_READS;
}

/* TSC frequency by CPUID leaf 15h, 0 if it does not say. */
static uint64_t tsc_hz_by_cpuid(void) {
    if (cpuid(0, 0).eax < 0x15)
        return 0;
    struct cpuid leaf = cpuid(0x15, 0);
    return leaf.eax ? (uint64_t)leaf.ecx * leaf.ebx / leaf.eax : 0;
}

uint64_t clock_init(void) {
    uint64_t tsc, lapic, by_cpuid = tsc_hz_by_cpuid();
    bool measured = measure(&tsc, &lapic);
    uint64_t hz = tsc * PIT_HZ / MEASURE_TICKS;
    if (!measured && !(by_cpuid && features.tsc_deadline))
        panic("the 8254 timer does not count, and the processor does not tell its TSC's frequency");
    lapic_timer_init(lapic, tsc);
    uint64_t apart = hz > by_cpuid ? hz - by_cpuid : by_cpuid - hz;
    bool trusted = by_cpuid && (!measured || apart < hz / 100 * TRUSTED_PERCENT);
    return trusted ? by_cpuid : hz;
}
