/* The processor's own interrupt controller and its timer: SDM 3A, chapter 10. x2APIC where there is
 * one, TSC deadline where there is one. */
#include "hv/x86/x86.h"

/* Register offsets (table 10-1); in x2APIC mode MSR IA32_X2APIC + offset / 16. */
enum { APIC_ID = 0x20, APIC_TPR = 0x80, APIC_EOI = 0xb0, APIC_SPURIOUS = 0xf0 };
enum { APIC_LVT_TIMER = 0x320, APIC_LVT_LINT0 = 0x350, APIC_LVT_LINT1 = 0x360 };
enum { APIC_INITIAL_COUNT = 0x380, APIC_CURRENT_COUNT = 0x390, APIC_DIVIDE = 0x3e0 };
enum { APIC_LVT_ERROR = 0x370, LVT_NMI = 4 << 8, LVT_MASKED = 1 << 16 };
enum { LVT_PERIODIC = 1 << 17, LVT_TSC_DEADLINE = 2 << 17 };
enum { SPURIOUS_ENABLE = 1 << 8, DIVIDE_BY_1 = 0xb, XAPIC_ID_SHIFT = 24 };

/* Interrupt masks of the 8259As (Intel's data sheet, OCW1). */
enum { PIC_MASTER_MASK = 0x21, PIC_SLAVE_MASK = 0xa1, PIC_MASK_ALL = 0xff };

static volatile uint32_t *registers; /* NULL: x2APIC */
uint64_t lapic_base;
static uint64_t ticks_per_tsc; /* timer ticks per TSC tick, 32.32; 0: TSC deadline */
static uint64_t ticks_min;

static uint32_t lapic_read(uint32_t offset) {
    if (!registers)
        return (uint32_t)rdmsr(IA32_X2APIC + offset / 16);
    return registers[offset / 4];
}

static void lapic_write(uint32_t offset, uint32_t value) {
    if (!registers)
        wrmsr(IA32_X2APIC + offset / 16, value);
    else
        registers[offset / 4] = value;
}

uint32_t lapic_id(void) {
    return registers ? lapic_read(APIC_ID) >> XAPIC_ID_SHIFT : lapic_read(APIC_ID);
}

void lapic_eoi(void) {
    lapic_write(APIC_EOI, 0);
}

void lapic_init(void) {
    uint64_t base = rdmsr(IA32_APIC_BASE) | APIC_BASE_EN;
    lapic_base = base & PTE_ADDRESS;
    wrmsr(IA32_APIC_BASE, base);
    if (features.x2apic)
        wrmsr(IA32_APIC_BASE, base | APIC_BASE_EXTD);
    else
        registers = window_map(WINDOW_LAPIC, (struct pa){lapic_base});
    lapic_write(APIC_TPR, 0);
    lapic_write(APIC_LVT_LINT0, LVT_MASKED); /* the 8259s, which nothing uses */
    out8(PIC_MASTER_MASK, PIC_MASK_ALL);
    out8(PIC_SLAVE_MASK, PIC_MASK_ALL);
    lapic_write(APIC_LVT_LINT1, LVT_NMI);
    lapic_write(APIC_LVT_ERROR, LVT_MASKED);
    lapic_write(APIC_LVT_TIMER, LVT_MASKED);
    lapic_write(APIC_DIVIDE, DIVIDE_BY_1);
    lapic_write(APIC_SPURIOUS, SPURIOUS_ENABLE | VECTOR_SPURIOUS);
}

void lapic_timer_start(void) {
    lapic_write(APIC_INITIAL_COUNT, UINT32_MAX);
}

uint32_t lapic_timer_elapsed(void) {
    return UINT32_MAX - lapic_read(APIC_CURRENT_COUNT);
}

void lapic_timer_init(uint64_t lapic_ticks, uint64_t tsc_ticks) {
    lapic_write(APIC_INITIAL_COUNT, 0);
    if (features.tsc_deadline) {
        lapic_write(APIC_LVT_TIMER, VECTOR_TIMER | LVT_TSC_DEADLINE);
        __asm__ volatile("mfence"); /* before the first IA32_TSC_DEADLINE: SDM 3A, 10.5.4.1 */
        return;
    }
    ticks_per_tsc = (lapic_ticks << 32) / tsc_ticks;
    if (!ticks_per_tsc)
        panic("the LAPIC timer does not count; is this processor emulated without one?");
    /* Each interrupt sets the timer anew. If one is lost, as in QEMU 7.2, where VMRUN with V_IRQ
     * set races with interrupts, another follows; not faster than an emulator can count. */
    ticks_min = lapic_ticks / 512; /* of 10 ms */
    lapic_write(APIC_LVT_TIMER, VECTOR_TIMER | LVT_PERIODIC);
}

/* With the counter, a far deadline is cut short; sched_next sets what is left. A near one may be
 * 20 us late. */
void arch_timer_set(uint64_t deadline) {
    bool never = deadline == ~0ull;
    if (!ticks_per_tsc) {
        wrmsr(IA32_TSC_DEADLINE, never ? 0 : deadline);
        return;
    }
    uint64_t now = arch_now();
    uint64_t ahead = deadline > now ? deadline - now : 0;
    unsigned __int128 ticks = ((unsigned __int128)ahead * ticks_per_tsc >> 32) + 1;
    if (ticks < ticks_min)
        ticks = ticks_min;
    uint32_t count = ticks > UINT32_MAX ? UINT32_MAX : (uint32_t)ticks;
    lapic_write(APIC_INITIAL_COUNT, never ? 0 : count);
}
