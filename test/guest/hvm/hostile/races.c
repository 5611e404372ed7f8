/* Several vCPUs against the VMM's emulation of an instruction, of which another vCPU makes
 * something else meanwhile; modes that change between two accesses; and vCPUs that reset each
 * other. */
#include "test/guest/hvm/hostile/hostile.h"

#define VECTOR 0x60u
#define STARTUP_PAGE 0x8000u /* test/guest/hvm/layout.h */
#define PAGE_BYTES 4096u
#define ALIAS (512ull << 30) /* the first address of the second entry of the uppermost table */
#define PRESENT_WRITE 3u
#define ROUNDS 20000u

static volatile bool stop;

/* --- Whoever faults goes on --------------------------------------------------------------------
 */

static volatile uint64_t faults;
static void *volatile recover_rip;
static volatile uint64_t recover_rsp;

static void recover(struct frame *frame) {
    faults++;
    frame->rip = (uint64_t)recover_rip;
    frame->rsp = recover_rsp;
}

static void recover_from_faults(void) {
    on_interrupt(EXCEPTION_UD, recover);
    on_interrupt(EXCEPTION_GP, recover);
    on_interrupt(EXCEPTION_PF, recover);
}

/* Calls `code` with RDI, RSI, RAX, RCX; comes back here from a fault as well. Of no other register
 * the torn instructions of this program change more than RBX (01 C3). */
static void call_code(const void *code, uint64_t to, uint64_t from, uint64_t rax, uint64_t count) {
    __asm__ volatile("leaq 1f(%%rip), %%rdx\n\tmov %%rdx, %4\n\tmov %%rsp, %5\n\t"
                     "call *%6\n\t1:\tcld"
                     : "+D"(to), "+S"(from), "+a"(rax), "+c"(count), "=m"(recover_rip),
                       "=m"(recover_rsp)
                     : "r"(code)
                     : "rdx", "rbx", "memory", "cc");
}

/* --- Another vCPU rewrites the instruction -----------------------------------------------------
 */

/* The instruction, and what is there if its end is taken for its beginning. */
static _Alignas(64) volatile struct { uint64_t text, end[7]; } code;

/* RET wherever the instruction is not. */
#define RETS (~0ull / 0xff * 0xc3)
#define FORM_OF(bytes, text) (RETS << 8 * (bytes) | (text))
static const uint64_t forms[] = {
    FORM_OF(2, 0x078b),       /* mov (%rdi), %eax */
    FORM_OF(3, 0x078b48),     /* mov (%rdi), %rax */
    FORM_OF(3, 0x0507c6),     /* movb $5, (%rdi) */
    FORM_OF(1, 0xab),         /* stosl */
    FORM_OF(2, 0xa4f3),       /* rep movsb */
    FORM_OF(3, 0xa5f348),     /* rep movsl, behind a prefix that does not count */
    FORM_OF(5, 0x032fba0f66), /* btsw $3, (%rdi) */
    FORM_OF(3, 0x0787f0),     /* lock xchg %eax, (%rdi) */
    FORM_OF(2, 0x070b),       /* or (%rdi), %eax */
    FORM_OF(2, 0x0b0f),       /* ud2 */
    FORM_OF(3, 0x07100f),     /* movups (%rdi), %xmm0 */
    FORM_OF(4, 0xc3017f80),   /* cmpb $-61, 1(%rdi) */
    RETS,
};
#define FORMS (sizeof(forms) / sizeof(forms[0]))

static void prepare(void) {
    recover_from_faults();
    code.text = forms[0];
    for (unsigned i = 0; i < sizeof(code.end) / sizeof(code.end[0]); i++)
        code.end[i] = RETS;
}

static void rewrite_for_ever(void) {
    for (unsigned i = 0; !stop; i++)
        code.text = forms[i % FORMS];
    for (;;)
        __asm__ volatile("hlt");
}

