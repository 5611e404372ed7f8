#include "mgmt/vmm/cpuid.h"

#include <stddef.h>

#include "guestlib/random.h"

/* Leaves: SDM 2A, CPUID; APM 3, appendix E; 0x40000000 Linux's
 * Documentation/virt/kvm/x86/cpuid.rst.
 */
#define LEAF_FEATURES 0x1u
#define LEAF_CACHES 0x4u
#define LEAF_POWER 0x6u
#define LEAF_STRUCTURED 0x7u
#define LEAF_TOPOLOGY 0xbu
#define LEAF_XSAVE 0xdu
#define LEAF_HYPERVISOR 0x40000000u
#define LEAF_KVM 0x40000001u
#define LEAF_EXTENDED_MAX 0x80000000u
#define LEAF_EXTENDED 0x80000001u
#define LEAF_SIZES 0x80000008u
#define LEAF_AMD_CACHES 0x8000001du
#define LEAF_AMD_TOPOLOGY 0x8000001eu
#define ANY ~0u

/* ECX of leaf 1: SSE3 PCLMULQDQ SSSE3 FMA CX16 SSE4.1 SSE4.2 MOVBE POPCNT AES XSAVE AVX F16C RDRAND
 */
#define F1_ECX 0x76d83203u
#define F1_ECX_SET 0x81200000u /* x2APIC, TSC deadline, hypervisor: the VMM's own */
#define F1_ECX_OSXSAVE 0x08000000u
/* EDX of leaf 1: FPU VME DE PSE TSC MSR PAE CX8 APIC SEP MTRR PGE CMOV PAT PSE36 CLFSH MMX FXSR SSE
 * SSE2; no MCE and MCA: the machine's errors are the host's */
#define F1_EDX 0x078bbb7fu
#define F1_EDX_HTT 0x10000000u
/* EBX of leaf 7: FSGSBASE BMI1 AVX2 SMEP BMI2 ERMS RDSEED ADX SMAP CLFLUSHOPT CLWB SHA */
#define F7_EBX 0x219c03a9u
/* EDX of leaf 7: FSRM */
#define F7_EDX 0x00000010u
/* ECX of leaf 80000001: LAHF ABM SSE4A MISALIGNSSE PREFETCHW */
#define FE1_ECX 0x000001e1u
#define FE1_ECX_SET 0x00400000u /* leaves 8000001D and 8000001E */
#define FE1_ECX_CMP_LEGACY 0x00000002u
/* EDX: SYSCALL NX MMXEXT 1-GiB pages RDTSCP LM, and AMD's repetition of leaf 1 */
#define FE1_EDX 0x2dd3bb7fu
#define FE1_EDX_RDTSCP 0x08000000u
#define FE7_EDX 0x00000100u /* the TSC's rate is constant */

#define XCR0_X87 0x1u
#define XCR0_SSE 0x2u
#define XCR0_AVX 0x4u
#define XSAVE_STATES 0x7u /* all of them */
#define XSAVE_BYTES_LEGACY 576u
#define XSAVE_BYTES_AVX 832u
#define XSAVE_OPT 0x1u

#define POWER_ARAT 0x4u          /* the APIC timer never stops */
#define KVM_FEATURES 0x01000048u /* CLOCKSOURCE2, PV_EOI, CLOCKSOURCE_STABLE */
#define CR4_OSXSAVE 0x40000u

