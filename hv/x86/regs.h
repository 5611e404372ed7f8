/* Registers and bits under their names in the vendors' manuals (Intel SDM; AMD APM where it says
 * so). Plain numbers, because assembly includes this too. */
#pragma once

/* Control registers: SDM 3A, 2.5. */
#define CR0_PE (1 << 0)
#define CR0_MP (1 << 1)
#define CR0_ET (1 << 4)
#define CR0_NE (1 << 5)
#define CR0_WP (1 << 16)
#define CR0_PG 0x80000000
#define CR4_PAE (1 << 5)
#define CR4_MCE (1 << 6)
#define CR4_PGE (1 << 7)
#define CR4_OSFXSR (1 << 9)
#define CR4_OSXMMEXCPT (1 << 10)
#define CR4_UMIP (1 << 11)
#define CR4_OSXSAVE (1 << 18)
#define CR4_SMEP (1 << 20)
#define CR4_SMAP (1 << 21)

/* RFLAGS: SDM 1, 3.4.3. */
#define RFLAGS_FIXED (1 << 1)
#define RFLAGS_TF (1 << 8)
#define RFLAGS_IF (1 << 9)
#define RFLAGS_DF (1 << 10)
#define RFLAGS_IOPL (3 << 12)
#define RFLAGS_NT (1 << 14)
#define RFLAGS_RF (1 << 16)
#define RFLAGS_AC (1 << 18)
#define RFLAGS_ID (1 << 21)
#define RFLAGS_ARITHMETIC 0x8d5 /* CF, PF, AF, ZF, SF, OF */

/* Debug registers: SDM 3B, 17.2: nothing enabled, reserved bit set. */
#define DR7_DISABLED 0x400
#define DR7_ENABLED 0xff /* L0, G0 to L3, G3 */
#define DR6_BS (1 << 14)

/* Page-table entries: SDM 3A, 4.5. */
#define PTE_P (1 << 0)
#define PTE_W (1 << 1)
#define PTE_U (1 << 2)
#define PTE_PWT (1 << 3)
#define PTE_PCD (1 << 4)
#define PTE_A (1 << 5)
#define PTE_D (1 << 6)
#define PTE_PS (1 << 7)
#define PTE_G (1 << 8)
#define PTE_XD (1ull << 63)
#define PTE_ADDRESS 0x000ffffffffff000ull
#define DATA_FLAGS (PTE_P | PTE_W | PTE_A | PTE_D | PTE_XD)

/* Model-specific registers: SDM 4; STAR and its kin APM 2, 6.1.1. */
#define IA32_APIC_BASE 0x1b
#define APIC_BASE_EXTD (1 << 10)
#define APIC_BASE_EN (1 << 11)
#define IA32_PRED_CMD 0x49
#define PRED_CMD_IBPB (1 << 0)
#define IA32_SYSENTER_CS 0x174
#define IA32_SYSENTER_ESP 0x175
#define IA32_SYSENTER_EIP 0x176
#define IA32_MCG_STATUS 0x17a
#define MCG_STATUS_MCIP (1 << 2)
#define IA32_PAT 0x277
#define IA32_TSC_DEADLINE 0x6e0
#define IA32_X2APIC 0x800 /* + LAPIC register offset / 16 */
#define IA32_EFER 0xc0000080
#define EFER_SCE (1 << 0)
#define EFER_LME (1 << 8)
#define EFER_LMA (1 << 10)
#define EFER_NXE (1 << 11)
#define EFER_SVME (1 << 12) /* APM 2, 3.1.7 */
#define EFER_FFXSR (1 << 14)
#define IA32_STAR 0xc0000081
#define IA32_LSTAR 0xc0000082
#define IA32_CSTAR 0xc0000083
#define IA32_FMASK 0xc0000084
#define IA32_FS_BASE 0xc0000100
#define IA32_GS_BASE 0xc0000101
#define IA32_KERNEL_GS_BASE 0xc0000102
#define IA32_TSC_AUX 0xc0000103
/* PAT as after reset: 0 WB, 1 WT, 2 UC-, 3 UC, and again. PCD|PWT selects 3. */
#define PAT_AFTER_RESET 0x0007040600070406ull

/* CPUID: SDM 2A, CPUID; APM 3, appendix E. */
#define CPUID_1_ECX_X2APIC (1 << 21)
#define CPUID_1_ECX_TSC_DEADLINE (1 << 24)
#define CPUID_1_ECX_XSAVE (1 << 26)
#define CPUID_7_EBX_SMEP (1 << 7)
#define CPUID_7_EBX_SMAP (1 << 20)
#define CPUID_7_ECX_UMIP (1 << 2)
#define CPUID_1_EDX_MCA (1 << 14)
#define CPUID_80000001_ECX_SVM (1 << 2)
#define CPUID_80000001_EDX_PAGE1GB (1 << 26)
#define CPUID_80000001_EDX_RDTSCP (1 << 27)
#define CPUID_80000008_EBX_IBPB (1 << 12)
#define CPUID_80000001_EDX_NX (1 << 20)

/* XCR0: SDM 1, 13.3. */
#define XCR0_X87 (1 << 0)
#define XCR0_SSE (1 << 1)
#define XCR0_AVX (1 << 2)
#define XCR0_AVX512 (7 << 5) /* opmask, ZMM_Hi256, Hi16_ZMM */
#define XCR0_PKRU (1 << 9)

/* Vectors: SDM 3A, 6.15. */
#define VECTOR_DB 1
#define VECTOR_NMI 2
#define VECTOR_BP 3
#define VECTOR_OF 4
#define VECTOR_DF 8
#define VECTOR_PF 14
#define VECTOR_AC 17
#define VECTOR_MC 18
/* As sets of bits. #DF, #TS, #NP, #SS, #GP, #PF, #AC, #CP; AMD: #VC, #SX (APM 2, 8.2). */
#define VECTORS_WITH_ERROR_CODE 0x60227d00
#define VECTORS_WITH_OWN_STACK (1 << VECTOR_DB | 1 << VECTOR_NMI | 1 << VECTOR_DF | 1 << VECTOR_MC)
#define VECTOR_EXTERNAL 32 /* from here on interrupts */
/* hv's own choice. */
#define VECTOR_IRQ_FIRST 32
#define VECTOR_IRQ_LAST 239
#define VECTOR_TIMER 240
#define VECTOR_SPURIOUS 255
#define VECTOR_SYSCALL 256 /* not a vector: marks a frame that SYSCALL made */