static void rewritten(void) {
    static uint8_t from[1024];
    prepare();
    cpu_start(1, rewrite_for_ever);
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t r = random_next();
        call_code((const void *)&code, NOTHING_BASE + (r & 0xffff), (uint64_t)from, r,
                  r >> 20 & 255);
    }
    stop = true;
    expect(faults < ROUNDS);
}

/* --- ... or the page tables --------------------------------------------------------------------
 */

static _Alignas(4096) volatile uint64_t tables[3][PAGE_BYTES / 8];
static _Alignas(4096) uint8_t pages[3][PAGE_BYTES]; /* the middle one is mapped, at times */

static void map_for_ever(void) {
    const uint64_t places[] = {NOTHING_BASE, 0xfee00000, 0xfec00000, (uint64_t)pages[1],
                               0xe0000000,   ram_end(),  1ull << 51};
    for (unsigned i = 0; !stop; i++) {
        tables[2][i % 7 == 6] = places[i % 7] | (i & 8 ? PRESENT_WRITE : i & 3);
        if (i % 100 == 0) { /* a table that lies nowhere, for a moment */
            tables[1][0] = NOTHING_BASE | PRESENT_WRITE;
            tables[1][0] = (uint64_t)tables[2] | PRESENT_WRITE;
        }
    }
    for (;;)
        __asm__ volatile("hlt");
}

static void link_tables(void) {
    uint64_t root;
    __asm__ volatile("mov %%cr3, %0" : "=r"(root));
    tables[0][0] = (uint64_t)tables[1] | PRESENT_WRITE;
    tables[1][0] = (uint64_t)tables[2] | PRESENT_WRITE;
    tables[2][0] = tables[2][1] = NOTHING_BASE | PRESENT_WRITE;
    ((volatile uint64_t *)root)[1] = (uint64_t)tables[0] | PRESENT_WRITE;
}

static void remapped(void) {
    prepare();
    link_tables();
    for (unsigned i = 0; i < PAGE_BYTES; i++)
        pages[0][i] = pages[2][i] = 0xa5;
    cpu_start(1, map_for_ever);
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t r = random_next(), at = ALIAS + (r & 0x1ff0);
        /* Not the local APIC's commands: INIT to itself would be another attack. */
        if ((at & 0xf00) == 0x300)
            continue;
        code.text = forms[r >> 40 & 3];
        __asm__ volatile("invlpg (%0)" ::"r"(at) : "memory");
        call_code((const void *)&code, at, (uint64_t)pages[1], 0, r >> 20 & 15);
    }
    stop = true;
    bool good = true;
    for (unsigned i = 0; i < PAGE_BYTES; i++)
        good = good && pages[0][i] == 0xa5 && pages[2][i] == 0xa5;
    expect(good && faults > 0);
}

/* --- Modes that change -------------------------------------------------------------------------
 */

#define IA32_EFER 0xc0000080u

static uint64_t read_cr(unsigned which) {
    uint64_t value;
    if (which == 4)
        __asm__ volatile("mov %%cr4, %0" : "=r"(value));
    else
        __asm__ volatile("mov %%cr0, %0" : "=r"(value));
    return value;
}

static void write_cr(unsigned which, uint64_t value) {
    register uint32_t fault __asm__("r15");
    if (which == 4)
        __asm__ volatile(ATTEMPT("mov %1, %%cr4") : "=&r"(fault) : "r"(value) : "memory");
    else
        __asm__ volatile(ATTEMPT("mov %1, %%cr0") : "=&r"(fault) : "r"(value) : "memory");
}

static void access_device(void) {
    expect(read_memory(NOTHING_BASE, 4) == 0xffffffff);
    write_memory(NOTHING_BASE + 8, 8, 1);
}

/* Every bit of CR4, CR0 and EFER that any processor with guest mode lets it change, alone and with
 * others; each time device memory is what it was. Not PG, PE and PAE, NW only with CD: the
 * processor refuses what goes beyond that, but QEMU 7.2 takes it, and then its VMRUN refuses the
 * guest. */
