/* Model-specific registers by number (SDM 4; APM 2, appendix A; for 0x4b564dxx Linux's
 * Documentation/virt/kvm/x86/msr.rst), and what the VMM does when the guest reads or writes one:
 * what is not listed is refused with #GP. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define MSR_TSC 0x10u
#define MSR_PLATFORM_ID 0x17u
#define MSR_APIC_BASE 0x1bu
#define MSR_TSC_ADJUST 0x3bu
#define MSR_MTRR_CAPABILITIES 0xfeu
#define MSR_SYSENTER_CS 0x174u
#define MSR_SYSENTER_ESP 0x175u
#define MSR_SYSENTER_EIP 0x176u
#define MSR_MCG_CAPABILITIES 0x179u
#define MSR_MCG_STATUS 0x17au
#define MSR_MISC_ENABLE 0x1a0u
#define MSR_DEBUGCTL 0x1d9u
#define MSR_MTRR_VARIABLE 0x200u /* base and mask of each */
#define MSR_MTRR_FIXED_64K 0x250u
#define MSR_MTRR_FIXED_16K 0x258u
#define MSR_MTRR_FIXED_4K 0x268u
#define MSR_PAT 0x277u
#define MSR_MTRR_DEFAULT 0x2ffu
#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_X2APIC_FIRST 0x800u
#define MSR_X2APIC_LAST 0x8ffu
#define MSR_KVM_WALL_CLOCK 0x4b564d00u
#define MSR_KVM_SYSTEM_TIME 0x4b564d01u
#define MSR_KVM_PV_EOI 0x4b564d04u
#define MSR_EFER 0xc0000080u
#define MSR_STAR 0xc0000081u
#define MSR_LSTAR 0xc0000082u
#define MSR_CSTAR 0xc0000083u
#define MSR_SFMASK 0xc0000084u
#define MSR_FS_BASE 0xc0000100u
#define MSR_GS_BASE 0xc0000101u
#define MSR_KERNEL_GS_BASE 0xc0000102u
#define MSR_TSC_AUX 0xc0000103u
#define MSR_AMD_SYSCFG 0xc0010010u
#define MSR_AMD_HWCR 0xc0010015u
#define MSR_AMD_PATCH_LEVEL 0x8bu
#define MSR_AMD_INT_PENDING 0xc0010055u
#define MSR_AMD_DE_CFG 0xc0011029u

#define APIC_BASE_BOOT 0x100ull
#define APIC_BASE_X2APIC 0x400ull
#define APIC_BASE_ENABLED 0x800ull

struct state;
/* The MTRRs; all other MSRs are a vCPU's. */
void msr_state(struct state *s);

struct vcpu;
/* The instruction is not finished here. False: inject #GP. */
bool msr_read(struct vcpu *vcpu, uint32_t msr, uint64_t *value);
bool msr_write(struct vcpu *vcpu, uint32_t msr, uint64_t value);
