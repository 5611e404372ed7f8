/* The processor, and what else hv/x86/svm*.c call: see processor.h. */
#include "processor.h"

#include <setjmp.h>
#include <stddef.h>
#include <string.h>

struct processor processor;
struct cpu *cpus[CPUS_MAX];
uint32_t cpu_count;
struct features features = {.virtual_bits = 48, .physical_bits = 48};

static struct cpu cpu;
static struct context context;
static struct space space = {.kind = BH_SPACE_GUEST, .arch = {.root = {0x5000}, .flush = 1}};
static jmp_buf before_run;

static void complain(const char *what) {
    if (!processor.complaint)
        processor.complaint = what;
}

/* --- Clean bits: APM 2, 15.15.3 ------------------------------------------------------------------
 */

/* By number of the bit: what of the VMCB the processor need not read again. */
#define FIELDS(bit, first, last)                                                                   \
    {                                                                                              \
        bit, offsetof(struct vmcb, first),                                                         \
            offsetof(struct vmcb, last) + sizeof(((struct vmcb *)NULL)->last)                      \
    }
static const struct {
    unsigned bit;
    size_t from, to;
} cached_fields[] = {
    FIELDS(0, intercept_cr_read, intercept_3),
    FIELDS(0, tsc_offset, tsc_offset),
    FIELDS(1, iopm_base, msrpm_base),
    FIELDS(2, asid, asid),
    FIELDS(3, virtual_interrupt, virtual_interrupt),
    FIELDS(4, nested, nested),
    FIELDS(4, n_cr3, n_cr3),
    FIELDS(4, g_pat, g_pat),
    FIELDS(5, efer, efer),
    FIELDS(5, cr4, cr0),
    FIELDS(6, dr7, dr6),
    FIELDS(7, gdtr, gdtr),
    FIELDS(7, idtr, idtr),
    FIELDS(8, es, ds),
    FIELDS(8, cpl, cpl),
    FIELDS(9, cr2, cr2),
};

static struct vmcb cache;
static const struct vmcb *cached; /* the VMCB that was run last */

static void check_clean(const struct vmcb *vmcb) {
    if (vmcb->clean && cached != vmcb)
        complain("clean bits of a VMCB that was not the last");
    if (vmcb->clean & ~(uint64_t)CLEAN_ALL)
        complain("clean bits of what hv does not use");
    for (unsigned i = 0; i < COUNT(cached_fields); i++) {
        size_t from = cached_fields[i].from, bytes = cached_fields[i].to - from;
        if ((vmcb->clean >> cached_fields[i].bit & 1) &&
            memcmp((const uint8_t *)vmcb + from, (const uint8_t *)&cache + from, bytes) != 0)
            complain("something has changed that is called clean");
    }
}

/* --- Instructions --------------------------------------------------------------------------------
 */

void svm_enter(struct pa address, volatile uint64_t *general, struct pa host) {
    (void)general;
    (void)host;
    struct vmcb *vmcb = (void *)address.raw;
    check_clean(vmcb);
    if (!vmcb->asid || vmcb->asid >= processor.asids || !(vmcb->efer & EFER_SVME))
        complain("VMRUN with a state that no processor takes");
    processor.believed = (uint32_t)vmcb->clean;
    processor.entries++;
    vmcb->exitintinfo = 0;
    vmcb->eventinj &= ~(uint64_t)EVENT_V;
    processor.guest(vmcb);
    cache = *vmcb;
    cached = vmcb;
}

struct cpuid cpuid(uint32_t leaf, uint32_t subleaf) {
    (void)subleaf;
    switch (leaf) {
    case 0x80000000:
        return (struct cpuid){.eax = CPUID_SVM};
    case 0x80000001:
        return (struct cpuid){.ecx = CPUID_80000001_ECX_SVM};
    case CPUID_SVM:
        return (struct cpuid){.ebx = processor.asids,
                              .edx = CPUID_SVM_EDX_NP |
                                     (processor.nrip_save ? CPUID_SVM_EDX_NRIPS : 0) |
                                     (processor.decode_assists ? CPUID_SVM_EDX_DECODE_ASSISTS : 0)};
    case 1:
        return (struct cpuid){.edx = CPUID_1_EDX_MCA};
    default:
        return (struct cpuid){0};
    }
}

