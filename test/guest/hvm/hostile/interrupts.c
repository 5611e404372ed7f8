/* Interrupt controllers and timers, used as no system does. */
#include "mgmt/vmm/msr.h"
#include "test/guest/hvm/hostile/hostile.h"

#define IOAPIC_SELECT 0xfec00000ull
#define IOAPIC_WINDOW 0xfec00010ull
#define IOAPIC_PINS 24u
#define COM1 0x3f8u
#define COM1_ENABLE 0x3f9u
#define LVT_ERROR 0x837u
#define LVT_LINT0 0x835u
#define TSC_DEADLINE 0x6e0u
#define MODE_NMI 0x400u
#define VECTOR 0x60u

static void timer_storm(void) {
    count_interrupts(VECTOR);
    wrmsr(APIC_TIMER_DIVIDE, 0xb);
    wrmsr(APIC_LVT_TIMER, 0x20000 | VECTOR); /* periodic */
    wrmsr(APIC_TIMER_INITIAL, 1);
    interrupts_on();
    for (unsigned i = 0; i < 20 && interrupts_counted() <= 10; i++) /* the others storm, too */
        spin(300 * MHZ);
    wrmsr(APIC_TIMER_INITIAL, 0);
    uint64_t stopped = interrupts_counted();
    spin(50 * MHZ);
    interrupts_off();
    expect(stopped > 10 && interrupts_counted() <= stopped + 1);
}

/* Deadlines that have passed, at once and again. */
static void deadline_storm(void) {
    static const uint64_t before[] = {0, 1, 1000, 1ull << 40};
    count_interrupts(VECTOR);
    wrmsr(APIC_LVT_TIMER, 0x40000 | VECTOR);
    interrupts_on();
    for (unsigned i = 0; i < 8000; i++) {
        uint64_t now = rdtsc(), back = before[i % 4];
        wrmsr(TSC_DEADLINE, back < now ? now - back : 1);
    }
    wrmsr(TSC_DEADLINE, ~0ull);
    spin(20 * MHZ);
    uint64_t seen = interrupts_counted();
    spin(50 * MHZ);
    interrupts_off();
    expect(seen > 100 && seen <= 8001 && interrupts_counted() == seen);
}

static void timer_nonsense(void) {
    count_interrupts(VECTOR);
    interrupts_on();
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t r = random_next();
        attempt_wrmsr(APIC_LVT_TIMER, (r & 0x70000) | VECTOR);
        attempt_wrmsr(APIC_TIMER_DIVIDE, r >> 20 & 0xf);
        attempt_wrmsr(r >> 24 & 1 ? APIC_TIMER_INITIAL : TSC_DEADLINE,
                      r >> 32 & (r >> 25 & 1 ? 0xff : 0xffffffff));
        rdmsr(APIC_TIMER_CURRENT);
    }
    interrupts_off();
    wrmsr(APIC_LVT_TIMER, 0x10000);
}

/* To itself, by every way there is. */
static void self_storm(void) {
    count_interrupts(VECTOR);
    interrupts_on();
    for (unsigned i = 0; i < 10000; i++) {
        apic_send(0, APIC_COMMAND_FIXED | VECTOR);
        wrmsr(APIC_SELF_IPI, VECTOR);
        apic_send(0, 0x40000 | APIC_COMMAND_FIXED | VECTOR); /* shorthand: self */
        apic_send(0, 0x80000 | APIC_COMMAND_FIXED | VECTOR); /* all */
        apic_send(0xffffffff, APIC_COMMAND_FIXED | VECTOR);
    }
    interrupts_off();
    expect(interrupts_counted() > 10000);
}

static void send_for_ever(void) {
    interrupts_on();
    for (;;) {
        apic_send(0, APIC_COMMAND_FIXED | VECTOR);
        apic_send(0, 0x80000 | APIC_COMMAND_FIXED | VECTOR); /* all, itself included */
        cpuid(0, 0);
    }
}

/* Four vCPUs, each at all others, until the first one powers off. */
static void ipi_storm(void) {
    count_interrupts(VECTOR);
    for (uint32_t id = 1; id < 4; id++)
        cpu_start(id, send_for_ever);
    interrupts_on();
    for (unsigned i = 0; i < 2000; i++)
        apic_send(0, 0xc0000 | APIC_COMMAND_FIXED | VECTOR); /* all others */
    spin(200 * MHZ);
    interrupts_off();
    expect(interrupts_counted() > 1000);
}

