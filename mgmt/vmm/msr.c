#include "mgmt/vmm/msr.h"

#include <stddef.h>

#include "mgmt/vmm/clock.h"
#include "mgmt/vmm/cpuid.h"
#include "mgmt/vmm/pv_eoi.h"
#include "mgmt/vmm/vcpu.h"

/* MTRRs: a fixed table that says what the firmware of a PC would have said. What the guest writes
 * is kept and has no effect: its memory is write-back whatever it says. */
#define MTRR_VARIABLE 8u
#define MTRR_ENABLED_WRITE_BACK 0xc06ull             /* with fixed ranges */
#define MTRR_CAPABILITIES (0x500ull | MTRR_VARIABLE) /* fixed ranges, write-combining */
#define MTRR_WRITE_BACK_ALL 0x0606060606060606ull
#define MTRR_VALID 0x800ull
#define MMIO_BASE 0xc0000000ull /* and 1 GiB from there: uncached */
#define MMIO_MASK 0xffffc0000000ull

#define MISC_ENABLE_VALUE 0x1801ull    /* fast strings; no BTS, no PEBS */
#define HWCR_TSC_FREQ_SEL 0x1000000ull /* the TSC counts at the highest frequency */
#define DE_CFG_LFENCE 0x2ull           /* LFENCE waits for all before it */
#define PATCH_LEVEL 0x01000065ull

static struct {
    uint64_t default_type;
    uint64_t variable[2 * MTRR_VARIABLE];
    uint64_t fixed[11];
} mtrr = {
    .default_type = MTRR_ENABLED_WRITE_BACK,
    .variable = {MMIO_BASE, MMIO_MASK | MTRR_VALID},
    .fixed = {MTRR_WRITE_BACK_ALL, MTRR_WRITE_BACK_ALL, 0, MTRR_WRITE_BACK_ALL, MTRR_WRITE_BACK_ALL,
              MTRR_WRITE_BACK_ALL, MTRR_WRITE_BACK_ALL, MTRR_WRITE_BACK_ALL, MTRR_WRITE_BACK_ALL,
              MTRR_WRITE_BACK_ALL, MTRR_WRITE_BACK_ALL},
};

static uint64_t *mtrr_at(uint32_t msr) {
    if (msr == MSR_MTRR_DEFAULT)
        return &mtrr.default_type;
    if (msr - MSR_MTRR_VARIABLE < 2 * MTRR_VARIABLE)
        return &mtrr.variable[msr - MSR_MTRR_VARIABLE];
    if (msr == MSR_MTRR_FIXED_64K)
        return &mtrr.fixed[0];
    if (msr - MSR_MTRR_FIXED_16K < 2)
        return &mtrr.fixed[1 + msr - MSR_MTRR_FIXED_16K];
    if (msr - MSR_MTRR_FIXED_4K < 8)
        return &mtrr.fixed[3 + msr - MSR_MTRR_FIXED_4K];
    return NULL;
}

/* Those that are fields of the state page. */
static uint64_t *state_at(struct bh_vcpu_state *state, uint32_t msr, uint32_t *group) {
    *group = BH_VCPU_SYSCALL;
    switch (msr) {
    case MSR_SYSENTER_CS:
        return &state->sysenter_cs;
    case MSR_SYSENTER_ESP:
        return &state->sysenter_esp;
    case MSR_SYSENTER_EIP:
        return &state->sysenter_eip;
    case MSR_STAR:
        return &state->star;
    case MSR_LSTAR:
        return &state->lstar;
    case MSR_CSTAR:
        return &state->cstar;
    case MSR_SFMASK:
        return &state->sfmask;
    case MSR_KERNEL_GS_BASE:
        return &state->kernel_gs_base;
    default:
        break;
    }
    *group = BH_VCPU_SEGMENTS;
    switch (msr) {
    case MSR_FS_BASE:
        return &state->segment[BH_FS].base;
    case MSR_GS_BASE:
        return &state->segment[BH_GS].base;
    default:
        break;
    }
    *group = BH_VCPU_OTHER;
    switch (msr) {
    case MSR_PAT:
        return &state->pat;
    case MSR_TSC_AUX:
        return &state->tsc_aux;
    default:
        return NULL;
    }
}

static bool is_lapic(uint32_t msr) {
    return msr == MSR_APIC_BASE || msr == MSR_TSC_DEADLINE ||
           (msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST);
}

