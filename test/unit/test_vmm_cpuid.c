/* What a guest is told by CPUID and by MSRs: nothing that is not listed here, whatever the
 * processor has. The lists are written out a second time, by names, so that a bit that slips into
 * the VMM's table is noticed. */
#include "guestlib/guest.h"
#include "mgmt/vmm/clock.h"
#include "mgmt/vmm/cpuid.h"
#include "mgmt/vmm/msr.h"
#include "unit.h"
#include "vmm_guest.h"

uint64_t guest_wall_ns(void) {
    return 1000000000;
}

/* --- CPUID --- */

#define BIT(n) (1u << (n))
enum { EAX, EBX, ECX, EDX };

/* SDM 2A, tables 3-10 and 3-11. */
#define SSE3 BIT(0)
#define PCLMULQDQ BIT(1)
#define SSSE3 BIT(9)
#define FMA BIT(12)
#define CX16 BIT(13)
#define SSE4 (BIT(19) | BIT(20))
#define X2APIC BIT(21)
#define MOVBE BIT(22)
#define POPCNT BIT(23)
#define TSC_DEADLINE BIT(24)
#define AES BIT(25)
#define XSAVE BIT(26)
#define AVX BIT(28)
#define F16C BIT(29)
#define RDRAND BIT(30)
#define HYPERVISOR BIT(31)
#define FPU_VME_DE_PSE_TSC_MSR_PAE 0x7fu
#define CX8_APIC (BIT(8) | BIT(9))
#define SEP_MTRR_PGE (BIT(11) | BIT(12) | BIT(13))
#define CMOV_PAT_PSE36 (BIT(15) | BIT(16) | BIT(17))
#define CLFSH BIT(19)
#define MMX_FXSR_SSE_SSE2 (BIT(23) | BIT(24) | BIT(25) | BIT(26))
/* SDM 2A, table 3-8, leaf 7. */
#define FSGSBASE BIT(0)
#define BMI (BIT(3) | BIT(8))
#define AVX2 BIT(5)
#define SMEP BIT(7)
#define ERMS BIT(9)
#define RDSEED_ADX_SMAP (BIT(18) | BIT(19) | BIT(20))
#define CLFLUSHOPT_CLWB (BIT(23) | BIT(24))
#define SHA BIT(29)
#define FSRM BIT(4)
/* APM 3, E.4.2. */
#define LAHF BIT(0)
#define ABM_SSE4A_MISALIGN_PREFETCHW (BIT(5) | BIT(6) | BIT(7) | BIT(8))
#define TOPOLOGY_EXTENSIONS BIT(22)
#define SYSCALL_NX_MMXEXT (BIT(11) | BIT(20) | BIT(22))
#define PAGE1GB_RDTSCP_LM (BIT(26) | BIT(27) | BIT(29))

