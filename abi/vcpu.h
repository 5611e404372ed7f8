/* Vcpus: guest-mode state, vendor-neutral. Version 1. Append only.
 *
 * A Vcpu runs on the Context that calls BH_HC_VCPU_RUN, in a guest-physical Space (BH_SPACE_GUEST),
 * and shares one page of state with the VMM (a Region of shared memory, bound by
 * BH_BIND_VCPU_STATE). The page is the VMM's to read and write at any time; hv reads each field at
 * most once per entry and checks only what can hurt the host.
 *
 * Groups. On entry hv loads the groups named in the call's `groups` from the page, besides GENERAL
 * and EVENT, which live in the page. On exit it stores GENERAL, EXIT and EVENT; the rest is stored
 * by BH_HC_VCPU_SYNC. After creation and after BH_EXIT_INVALID_STATE all groups are zero, which no
 * processor accepts: the VMM names BH_VCPU_ALL at the next entry. During the run hv may keep the
 * general registers in the page: it is not to be written then.
 *
 * The guest's FPU, SSE and AVX state is live in the VMM's Context while it runs: a VMM is built
 * without them. */
#pragma once

#include <stdint.h>

#define BH_VCPU_VERSION 1u

/* Groups of the state page. */
#define BH_VCPU_GENERAL 0x001u  /* general registers, RIP, RFLAGS; always exchanged */
#define BH_VCPU_SEGMENTS 0x002u /* cs ss ds es fs gs tr ldtr */
#define BH_VCPU_TABLES 0x004u   /* gdtr idtr */
#define BH_VCPU_CONTROL 0x008u  /* cr0 cr2 cr3 cr4 cr8 efer xcr0; EFER and XCR0 a subset of hv's */
#define BH_VCPU_DEBUG 0x010u    /* dr0..dr3 dr6 dr7 */
#define BH_VCPU_SYSCALL 0x020u  /* star lstar cstar sfmask kernel_gs_base sysenter_* */
#define BH_VCPU_OTHER 0x040u    /* pat, tsc_aux, xss (0) */
#define BH_VCPU_TSC 0x080u      /* tsc_offset, tsc_ratio */
#define BH_VCPU_PDPTE                                                                              \
    0x100u /* pdpte[] (32-bit PAE paging); SVM reads them from memory: not used                    \
            */
#define BH_VCPU_ALL 0x1ffu

/* Segment attributes in the form of SDM 3C, table 25-2: type 0..3, S 4, DPL 5..6, P 7, AVL 12, L
 * 13, D/B 14, G 15, unusable 16. */
#define BH_SEGMENT_UNUSABLE 0x10000u
struct bh_segment_register {
    uint64_t base;
    uint32_t limit; /* in bytes, whatever G says */
    uint32_t attributes;
    uint16_t selector;
    uint16_t reserved[3];
};

/* One field for what is to be injected (entry) and what was not delivered when the exit came (exit;
 * left there, it is injected by the next entry). hv re-injects by itself when it resumes the guest
 * itself. A software interrupt or exception (INT n, INT3, INTO) is never reported and cannot be
 * injected: RIP is still at the instruction, which is executed again. */
#define BH_EVENT_VALID 0x80000000u
#define BH_EVENT_ERROR_CODE 0x00000800u /* error_code counts */
#define BH_EVENT_EXTERNAL 0x000u        /* type, bits 8..10: SDM 3C, 25.8.3 */
#define BH_EVENT_NMI 0x200u
#define BH_EVENT_EXCEPTION 0x300u
#define BH_EVENT_TYPE 0x700u
#define BH_EVENT_VECTOR 0x0ffu

/* Interruptibility. */
#define BH_VCPU_SHADOW                                                                             \
    0x1u /* after STI or MOV SS: no interrupt before the next instruction is done */
#define BH_VCPU_NMI_BLOCKED 0x2u /* from an NMI's injection until IRET */

/* Why BH_HC_VCPU_RUN returned. qualification: what it says beside each. Where * stands the VMM does
 * the instruction's work, then sets rip = next_rip and clears BH_VCPU_SHADOW. next_rip is 0 where
 * the processor does not tell it (SVM without NRIP save, but for BH_EXIT_PORT): the VMM finds the
 * instruction's length. */
