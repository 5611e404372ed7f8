/* MSRs and CPUID leaves: all that are known, and what nobody knows. */
#include "test/guest/hvm/hostile/hostile.h"

#include "mgmt/vmm/msr.h"

static const struct range {
    uint32_t first, count;
} ranges[] = {
    {0, 0x1000},          /* Intel's, and common ones */
    {0x40000000, 0x200},  /* Hyper-V's */
    {0x4b564d00, 0x20},   /* KVM's */
    {0xc0000000, 0x1000}, /* AMD's: SYSCALL and SVM */
    {0xc0010000, 0x1000}, /* ... and its chipset's */
    {0xc0011000, 0x100},
};
enum { RANGES = sizeof(ranges) / sizeof(ranges[0]) };

/* What docs/design.md and msr.h know; everything else has to be #GP. */
static bool is_known(uint32_t msr) {
    static const struct range known[] = {
        {0x10, 1},  /* TSC */
        {0x17, 1},  /* PLATFORM_ID */
        {0x1b, 1},  /* APIC_BASE */
        {0x3b, 1},  /* TSC_ADJUST */
        {0x8b, 1},  /* patch level */
        {0xfe, 1},  /* MTRRs: 0xfe to 0x2ff */
        {0x174, 3}, /* SYSENTER */
        {0x179, 2}, /* machine check: none */
        {0x1a0, 1}, /* MISC_ENABLE */
        {0x1d9, 1}, /* DEBUGCTL */
        {0x200, 16},
        {0x250, 1},
        {0x258, 2},
        {0x268, 8},
        {0x277, 1},
        {0x2ff, 1},
        {0x6e0, 1},     /* TSC deadline */
        {0x800, 0x100}, /* x2APIC */
        {MSR_KVM_WALL_CLOCK, 2},
        {MSR_KVM_PV_EOI, 1},
        {0xc0000080, 5}, /* EFER, SYSCALL */
        {0xc0000100, 4}, /* bases, TSC_AUX */
        {0xc0010010, 1}, /* SYSCFG */
        {0xc0010015, 1}, /* HWCR */
        {0xc0010055, 1}, /* interrupt pending */
        {0xc0011029, 1}, /* DE_CFG */
    };
    for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (msr - known[i].first < known[i].count)
            return true;
    return false;
}

static void msrs_read(void) {
    uint64_t value;
    for (unsigned i = 0; i < RANGES; i++)
        for (uint32_t msr = ranges[i].first; msr < ranges[i].first + ranges[i].count; msr++) {
            uint32_t fault = attempt_rdmsr(msr, &value);
            expect(fault == EXCEPTION_GP || (fault == NO_FAULT && is_known(msr)));
        }
    for (unsigned i = 0; i < 4000; i++) {
        uint32_t msr = (uint32_t)random_next();
        expect(attempt_rdmsr(msr, &value) == EXCEPTION_GP || is_known(msr));
    }
    expect(attempt_rdmsr(MSR_EFER, &value) == NO_FAULT && !(value & 1 << 12)); /* no SVME */
}

/* Whether a write of anything there is about this guest's life. */
static bool is_spared(uint32_t msr) {
    return msr == MSR_EFER || msr == MSR_APIC_BASE || msr == MSR_X2APIC_FIRST + 0x30 ||
           msr == MSR_KVM_SYSTEM_TIME || msr == MSR_KVM_WALL_CLOCK || msr == MSR_KVM_PV_EOI;
}

static void write_some(uint32_t msr) {
    static const uint64_t values[] = {0, 1, ~0ull, 0x8000000000000000ull, 0x800000000000ull};
    for (unsigned i = 0; i < 6 && !is_spared(msr); i++) {
        uint32_t fault = attempt_wrmsr(msr, i < 5 ? values[i] : random_next());
        expect(fault == EXCEPTION_GP || (fault == NO_FAULT && is_known(msr)));
    }
}

static void msrs_written(void) {
    for (unsigned i = 0; i < RANGES; i++)
        for (uint32_t msr = ranges[i].first; msr < ranges[i].first + ranges[i].count; msr++)
            write_some(msr);
    for (unsigned i = 0; i < 1000; i++)
        write_some((uint32_t)random_next());
}

