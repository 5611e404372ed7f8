/* One processor's tables and registers, from a known state: nothing of what the firmware left in
 * control registers stays. */
#include "hv/x86/x86.h"

struct cpu boot_cpu;
struct features features;
_Alignas(PAGE_BYTES) struct stack stacks[STACKS];

_Static_assert(offsetof(struct cpu, arch.self) == CPU_SELF, "layout.h");
_Static_assert(offsetof(struct cpu, arch.scratch) == CPU_SCRATCH, "layout.h");
_Static_assert(offsetof(struct cpu, arch.stack_top) == CPU_STACK_TOP, "layout.h");
_Static_assert(offsetof(struct cpu, arch.tss.rsp0) == CPU_FRAME_END, "layout.h");
_Static_assert(offsetof(struct cpu, current) == CPU_CURRENT, "layout.h");
_Static_assert(offsetof(struct cpu, reschedule) == CPU_RESCHEDULE, "layout.h");
_Static_assert(offsetof(struct cpu, enter_guest) == CPU_RESCHEDULE + 1, "layout.h");
_Static_assert(offsetof(struct cpu, counter[BH_COUNTER_RING_SWITCHES]) == CPU_RING_SWITCHES,
               "layout.h");

/* Segment descriptors by selector, all flat: SDM 3A, 3.4.5; for the TSS 7.2.3. */
enum { GDT_TSS = SELECTOR_TSS / 8 };
static const uint64_t segments[GDT_TSS] = {
    [SELECTOR_KERNEL_CODE / 8] = 0x00209b0000000000,
    [SELECTOR_KERNEL_DATA / 8] = 0x0000930000000000,
    [SELECTOR_USER_DATA / 8] = 0x0000f30000000000,
    [SELECTOR_USER_CODE / 8] = 0x0020fb0000000000,
};
#define DESCRIPTOR_TSS 0x0000890000000000ull

/* Gates: SDM 3A, 6.14.1: the handler's address in three parts, selector, IST, type. */
#define GATE_INTERRUPT 0x8e00ull        /* present, ring 0 only: INT n from ring 3 is a #GP */
#define GATE_INTERRUPT_RING_3 0xee00ull /* INT3 is a breakpoint in ring 3 too */

static uint64_t idt[256][2];