static volatile uint32_t end_bit;
static volatile uint64_t taken, ended_unseen;
static volatile bool stop, stopped;

/* As the interface is meant, but for the strange moments at which the bit changes meanwhile. */
static void on_vector(struct frame *frame) {
    (void)frame;
    uint32_t found = end_bit;
    end_bit = 0;
    if (!(found & 1))
        apic_end();
    ended_unseen += found & 1;
    taken++;
}

static void end_strangely(void) {
    wrmsr(MSR_KVM_PV_EOI, (uint64_t)&end_bit | 1); /* for two vCPUs in one place */
    interrupts_on();
    for (uint32_t i = 0; !stop; i++) {
        end_bit = i & 1;
        if (i % 1000 == 0)
            apic_send(0, APIC_COMMAND_FIXED | VECTOR);
    }
    interrupts_off();
    stopped = true;
    for (;;)
        __asm__ volatile("hlt");
}

/* An interrupt of its own that it waits for; not for ever. */
static bool comes(volatile uint64_t *count) {
    uint64_t before = *count;
    apic_send(0, APIC_COMMAND_FIXED | VECTOR);
    for (unsigned i = 0; i < 10000 && *count == before; i++)
        cpuid(0, 0);
    return *count != before;
}

/* The end of an interrupt told by a bit in memory: all come that should; and whatever another vCPU
 * makes of the bit, the APIC works when it is off again. */
static void end_bits(void) {
    on_interrupt(VECTOR, on_vector);
    wrmsr(MSR_KVM_PV_EOI, (uint64_t)&end_bit | 1);
    interrupts_on();
    for (unsigned i = 0; i < 2000; i++)
        expect(comes(&taken));
    expect(ended_unseen > 1000);
    cpu_start(1, end_strangely);
    for (unsigned i = 0; i < 20000; i++)
        apic_send(i % 2, APIC_COMMAND_FIXED | VECTOR);
    for (stop = true; !stopped;)
        cpuid(0, 0);
    wrmsr(MSR_KVM_PV_EOI, 0);
    end_bit = 0;
    for (unsigned i = 0; i < 16; i++)
        apic_end(); /* what was left in service, or still to come */
    uint64_t before = ended_unseen;
    for (unsigned i = 0; i < 100; i++)
        expect(comes(&taken));
    interrupts_off();
    expect(ended_unseen == before);
}

/* All vectors at once, interrupts off; they come by priority when they may. */
static uint8_t last_vector;
static bool in_order;

static void ordered(struct frame *frame) {
    in_order &= frame->vector <= last_vector;
    last_vector = (uint8_t)frame->vector;
    apic_end();
}

/* All but exceptions' vectors, some of which would come without an error code. */
static void take_all(void) {
    on_interrupt(2, ordered);
    for (unsigned vector = 32; vector < 255; vector++)
        on_interrupt((uint8_t)vector, ordered);
}

static void all_vectors(void) {
    take_all();
    for (unsigned round = 0; round < 20; round++) {
        in_order = true;
        last_vector = 255;
        for (unsigned vector = 0; vector < 256; vector++)
            if (vector < 16 || vector >= 32)
                apic_send(0, APIC_COMMAND_FIXED | vector);
        interrupts_on();
        for (unsigned i = 0; i < 300; i++)
            cpuid(0, 0);
        interrupts_off();
        expect(in_order && last_vector == 32);
    }
}

static volatile uint64_t nmis, depth, deepest;

static void on_nmi(struct frame *frame) {
    (void)frame;
    nmis++;
    deepest = ++depth > deepest ? depth : deepest;
    for (unsigned i = 0; i < 3 && nmis < 3000; i++)
        apic_send(0, 0x4000 | MODE_NMI); /* while it is blocked */
    depth--;
}

/* NMIs that ask for NMIs: never one in another. */
static void nmi_storm(void) {
    on_interrupt(2, on_nmi);
    apic_send(0, 0x4000 | MODE_NMI);
    for (unsigned i = 0; i < 20000 && nmis < 3000; i++)
        cpuid(0, 0);
    expect(nmis >= 3000 && deepest == 1);
}

