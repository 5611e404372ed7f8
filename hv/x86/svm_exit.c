/* What follows an exit: hv's own are dealt with here and the guest goes on, all others are the
 * VMM's. Exits: APM 2, appendix C. */
#include "hv/x86/svm.h"

static void leave(struct vcpu *vcpu, enum bh_exit exit, uint64_t qualification, uint64_t next_rip) {
    vcpu->page->qualification = qualification;
    vcpu->page->next_rip = next_rip;
    vcpu_exit(vcpu, exit);
}

/* An instruction that the VMM does. */
static void leave_at(struct vcpu *vcpu, enum bh_exit exit) {
    leave(vcpu, exit, 0, svm.nrip_save ? vmcb_of(vcpu)->nrip : 0);
}
static const uint8_t instruction_exits[] = {
    [VMEXIT_CPUID] = BH_EXIT_CPUID,       [VMEXIT_HLT] = BH_EXIT_HLT,
    [VMEXIT_VMMCALL] = BH_EXIT_HYPERCALL, [VMEXIT_INVD] = BH_EXIT_WBINVD,
    [VMEXIT_WBINVD] = BH_EXIT_WBINVD,     [VMEXIT_XSETBV] = BH_EXIT_XSETBV,
};

static void port_exit(struct vcpu *vcpu, struct vmcb *vmcb) {
    uint64_t info = vmcb->exitinfo1, next_rip = vmcb->exitinfo2;
    uint64_t port = info >> IOIO_PORT_SHIFT & 0xffff;
    uint32_t width = info >> IOIO_SIZE_SHIFT & 7, address_size = info >> IOIO_ADDRESS_SHIFT & 7;
    if (!(info & (IOIO_TYPE_IN | IOIO_STR)) && !(vmcb->rflags & RFLAGS_TF)) {
        uint64_t rip = vmcb->rip, shadow = vmcb->interrupt_shadow;
        vmcb->rip = next_rip; /* first: the Event may be this Context's own, which ends the run */
        vmcb->interrupt_shadow = 0;
        if (doorbell_ring(vcpu->space.object, port, width))
            return;
        vmcb->rip = rip;
        vmcb->interrupt_shadow = shadow;
    }
    leave(vcpu, BH_EXIT_PORT,
          port | (info & IOIO_TYPE_IN ? BH_EXIT_PORT_IN : 0) |
              (info & IOIO_STR ? BH_EXIT_PORT_STRING : 0) |
              (info & IOIO_REP ? BH_EXIT_PORT_REP : 0) | width << 24 | address_size << 29,
          next_rip);
}

static void memory_exit(struct vcpu *vcpu, const struct vmcb *vmcb) {
    uint64_t info = vmcb->exitinfo1;
    vcpu->page->address = vmcb->exitinfo2;
    vcpu->page->instruction_bytes = 0;
    if (svm.decode_assists) {
        vcpu->page->instruction_bytes = vmcb->instruction_bytes & 15;
        __builtin_memcpy(vcpu->page->instruction, vmcb->instruction, sizeof(vmcb->instruction));
    }
    leave(vcpu, BH_EXIT_MEMORY,
          (info & NPF_P ? BH_EXIT_MEMORY_PRESENT : 0) |
              (info & NPF_WRITE ? BH_EXIT_MEMORY_WRITE : 0) |
              (info & NPF_FETCH ? BH_EXIT_MEMORY_FETCH : 0) |
              (info & NPF_TABLE ? BH_EXIT_MEMORY_TABLE : 0) |
              (vmcb->exitintinfo & EVENT_V ? BH_EXIT_MEMORY_DELIVERY : 0),
          0);
}

/* An exception that was intercepted and becomes the next event. */
static void inject_exception(struct vmcb *vmcb, uint64_t vector) {
    vmcb->eventinj = EVENT_V | EVENT_TYPE_EXCEPTION | vector;
    if (VECTORS_WITH_ERROR_CODE >> vector & 1)
        vmcb->eventinj |= EVENT_EV | vmcb->exitinfo1 << EVENT_ERROR_SHIFT;
    if (vector == VECTOR_PF)
        vmcb->cr2 = vmcb->exitinfo2;
}

static void exception_exit(struct vcpu *vcpu, struct vmcb *vmcb) {
    uint64_t vector = vmcb->exitcode - VMEXIT_EXCP;
    if (vector == VECTOR_MC)
        panic("machine check while a guest ran: the hardware reports a failure");
    inject_exception(vmcb, vector);
    leave(vcpu, BH_EXIT_EXCEPTION, 0, 0);
}

/* With CR4.MCE clear, the guest's choice, a machine check ends in a shutdown too. */
static void shutdown_exit(struct vcpu *vcpu) {
    if (svm.mca && (rdmsr(IA32_MCG_STATUS) & MCG_STATUS_MCIP))
        panic("machine check while a guest ran: the hardware reports a failure");
    leave(vcpu, BH_EXIT_SHUTDOWN, 0, 0);
}

