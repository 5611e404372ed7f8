/* Guest mode on AMD: APM 2, chapter 15. CPU start, entering a guest, ASIDs. */
#include "hv/x86/svm.h"

struct svm_features svm;

/* Per processor: where VMRUN keeps the host's state, in a form of its own, and where VMSAVE does.
 */
static _Alignas(PAGE_BYTES) uint8_t host_save_area[PAGE_BYTES];
static _Alignas(PAGE_BYTES) struct vmcb host_state;

static void find_svm(void) {
    if (cpuid(0x80000000, 0).eax < CPUID_SVM ||
        !(cpuid(0x80000001, 0).ecx & CPUID_80000001_ECX_SVM))
        return;
    struct cpuid leaf = cpuid(CPUID_SVM, 0);
    svm.asids = leaf.ebx;
    svm.nrip_save = leaf.edx & CPUID_SVM_EDX_NRIPS;
    svm.decode_assists = leaf.edx & CPUID_SVM_EDX_DECODE_ASSISTS;
    svm.tsc_ratio = leaf.edx & CPUID_SVM_EDX_TSC_RATE;
    svm.tsc_aux = cpuid(0x80000001, 0).edx & CPUID_80000001_EDX_RDTSCP;
    svm.ibpb = cpuid(0x80000008, 0).ebx & CPUID_80000008_EBX_IBPB;
    svm.mca = cpuid(1, 0).edx & CPUID_1_EDX_MCA;
    svm.present =
        (leaf.edx & CPUID_SVM_EDX_NP) && svm.asids > 1 && !(rdmsr(MSR_VM_CR) & VM_CR_SVMDIS);
}

void guest_cpu_init(struct cpu *cpu) {
    find_svm();
    if (!svm.present)
        return;
    svm_intercepts_init();
    wrmsr(IA32_EFER, rdmsr(IA32_EFER) | EFER_SVME);
    wrmsr(MSR_VM_HSAVE_PA, image_address(host_save_area).raw);
    cpu->arch.guest = (struct guest_cpu){
        .asids_taken = svm.asids - 1, /* the first entry forgets what an earlier system left */
        .tsc_ratio = TSC_RATIO_1};
    if (svm.tsc_ratio)
        wrmsr(MSR_TSC_RATIO, TSC_RATIO_1);
    if (svm.tsc_aux)
        wrmsr(IA32_TSC_AUX, 0);
}

bool arch_guest_mode(void) {
    return svm.present;
}

uint64_t arch_vcpu_bytes(void) {
    return align_up(sizeof(struct svm_vcpu), 64);
}

void arch_vcpu_init(struct vcpu *vcpu) {
    struct vmcb *vmcb = vmcb_of(vcpu);
    svm_intercepts_set(vmcb);
    vmcb->nested = NP_ENABLE;
    vmcb->virtual_interrupt = V_INTR_MASKING;
    vcpu->arch.tsc_ratio = TSC_RATIO_1;
    vcpu->arch.xcr0 = XCR0_X87;
}

void arch_vcpu_retire(struct vcpu *vcpu) {
    for (uint32_t i = 0; i < cpu_count; i++)
        if (cpus[i]->arch.guest.last == vcpu)
            cpus[i]->arch.guest.last = NULL;
}

/* An ASID whose translations are of this Vcpu on this Space only, and of nothing that has been
 * unmapped. ASIDs are handed out in rising order; when they have run out all translations are
 * forgotten and a new round begins. A flush of the Space just means another ASID. */
static void choose_asid(struct guest_cpu *guest, struct vcpu *vcpu) {
    const struct space *space = vcpu->space.object;
    struct vmcb *vmcb = vmcb_of(vcpu);
    vmcb->tlb_control = TLB_CONTROL_NOTHING;
    if (vcpu->arch.asid_round == guest->asid_round && vcpu->arch.flush == space->arch.flush)
        return;
    if (++guest->asids_taken == svm.asids) {
        guest->asids_taken = 1;
        guest->asid_round++;
        vmcb->tlb_control = TLB_CONTROL_FLUSH_ALL;
        this_cpu()->counter[BH_COUNTER_TLB_FLUSHES]++;
    }
    vcpu->arch.asid_round = guest->asid_round;
    vcpu->arch.flush = space->arch.flush;
    vmcb->asid = (uint32_t)guest->asids_taken;
    vmcb->n_cr3 = space->arch.root.raw;
    vmcb->clean = 0;
}

/* An MSR that guests have values of their own in; *held: what it holds. */
static void switch_msr(uint32_t msr, uint64_t *held, uint64_t value) {
    if (*held == value)
        return;
    *held = value;
    wrmsr(msr, value);
}

