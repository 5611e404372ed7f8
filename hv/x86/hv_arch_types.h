/* What of the core's objects is x86's own. entry.S knows offsets in here: layout.h. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "hv/core/types.h"

struct cpu;
struct context;

/* Ring-3 registers. The upper part is what an interrupt pushes (SDM 3A, 6.14.2): TSS.RSP0 of the
 * processor that runs the Context points behind `ss`, so they are saved right here. */
struct arch_context {
    uint64_t r15, r14, r13, r12, rbp, rbx;
    uint64_t r11, rcx;
    uint64_t argument[6]; /* RDI, RSI, RDX, R10 (SYSCALL overwrites RCX), R8, R9 */
    uint64_t rax;
    uint64_t vector; /* why hv was entered. VECTOR_SYSCALL: left by SYSRET, else by IRET */
    uint64_t error;
    uint64_t rip, cs, rflags, rsp, ss;
    uint64_t fs_base, gs_base; /* loaded when the Context is switched to */
};

struct arch_space {
    struct pa root; /* the PML4 table */
    bool stale;     /* unmapped or told of since the last flush, and a TLB may know it still */
    uint64_t flush; /* of a guest Space: number of its last flush, different for each Space */
};

struct arch_irq {
    uint8_t vector;
    bool level; /* a pin that stays raised: masked from delivery to acknowledgement */
    bool msi;
    uint32_t gsi; /* of a pin */
};

enum nmi_state {
    NMI_OPEN,
    NMI_BLOCKED,  /* one was injected; IRET is intercepted */
    NMI_RETURNING /* IRET is being executed, by itself */
};

struct arch_vcpu {
    uint64_t flush;      /* the Space's when it was last entered */
    uint64_t asid_round; /* the processor's when it got its ASID; 0: it has none */
    uint64_t xcr0, tsc_ratio, dr[4];
    uint64_t tsc_aux, xss; /* 32 bits; always 0 */
    bool wants_debug;      /* it uses the debug registers: they are loaded at the next entry */
    bool wants_nmi;        /* BH_VCPU_WANT_NMI */
    bool undecided;        /* its event was for a guest with interrupts on */
    enum nmi_state nmi;
    uint64_t return_rip; /* NMI_RETURNING: of the IRET */
    uint64_t return_bs;  /* DR6.BS before it, the guest's */
};

/* What a processor holds of guests. */
struct guest_cpu {
    struct vcpu *last;                /* entered last, or NULL */
    uint64_t asid_round, asids_taken; /* ASIDs of a round are handed out once */
    uint64_t tsc_ratio;               /* in the processor */
    uint64_t tsc_aux;                 /* in the processor; ring 3 can read it */
};

/* Task state segment: SDM 3A, 7.7. */
struct tss {
    uint32_t reserved0;
    uint64_t rsp0;
    uint64_t rsp1, rsp2;
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3;
    uint16_t io_map_base;
} __attribute__((packed));

/* Per processor, found through GS in ring 0. */
struct arch_cpu {
    struct cpu *self;
    uint64_t scratch;       /* the one register that SYSCALL's entry needs */
    uint64_t stack_top;     /* where every visit to hv starts */
    struct context *loaded; /* whose FPU state and bases are in the processor, or NULL */
    struct pa root;         /* in CR3 */
    uint64_t idle_since;    /* TSC */
    uint64_t gdt[7];
    _Alignas(128) struct tss tss; /* within one page */
    struct guest_cpu guest;
};