/* --- NMIs: blocked from their injection until the next IRET has been executed. The processor tells
 * when IRET begins (APM 2, 15.21.9); that it is done is noticed by a single step of it alone. */

void svm_nmi_set(struct vcpu *vcpu, enum nmi_state state) {
    struct vmcb *vmcb = vmcb_of(vcpu);
    if (vcpu->arch.nmi == state)
        return;
    vcpu->arch.nmi = state;
    svm_intercepts_set(vmcb);
    if (state == NMI_BLOCKED)
        vmcb->intercept_1 |= INTERCEPT_IRET;
    else if (state == NMI_RETURNING)
        vmcb->intercept_exceptions = ~0u; /* none must see the TF that is not the guest's */
    vmcb->clean = 0;
}

static void iret_exit(struct vcpu *vcpu, struct vmcb *vmcb) {
    if (vmcb->rflags & RFLAGS_TF) { /* stepped by the guest itself: let it be */
        svm_nmi_set(vcpu, NMI_OPEN);
        return;
    }
    svm_nmi_set(vcpu, NMI_RETURNING);
    vcpu->arch.return_rip = vmcb->rip;
    vcpu->arch.return_bs = vmcb->dr6 & DR6_BS;
    vmcb->rflags |= RFLAGS_TF;
    vmcb->dr6 &= ~(uint64_t)DR6_BS; /* the step sets it */
}

/* No IRET has been executed: as before iret_exit(). */
void svm_iret_undo(struct vcpu *vcpu) {
    struct vmcb *vmcb = vmcb_of(vcpu);
    svm_nmi_set(vcpu, NMI_BLOCKED);
    vmcb->rflags &= ~(uint64_t)RFLAGS_TF;
    vmcb->dr6 |= vcpu->arch.return_bs;
}

/* The first exit after an IRET was let go. True: that was all. The step's #DB comes behind it, even
 * where it has returned to itself: an NMI may come just before another handler's IRET. */
static bool iret_done(struct vcpu *vcpu, struct vmcb *vmcb) {
    uint64_t vector = vmcb->exitcode - VMEXIT_EXCP;
    bool exception = vmcb->exitcode >= VMEXIT_EXCP && vector < VECTOR_EXTERNAL;
    bool stepped = exception && vector == VECTOR_DB && (vmcb->dr6 & DR6_BS);
    bool done = stepped || vmcb->rip != vcpu->arch.return_rip; /* RFLAGS are those that it loaded */
    vmcb->dr6 = (vmcb->dr6 & ~(uint64_t)DR6_BS) | vcpu->arch.return_bs;
    if (!done)
        svm_iret_undo(vcpu);
    if (done || exception)
        svm_nmi_set(vcpu, NMI_OPEN);
    if (!exception || vector == VECTOR_MC)
        return false;
    if (!stepped)
        inject_exception(vmcb, vector);
    return true;
}

void svm_exit(struct vcpu *vcpu) {
    struct vmcb *vmcb = vmcb_of(vcpu);
    uint32_t code = (uint32_t)vmcb->exitcode;
    if (vcpu->arch.nmi == NMI_RETURNING && iret_done(vcpu, vmcb))
        return;
    if (code < COUNT(instruction_exits) && instruction_exits[code]) {
        leave_at(vcpu, instruction_exits[code]);
        return;
    }
    switch (code) {
    case VMEXIT_NMI: /* these three came when svm_enter set GIF */
    case VMEXIT_SMI:
    case VMEXIT_INIT:
    case VMEXIT_INTR: /* still pending: its handler does not return here */
        let_interrupts_in();
        break;
    case VMEXIT_VINTR:
        leave(vcpu, BH_EXIT_INTERRUPT_WINDOW, 0, 0);
        break;
    case VMEXIT_IRET:
        iret_exit(vcpu, vmcb);
        break;
    case VMEXIT_IOIO:
        port_exit(vcpu, vmcb);
        break;
    case VMEXIT_MSR:
        leave_at(vcpu, vmcb->exitinfo1 & 1 ? BH_EXIT_MSR_WRITE : BH_EXIT_MSR_READ);
        break;
    case VMEXIT_NPF:
        memory_exit(vcpu, vmcb);
        break;
    case VMEXIT_SHUTDOWN:
        shutdown_exit(vcpu);
        break;
    case VMEXIT_EXCP + VECTOR_DB:
    case VMEXIT_EXCP + VECTOR_AC:
    case VMEXIT_EXCP + VECTOR_MC:
        exception_exit(vcpu, vmcb);
        break;
    case VMEXIT_INVALID:
        svm_refuse(vcpu, 0);
        vcpu_exit(vcpu, BH_EXIT_INVALID_STATE);
        break;
    default:
        if (code >= VMEXIT_DR_READ && code <= VMEXIT_DR_LAST)
            vcpu->arch.wants_debug = true; /* executed again, with the registers loaded */
        else
            leave(vcpu, BH_EXIT_INSTRUCTION, code, 0);
    }
}