/* All that may be other than zero; set: bits that are always there. */
static const struct allowed {
    uint32_t leaf, subleaf;
    bool any_subleaf;
    uint32_t bits[4], set[4];
} allowed[] = {
    {0x0, 0, true, {0xff, ~0u, ~0u, ~0u}, {0xd, 0, 0, 0}},
    {0x1,
     0,
     true,
     {~0u, 0xff00,
      SSE3 | PCLMULQDQ | SSSE3 | FMA | CX16 | SSE4 | X2APIC | MOVBE | POPCNT | TSC_DEADLINE | AES |
          XSAVE | AVX | F16C | RDRAND | HYPERVISOR,
      FPU_VME_DE_PSE_TSC_MSR_PAE | CX8_APIC | SEP_MTRR_PGE | CMOV_PAT_PSE36 | CLFSH |
          MMX_FXSR_SSE_SSE2},
     {0, 0, X2APIC | TSC_DEADLINE | HYPERVISOR, 0}},
    {0x2, 0, true, {~0u, ~0u, ~0u, ~0u}, {0}},
    {0x4, 0, false, {0x3fff, ~0u, ~0u, ~0u}, {0}},
    {0x4, 1, false, {0x3fff, ~0u, ~0u, ~0u}, {0}},
    {0x4, 2, false, {0x3fff, ~0u, ~0u, ~0u}, {0}},
    {0x4, 3, false, {0x3fff, ~0u, ~0u, ~0u}, {0}},
    {0x6, 0, true, {BIT(2), 0, 0, 0}, {BIT(2), 0, 0, 0}},
    {0x7,
     0,
     false,
     {0, FSGSBASE | BMI | AVX2 | SMEP | ERMS | RDSEED_ADX_SMAP | CLFLUSHOPT_CLWB | SHA, 0, FSRM},
     {0}},
    {0xd, 0, false, {0x7, 0, 0, 0}, {0}},
    {0xd, 1, false, {0x1, 0, 0, 0}, {0}},
    {0xd, 2, false, {~0u, ~0u, 0, 0}, {0}},
    {0x40000000, 0, true, {0x40000001, ~0u, ~0u, ~0u}, {0x40000001, 0, 0, 0}},
    {0x40000001, 0, true, {0x01000048, 0, 0, 0}, {0x01000048, 0, 0, 0}},
    {0x80000000, 0, true, {0x8000001e, ~0u, ~0u, ~0u}, {0x8000001e, 0, 0, 0}},
    {0x80000001,
     0,
     true,
     {~0u, 0, LAHF | ABM_SSE4A_MISALIGN_PREFETCHW | TOPOLOGY_EXTENSIONS,
      FPU_VME_DE_PSE_TSC_MSR_PAE | CX8_APIC | SYSCALL_NX_MMXEXT | BIT(12) | BIT(13) |
          CMOV_PAT_PSE36 | BIT(23) | BIT(24) | PAGE1GB_RDTSCP_LM},
     {0, 0, TOPOLOGY_EXTENSIONS, 0}},
    {0x80000002, 0, true, {~0u, ~0u, ~0u, ~0u}, {0}},
    {0x80000003, 0, true, {~0u, ~0u, ~0u, ~0u}, {0}},
    {0x80000004, 0, true, {~0u, ~0u, ~0u, ~0u}, {0}},
    {0x80000005, 0, true, {~0u, ~0u, ~0u, ~0u}, {0}},
    {0x80000006, 0, true, {~0u, ~0u, ~0u, ~0u}, {0}},
    {0x80000007, 0, true, {0, 0, 0, BIT(8)}, {0}},
    {0x80000008, 0, true, {0xffff, 0, 0, 0}, {0}},
    {0x8000001d, 0, false, {0x3fff, ~0u, ~0u, ~0u}, {0}},
    {0x8000001d, 1, false, {0x3fff, ~0u, ~0u, ~0u}, {0}},
    {0x8000001d, 2, false, {0x3fff, ~0u, ~0u, ~0u}, {0}},
    {0x8000001d, 3, false, {0x3fff, ~0u, ~0u, ~0u}, {0}},
};

