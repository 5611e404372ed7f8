/* hv behind the seam of vcpu.h. */
#include "guestlib/guest.h"
#include "guestlib/hypercall.h"
#include "mgmt/vmm/vcpu.h"

enum bh_exit vcpu_backend_run(struct vcpu *vcpu, uint32_t groups, uint64_t deadline_tsc,
                              uint64_t event_mask) {
    uint64_t exit = BH_EXIT_NONE;
    enum bh_status status = hc_vcpu_run(vcpu->slot, groups, deadline_tsc, event_mask, &exit);
    if (status)
        guest_panic("vcpu_run: status %u", status);
    return (enum bh_exit)exit;
}

void vcpu_backend_kick(const struct vcpu *vcpu) {
    enum bh_status status = hc_signal(vcpu->kick_slot);
    if (status)
        guest_panic("signal to vCPU %u: status %u", (unsigned)vcpu->number, status);
}

uint64_t vcpu_backend_wait(uint64_t mask, uint64_t deadline_tsc) {
    uint64_t bits, group;
    return hc_wait(mask, deadline_tsc, &bits, &group) == BH_OK ? bits : 0;
}

void vcpu_backend_sync(struct vcpu *vcpu, uint32_t groups) {
    enum bh_status status = hc_vcpu_sync(vcpu->slot, groups);
    if (status)
        guest_panic("vcpu_sync: status %u", status);
}
