#include "mgmt/vmm/pv_eoi.h"

#define ENABLE 1u
#define RESERVED 2u

bool pv_eoi_set(struct vcpu *vcpu, uint64_t value) {
    volatile uint8_t *eoi = NULL;
    if (value & RESERVED)
        return false;
    if (value & ENABLE) {
        eoi = ram_at(GPA(value & ~(uint64_t)ENABLE), sizeof(uint32_t));
        if (!eoi)
            return false;
    }
    vcpu->eoi_msr = value;
    vcpu->eoi = eoi;
    return true;
}

void pv_eoi_offer(struct vcpu *vcpu) {
    vcpu->eoi_offered = lapic_ends_unseen(&vcpu->lapic);
    if (vcpu->eoi_offered)
        *vcpu->eoi = 1;
}

void pv_eoi_take(struct vcpu *vcpu) {
    if (!vcpu->eoi_offered)
        return;
    vcpu->eoi_offered = false;
    if (*vcpu->eoi)
        *vcpu->eoi = 0;
    else
        lapic_end_of_interrupt(&vcpu->lapic);
}