/* Every command the register can hold, but those that end this vCPU: INIT and STARTUP. */
static void all_commands(void) {
    take_all();
    for (unsigned i = 0; i < 40000; i++) {
        uint64_t command = random_next();
        if ((command >> 8 & 7) != 5 && (command >> 8 & 7) != 6)
            attempt_wrmsr(APIC_COMMAND, (command | 0x20) & (i % 2 ? ~0ull : 0xfffff));
        if (i % 16 == 0) {
            interrupts_on();
            cpuid(0, 0);
            interrupts_off();
        }
    }
}

static void ioapic_write(uint32_t index, uint32_t value) {
    *(volatile uint32_t *)IOAPIC_SELECT = index;
    *(volatile uint32_t *)IOAPIC_WINDOW = value;
}

static volatile uint64_t com1_interrupts;

static void stuck(struct frame *frame) {
    (void)frame;
    apic_end(); /* and its cause stays: nothing else would ever run again */
    if (++com1_interrupts == 2000)
        out8(COM1_ENABLE, 0);
}

/* All pins level-triggered, the serial port's for ever active. */
static void stuck_pins(void) {
    on_interrupt(VECTOR, stuck);
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        ioapic_write(0x10 + 2 * pin + 1, 0);
        ioapic_write(0x10 + 2 * pin, 0x8000 | VECTOR);
    }
    out8(COM1_ENABLE, 0x2); /* the transmitter is empty, and stays so */
    out8(COM1, '\n');
    interrupts_on();
    for (unsigned i = 0; i < 5000; i++)
        cpuid(0, 0);
    interrupts_off();
    expect(com1_interrupts >= 2000 && com1_interrupts <= 2001); /* one was on its way */
}

static void ioapic_nonsense(void) {
    take_all();
    for (unsigned i = 0; i < 30000; i++) {
        uint64_t r = random_next();
        uint32_t index = r % 0x48, mode = (uint32_t)(r >> 40 & 7);
        if (index % 2 == 0 && (mode == 5 || mode == 6))
            continue;
        *(volatile uint32_t *)IOAPIC_SELECT = index;
        *(volatile uint32_t *)IOAPIC_WINDOW = ((uint32_t)(r >> 8) & ~0x700u) | mode << 8 | 0x20;
        *(volatile uint32_t *)(IOAPIC_SELECT + 0x20 + (r >> 48 & 0x7f)) = (uint32_t)r;
        (void)*(volatile uint32_t *)(IOAPIC_SELECT + (r >> 52 & 0xff));
        out8(0x43, (uint8_t)(r >> 16)); /* the timer drives a pin */
        out8(0x40, (uint8_t)(r >> 24));
        if (i % 8 == 0) {
            interrupts_on();
            cpuid(0, 0);
            interrupts_off();
        }
    }
}

/* Errors that make errors, and interrupts of the old controller by the new one. */
static void lvt_nonsense(void) {
    wrmsr(LVT_ERROR, VECTOR);
    wrmsr(LVT_LINT0, 0x700);
    count_interrupts(VECTOR);
    for (unsigned vector = 0; vector < 32; vector++)
        if (vector < 16 || vector == VECTOR)
            apic_send(0, APIC_COMMAND_FIXED | vector);
    interrupts_on();
    for (unsigned i = 0; i < 2000; i++) {
        cpuid(0, 0);
        attempt_wrmsr(LVT_ERROR, i % 2 ? VECTOR : 3);
        apic_send(0, APIC_COMMAND_FIXED | 3);
    }
    interrupts_off();
    expect(interrupts_counted() > 0);
}

/* INIT to the first vCPU: there is no firmware where it leads, so the machine is reset. */
static void init_self(void) {
    apic_send(0, APIC_COMMAND_INIT);
    spin(100 * MHZ);
    apic_send(0, 0x40000 | APIC_COMMAND_INIT);
    apic_send(0, APIC_COMMAND_STARTUP | 0xff);
    for (;;)
        cpuid(0, 0);
}

const struct attack attacks[] = {
    {"timer-storm", timer_storm},
    {"deadline-storm", deadline_storm},
    {"timer-nonsense", timer_nonsense},
    {"self-storm", self_storm},
    {"ipi-storm", ipi_storm},
    {"end-bits", end_bits},
    {"all-vectors", all_vectors},
    {"nmi-storm", nmi_storm},
    {"all-commands", all_commands},
    {"stuck-pins", stuck_pins},
    {"ioapic-nonsense", ioapic_nonsense},
    {"lvt-nonsense", lvt_nonsense},
    {"init-self", init_self},
    {0},
};