uint64_t rdmsr(uint32_t msr) {
    return msr == IA32_MCG_STATUS ? processor.mcg_status : 0;
}

void wrmsr(uint32_t msr, uint64_t value) {
    if (msr == IA32_EFER && !(value & EFER_SVME))
        complain("SVM stays switched off");
}

void let_interrupts_in(void) {
    processor.interrupts++;
}

/* --- The rest of hv ------------------------------------------------------------------------------
 */

struct cpu *this_cpu(void) {
    return &cpu;
}

uint64_t arch_now(void) {
    return 1000;
}

uint64_t arch_argument(const struct context *caller, unsigned index) {
    return caller->arch.argument[index];
}

void arch_set_result(struct context *caller, uint64_t status, uint64_t value0, uint64_t value1) {
    caller->arch.rax = status;
    caller->arch.argument[2] = value0;
    caller->arch.argument[1] = value1;
}

struct pa arch_object_address(const void *object) {
    return (struct pa){(uint64_t)object};
}

bool fpu_xcr0_valid(uint64_t xcr0) {
    return xcr0 == XCR0_X87;
}

void fpu_enter_xcr0(uint64_t xcr0) {
    (void)xcr0;
}

uint64_t fpu_leave_xcr0(void) {
    return XCR0_X87;
}

bool doorbell_ring(const struct space *of, uint64_t port, uint32_t width) {
    if (of != &space || port != DOORBELL_PORT || width != 2)
        return false;
    processor.doorbells++;
    return true;
}

bool event_pending(const struct event *event, uint64_t mask) {
    (void)event;
    (void)mask;
    return false;
}

void sched_timer_by(struct cpu *of, uint64_t deadline) {
    (void)of;
    (void)deadline;
}

void panic(const char *format, ...) {
    processor.panic = format;
    longjmp(before_run, 1);
}

/* --- For tests -----------------------------------------------------------------------------------
 */

void processor_start(void) {
    cached = NULL;
    cpu = (struct cpu){0};
    context = (struct context){.cpu = &cpu};
    cpus[0] = &cpu;
    cpu_count = 1;
    guest_cpu_init(&cpu);
}

void processor_vcpu(struct test_vcpu *made) {
    memset(made, 0, sizeof(*made));
    struct vcpu *vcpu = &made->svm.vcpu;
    vcpu->page = (void *)made->page;
    vcpu->space = (struct slot){.type = BH_TYPE_SPACE, .object = &space};
    arch_vcpu_init(vcpu);
    vcpu->page->xcr0 = XCR0_X87;
    vcpu->page->pat = PAT_AFTER_RESET;
    vcpu->page->tsc_ratio = TSC_RATIO_1;
    vcpu->page->rflags = RFLAGS_FIXED;
}

void processor_flush(void) {
    space.arch.flush++;
}

uint64_t processor_run(struct test_vcpu *made, uint64_t groups, uint64_t *exit) {
    struct vcpu *vcpu = &made->svm.vcpu;
    struct slot named = {.type = BH_TYPE_VCPU, .object = vcpu};
    context.arch.argument[1] = groups;
    context.arch.argument[2] = BH_DEADLINE_NEVER;
    context.arch.argument[3] = 0;
    if (setjmp(before_run)) {
        context.vcpu = NULL;
        vcpu->runner = NULL;
        return PROCESSOR_PANIC;
    }
    vcpu_run(&context, &named);
    while (context.vcpu)
        guest_run(&cpu, vcpu);
    *exit = context.arch.argument[2];
    return context.arch.rax;
}
