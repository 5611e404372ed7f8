/* Memory where none is, and instructions on it. */
#include "test/guest/hvm/hostile/hostile.h"

#define LAPIC_BASE 0xfee00000ull
#define IA32_APIC_BASE 0x1bu

/* What the VMM knows: docs/design.md. */
FORM(mov_8, "movb %%al, (%%rdi)")
FORM(mov_16, "movw %%ax, (%%rdi)")
FORM(mov_32, "movl (%%rdi), %%eax")
FORM(mov_64, "movq (%%rdi), %%r8")
FORM(mov_immediate, "movl $0x12345678, (%%rdi)")
FORM(mov_odd, "movl 3(%%rdi), %%eax")
FORM_AFTER(mov_indexed, "xor %%ebx, %%ebx", "movl 8(%%rdi, %%rbx, 4), %%eax")
FORM(mov_absolute, ".byte 0xa0; .quad 0xd8000000")
FORM(movzx, "movzbl (%%rdi), %%eax")
FORM(movsx, "movswq (%%rdi), %%rax")
FORM(movsxd, "movslq (%%rdi), %%rax")
FORM(add_to, "addl $1, (%%rdi)")
FORM(or_from, "orq (%%rdi), %%rax")
FORM(adc_to, "adcb %%al, (%%rdi)")
FORM(sbb_to, "sbbw %%ax, (%%rdi)")
FORM(and_locked, "lock andl %%eax, (%%rdi)")
FORM(sub_to, "subq $-1, (%%rdi)")
FORM(xor_to, "xorl %%eax, (%%rdi)")
FORM(cmp_with, "cmpl $5, (%%rdi)")
FORM(test_with, "testb $5, (%%rdi)")
FORM(xchg_with, "xchgl %%eax, (%%rdi)")
FORM(bit_test, "btl $5, (%%rdi)")
FORM(bit_set, "lock btsl $5, (%%rdi)")
FORM_AFTER(bit_reset, "xor %%eax, %%eax", "btrl %%eax, (%%rdi)")
FORM_AFTER(store_string, "mov $300, %%ecx", "rep stosl")
FORM_AFTER(move_string, "lea 64(%%rdi), %%rsi; mov $300, %%ecx", "rep movsb")

/* What it refuses. The instruction that faults has to be the first. */
FORM(cmpxchg, "cmpxchgl %%eax, (%%rdi)")
FORM(cmpxchg16, "lock cmpxchg16b (%%rdi)")
FORM(xadd, "lock xaddl %%eax, (%%rdi)")
FORM(push_memory, "pushq (%%rdi)")
FORM(increment, "incl (%%rdi)")
FORM(negate, "negl (%%rdi)")
FORM(shift, "shll $3, (%%rdi)")
FORM(multiply, "imull (%%rdi), %%eax")
FORM(divide, "divl (%%rdi)")
FORM_AFTER(compare_strings, "mov %%rdi, %%rsi", "cmpsb")
FORM_AFTER(load_string, "mov %%rdi, %%rsi", "lodsq")
FORM(scan_string, "scasl")
FORM(call_through, "call *(%%rdi)")
FORM(jump_through, "jmp *(%%rdi)")
FORM(far_jump, "ljmpl *(%%rdi)")
FORM(x87, "fldl (%%rdi)")
FORM(sse_load, "movups (%%rdi), %%xmm0")
FORM(sse_store, "movdqu %%xmm0, (%%rdi)")
FORM(save_fpu, "fxsave (%%rdi)")
FORM(load_idt, "lidt (%%rdi)")
FORM(store_gdt, "sgdt (%%rdi)")
FORM(load_task, "ltr (%%rdi)")
FORM(segment, "movw (%%rdi), %%fs")
FORM(store_segment, "movw %%fs, (%%rdi)")
FORM(set_byte, "setz (%%rdi)")
FORM(swap_bytes, "movbe (%%rdi), %%eax")
FORM(non_temporal, "movnti %%eax, (%%rdi)")
FORM(scan_bits, "bsfl (%%rdi), %%eax")

static uint32_t (*const known[])(uint64_t) = {
    mov_8,        mov_16,     mov_32,    mov_64,       mov_immediate, mov_odd,   mov_indexed,
    mov_absolute, movzx,      movsx,     movsxd,       add_to,        or_from,   adc_to,
    sbb_to,       and_locked, sub_to,    xor_to,       cmp_with,      test_with, xchg_with,
    bit_test,     bit_set,    bit_reset, store_string, move_string};
static uint32_t (*const refused[])(uint64_t) = {
    cmpxchg,      cmpxchg16, xadd,        increment,      negate,       shift,
    multiply,     divide,    load_string, scan_string,    call_through, jump_through,
    far_jump,     x87,       sse_load,    sse_store,      save_fpu,     load_idt,
    store_gdt,    load_task, segment,     store_segment,  set_byte,     swap_bytes,
    non_temporal, scan_bits, push_memory, compare_strings};

static void enable_sse(void) {
    uint64_t cr4;
    __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
    __asm__ volatile("mov %0, %%cr4" ::"r"(cr4 | 3 << 9)); /* OSFXSR, OSXMMEXCPT */
}

static void forms(void) {
    enable_sse();
    for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        expect(known[i](NOTHING_BASE + 0x100) == NO_FAULT);
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
            expect(refused[i](NOTHING_BASE + 0x100) == EXCEPTION_UD);
}

