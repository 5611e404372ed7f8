/* The end of an interrupt without an exit (KVM's PV EOI: Linux, Documentation/virt/kvm/x86/msr.rst,
 * MSR_KVM_PV_EOI_EN). Before the guest runs, the VMM sets a bit in its memory if nobody has to see
 * the interrupt in service end; a guest that finds the bit set clears it and is done. It is looked
 * at, and cleared, at the next exit: so the APIC's state is right whenever the VMM looks at it. */
#pragma once

#include "mgmt/vmm/vcpu.h"

/* MSR_KVM_PV_EOI_EN. False: #GP. */
bool pv_eoi_set(struct vcpu *vcpu, uint64_t value);

/* Before the vCPU runs, with its interrupt delivered, and after each exit; if vcpu->eoi is set. */
void pv_eoi_offer(struct vcpu *vcpu);
void pv_eoi_take(struct vcpu *vcpu);