static const struct leaf {
    uint32_t leaf, subleaf;
    struct cpuid_value pass, set;
} template[] = {
    {0x0, 0, {0, ANY, ANY, ANY}, {LEAF_XSAVE, 0, 0, 0}},
    {LEAF_FEATURES, 0, {ANY, 0xff00, F1_ECX, F1_EDX}, {0, 0, F1_ECX_SET, 0}},
    {0x2, 0, {ANY, ANY, ANY, ANY}, {0}},
    /* Caches; the counts of processors that share them (bits 14 and up of EAX) are cpuid_exit's. */
    {LEAF_CACHES, 0, {0x3fff, ANY, ANY, ANY}, {0}},
    {LEAF_CACHES, 1, {0x3fff, ANY, ANY, ANY}, {0}},
    {LEAF_CACHES, 2, {0x3fff, ANY, ANY, ANY}, {0}},
    {LEAF_CACHES, 3, {0x3fff, ANY, ANY, ANY}, {0}},
    {LEAF_POWER, 0, {0}, {POWER_ARAT, 0, 0, 0}},
    {LEAF_STRUCTURED, 0, {0, F7_EBX, 0, F7_EDX}, {0}},
    {LEAF_XSAVE, 0, {XSAVE_STATES, 0, 0, 0}, {0}},
    {LEAF_XSAVE, 1, {XSAVE_OPT, 0, 0, 0}, {0}},
    {LEAF_XSAVE, 2, {ANY, ANY, 0, 0}, {0}},
    {LEAF_HYPERVISOR, 0, {0}, {LEAF_KVM, 0x4b4d564b, 0x564b4d56, 0x4d}}, /* "KVMKVMKVM" */
    {LEAF_KVM, 0, {0}, {KVM_FEATURES, 0, 0, 0}},
    {LEAF_EXTENDED_MAX, 0, {0, ANY, ANY, ANY}, {LEAF_AMD_TOPOLOGY, 0, 0, 0}},
    {LEAF_EXTENDED, 0, {ANY, 0, FE1_ECX, FE1_EDX}, {0, 0, FE1_ECX_SET, 0}},
    {0x80000002, 0, {ANY, ANY, ANY, ANY}, {0}}, /* the processor's name */
    {0x80000003, 0, {ANY, ANY, ANY, ANY}, {0}},
    {0x80000004, 0, {ANY, ANY, ANY, ANY}, {0}},
    {0x80000005, 0, {ANY, ANY, ANY, ANY}, {0}}, /* caches and TLBs */
    {0x80000006, 0, {ANY, ANY, ANY, ANY}, {0}},
    {0x80000007, 0, {0, 0, 0, FE7_EDX}, {0}},
    {LEAF_SIZES, 0, {0xffff, 0, 0, 0}, {0}},
    {LEAF_AMD_CACHES, 0, {0x3fff, ANY, ANY, ANY}, {0}},
    {LEAF_AMD_CACHES, 1, {0x3fff, ANY, ANY, ANY}, {0}},
    {LEAF_AMD_CACHES, 2, {0x3fff, ANY, ANY, ANY}, {0}},
    {LEAF_AMD_CACHES, 3, {0x3fff, ANY, ANY, ANY}, {0}},
};

/* Leaves whose ECX counts. */
static bool has_subleaves(uint32_t leaf) {
    return leaf == LEAF_CACHES || leaf == LEAF_STRUCTURED || leaf == LEAF_XSAVE ||
           leaf == LEAF_AMD_CACHES;
}

struct cpuid_value cpuid_template(uint32_t leaf, uint32_t subleaf, struct cpuid_value host) {
    for (unsigned i = 0; i < sizeof(template) / sizeof(template[0]); i++) {
        const struct leaf *t = &template[i];
        if (t->leaf != leaf || (has_subleaves(leaf) && t->subleaf != subleaf))
            continue;
        return (struct cpuid_value){
            (host.eax & t->pass.eax) | t->set.eax,
            (host.ebx & t->pass.ebx) | t->set.ebx,
            (host.ecx & t->pass.ecx) | t->set.ecx,
            (host.edx & t->pass.edx) | t->set.edx,
        };
    }
    return (struct cpuid_value){0};
}

static struct cpuid_value execute(uint32_t leaf, uint32_t subleaf) {
    struct cpuid_value v;
    __asm__("cpuid" : "=a"(v.eax), "=b"(v.ebx), "=c"(v.ecx), "=d"(v.edx) : "a"(leaf), "c"(subleaf));
    return v;
}

/* Beyond its last leaf a processor may answer with another leaf's data (SDM 2A, CPUID). */
static struct cpuid_value ask_processor(uint32_t leaf, uint32_t subleaf) {
    uint32_t last = execute(leaf & LEAF_EXTENDED_MAX, 0).eax;
    return leaf <= last ? execute(leaf, subleaf) : (struct cpuid_value){0};
}

/* SDM 1, 13.3: x87 always, AVX not without SSE. */
bool cpuid_admits_xcr0(uint64_t value) {
    uint64_t exist = cpuid_template(LEAF_XSAVE, 0, ask_processor(LEAF_XSAVE, 0)).eax;
    return !(value & ~(exist | XCR0_X87)) && (value & XCR0_X87) &&
           (!(value & XCR0_AVX) || (value & XCR0_SSE));
}

