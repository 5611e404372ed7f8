/* What the files of SVM share. */
#pragma once

#include "hv/x86/x86.h"
#include "hv/x86/svm_regs.h"

struct svm_features {
    bool present, nrip_save, decode_assists, tsc_ratio, tsc_aux, ibpb, mca;
    uint32_t asids; /* 0 is hv's own */
};
extern struct svm_features svm;

/* A Vcpu with the processor's page before it. */
struct svm_vcpu {
    struct vmcb vmcb;
    struct vcpu vcpu;
};

static inline struct vmcb *vmcb_of(const struct vcpu *vcpu) {
    return (struct vmcb *)((uint64_t)vcpu - offsetof(struct svm_vcpu, vcpu));
}

#define TSC_RATIO_1 (1ull << 32)

/* svm_entry.S: VMRUN. general: 16 registers in the processor's numbering; RAX and RSP are the
 * VMCB's. host: where the state that VMRUN leaves alone is kept meanwhile. Interrupts are off
 * before and after; all general registers but the results are cleared behind the guest. */
void svm_enter(struct pa vmcb, volatile uint64_t *general, struct pa host);

/* svm_intercepts.c */
void svm_intercepts_init(void);
void svm_intercepts_set(struct vmcb *vmcb);
void svm_debug_load(struct vcpu *vcpu);  /* DR0 to DR3, and no intercepts of them */
void svm_debug_store(struct vcpu *vcpu); /* the opposite */

/* svm_state.c: nothing of the Vcpu's state stays but what the page holds; group: why */
void svm_refuse(struct vcpu *vcpu, uint32_t group);

/* svm_exit.c */
void svm_exit(struct vcpu *vcpu);
void svm_nmi_set(struct vcpu *vcpu, enum nmi_state state);
void svm_iret_undo(struct vcpu *vcpu); /* NMI_RETURNING: the step is not seen by the VMM */