bool msr_read(struct vcpu *vcpu, uint32_t msr, uint64_t *value) {
    if (is_lapic(msr))
        return lapic_read_msr(&vcpu->lapic, msr, value);
    uint32_t group;
    const uint64_t *field = state_at(vcpu->state, msr, &group);
    if (field) {
        vcpu_look(vcpu, group);
        *value = *field;
        return true;
    }
    field = mtrr_at(msr);
    if (field) {
        *value = *field;
        return true;
    }
    switch (msr) {
    case MSR_TSC:
        *value = clock_guest_tsc();
        return true;
    case MSR_EFER:
        *value = vcpu_look(vcpu, BH_VCPU_CONTROL)->efer & EFER_ALLOWED;
        return true;
    case MSR_MTRR_CAPABILITIES:
        *value = MTRR_CAPABILITIES;
        return true;
    case MSR_MISC_ENABLE:
        *value = MISC_ENABLE_VALUE;
        return true;
    case MSR_AMD_PATCH_LEVEL:
        *value = PATCH_LEVEL;
        return true;
    case MSR_AMD_HWCR:
        *value = HWCR_TSC_FREQ_SEL;
        return true;
    case MSR_AMD_DE_CFG:
        *value = DE_CFG_LFENCE;
        return true;
    case MSR_AMD_INT_PENDING:
    case MSR_AMD_SYSCFG:
    case MSR_PLATFORM_ID:
    case MSR_MCG_CAPABILITIES:
    case MSR_MCG_STATUS:
    case MSR_DEBUGCTL:
    case MSR_TSC_ADJUST:
        *value = 0;
        return true;
    case MSR_KVM_SYSTEM_TIME:
        *value = vcpu->clock.value | vcpu->clock_on;
        return true;
    case MSR_KVM_PV_EOI:
        *value = vcpu->eoi_msr;
        return true;
    default:
        return false;
    }
}

/* LMA is the processor's: it follows LME and paging. */
static bool write_efer(struct vcpu *vcpu, uint64_t value) {
    struct bh_vcpu_state *state = vcpu_look(vcpu, BH_VCPU_CONTROL);
    if (value & ~(uint64_t)EFER_ALLOWED)
        return false;
    if ((state->cr0 & CR0_PG) && ((value ^ state->efer) & EFER_LME))
        return false;
    state = vcpu_change(vcpu, BH_VCPU_CONTROL);
    state->efer = (value & ~(uint64_t)EFER_LMA) | (state->efer & EFER_LMA);
    return true;
}

/* Each byte names a type: 0, 1, 4, 5, 6 or 7. */
static bool pat_is_valid(uint64_t value) {
    for (unsigned i = 0; i < 64; i += 8) {
        uint8_t type = (uint8_t)(value >> i);
        if (type > 7 || type == 2 || type == 3)
            return false;
    }
    return true;
}

static bool is_canonical(uint64_t address) {
    return (uint64_t)((int64_t)(address << 16) >> 16) == address;
}

static bool field_admits(uint32_t msr, uint64_t value) {
    switch (msr) {
    case MSR_PAT:
        return pat_is_valid(value);
    case MSR_STAR:
        return true;
    case MSR_SYSENTER_CS:
    case MSR_SFMASK:
        return value >> 32 == 0;
    case MSR_TSC_AUX:
        return value >> 32 == 0 && cpuid_has_rdtscp();
    default:
        return is_canonical(value);
    }
}

void msr_state(struct state *s) {
    state_section(s, "mtrr");
    STATE(s, mtrr);
}

bool msr_write(struct vcpu *vcpu, uint32_t msr, uint64_t value) {
    if (is_lapic(msr))
        return lapic_write_msr(&vcpu->lapic, msr, value);
    uint32_t group;
    uint64_t *field = state_at(vcpu->state, msr, &group);
    if (field) {
        if (!field_admits(msr, value))
            return false;
        vcpu_change(vcpu, group);
        *field = value;
        return true;
    }
    field = mtrr_at(msr);
    if (field) {
        *field = value;
        return true;
    }
    switch (msr) {
    case MSR_EFER:
        return write_efer(vcpu, value);
    case MSR_KVM_SYSTEM_TIME:
        return clock_set_system_time(vcpu, value);
    case MSR_KVM_WALL_CLOCK:
        return clock_set_wall_clock(value);
    case MSR_KVM_PV_EOI:
        return pv_eoi_set(vcpu, value);
    case MSR_MISC_ENABLE: /* without effect */
    case MSR_AMD_PATCH_LEVEL:
    case MSR_AMD_HWCR:
    case MSR_AMD_DE_CFG:
    case MSR_MCG_STATUS:
        return true;
    case MSR_TSC_ADJUST:
    case MSR_DEBUGCTL:
        return value == 0;
    default:
        return false;
    }
}