uint64_t cpuid_hash(void) {
    uint64_t key[2] = {0};
    for (unsigned i = 0; i < sizeof(template) / sizeof(template[0]); i++) {
        const struct leaf *t = &template[i];
        struct cpuid_value v =
            cpuid_template(t->leaf, t->subleaf, ask_processor(t->leaf, t->subleaf));
        key[0] = siphash(key, &v, sizeof(v));
    }
    return key[0];
}

bool cpuid_has_rdtscp(void) {
    return cpuid_template(LEAF_EXTENDED, 0, ask_processor(LEAF_EXTENDED, 0)).edx & FE1_EDX_RDTSCP;
}

/* Bits of an APIC identifier that tell vCPUs of one package apart. */
static unsigned package_bits(uint32_t vcpus) {
    return vcpus > 1 ? 32u - (unsigned)__builtin_clz(vcpus - 1) : 0;
}

/* One package of `vcpus` cores with one thread each. */
static struct cpuid_value topology(const struct vcpu *vcpu, uint32_t subleaf, uint32_t vcpus) {
    enum { THREAD = 1, CORE = 2 };
    if (subleaf == 0)
        return (struct cpuid_value){0, 1, THREAD << 8, vcpu->number};
    if (subleaf == 1)
        return (struct cpuid_value){package_bits(vcpus), vcpus, CORE << 8 | 1, vcpu->number};
    return (struct cpuid_value){0, 0, subleaf & 0xff, vcpu->number};
}

/* EAX of leaves 4 and 8000001D: who shares a cache; the last level is everybody's. */
static uint32_t cache_sharing(uint32_t eax, uint32_t sharers) {
    enum { TYPE = 0x1f, LAST_LEVEL = 3 };
    return (eax & TYPE) && (eax >> 5 & 7) == LAST_LEVEL ? (sharers - 1) << 14 : 0;
}

static void add_own(struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf, uint32_t vcpus,
                    struct cpuid_value *v) {
    switch (leaf) {
    case LEAF_FEATURES:
        v->ebx |= vcpu->number << 24 | vcpus << 16;
        v->edx |= vcpus > 1 ? F1_EDX_HTT : 0;
        if (v->ecx & 0x04000000u) /* XSAVE */
            v->ecx |= vcpu_look(vcpu, BH_VCPU_CONTROL)->cr4 & CR4_OSXSAVE ? F1_ECX_OSXSAVE : 0;
        break;
    case LEAF_CACHES:
        if (v->eax & 0x1f)
            v->eax |= cache_sharing(v->eax, 1u << package_bits(vcpus)) |
                      ((1u << package_bits(vcpus)) - 1) << 26;
        break;
    case LEAF_AMD_CACHES:
        v->eax |= cache_sharing(v->eax, vcpus);
        break;
    case LEAF_AMD_TOPOLOGY: /* a core of one thread; one node */
        *v = (struct cpuid_value){vcpu->number, vcpu->number & 0xff, 0, 0};
        break;
    case LEAF_EXTENDED:
        v->ecx |= vcpus > 1 ? FE1_ECX_CMP_LEGACY : 0;
        break;
    case LEAF_TOPOLOGY:
        *v = topology(vcpu, subleaf, vcpus);
        break;
    case LEAF_XSAVE:
        if (subleaf == 0) {
            uint64_t now = vcpu_look(vcpu, BH_VCPU_CONTROL)->xcr0;
            v->ebx = now & XCR0_AVX ? XSAVE_BYTES_AVX : XSAVE_BYTES_LEGACY;
            v->ecx = v->eax & XCR0_AVX ? XSAVE_BYTES_AVX : XSAVE_BYTES_LEGACY;
        }
        break;
    case LEAF_SIZES:
        v->ecx |= package_bits(vcpus) << 12 | (vcpus - 1);
        break;
    default:
        break;
    }
}

void cpuid_exit(struct vcpu *vcpu, uint32_t vcpus) {
    uint64_t *general = vcpu->state->general;
    uint32_t leaf = (uint32_t)general[RAX], subleaf = (uint32_t)general[RCX];
    struct cpuid_value v = cpuid_template(leaf, subleaf, ask_processor(leaf, subleaf));
    add_own(vcpu, leaf, subleaf, vcpus, &v);
    general[RAX] = v.eax;
    general[RBX] = v.ebx;
    general[RCX] = v.ecx;
    general[RDX] = v.edx;
}
