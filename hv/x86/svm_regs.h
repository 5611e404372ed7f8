/* AMD's Secure Virtual Machine: the VMCB and its bits, under their names in APM 2, appendices B
 * (the layout) and C (exit codes), and chapter 15. */
#pragma once

#include <stdint.h>

/* CPUID leaf 8000000Ah: APM 3, E.4.9. */
#define CPUID_SVM 0x8000000a /* EBX: number of ASIDs */
#define CPUID_SVM_EDX_NP (1u << 0)
#define CPUID_SVM_EDX_NRIPS (1u << 3)
#define CPUID_SVM_EDX_TSC_RATE (1u << 4)
#define CPUID_SVM_EDX_DECODE_ASSISTS (1u << 7)

#define MSR_TSC_RATIO 0xc0000104 /* 8.32: APM 2, 15.30.5 */
#define MSR_VM_CR 0xc0010114
#define VM_CR_SVMDIS (1u << 4) /* the firmware has switched SVM off */
#define MSR_VM_HSAVE_PA 0xc0010117

struct vmcb_segment {
    uint16_t selector, attributes; /* bits 40 to 47 and 52 to 55 of the descriptor */
    uint32_t limit;
    uint64_t base;
};

struct vmcb {
    /* Control area */
    uint16_t intercept_cr_read, intercept_cr_write;
    uint16_t intercept_dr_read, intercept_dr_write;
    uint32_t intercept_exceptions;
    uint32_t intercept_1, intercept_2, intercept_3; /* vectors 3, 4, 5 */
    uint8_t reserved_018[0x40 - 0x18];
    uint64_t iopm_base, msrpm_base; /* physical */
    uint64_t tsc_offset;
    uint32_t asid;
    uint32_t tlb_control;
    uint64_t virtual_interrupt;
    uint64_t interrupt_shadow;
    uint64_t exitcode, exitinfo1, exitinfo2, exitintinfo;
    uint64_t nested; /* NP_ENABLE and others */
    uint8_t reserved_098[0xa8 - 0x98];
    uint64_t eventinj;
    uint64_t n_cr3;
    uint64_t lbr_virtualization;
    uint64_t clean; /* what has not changed since the last VMRUN: 15.15 */
    uint64_t nrip;
    uint8_t instruction_bytes; /* and the bytes themselves: decode assists, 15.8.4 */
    uint8_t instruction[15];
    uint8_t reserved_0e0[0x400 - 0xe0];
    /* State save area */
    struct vmcb_segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
    uint8_t reserved_4a0[0x4cb - 0x4a0];
    uint8_t cpl;
    uint32_t reserved_4cc;
    uint64_t efer;
    uint8_t reserved_4d8[0x548 - 0x4d8];
    uint64_t cr4, cr3, cr0, dr7, dr6, rflags, rip;
    uint8_t reserved_580[0x5d8 - 0x580];
    uint64_t rsp;
    uint8_t reserved_5e0[0x5f8 - 0x5e0];
    uint64_t rax;
    uint64_t star, lstar, cstar, sfmask, kernel_gs_base;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t cr2;
    uint8_t reserved_648[0x668 - 0x648];
    uint64_t g_pat;
    uint8_t reserved_670[0x1000 - 0x670];
};
_Static_assert(sizeof(struct vmcb) == 4096, "one page");
_Static_assert(__builtin_offsetof(struct vmcb, exitcode) == 0x70, "APM 2, table B-1");
_Static_assert(__builtin_offsetof(struct vmcb, nrip) == 0xc8, "APM 2, table B-1");
_Static_assert(__builtin_offsetof(struct vmcb, es) == 0x400, "APM 2, B.1");
_Static_assert(__builtin_offsetof(struct vmcb, cr4) == 0x548, "APM 2, table B-2");
_Static_assert(__builtin_offsetof(struct vmcb, rax) == 0x5f8, "APM 2, table B-2");
_Static_assert(__builtin_offsetof(struct vmcb, g_pat) == 0x668, "APM 2, table B-2");

