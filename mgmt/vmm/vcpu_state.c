/* See vcpu_state in vcpu.h. */
#include "mgmt/vmm/cpuid.h"
#include "mgmt/vmm/fpu.h"
#include "mgmt/vmm/pv_eoi.h"
#include "mgmt/vmm/vcpu.h"

/* What hv and the processor refuse ends the guest at its first entry: here only what would be no
 * vCPU of this machine. Of the page, what hv writes at an exit and what machine_deliver makes of
 * the APIC is no state. */
void vcpu_state(struct state *s, struct vcpu *vcpu) {
    struct bh_vcpu_state page = *vcpu_look(vcpu, BH_VCPU_ALL);
    lapic_state(s, &vcpu->lapic);
    state_section(s, "vcpu");
    STATE_SPAN(s, &page, general, rflags);
    STATE_SPAN(s, &page, event, interruptibility);
    STATE_SPAN(s, &page, cr0, xss);
    STATE_SPAN(s, &page, segment, idtr);
    STATE_SPAN(s, vcpu, halted, waiting);
    STATE(s, vcpu->clock);
    STATE(s, vcpu->clock_on);
    STATE(s, vcpu->eoi_msr);
    state_bytes(s, vcpu->fpu, FPU_BYTES);
    if (!s->loading)
        return;
    state_check(s, !(page.efer & ~(uint64_t)EFER_ALLOWED), "an EFER that is none");
    state_check(s, cpuid_admits_xcr0(page.xcr0), "an XCR0 that is none");
    state_check(s, fpu_is_valid(vcpu->fpu), "FPU registers that are none");
    state_check(s, pv_eoi_set(vcpu, vcpu->eoi_msr), "a place for PV EOI that is none");
    if (s->wrong)
        return;
    page.cr8 = lapic_task_priority(&vcpu->lapic);
    page.exit_cr8 = (uint32_t)page.cr8;
    *vcpu->state = page;
    vcpu->fpu_loads = true;
    vcpu->fresh = vcpu->modified = BH_VCPU_ALL;
}