/* Registers with bits that no processor has, or that are the host's. */
static void msr_values(void) {
    uint64_t efer = rdmsr(MSR_EFER);
    for (unsigned bit = 0; bit < 64; bit++)
        if (bit != 0 && bit != 8 && bit != 10 && bit != 11)
            expect(attempt_wrmsr(MSR_EFER, efer ^ 1ull << bit) == EXCEPTION_GP);
    expect(attempt_wrmsr(MSR_EFER, efer ^ 1 << 8) == EXCEPTION_GP); /* LME, with paging */
    expect(attempt_wrmsr(MSR_APIC_BASE, ~0ull) == EXCEPTION_GP);
    expect(attempt_wrmsr(MSR_APIC_BASE, 0x12345c00) == EXCEPTION_GP);
    for (uint64_t top = ram_end(), at = top - 40; at < top + 8; at++) {
        uint32_t fault = attempt_wrmsr(MSR_KVM_SYSTEM_TIME, at | 1);
        expect(fault == ((at & ~1ull) + 32 <= top ? NO_FAULT : EXCEPTION_GP));
    }
    for (unsigned i = 0; i < 64; i++)
        attempt_wrmsr(MSR_KVM_SYSTEM_TIME, (1ull << i) | 0xfffffffff0000000ull | 1);
    expect(attempt_wrmsr(MSR_KVM_WALL_CLOCK, ram_end() - 4) == EXCEPTION_GP);
    expect(attempt_wrmsr(MSR_KVM_WALL_CLOCK, ~0ull) == EXCEPTION_GP);
    wrmsr(MSR_KVM_SYSTEM_TIME, 0);
    for (uint64_t top = ram_end(), at = top - 8; at < top + 8; at++) {
        uint32_t fault = attempt_wrmsr(MSR_KVM_PV_EOI, at);
        expect(fault == (at & 2 || (at & 1 && at >= top) ? EXCEPTION_GP : NO_FAULT));
    }
    for (unsigned i = 0; i < 64; i++)
        attempt_wrmsr(MSR_KVM_PV_EOI, (1ull << i) | 0xfffffffff0000001ull);
    wrmsr(MSR_KVM_PV_EOI, 0);
}