#define CR4_CHANGED 0x310fdfu /* VME to UMIP but PAE, FSGSBASE, SMEP, SMAP */
#define CR4_LA57 0x1000u
#define CR0_KEPT 0x80000001u
#define CR0_NW 0x20000000u
#define CR0_CD 0x40000000u

static void toggles(void) {
    const uint64_t cr4 = read_cr(4), cr0 = read_cr(0), efer = rdmsr(IA32_EFER);
    for (unsigned i = 0; i < 3000; i++) {
        uint64_t r = random_next(), bit = 1ull << (i % 64);
        write_cr(4, cr4 ^ ((i < 64 ? bit : r) & CR4_CHANGED));
        access_device();
        write_cr(4, cr4);
        uint64_t other = (cr0 ^ (i < 64 ? bit : r >> 8 & 0x6005003e)) | CR0_KEPT;
        write_cr(0, (uint32_t)(other & CR0_NW ? other | CR0_CD : other));
        access_device();
        write_cr(0, cr0);
        attempt_wrmsr(IA32_EFER, i < 64 ? efer ^ bit : efer ^ (r >> 16 & 0xffff));
        access_device();
        expect(attempt_wrmsr(IA32_EFER, efer) == NO_FAULT);
    }
    expect(read_cr(4) == cr4 && read_cr(0) == cr0 && rdmsr(IA32_EFER) == efer);
}

/* Five levels of page tables while four are in use: #GP; QEMU's VMRUN then refuses the guest. */
static void five_levels(void) {
    uint64_t cr4 = read_cr(4);
    write_cr(4, cr4 ^ CR4_LA57);
    access_device();
    write_cr(4, cr4);
}

/* --- vCPUs that reset each other ---------------------------------------------------------------
 */

static volatile uint64_t turns;

/* Starts again from its first instruction whenever another one says so: no stack, no interrupts. */
__attribute__((naked, noreturn)) static void reset_for_ever(void) {
    __asm__ volatile("mov $0x1b, %ecx\n\trdmsr\n\tor $0xc00, %eax\n\twrmsr\n\t" /* x2APIC */
                     "mov $0x830, %ecx\n"
                     "1:\tlock incq turns(%rip)\n\t"
                     ".irp to,1,2,3\n\t"
                     "mov $\\to, %edx\n\tmov $0x4500, %eax\n\twrmsr\n\t" /* INIT */
                     "mov $0x4608, %eax\n\twrmsr\n\t"                    /* STARTUP */
                     "mov $0x4060, %eax\n\twrmsr\n\t"
                     ".endr\n\tjmp 1b");
}

static volatile bool came_up;

static void come_up(void) {
    came_up = true;
    for (;;)
        __asm__ volatile("hlt");
}

extern uint64_t next_function; /* start.S */

static void init_storm(void) {
    cpu_start(1, come_up);
    next_function = (uint64_t)reset_for_ever;
    for (unsigned round = 0; round < 300; round++) {
        for (uint32_t id = 1; id < 4; id++) {
            apic_send(id, APIC_COMMAND_INIT);
            apic_send(id, APIC_COMMAND_STARTUP | STARTUP_PAGE >> 12);
            apic_send(id, APIC_COMMAND_FIXED | VECTOR);
        }
        spin(MHZ);
    }
    expect(turns > 0);
    for (unsigned round = 0; round < 100; round++) /* until none is left that starts another */
        for (uint32_t id = 1; id < 4; id++)
            apic_send(id, APIC_COMMAND_INIT);
    spin(100 * MHZ);
    uint64_t before = turns;
    spin(100 * MHZ);
    expect(turns == before);
    came_up = false;
    for (uint32_t id = 1; id < 4; id++) {
        cpu_start(id, come_up);
        expect(came_up);
        came_up = false;
    }
}

const struct attack attacks[] = {
    {"rewritten", rewritten},     {"remapped", remapped},     {"toggles", toggles},
    {"five-levels", five_levels}, {"init-storm", init_storm}, {0},
};