struct table_register { /* operand of LGDT and LIDT */
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

static uint64_t stack_top(unsigned stack) {
    return (uint64_t)(&stacks[stack] + 1);
}

static void set_gate(unsigned vector, uint64_t ist, uint64_t type) {
    uint64_t stub = (uint64_t)vector_stubs[vector];
    idt[vector][0] = (stub & 0xffff) | SELECTOR_KERNEL_CODE << 16 | (ist | type) << 32 |
                     (stub >> 16 & 0xffff) << 48;
    idt[vector][1] = stub >> 32;
}

static void load_gdt(struct arch_cpu *arch) {
    uint64_t tss = (uint64_t)&arch->tss;
    __builtin_memcpy(arch->gdt, segments, sizeof(segments));
    arch->gdt[GDT_TSS] = DESCRIPTOR_TSS | (sizeof(arch->tss) - 1) | (tss & 0xffffff) << 16 |
                         (tss >> 24 & 0xff) << 56;
    arch->gdt[GDT_TSS + 1] = tss >> 32;
    struct table_register gdtr = {sizeof(arch->gdt) - 1, (uint64_t)arch->gdt};
    __asm__ volatile("lgdt %0\n\t"
                     "pushq %1\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "pushq %%rax\n\t"
                     "lretq\n"
                     "1:\n\t"
                     "mov %2, %%ss\n\t"
                     "mov %3, %%ds\n\t"
                     "mov %3, %%es\n\t"
                     "mov %3, %%fs\n\t"
                     "mov %3, %%gs\n\t"
                     "ltr %w4" ::"m"(gdtr),
                     "i"(SELECTOR_KERNEL_CODE), "r"(SELECTOR_KERNEL_DATA), "r"(0), "r"(SELECTOR_TSS)
                     : "rax", "memory");
}

void cpu_traps_init(struct cpu *cpu) {
    static const uint8_t own[STACKS] = {0, VECTOR_NMI, VECTOR_DF, VECTOR_MC, VECTOR_DB};
    struct arch_cpu *arch = &cpu->arch;
    arch->self = cpu;
    arch->stack_top = stack_top(STACK_MAIN);
    arch->tss.io_map_base = sizeof(arch->tss); /* no bitmap: ring 3 has no ports */
    load_gdt(arch);
    wrmsr(IA32_GS_BASE, (uint64_t)cpu);

    for (unsigned vector = 0; vector < 256; vector++)
        set_gate(vector, 0, vector == VECTOR_BP ? GATE_INTERRUPT_RING_3 : GATE_INTERRUPT);
    for (unsigned i = STACK_NMI; i < STACKS; i++) { /* by the numbers of the stacks */
        arch->tss.ist[i - 1] = stack_top(i);
        set_gate(own[i], i, GATE_INTERRUPT);
    }
    struct table_register idtr = {sizeof(idt) - 1, (uint64_t)idt};
    __asm__ volatile("lidt %0" ::"m"(idtr));
}

static void find_features(void) {
    uint32_t leaves = cpuid(0, 0).eax;
    struct cpuid one = cpuid(1, 0);
    struct cpuid seven = leaves >= 7 ? cpuid(7, 0) : (struct cpuid){0};
    features.x2apic = one.ecx & CPUID_1_ECX_X2APIC;
    features.tsc_deadline = one.ecx & CPUID_1_ECX_TSC_DEADLINE;
    features.xsave = one.ecx & CPUID_1_ECX_XSAVE;
    features.smep = seven.ebx & CPUID_7_EBX_SMEP;
    features.smap = seven.ebx & CPUID_7_EBX_SMAP;
    features.umip = seven.ecx & CPUID_7_ECX_UMIP;
    features.large_1gib = cpuid(0x80000001, 0).edx & CPUID_80000001_EDX_PAGE1GB;
    uint32_t widths = 48u << 8 | 36; /* without the leaf: SDM 3A, 4.1.4 */
    if (cpuid(0x80000000, 0).eax >= 0x80000008)
        widths = cpuid(0x80000008, 0).eax;
    features.physical_bits = (uint8_t)widths;
    features.virtual_bits = (uint8_t)(widths >> 8);
}

void cpu_init(struct cpu *cpu) {
    find_features();
    write_cr0(CR0_PG | (uint64_t)CR0_WP | CR0_NE | CR0_ET | CR0_MP | CR0_PE);
    write_cr4(CR4_PAE | CR4_MCE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT |
              (features.xsave ? CR4_OSXSAVE : 0) | (features.smep ? CR4_SMEP : 0) |
              (features.smap ? CR4_SMAP : 0) | (features.umip ? CR4_UMIP : 0));
    __asm__ volatile("mov %0, %%dr7" ::"r"((uint64_t)DR7_DISABLED));

    wrmsr(IA32_EFER, EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE);
    wrmsr(IA32_PAT, PAT_AFTER_RESET);
    wrmsr(IA32_SYSENTER_CS, 0); /* SYSENTER: #GP */
    wrmsr(IA32_KERNEL_GS_BASE, 0);
    wrmsr(IA32_LSTAR, (uint64_t)syscall_entry);
    /* SYSRET loads SS = STAR[63:48] + 8 and CS = STAR[63:48] + 16. */
    wrmsr(IA32_STAR,
          (uint64_t)(SELECTOR_USER_DATA - 8) << 48 | (uint64_t)SELECTOR_KERNEL_CODE << 32);
    wrmsr(IA32_FMASK, RFLAGS_ARITHMETIC | RFLAGS_TF | RFLAGS_IF | RFLAGS_DF | RFLAGS_IOPL |
                          RFLAGS_NT | RFLAGS_RF | RFLAGS_AC | RFLAGS_ID);
    fpu_init();
    guest_cpu_init(cpu);

    cpus[cpu->index] = cpu;
    cpu_count = cpu->index + 1;
}