/* What VMRUN does not exchange. */
static void load_rest(struct guest_cpu *guest, struct vcpu *vcpu) {
    if (guest->last != vcpu) {
        guest->last = vcpu;
        vmcb_of(vcpu)->clean = 0;
        if (svm.ibpb) /* no guest steers another's speculation */
            wrmsr(IA32_PRED_CMD, PRED_CMD_IBPB);
    }
    switch_msr(MSR_TSC_RATIO, &guest->tsc_ratio, vcpu->arch.tsc_ratio);
    switch_msr(IA32_TSC_AUX, &guest->tsc_aux, vcpu->arch.tsc_aux);
    vcpu->arch.wants_debug |= (vmcb_of(vcpu)->dr7 & DR7_ENABLED) != 0;
    if (vcpu->arch.wants_debug)
        svm_debug_load(vcpu);
    fpu_enter_xcr0(vcpu->arch.xcr0);
}

void guest_leave(struct cpu *cpu) {
    switch_msr(IA32_TSC_AUX, &cpu->arch.guest.tsc_aux, 0);
}

/* An event whose delivery the exit cut short, to be injected again. Not what an instruction raised:
 * RIP is still there. */
static uint64_t undelivered(const struct vmcb *vmcb) {
    uint64_t event = vmcb->exitintinfo, type = event & EVENT_TYPE;
    uint64_t vector = event & EVENT_VECTOR;
    bool by_instruction =
        type == EVENT_TYPE_SOFTWARE ||
        (type == EVENT_TYPE_EXCEPTION && (vector == VECTOR_BP || vector == VECTOR_OF));
    return (event & EVENT_V) && !by_instruction ? event : 0;
}

static void use_virtual_interrupt(struct vmcb *vmcb, uint64_t virtual, bool intercepted) {
    vmcb->virtual_interrupt = virtual;
    vmcb->intercept_1 &= ~INTERCEPT_VINTR;
    vmcb->intercept_1 |= intercepted ? INTERCEPT_VINTR : 0;
    vmcb->clean &= ~(uint64_t)(CLEAN_INTERCEPTS | CLEAN_VIRTUAL);
}

/* An external interrupt that the guest can take at once goes in as a virtual interrupt (15.21.4)
 * instead of by EVENTINJ: what that brought QEMU 7.2 delivers a second time, whatever RFLAGS.IF
 * says, if it leaves its loop before the next exit. It has no NRIP save; what has gets EVENTINJ. */
static bool make_virtual(struct vmcb *vmcb) {
    uint64_t event = vmcb->eventinj, virtual = vmcb->virtual_interrupt;
    if (svm.nrip_save || (event & (EVENT_V | EVENT_TYPE)) != EVENT_V ||
        !(vmcb->rflags & RFLAGS_IF) || vmcb->interrupt_shadow || (virtual & V_IRQ))
        return false;
    vmcb->eventinj = 0;
    use_virtual_interrupt(
        vmcb, virtual | V_IRQ | V_IGN_TPR | (event & EVENT_VECTOR) << V_INTR_VECTOR_SHIFT, false);
    return true;
}

/* After the exit; if it was not taken, it is an event again, in place of what the exit cut short: a
 * fault, which its instruction raises again. QEMU 7.2 may run the guest on before it takes V_IRQ,
 * which it can then no longer, and forgets V_IRQ when an interrupt for the host arrives during
 * VMRUN: then the guest is still at `rip`. False: it cannot take the event any more, and the VMM
 * has to decide. */
static bool end_virtual(struct vmcb *vmcb, uint64_t rip) {
    uint64_t virtual = vmcb->virtual_interrupt;
    bool enabled = vmcb->rflags & RFLAGS_IF, pending = virtual & V_IRQ;
    if (pending || (enabled && vmcb->rip == rip))
        vmcb->eventinj = EVENT_V | (virtual >> V_INTR_VECTOR_SHIFT & EVENT_VECTOR);
    use_virtual_interrupt(vmcb, V_INTR_MASKING | (virtual & V_TPR), true);
    return enabled || !pending;
}

void guest_run(struct cpu *cpu, struct vcpu *vcpu) {
    struct vmcb *vmcb = vmcb_of(vcpu);
    if (vcpu->runner->run_deadline <= arch_now() || vcpu->arch.undecided) {
        vcpu_exit(vcpu, BH_EXIT_NONE);
        return;
    }
    if (vcpu->arch.wants_nmi && vcpu->arch.nmi == NMI_OPEN && !vmcb->eventinj) {
        vcpu_exit(vcpu, BH_EXIT_NMI_WINDOW);
        return;
    }
    choose_asid(&cpu->arch.guest, vcpu);
    load_rest(&cpu->arch.guest, vcpu);
    cpu->counter[BH_COUNTER_GUEST_EXITS]++;
    uint64_t rip = vmcb->rip;
    bool virtual = make_virtual(vmcb);
    svm_enter(arch_object_address(vmcb), vcpu->page->general, image_address(&host_state));
    vcpu->arch.xcr0 = fpu_leave_xcr0();
    vmcb->clean = CLEAN_ALL;
    if (vcpu->arch.wants_debug)
        svm_debug_store(vcpu);
    vmcb->eventinj = undelivered(vmcb);
    if (virtual)
        vcpu->arch.undecided = !end_virtual(vmcb, rip);
    svm_exit(vcpu);
}
