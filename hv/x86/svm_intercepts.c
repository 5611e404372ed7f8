/* What a guest may do without hv: everything that is not on these lists leaves guest mode. */
#include "hv/x86/svm.h"

/* I/O permission map: a set bit for each port, and three beyond the last (APM 2, 15.10.1). */
static _Alignas(PAGE_BYTES) uint8_t iopm[3 * PAGE_BYTES];

/* MSR permission map: two bits for each MSR of three ranges of 8,192 (15.11). */
static _Alignas(PAGE_BYTES) uint8_t msrpm[2 * PAGE_BYTES];
enum { MSRS_PER_BYTE = 4, MSR_RANGE_MASK = 0x1fff, MSR_RANGE_C0000000 = 0x800 };

/* These are exchanged by VMRUN, VMLOAD and VMSAVE, so that what a guest writes is its own; the
 * processor refuses values it could not load. */
static const uint32_t own_msrs[] = {
    IA32_SYSENTER_CS, IA32_SYSENTER_ESP, IA32_SYSENTER_EIP,   IA32_PAT,
    IA32_STAR,        IA32_LSTAR,        IA32_CSTAR,          IA32_FMASK,
    IA32_FS_BASE,     IA32_GS_BASE,      IA32_KERNEL_GS_BASE,
};

void svm_intercepts_init(void) {
    __builtin_memset(iopm, 0xff, sizeof(iopm));
    __builtin_memset(msrpm, 0xff, sizeof(msrpm));
    for (unsigned i = 0; i < COUNT(own_msrs); i++) {
        uint32_t msr = own_msrs[i], at = (msr & MSR_RANGE_MASK) / MSRS_PER_BYTE;
        msrpm[(msr >> 31 ? MSR_RANGE_C0000000 : 0) + at] &=
            (uint8_t) ~(3u << msr % MSRS_PER_BYTE * 2);
    }
}

/* All is intercepted but this: control registers, page tables, descriptor tables and INVLPG are the
 * guest's own under nested paging; CR8 is V_TPR; RDTSC has its offset; RDTSCP reads TSC_AUX, which
 * is switched; PAUSE, PUSHF, POPF, INT n, IRET, ICEBP, task switches touch nothing else;
 * FERR_FREEZE ends with the next host interrupt. Of vector 5 all that is defined but INVPCID. */
#define NOT_INTERCEPTED_1                                                                          \
    (INTERCEPT_CR0_SEL_WRITE | INTERCEPT_TABLES | INTERCEPT_RDTSC | INTERCEPT_PUSHF |              \
     INTERCEPT_POPF | INTERCEPT_IRET | INTERCEPT_INTN | INTERCEPT_PAUSE | INTERCEPT_INVLPG |       \
     INTERCEPT_TASK_SWITCH | INTERCEPT_FERR_FREEZE)
#define NOT_INTERCEPTED_2 (INTERCEPT_RDTSCP | INTERCEPT_ICEBP | INTERCEPT_AFTER_WRITE)
#define INTERCEPTED_3 (INTERCEPT_INVLPGB | INTERCEPT_MCOMMIT | INTERCEPT_TLBSYNC)

void svm_intercepts_set(struct vmcb *vmcb) {
    vmcb->intercept_dr_read = vmcb->intercept_dr_write = 0xffff; /* until it uses them */
    /* A guest can make the processor deliver #DB or #AC for ever, with no instruction in between
     * for an interrupt (CVE-2015-8104, CVE-2015-5307). #MC is the host's. */
    vmcb->intercept_exceptions = 1u << VECTOR_DB | 1u << VECTOR_AC | 1u << VECTOR_MC;
    vmcb->intercept_1 = ~NOT_INTERCEPTED_1;
    vmcb->intercept_2 = ~NOT_INTERCEPTED_2;
    vmcb->intercept_3 = INTERCEPTED_3;
    vmcb->iopm_base = image_address(iopm).raw;
    vmcb->msrpm_base = image_address(msrpm).raw;
}

void svm_debug_load(struct vcpu *vcpu) {
    const uint64_t *dr = vcpu->arch.dr;
    __asm__ volatile(
        "mov %0, %%dr0\n\tmov %1, %%dr1\n\tmov %2, %%dr2\n\tmov %3, %%dr3" ::"r"(dr[0]), "r"(dr[1]),
        "r"(dr[2]), "r"(dr[3]));
    struct vmcb *vmcb = vmcb_of(vcpu);
    vmcb->intercept_dr_read = vmcb->intercept_dr_write = 0;
    vmcb->clean = 0;
}

void svm_debug_store(struct vcpu *vcpu) {
    uint64_t *dr = vcpu->arch.dr;
    __asm__ volatile("mov %%dr0, %0\n\tmov %%dr1, %1\n\tmov %%dr2, %2\n\tmov %%dr3, %3"
                     : "=r"(dr[0]), "=r"(dr[1]), "=r"(dr[2]), "=r"(dr[3]));
    struct vmcb *vmcb = vmcb_of(vcpu);
    vmcb->intercept_dr_read = vmcb->intercept_dr_write = 0xffff;
    vmcb->clean = 0;
    vcpu->arch.wants_debug = false;
}