static const struct allowed *find(uint32_t leaf, uint32_t subleaf) {
    for (unsigned i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
        if (allowed[i].leaf == leaf && (allowed[i].any_subleaf || allowed[i].subleaf == subleaf))
            return &allowed[i];
    return NULL;
}

static void check(uint32_t leaf, uint32_t subleaf) {
    static const struct allowed nothing;
    const struct cpuid_value ones = {~0u, ~0u, ~0u, ~0u}, zeroes = {0};
    const struct allowed *a = find(leaf, subleaf) ? find(leaf, subleaf) : &nothing;
    struct cpuid_value most = cpuid_template(leaf, subleaf, ones);
    struct cpuid_value least = cpuid_template(leaf, subleaf, zeroes);
    const uint32_t found[4] = {most.eax, most.ebx, most.ecx, most.edx};
    const uint32_t always[4] = {least.eax, least.ebx, least.ecx, least.edx};
    for (unsigned i = 0; i < 4; i++) {
        if ((found[i] & ~a->bits[i]) || (a->set[i] & ~always[i]))
            fail_msg("leaf %x.%x, register %u: %x passes, %x is allowed", leaf, subleaf, i,
                     found[i], a->bits[i]);
    }
}

/* A processor that has everything, and one that has nothing: leaves that Intel, AMD, KVM, Xen and
 * Hyper-V use, and what lies between and behind them. */
static void nothing_unlisted(void **state) {
    (void)state;
    static const uint32_t first[] = {0,          0x20000000, 0x3fffff00, 0x40000000,
                                     0x80000000, 0x8ffffff0, 0xc0000000, 0xffffff00};
    for (unsigned i = 0; i < sizeof(first) / sizeof(first[0]); i++)
        for (uint32_t leaf = first[i]; leaf - first[i] < 0x200; leaf++) {
            for (uint32_t subleaf = 0; subleaf < 70; subleaf++)
                check(leaf, subleaf);
            check(leaf, ~0u);
        }
}

static uint64_t ask(uint32_t leaf, uint32_t subleaf, unsigned reg) {
    static const unsigned general[] = {[EAX] = RAX, [EBX] = RBX, [ECX] = RCX, [EDX] = RDX};
    guest_state.general[RAX] = 0xffffffff00000000ull | leaf;
    guest_state.general[RCX] = 0xffffffff00000000ull | subleaf;
    cpuid_exit(&guest_vcpu, 4);
    return guest_state.general[general[reg]];
}

/* What depends on the guest, and not on the processor alone. */
static void the_guests_own(void **state) {
    (void)state;
    guest_reset();
    guest_vcpu.number = 3;
    assert_int_equal(ask(0x1, 0, EBX) >> 16, 3 << 8 | 4);
    assert_true(ask(0x1, 0, EDX) & BIT(28));        /* more than one processor in the package */
    assert_false(ask(0x1, 0, ECX) & BIT(27));       /* OSXSAVE follows CR4 */
    assert_false(ask(0x1, 0, ECX) & BIT(5));        /* VMX */
    assert_false(ask(0x80000001, 0, ECX) & BIT(2)); /* SVM */
    assert_int_equal(ask(0xb, 1, EDX), 3);
    assert_int_equal(ask(0xb, 1, EBX), 4);
    assert_int_equal(ask(0x8000001e, 0, EAX), 3);
    assert_int_equal(ask(0x80000008, 0, ECX), 2 << 12 | 3);
    assert_int_equal(ask(0x40000000, 0, EBX), 0x4b4d564b);
    assert_int_equal(ask(0xa, 0, EAX), 0); /* counters of events */
    if (ask(0x1, 0, ECX) & XSAVE) {
        guest_state.cr4 |= BIT(18);
        assert_true(ask(0x1, 0, ECX) & BIT(27));
        guest_state.xcr0 = 1;
        assert_int_equal(ask(0xd, 0, EBX), 576);
    }
}

/* --- MSRs --- */

struct msr_range {
    uint32_t first, last;
};

static bool is_in(const struct msr_range *list, uint32_t msr) {
    for (; list->first || list->last; list++)
        if (msr >= list->first && msr <= list->last)
            return true;
    return false;
}

static const struct msr_range readable[] = {
    {0x10, 0x10},   /* TSC */
    {0x17, 0x17},   /* platform */
    {0x1b, 0x1b},   /* APIC base */
    {0x3b, 0x3b},   /* TSC adjust */
    {0x8b, 0x8b},   /* microcode */
    {0xfe, 0xfe},   /* MTRRs */
    {0x174, 0x176}, /* SYSENTER */
    {0x179, 0x17a}, /* machine check: none */
    {0x1a0, 0x1a0}, /* MISC_ENABLE */
    {0x1d9, 0x1d9}, /* DEBUGCTL */
    {0x200, 0x20f}, /* MTRRs */
    {0x250, 0x250},
    {0x258, 0x259},
    {0x268, 0x26f},
    {0x277, 0x277}, /* PAT */
    {0x2ff, 0x2ff},
    {0x6e0, 0x6e0}, /* TSC deadline */
    {0x4b564d01, 0x4b564d01},
    {0x4b564d04, 0x4b564d04}, /* PV EOI */
    {0xc0000080, 0xc0000084}, /* EFER, SYSCALL */
    {0xc0000100, 0xc0000103}, /* FS, GS, TSC_AUX */
    {0xc0010010, 0xc0010010},
    {0xc0010015, 0xc0010015},
    {0xc0010055, 0xc0010055},
    {0xc0011029, 0xc0011029},
    {0},
};
/* Where a write of 0 is taken; the first MSR of KVM's pair can only be written. */
static const struct msr_range writable[] = {
    {0x1b, 0x1b},
    {0x3b, 0x3b},
    {0x8b, 0x8b},
    {0x174, 0x176},
    {0x17a, 0x17a},
    {0x1a0, 0x1a0},
    {0x1d9, 0x1d9},
    {0x200, 0x20f},
    {0x250, 0x250},
    {0x258, 0x259},
    {0x268, 0x26f},
    {0x277, 0x277},
    {0x2ff, 0x2ff},
    {0x6e0, 0x6e0},
    {0x4b564d00, 0x4b564d01},
    {0x4b564d04, 0x4b564d04},
    {0xc0000080, 0xc0000084},
    {0xc0000100, 0xc0000103},
    {0xc0010015, 0xc0010015},
    {0xc0011029, 0xc0011029},
    {0},
};

static void command(struct lapic *from, uint32_t destination, uint32_t value) {
    (void)from, (void)destination, (void)value;
}

static void ended(uint8_t vector) {
    (void)vector;
}

static uint64_t tsc(void) {
    return 0;
}

static void check_msr(uint32_t msr) {
    uint64_t value;
    if (msr_read(&guest_vcpu, msr, &value) && !is_in(readable, msr))
        fail_msg("MSR %x can be read", msr);
    if (msr_write(&guest_vcpu, msr, 0) && !is_in(writable, msr))
        fail_msg("MSR %x can be written", msr);
}

static void no_unlisted_msr(void **state) {
    (void)state;
    static const struct lapic_host host = {command, ended, tsc, 1000000000};
    static const struct msr_range swept[] = {{0, 0x7ff},
                                             {0x900, 0x3fff}, /* behind x2APIC's */
                                             {0x40000000, 0x400003ff},
                                             {0x4b564d00, 0x4b564dff},
                                             {0x80000000, 0x800003ff},
                                             {0xc0000000, 0xc0002fff},
                                             {0xc0010000, 0xc0012fff},
                                             {0xffffff00, 0xfffffffe}};
    guest_reset();
    lapic_reset(&guest_vcpu.lapic, &host, 0);
    clock_init(1000000000);
    for (unsigned i = 0; i < sizeof(swept) / sizeof(swept[0]); i++)
        for (uint32_t msr = swept[i].first; msr <= swept[i].last; msr++)
            check_msr(msr);
    for (uint32_t msr = 0x800; msr < 0x900; msr++)
        check_msr(msr); /* in xAPIC mode there are none */
}

/* Values that only a host may set. */
static void harmful_values(void **state) {
    (void)state;
    guest_reset();
    assert_false(msr_write(&guest_vcpu, MSR_EFER, 1u << 12)); /* SVME */
    assert_false(msr_write(&guest_vcpu, MSR_DEBUGCTL, 1));
    assert_false(msr_write(&guest_vcpu, MSR_PAT, 0x0202020202020202));
    assert_false(msr_write(&guest_vcpu, MSR_LSTAR, 1ull << 63));
    assert_false(msr_write(&guest_vcpu, MSR_KVM_SYSTEM_TIME, GUEST_RAM_BYTES | 1));
    assert_false(msr_write(&guest_vcpu, MSR_KVM_WALL_CLOCK, ~0ull));
    assert_false(msr_write(&guest_vcpu, MSR_KVM_PV_EOI, GUEST_RAM_BYTES | 1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_unlisted),
        cmocka_unit_test(the_guests_own),
        cmocka_unit_test(no_unlisted_msr),
        cmocka_unit_test(harmful_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