/* Intercept vector 3 (intercept_1). */
#define INTERCEPT_VINTR (1u << 4)
#define INTERCEPT_CR0_SEL_WRITE (1u << 5)
#define INTERCEPT_TABLES (0xffu << 6) /* reads and writes of IDTR, GDTR, LDTR, TR */
#define INTERCEPT_RDTSC (1u << 14)
#define INTERCEPT_PUSHF (1u << 16)
#define INTERCEPT_POPF (1u << 17)
#define INTERCEPT_IRET (1u << 20)
#define INTERCEPT_INTN (1u << 21)
#define INTERCEPT_PAUSE (1u << 23)
#define INTERCEPT_INVLPG (1u << 25)
#define INTERCEPT_TASK_SWITCH (1u << 29)
#define INTERCEPT_FERR_FREEZE (1u << 30)
/* Vector 4 (intercept_2). */
#define INTERCEPT_RDTSCP (1u << 7)
#define INTERCEPT_ICEBP (1u << 8)
#define INTERCEPT_AFTER_WRITE (0x1ffffu << 15) /* of EFER, CR0 to CR15 */
/* Vector 5 (intercept_3): the rest is reserved. */
#define INTERCEPT_INVLPGB (3u << 0) /* legal, illegal */
#define INTERCEPT_MCOMMIT (1u << 3)
#define INTERCEPT_TLBSYNC (1u << 4)

/* clean: everything that hv uses: intercepts and TSC offset, IOPM and MSRPM, ASID, TPR, nested
 * paging, CRx, DRx, descriptor tables, segments, CR2. What hv changes clears all. */
#define CLEAN_ALL 0x3ff
#define CLEAN_INTERCEPTS 0x1
#define CLEAN_VIRTUAL 0x8 /* V_TPR to V_INTR_VECTOR */

/* tlb_control */
#define TLB_CONTROL_NOTHING 0
#define TLB_CONTROL_FLUSH_ALL 1

/* virtual_interrupt: 15.21 */
#define V_TPR 0xfull
#define V_IRQ (1ull << 8)
#define V_INTR_PRIO_SHIFT 16
#define V_IGN_TPR (1ull << 20)
#define V_INTR_VECTOR_SHIFT 32
#define V_INTR_MASKING (1ull << 24) /* the host's RFLAGS.IF rules over physical interrupts */

#define INTERRUPT_SHADOW 1ull
#define NP_ENABLE 1ull

/* eventinj, exitintinfo: 15.20, 15.7.2. The error code is in bits 32 to 63. */
#define EVENT_VECTOR 0xffull
#define EVENT_TYPE (7ull << 8)
#define EVENT_TYPE_NMI (2ull << 8)
#define EVENT_TYPE_EXCEPTION (3ull << 8)
#define EVENT_TYPE_SOFTWARE (4ull << 8)
#define EVENT_EV (1ull << 11)
#define EVENT_V (1ull << 31)
#define EVENT_ERROR_SHIFT 32

/* Exit codes: the lower half of the field (VMEXIT_INVALID is -1 in 64 bits, QEMU's in 32). */
#define VMEXIT_DR_READ 0x20 /* DR0; 32 codes up to the write of DR15 */
#define VMEXIT_DR_LAST 0x3f
#define VMEXIT_EXCP 0x40 /* + vector */
#define VMEXIT_INTR 0x60
#define VMEXIT_NMI 0x61
#define VMEXIT_SMI 0x62
#define VMEXIT_INIT 0x63
#define VMEXIT_VINTR 0x64
#define VMEXIT_CPUID 0x72
#define VMEXIT_IRET 0x74
#define VMEXIT_INVD 0x76
#define VMEXIT_HLT 0x78
#define VMEXIT_IOIO 0x7b
#define VMEXIT_MSR 0x7c
#define VMEXIT_SHUTDOWN 0x7f
#define VMEXIT_VMMCALL 0x81
#define VMEXIT_WBINVD 0x89
#define VMEXIT_XSETBV 0x8d
#define VMEXIT_NPF 0x400
#define VMEXIT_INVALID 0xffffffff

/* exitinfo1 of VMEXIT_IOIO (15.10.2); the port is in bits 16 to 31. exitinfo2 is the next RIP. */
#define IOIO_TYPE_IN (1u << 0)
#define IOIO_STR (1u << 2)
#define IOIO_REP (1u << 3)
#define IOIO_SIZE_SHIFT 4    /* three bits: 1, 2, 4 bytes */
#define IOIO_ADDRESS_SHIFT 7 /* three bits: 2, 4, 8 bytes */
#define IOIO_PORT_SHIFT 16

/* exitinfo1 of VMEXIT_NPF (15.25.6): a page fault's error code, and */
#define NPF_P (1ull << 0)
#define NPF_WRITE (1ull << 1)
#define NPF_FETCH (1ull << 4)
#define NPF_TABLE (1ull << 33) /* while walking the guest's page tables */
