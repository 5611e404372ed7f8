#include "mgmt/vmm/vcpu.h"

#define SEGMENT_LONG 0x2000u
#define SEGMENT_BIG 0x4000u
#define ALWAYS_STORED BH_VCPU_GENERAL

/* After INIT: SDM 3A, table 9-1. */
#define CR0_INITIAL 0x60000010u
#define DR6_INITIAL 0xffff0ff0u
#define DR7_INITIAL 0x400u
#define PAT_INITIAL 0x0007040600070406ull
#define RFLAGS_FIXED 0x2u
#define CS_INITIAL 0x9bu
#define DATA_INITIAL 0x93u
#define TR_INITIAL 0x8bu
#define LDTR_INITIAL 0x82u
#define RIP_INITIAL 0xfff0u

void vcpu_reset(struct vcpu *vcpu) {
    struct bh_vcpu_state *state = vcpu->state;
    struct bh_vcpu_state initial = {
        .rip = RIP_INITIAL,
        .rflags = RFLAGS_FIXED,
        .cr0 = CR0_INITIAL,
        .xcr0 = 1,
        .dr6 = DR6_INITIAL,
        .dr7 = DR7_INITIAL,
        .pat = PAT_INITIAL,
        .tsc_offset = state->tsc_offset,
        .tsc_ratio = state->tsc_ratio,
        .gdtr.limit = 0xffff,
        .idtr.limit = 0xffff,
    };
    for (unsigned i = BH_CS; i <= BH_LDTR; i++)
        initial.segment[i] =
            (struct bh_segment_register){.limit = 0xffff, .attributes = DATA_INITIAL};
    initial.segment[BH_CS].attributes = CS_INITIAL;
    initial.segment[BH_CS].selector = 0xf000;
    initial.segment[BH_CS].base = 0xffff0000;
    initial.segment[BH_TR].attributes = TR_INITIAL;
    initial.segment[BH_LDTR].attributes = LDTR_INITIAL;
    *state = initial;
    vcpu->fresh = vcpu->modified = BH_VCPU_ALL;
    vcpu->halted = false;
    vcpu->eoi_msr = 0;
    vcpu->eoi = NULL;
    vcpu->eoi_offered = false;
}

void vcpu_startup(struct vcpu *vcpu, uint8_t vector) {
    struct bh_vcpu_state *state = vcpu_change(vcpu, BH_VCPU_SEGMENTS);
    state->segment[BH_CS].selector = (uint16_t)(vector << 8);
    state->segment[BH_CS].base = (uint64_t)vector << 12;
    state->rip = 0;
    vcpu->waiting = false;
}

uint32_t vcpu_before_run(struct vcpu *vcpu) {
    uint32_t groups = vcpu->modified;
    vcpu->modified = 0;
    vcpu->fresh = ALWAYS_STORED;
    return groups;
}

void vcpu_after_run(struct vcpu *vcpu, enum bh_exit exit) {
    if (vcpu->exits && exit < BH_EXIT_COUNT)
        vcpu->exits[exit]++;
    if (exit != BH_EXIT_INVALID_STATE && vcpu->state->exit_cr8 != lapic_task_priority(&vcpu->lapic))
        lapic_set_task_priority(&vcpu->lapic, vcpu->state->exit_cr8);
}

struct bh_vcpu_state *vcpu_look(struct vcpu *vcpu, uint32_t groups) {
    uint32_t missing = groups & ~vcpu->fresh;
    if (missing) {
        vcpu_backend_sync(vcpu, missing);
        vcpu->fresh |= missing;
    }
    return vcpu->state;
}

struct bh_vcpu_state *vcpu_change(struct vcpu *vcpu, uint32_t groups) {
    vcpu_look(vcpu, groups);
    vcpu->modified |= groups;
    return vcpu->state;
}

static void raise(struct vcpu *vcpu, uint32_t event, uint32_t error_code) {
    struct bh_vcpu_state *state = vcpu->state;
    if (state->event & BH_EVENT_VALID)
        return;
    state->event = BH_EVENT_VALID | BH_EVENT_EXCEPTION | event;
    state->event_error_code = error_code;
}

void vcpu_raise(struct vcpu *vcpu, unsigned vector) {
    raise(vcpu, vector, 0);
}

void vcpu_skip(struct vcpu *vcpu, unsigned bytes) {
    struct bh_vcpu_state *state = vcpu->state;
    state->rip = bytes ? state->rip + bytes : state->next_rip;
    /* An address beyond 32 bits exists in 64-bit code only; the next fetch sees to that. */
    state->interruptibility &= ~BH_VCPU_SHADOW;
    if (state->rflags & RFLAGS_TF) {
        vcpu_change(vcpu, BH_VCPU_DEBUG)->dr6 |= DR6_BS;
        vcpu_raise(vcpu, EXCEPTION_DB);
    }
}

void vcpu_raise_error(struct vcpu *vcpu, unsigned vector, uint32_t error_code) {
    bool real_mode = !(vcpu_look(vcpu, BH_VCPU_CONTROL)->cr0 & CR0_PE);
    raise(vcpu, vector | (real_mode ? 0 : BH_EVENT_ERROR_CODE), error_code);
}

unsigned vcpu_privilege(struct vcpu *vcpu) {
    return vcpu_look(vcpu, BH_VCPU_SEGMENTS)->segment[BH_SS].attributes >> 5 & 3;
}

unsigned vcpu_code_bytes(struct vcpu *vcpu) {
    const struct bh_vcpu_state *state = vcpu_look(vcpu, BH_VCPU_SEGMENTS | BH_VCPU_CONTROL);
    uint32_t attributes = state->segment[BH_CS].attributes;
    if ((state->efer & EFER_LMA) && (attributes & SEGMENT_LONG))
        return 8;
    return attributes & SEGMENT_BIG ? 4 : 2;
}
