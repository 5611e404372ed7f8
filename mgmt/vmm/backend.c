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

void vcpu_backend_sync(struct vcpu *vcpu, uint32_t groups) {
    enum bh_status status = hc_vcpu_sync(vcpu->slot, groups);
    if (status)
        guest_panic("vcpu_sync: status %u", status);
}
