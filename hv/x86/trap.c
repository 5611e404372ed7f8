/* What follows an entry that is not a hypercall, and the choice of whom to enter next. */
#include "hv/x86/x86.h"

/* Called by entry.S. */
void trap(struct context *context);
void ring_0_interrupt(uint64_t vector);
struct context *cpu_switch(void);

static void interrupt(struct cpu *cpu, uint64_t vector) {
    cpu->counter[BH_COUNTER_INTERRUPTS]++;
    if (vector == VECTOR_SPURIOUS)
        return; /* no EOI for it: SDM 3A, 10.9 */
    if (vector == VECTOR_TIMER) {
        lapic_eoi();
        timer_interrupt();
    } else {
        irq_interrupt((uint8_t)vector);
    }
}

/* Ring 3 was interrupted; its registers are in the Context. */
void trap(struct context *context) {
    struct cpu *cpu = this_cpu();
    uint64_t vector = context->arch.vector;
    if (vector >= VECTOR_EXTERNAL)
        interrupt(cpu, vector);
    else if (vector == VECTOR_NMI || vector == VECTOR_DF || vector == VECTOR_MC)
        panic_exception(&context->arch);
    else
        context_fault(context, vector, context->arch.error, vector == VECTOR_PF ? read_cr2() : 0);
}

/* While idle, or at the exit of a guest. */
void ring_0_interrupt(uint64_t vector) {
    struct cpu *cpu = this_cpu();
    if (!cpu->current)
        cpu->counter[BH_COUNTER_IDLE_TSC] += arch_now() - cpu->arch.idle_since;
    interrupt(cpu, vector);
}

/* FS and GS selectors are ring 3's to load, and loading one changes its base: both are set anew for
 * each Context, so that none sees another's. GS holds hv's base here, ring 3's is the swapped one.
 */
static void load_segments(const struct arch_context *registers) {
    __asm__ volatile("mov %0, %%ds\n\t"
                     "mov %0, %%es\n\t"
                     "mov %0, %%fs\n\t"
                     "swapgs\n\t"
                     "mov %0, %%gs\n\t"
                     "swapgs" ::"r"(0));
    wrmsr(IA32_FS_BASE, registers->fs_base);
    wrmsr(IA32_KERNEL_GS_BASE, registers->gs_base);
}

static void load(struct cpu *cpu, struct context *context) {
    const struct space *space = context->space.object;
    if (cpu->arch.root.raw != space->arch.root.raw) {
        cpu->arch.root = space->arch.root;
        write_cr3(space->arch.root.raw);
        cpu->counter[BH_COUNTER_SPACE_SWITCHES]++;
    }
    cpu->arch.tss.rsp0 = (uint64_t)&context->arch + FRAME_END;
    load_segments(&context->arch);
    fpu_restore(context);
    guest_leave(cpu);
}

/* Idling counts as a Context of its own: whatever ran before is saved, so nothing refers to it any
 * more. */
static struct context *choose(struct cpu *cpu) {
    struct context *next = cpu->reschedule ? sched_next(cpu) : cpu->current;
    if (cpu->arch.loaded != next) {
        if (cpu->arch.loaded)
            fpu_save(cpu->arch.loaded);
        if (next)
            load(cpu, next);
        cpu->arch.loaded = next;
    }
    return next;
}

/* On the way out when another Context or a guest may have to run, and after each interrupt of ring
 * 0. Runs guests as long as one is to run. Returns the Context to enter, or NULL to idle. */
struct context *cpu_switch(void) {
    struct cpu *cpu = this_cpu();
    struct context *next = choose(cpu);
    for (; next && next->vcpu; next = choose(cpu))
        guest_run(cpu, next->vcpu);
    cpu->enter_guest = false;
    if (!next)
        cpu->arch.idle_since = arch_now();
    return next;
}
