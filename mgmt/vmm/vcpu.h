/* One vCPU as the VMM sees it: the state page it shares with hv, which of the page's groups are
 * fresh, and its local APIC. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "abi/cap.h"
#include "abi/vcpu.h"
#include "mgmt/vmm/lapic.h"
#include "mgmt/vmm/ram.h"

/* Exceptions: SDM 3A, table 6-1. */
#define EXCEPTION_DB 1u
#define EXCEPTION_UD 6u
#define EXCEPTION_GP 13u
#define EXCEPTION_PF 14u

#define RFLAGS_CF 0x001u
#define RFLAGS_PF 0x004u
#define RFLAGS_AF 0x010u
#define RFLAGS_ZF 0x040u
#define RFLAGS_SF 0x080u
#define RFLAGS_TF 0x100u
#define RFLAGS_IF 0x200u
#define RFLAGS_DF 0x400u
#define RFLAGS_OF 0x800u
#define DR6_BS 0x4000u /* single step: SDM 3B, 17.2.3 */
#define CR0_PE 0x1u
#define CR0_PG 0x80000000u
#define CR4_PSE 0x10u
#define CR4_PAE 0x20u
#define CR4_LA57 0x1000u
#define EFER_SCE 0x1u
#define EFER_LME 0x100u
#define EFER_LMA 0x400u
#define EFER_NXE 0x800u
#define EFER_ALLOWED (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)

/* In the order of bh_vcpu_state.general. */
enum general_register { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI };

struct vcpu {
    uint32_t number;
    bh_slot slot;
    struct bh_vcpu_state *state;
    uint32_t fresh;    /* groups of the page that hold what the processor holds */
    uint32_t modified; /* groups that the next entry has to load */
    bool halted;       /* HLT: until an interrupt comes */
    bool waiting;      /* after INIT: until a startup message comes */
    bh_slot kick_slot; /* what ends its Context's WAIT or VCPU_RUN */
    bool outside;      /* its Context went out without the VMM lock; nobody has woken it: run.h */
    struct lapic lapic;
    struct gpa clock; /* its pvclock structure; see clock.h */
    bool clock_on;
    uint64_t eoi_msr;      /* see pv_eoi.h */
    volatile uint8_t *eoi; /* where in its RAM the end of an interrupt is offered; NULL: nowhere */
    bool eoi_offered;
    uint8_t
        *fpu; /* FPU_BYTES: where its Context leaves the guest's while it is saved. May be NULL */
    bool fpu_loads;  /* ... and finds the guest's that was restored */
    uint64_t *exits; /* how often, by reason: the host's to read (abi/statistics.h). May be NULL */
};

/* hv's calls; a seam, so that the native tests need no hypervisor. */
enum bh_exit vcpu_backend_run(struct vcpu *vcpu, uint32_t groups, uint64_t deadline_tsc,
                              uint64_t event_mask);
void vcpu_backend_sync(struct vcpu *vcpu, uint32_t groups);
/* Ends what the vCPU's Context is in, or else the next one of it. */
void vcpu_backend_kick(const struct vcpu *vcpu);
/* Waits on the Event of the calling Context: the bits that came. */
uint64_t vcpu_backend_wait(uint64_t mask, uint64_t deadline_tsc);

/* As after INIT, but for the TSC. */
void vcpu_reset(struct vcpu *vcpu);

/* All groups of the page, the local APIC, and fpu: what its Context put there, or will load. The
 * TSC is clock_resume's. */
void vcpu_state(struct state *s, struct vcpu *vcpu);

/* A startup message has come for one that waits for it: SDM 3A, 8.4.3. */
void vcpu_startup(struct vcpu *vcpu, uint8_t vector);

/* Before hv runs it: which groups of the page are to be loaded; and after that. */
uint32_t vcpu_before_run(struct vcpu *vcpu);
void vcpu_after_run(struct vcpu *vcpu, enum bh_exit exit);

/* The state page with these groups fresh. */
struct bh_vcpu_state *vcpu_look(struct vcpu *vcpu, uint32_t groups);
/* The same, to be changed: they will be loaded at the next entry. */
struct bh_vcpu_state *vcpu_change(struct vcpu *vcpu, uint32_t groups);

/* The instruction of this exit is done; `bytes` long, or 0 if hv knows where the next one begins.
 * The trap of a single step follows it: SDM 3B, 17.3.1.4. */
void vcpu_skip(struct vcpu *vcpu, unsigned bytes);

/* Instead of what the exit was for. An event that is not delivered yet stays: then the instruction
 * comes again afterwards. */
void vcpu_raise(struct vcpu *vcpu, unsigned vector);
void vcpu_raise_error(struct vcpu *vcpu, unsigned vector, uint32_t error_code);

unsigned vcpu_privilege(struct vcpu *vcpu); /* 0..3 */
/* Bytes of the code segment's addresses and operands: 2, 4, 8. */
unsigned vcpu_code_bytes(struct vcpu *vcpu);