/* Everywhere from the top of RAM to 4 GiB, devices included. */
static void random_accesses(void) {
    uint64_t first = ram_end(), span = (1ull << 32) - 16 - first;
    for (unsigned i = 0; i < 60000; i++) {
        uint64_t r = random_next();
        uint64_t at = i % 3 ? first + r % span : 0xfec00000 + r % 0x300000;
        unsigned bytes = 1u << (r >> 60 & 3);
        if (r >> 59 & 1)
            read_memory(at, bytes);
        else
            write_memory(at, bytes, random_next());
    }
    uint64_t ones = 0;
    for (unsigned i = 0; i < 64; i++)
        ones += read_memory(NOTHING_BASE + i * 64, 8) == ~0ull;
    expect(ones == 64);
}

/* The registers of the local APIC's page, one after the other and at random. */
static void lapic_page(void) {
    wrmsr(IA32_APIC_BASE, LAPIC_BASE | 0x100); /* off, then on without x2APIC */
    wrmsr(IA32_APIC_BASE, LAPIC_BASE | 0x900);
    for (unsigned i = 0; i < 40000; i++) {
        uint64_t r = random_next(), at = LAPIC_BASE + r % 4096;
        unsigned bytes = 1u << (r >> 60 & 3);
        if ((at & 0xff0) == 0x300)
            continue; /* an INIT or NMI would be another attack */
        if (r >> 59 & 1)
            read_memory(at, bytes);
        else
            write_memory(at, bytes, random_next());
    }
    expect(read_memory(LAPIC_BASE + 0x30, 4) >> 16 == 6);
    expect(attempt_wrmsr(IA32_APIC_BASE, LAPIC_BASE | 0xd00) == NO_FAULT);
    expect(rdmsr(APIC_ID) == 0);
}

/* The last bytes of RAM, and what begins behind them. */
static void edges(void) {
    uint64_t top = ram_end();
    for (unsigned bytes = 1; bytes <= 8; bytes *= 2) {
        write_memory(top - bytes, bytes, 0x1122334455667788ull);
        expect(read_memory(top - bytes, bytes) << (64 - 8 * bytes) == 0x1122334455667788ull
                                                                          << (64 - 8 * bytes));
        expect(read_memory(top, bytes) << (64 - 8 * bytes) == ~0ull << (64 - 8 * bytes));
        write_memory(top, bytes, 0);
        write_memory(0xffffffff - bytes + 1, bytes, 0);
        read_memory(0xffffffff - bytes + 1, bytes);
    }
    for (unsigned i = 1; i < 8; i++) { /* across the edge: anything but an end */
        read_memory(top - i, 8);
        write_memory(top - i, 8, 0);
    }
    expect(move_string(top - 32) == NO_FAULT && store_string(top - 32) == NO_FAULT);
}

/* The program that accesses device memory changes the instruction before the VMM can look at it:
 * here by aliases of its code and page tables that point elsewhere. */
static void changing_code(void) {
    static uint8_t code[64];
    static const uint8_t forms[][8] = {
        {0x8b, 0x07, 0xc3},                   /* mov (%rdi), %eax; ret */
        {0x48, 0x8b, 0x07, 0xc3},             /* mov (%rdi), %rax */
        {0xc6, 0x07, 0x05, 0xc3},             /* movb $5, (%rdi) */
        {0xab, 0xc3},                         /* stosl */
        {0xf3, 0xa4, 0xc3},                   /* rep movsb */
        {0x66, 0x0f, 0xba, 0x2f, 0x03, 0xc3}, /* btsw $3, (%rdi) */
    };
    for (unsigned i = 0; i < 6000; i++) {
        const uint8_t *form = forms[random_next() % 6];
        uint64_t at = NOTHING_BASE + random_next() % 0x10000, rax = random_next();
        uint64_t count = random_next() % 600, from = (uint64_t)code;
        for (unsigned byte = 0; byte < 8; byte++)
            ((volatile uint8_t *)code)[byte] = form[byte];
        __asm__ volatile("call *%3"
                         : "+D"(at), "+a"(rax), "+c"(count)
                         : "r"(code), "S"(from)
                         : "memory", "cc");
    }
}

/* --- What a guest leaves -----------------------------------------------------------------------
 */

#define FREE_BASE 0x300000ull /* behind this program and all that its loader puts there */
#define MARK 0x5ec5ec5ec5ec5ec5ull

static void plant_marks(void) {
    for (uint64_t at = FREE_BASE; at < ram_end(); at += 8)
        write_memory(at, 8, MARK ^ at);
    expect(read_memory(ram_end() - 8, 8) == (MARK ^ (ram_end() - 8)));
}

/* In the memory of a guest that has ended. */
static void find_marks(void) {
    uint64_t other = 0;
    for (uint64_t at = FREE_BASE; at < ram_end(); at += 8)
        other |= read_memory(at, 8);
    expect(other == 0 && ram_end() > FREE_BASE);
}

/* --- What ends the guest -----------------------------------------------------------------------
 */

static void fetch(void) {
    ((void (*)(void))NOTHING_BASE)();
}

static void page_tables(void) {
    __asm__ volatile("mov %0, %%cr3" ::"r"(NOTHING_BASE) : "memory");
}

static void stack(void) {
    __asm__ volatile("mov %0, %%rsp; int3" ::"r"(NOTHING_BASE + 4096) : "memory");
}

static void descriptor_table(void) {
    struct __attribute__((packed)) {
        uint16_t limit;
        uint64_t base;
    } pointer = {4095, NOTHING_BASE};
    __asm__ volatile("lidt %0; int3" ::"m"(pointer));
}

const struct attack attacks[] = {
    {"forms", forms},
    {"random-accesses", random_accesses},
    {"lapic-page", lapic_page},
    {"edges", edges},
    {"changing-code", changing_code},
    {"plant-marks", plant_marks},
    {"find-marks", find_marks},
    {"fetch", fetch},
    {"page-tables", page_tables},
    {"stack", stack},
    {"descriptor-table", descriptor_table},
    {0},
};
