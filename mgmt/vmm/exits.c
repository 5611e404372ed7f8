#include "mgmt/vmm/exits.h"

#include "mgmt/vmm/bus.h"
#include "mgmt/vmm/cpuid.h"
#include "mgmt/vmm/emulate.h"
#include "mgmt/vmm/machine.h"
#include "mgmt/vmm/msr.h"

/* Where hv may not know where the next instruction is. */
#define SKIPPED                                                                                    \
    (1u << BH_EXIT_CPUID | 1u << BH_EXIT_MSR_READ | 1u << BH_EXIT_MSR_WRITE | 1u << BH_EXIT_HLT |  \
     1u << BH_EXIT_XSETBV | 1u << BH_EXIT_WBINVD)

static const char *why = "";

const char *exits_why(void) {
    return why;
}

static bool give_up(const char *reason) {
    why = reason;
    return false;
}

/* Sets next_rip if hv has not. False: what is at RIP is not what has exited, because
 * another vCPU has changed it since. Asked before anything is done for the guest: it goes back and
 * executes what is there now. */
static bool find_next(struct vcpu *vcpu) {
    struct bh_vcpu_state *state = vcpu->state;
    if (state->next_rip)
        return true;
    unsigned length = emulate_length(vcpu);
    state->next_rip = state->rip + length;
    return length;
}

static void on_port(struct vcpu *vcpu) {
    uint64_t q = vcpu->state->qualification;
    if (q & BH_EXIT_PORT_STRING) {
        emulate_port_string(vcpu);
        return;
    }
    unsigned bytes = BH_EXIT_PORT_WIDTH(q);
    uint64_t *rax = &vcpu->state->general[RAX];
    uint64_t mask = (1ull << bytes * 8) - 1;
    if (!(q & BH_EXIT_PORT_IN)) {
        bus_port_write((uint16_t)q, bytes, *rax & mask);
    } else {
        uint64_t value = bus_port_read((uint16_t)q, bytes);
        *rax = bytes == 4 ? value : (*rax & ~mask) | value;
    }
    vcpu_skip(vcpu, 0);
}

static void on_msr(struct vcpu *vcpu, bool write) {
    uint64_t *general = vcpu->state->general, value = 0;
    uint32_t msr = (uint32_t)general[RCX];
    bool good = write ? msr_write(vcpu, msr, general[RDX] << 32 | (uint32_t)general[RAX])
                      : msr_read(vcpu, msr, &value);
    if (!good) {
        vcpu_raise_error(vcpu, EXCEPTION_GP, 0);
        return;
    }
    if (!write) {
        general[RAX] = (uint32_t)value;
        general[RDX] = value >> 32;
    }
    vcpu_skip(vcpu, 0);
}

static bool on_memory(struct vcpu *vcpu) {
    return emulate_memory_access(vcpu) ||
           give_up("it ran, kept page tables or handled an interrupt where there is no memory");
}

static void on_xsetbv(struct vcpu *vcpu) {
    const uint64_t *general = vcpu->state->general;
    uint64_t value = general[RDX] << 32 | (uint32_t)general[RAX];
    /* KVM checks the privilege here, too: not every processor does before it leaves the guest. */
    if (vcpu_privilege(vcpu) != 0 || (uint32_t)general[RCX] != 0 || !cpuid_admits_xcr0(value)) {
        vcpu_raise_error(vcpu, EXCEPTION_GP, 0);
        return;
    }
    vcpu_change(vcpu, BH_VCPU_CONTROL)->xcr0 = value;
    vcpu_skip(vcpu, 0);
}

static void on_halt(struct vcpu *vcpu) {
    vcpu_skip(vcpu, 0);
    vcpu->halted =
        !(vcpu->state->event & BH_EVENT_VALID); /* a single step's trap ends it at once */
}

bool exits_handle(struct vcpu *vcpu, enum bh_exit exit) {
    if ((SKIPPED >> exit & 1) && !find_next(vcpu))
        return true;
    switch (exit) {
    case BH_EXIT_NONE:
    case BH_EXIT_INTERRUPT_WINDOW:
    case BH_EXIT_NMI_WINDOW:
    case BH_EXIT_INIT:
        return true;
    case BH_EXIT_PORT:
        on_port(vcpu);
        return true;
    case BH_EXIT_MEMORY:
        return on_memory(vcpu);
    case BH_EXIT_CPUID:
        cpuid_exit(vcpu, machine_vcpus());
        vcpu_skip(vcpu, 0);
        return true;
    case BH_EXIT_MSR_READ:
    case BH_EXIT_MSR_WRITE:
        on_msr(vcpu, exit == BH_EXIT_MSR_WRITE);
        return true;
    case BH_EXIT_HLT:
        on_halt(vcpu);
        return true;
    case BH_EXIT_SHUTDOWN:
        return give_up("triple fault");
    case BH_EXIT_INVALID_STATE:
        return give_up("the processor refuses its state");
    case BH_EXIT_EXCEPTION: /* its own: it goes back to it, by `event` */
        return true;
    case BH_EXIT_XSETBV:
        on_xsetbv(vcpu);
        return true;
    case BH_EXIT_WBINVD: /* its memory is coherent */
        vcpu_skip(vcpu, 0);
        return true;
    case BH_EXIT_HYPERCALL: /* there are none */
    case BH_EXIT_INSTRUCTION:
    case BH_EXIT_CONTROL_REGISTER:
    case BH_EXIT_COUNT:
        break;
    }
    vcpu_raise(vcpu, EXCEPTION_UD);
    return true;
}