enum bh_exit {
    BH_EXIT_NONE = 0,      /* an admitted bit is pending, the deadline passed, or no cause at all */
    BH_EXIT_PORT = 1,      /* * qualification: bh_exit_port */
    BH_EXIT_MEMORY = 2,    /* nested page fault: address = GPA; qualification: BH_EXIT_MEMORY_* */
    BH_EXIT_CPUID = 3,     /* * */
    BH_EXIT_MSR_READ = 4,  /* * index in RCX */
    BH_EXIT_MSR_WRITE = 5, /* * */
    BH_EXIT_HLT = 6,       /* * */
    BH_EXIT_INTERRUPT_WINDOW = 7, /* what BH_VCPU_WANT_INTERRUPT asked for is open */
    BH_EXIT_NMI_WINDOW = 8,
    BH_EXIT_SHUTDOWN = 9, /* triple fault */
    BH_EXIT_INVALID_STATE =
        10, /* the processor refused the state (qualification 0), or hv a group (its bit; GENERAL:
               the event). GENERAL and EVENT are as the VMM wrote them */
    BH_EXIT_HYPERCALL = 11, /* * VMMCALL, VMCALL */
    BH_EXIT_EXCEPTION = 12, /* #AC, #DB: `event` holds it; left there, the guest gets it */
    BH_EXIT_CONTROL_REGISTER =
        13,              /* reserved: CR8 is the guest's own, see exit_cr8 and window_priority */
    BH_EXIT_XSETBV = 14, /* * */
    BH_EXIT_WBINVD = 15, /* * */
    BH_EXIT_INSTRUCTION = 16, /* another intercepted instruction: inject #UD */
    BH_EXIT_INIT = 17,        /* reserved */
    BH_EXIT_COUNT = 18
};

/* BH_EXIT_PORT: port in bits 0..15. */
#define BH_EXIT_PORT_IN 0x010000u
#define BH_EXIT_PORT_STRING 0x020000u
#define BH_EXIT_PORT_REP 0x040000u
#define BH_EXIT_PORT_WIDTH(q) ((q) >> 24 & 7u)         /* bytes: 1, 2, 4 */
#define BH_EXIT_PORT_ADDRESS_SIZE(q) ((q) >> 28 & 15u) /* bytes: 2, 4, 8 */

/* BH_EXIT_MEMORY */
#define BH_EXIT_MEMORY_WRITE 0x1u
#define BH_EXIT_MEMORY_FETCH 0x2u
#define BH_EXIT_MEMORY_PRESENT 0x4u /* mapped, but not for this access */
#define BH_EXIT_MEMORY_TABLE 0x8u   /* while walking the guest's page tables */
#define BH_EXIT_MEMORY_DELIVERY                                                                    \
    0x10u /* not by the instruction at RIP but while an event was delivered; an event that only    \
             waits to be injected does not count */

/* want: what the VMM waits for. */
#define BH_VCPU_WANT_INTERRUPT 0x1u /* exit when it can take an interrupt: window_priority */
#define BH_VCPU_WANT_NMI 0x2u       /* exit when NMIs are not blocked */

/* The page. Sizes and offsets are pinned below. */
struct bh_vcpu_state {
    /* GENERAL. In the processor's numbering: rax rcx rdx rbx rsp rbp rsi rdi r8..r15. */
    uint64_t general[16];
    uint64_t rip;
    uint64_t rflags;
    /* EXIT, written by hv. */
    uint32_t exit;     /* enum bh_exit, as returned by the call */
    uint32_t exit_cr8; /* CR8: the task's priority */
    uint64_t qualification;
    uint64_t address;        /* GPA */
    uint64_t next_rip;       /* 0 where hv does not know it */
    uint64_t exit_rflags_if; /* 1: RFLAGS.IF set and no shadow: an interrupt could be injected */
    uint8_t instruction[16]; /* bytes at RIP where the processor gives them (decode assists) */
    uint32_t instruction_bytes;
    uint32_t instruction_reserved;
    /* EVENT, both ways. */
    uint32_t event;
    uint32_t event_error_code;
    uint32_t event_reserved;
    uint32_t interruptibility; /* BH_VCPU_SHADOW, BH_VCPU_NMI_BLOCKED */
    uint32_t want;
    uint32_t window_priority; /* of the interrupt (vector >> 4): it waits for CR8 to be below, too;
                                 0: CR8 does not count */
    /* CONTROL */
    uint64_t cr0, cr2, cr3, cr4, cr8, efer, xcr0;
    /* DEBUG */
    uint64_t dr[4], dr6, dr7;
    /* SYSCALL */
    uint64_t star, lstar, cstar, sfmask, kernel_gs_base;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    /* OTHER */
    uint64_t pat, tsc_aux, xss;
    /* TSC: guest TSC = (host TSC * tsc_ratio >> 32) + tsc_offset. tsc_ratio: 32.32, 1 << 32 where
     * the processor cannot scale. */
    uint64_t tsc_offset, tsc_ratio;
    /* PDPTE */
    uint64_t pdpte[4];
    /* SEGMENTS: cs ss ds es fs gs tr ldtr; TABLES: base and limit alone count. */
    struct bh_segment_register segment[8];
    struct bh_segment_register gdtr, idtr;
};
enum bh_segment_index { BH_CS, BH_SS, BH_DS, BH_ES, BH_FS, BH_GS, BH_TR, BH_LDTR };

_Static_assert(sizeof(struct bh_segment_register) == 24, "layout");
_Static_assert(sizeof(struct bh_vcpu_state) <= 1024, "one page with room to grow");