static uint32_t attempt_xsetbv(uint32_t index, uint64_t value) {
    register uint32_t fault __asm__("r15");
    __asm__ volatile(ATTEMPT("xsetbv")
                     : "=&r"(fault)
                     : "c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
    return fault;
}

/* XCR0 with states that the CPUID template does not name ends in #GP, not in the guest's end. */
static void xcr0(void) {
    uint64_t cr4;
    if (!(cpuid(1, 0).ecx & 1u << 26)) { /* no XSAVE: not even the instruction */
        expect(attempt_xsetbv(0, 1) == EXCEPTION_UD);
        return;
    }
    __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
    __asm__ volatile("mov %0, %%cr4" ::"r"(cr4 | 1 << 18)); /* OSXSAVE */
    uint32_t states = cpuid(0xd, 0).eax;
    for (uint32_t value = 0; value < 1024; value++) {
        bool valid = (value & 1) && !(value & ~states) && (!(value & 4) || (value & 2));
        uint32_t fault = attempt_xsetbv(0, value);
        /* QEMU 7.2 does not intercept XSETBV: there the guest has what the host's processor has. */
        expect(fault == (valid ? NO_FAULT : EXCEPTION_GP) || (value & ~states));
    }
    expect(attempt_xsetbv(0, 1ull << 62 | 3) == EXCEPTION_GP);
    expect(attempt_xsetbv(1, 1) == EXCEPTION_GP && attempt_xsetbv(~0u, 1) == EXCEPTION_GP);
    expect(attempt_xsetbv(0, 1) == NO_FAULT);
}

/* Leaves of the template "bulkhead-v1" (mgmt/vmm/cpuid.c); all others are empty. */
static bool is_leaf(uint32_t leaf) {
    return leaf <= 2 || leaf == 4 || leaf == 6 || leaf == 7 || leaf == 0xb || leaf == 0xd ||
           leaf - 0x40000000 < 2 || leaf - 0x80000000 < 9 || leaf - 0x8000001d < 2;
}

static bool is_empty(struct cpuid_result r) {
    return !(r.eax | r.ebx | r.ecx | r.edx);
}

static void cpuid_leaves(void) {
    static const uint32_t bases[] = {0, 0x40000000, 0x40000100, 0x80000000, 0x80860000, 0xc0000000};
    for (unsigned i = 0; i < 6; i++)
        for (uint32_t leaf = bases[i]; leaf < bases[i] + 0x100; leaf++)
            for (uint32_t subleaf = 0; subleaf < 8; subleaf++)
                expect(is_leaf(leaf) || is_empty(cpuid(leaf, subleaf)));
    for (unsigned i = 0; i < 4000; i++) {
        uint32_t leaf = (uint32_t)random_next();
        expect(is_leaf(leaf) || is_empty(cpuid(leaf, (uint32_t)(random_next() >> 32))));
    }
    for (uint32_t subleaf = 3; subleaf < 70; subleaf++)
        expect(is_empty(cpuid(0xd, subleaf)) && is_empty(cpuid(7, subleaf)));
    uint32_t ecx = cpuid(1, 0).ecx, edx = cpuid(1, 0).edx, amd = cpuid(0x80000001, 0).ecx;
    expect(ecx & 1u << 31);                                      /* there is a hypervisor */
    expect(!(ecx & (1u << 3 | 1u << 5)));                        /* no MONITOR, no VMX */
    expect(!(edx & (1u << 7 | 1u << 14)));                       /* no machine checks */
    expect(!(amd & (1u << 2 | 1u << 10 | 1u << 11 | 1u << 15))); /* no SVM, IBS, XOP, LWP */
    expect(cpuid(0xa, 0).eax == 0);                              /* no counters */
    expect(!(cpuid(7, 0).ebx & (1u << 2 | 1u << 25)));           /* no SGX, no trace */
}

FORM_AFTER(do_vmrun, "mov %%rdi, %%rax", ".byte 0x0f, 0x01, 0xd8")
FORM(do_vmload, ".byte 0x0f, 0x01, 0xda")
FORM(do_vmsave, ".byte 0x0f, 0x01, 0xdb")
FORM(do_stgi, ".byte 0x0f, 0x01, 0xdc")
FORM(do_clgi, ".byte 0x0f, 0x01, 0xdd")
FORM(do_skinit, ".byte 0x0f, 0x01, 0xde")
FORM(do_invlpga, ".byte 0x0f, 0x01, 0xdf")
FORM(do_vmmcall, "vmmcall")
FORM(do_vmcall, "vmcall")
FORM(do_vmxon, "vmxon (%%rdi)")
FORM(do_monitor, "monitor")
FORM(do_mwait, "mwait")
FORM(do_rsm, "rsm")
FORM(do_invd, "invd")
FORM(do_wbinvd, "wbinvd")

/* What is the host's alone does not exist; what only empties caches does nothing. */
static void instructions(void) {
    static uint32_t (*const unknown[])(uint64_t) = {
        do_vmrun,   do_vmload, do_vmsave, do_stgi,    do_clgi,  do_skinit, do_invlpga,
        do_vmmcall, do_vmcall, do_vmxon,  do_monitor, do_mwait, do_rsm};
    for (unsigned i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        uint32_t fault = unknown[i](0x2000);
        expect(fault == EXCEPTION_UD || fault == EXCEPTION_GP); /* it may look at operands first */
    }
    expect(do_invd(0) == NO_FAULT && do_wbinvd(0) == NO_FAULT);
}

/* The guest steps itself through instructions of the processor's and of the VMM's. */
static uint64_t steps[16];
static unsigned stepped;

static void on_step(struct frame *frame) {
    uint64_t dr6, none = 0;
    __asm__ volatile("mov %%dr6, %0\n\tmov %1, %%dr6" : "=r"(dr6) : "r"(none));
    expect(dr6 & 1u << 14);
    steps[stepped++ % 16] = frame->rip;
}

static void single_steps(void) {
    extern const uint8_t after_cpuid[], after_in[], after_load[], after_hlt[], after_nop[];
    on_interrupt(1, on_step);
    __asm__ volatile("pushfq\n\t"
                     "orl $0x100, (%%rsp)\n\t"
                     "popfq\n\t"
                     "cpuid\nafter_cpuid:\n\t"
                     "in $0x61, %%al\nafter_in:\n\t"
                     "mov 0xfec00000, %%eax\nafter_load:\n\t"
                     "hlt\nafter_hlt:\n\t"
                     "nop\nafter_nop:\n\t"
                     "pushfq\n\t"
                     "andl $~0x100, (%%rsp)\n\t"
                     "popfq" ::
                         : "rax", "rbx", "rcx", "rdx", "memory", "cc");
    const uint8_t *expected[] = {after_cpuid, after_in, after_load, after_hlt, after_nop};
    expect(stepped == 8); /* the last three end it */
    for (unsigned i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
        expect(steps[i] == (uint64_t)expected[i]);
}

const struct attack attacks[] = {
    {"msrs-read", msrs_read},       {"msrs-written", msrs_written},
    {"msr-values", msr_values},     {"xcr0", xcr0},
    {"cpuid-leaves", cpuid_leaves}, {"instructions", instructions},
    {"single-steps", single_steps}, {0},
};
