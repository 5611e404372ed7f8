/* See registers.h. */
#include "test/guest/registers.h"

#include <stdbool.h>

#include "test/guest/harness.h"

#define SEEN 0x20000000 /* CHILD_SCRATCH_VA, for the assembler */
_Static_assert(SEEN == CHILD_SCRATCH_VA, "one address");
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
#define AT(offset) TEXT(SEEN) " + " #offset

/* What registers_look finds, at SEEN. */
struct seen {
    uint64_t general[14]; /* but RDI, RSP */
    uint16_t segment[4];
    uint64_t flags;
    uint8_t fxsave[512]; /* SDM 1, table 10-2 */
    uint8_t high[16][16];
};
_Static_assert(offsetof(struct seen, segment) == 112 && offsetof(struct seen, flags) == 120 &&
                   offsetof(struct seen, fxsave) == 128,
               "used below");
enum { FX_CONTROL = 0, FX_STATUS = 2, FX_TAGS = 4, FX_OPCODE = 6, FX_POINTERS = 8, FX_MXCSR = 24 };
enum { FX_ST = 32, FX_XMM = 160, FX_END = 416, CONTROL_INITIAL = 0x37f, MXCSR_INITIAL = 0x1f80 };
#define FLAGS_FRESH 0x202u /* IF and the bit that is 1 */

static volatile struct seen *const seen = (void *)CHILD_SCRATCH_VA;

static bool has_avx(void) {
    enum { OSXSAVE = 1u << 27, AVX = 1u << 28, XCR0_AVX = 4 };
    uint32_t a = 1, b, c = 0, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    if ((c & (OSXSAVE | AVX)) != (OSXSAVE | AVX))
        return false;
    __asm__ volatile("xgetbv" : "=a"(a) : "c"(0) : "rdx");
    return a & XCR0_AVX;
}

#define EACH_VECTOR(text) ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t" text "\n\t.endr\n\t"

/* The same word everywhere. */
static void fill_vectors(uint64_t word) {
    uint64_t pair[2] = {word, word};
    if (has_avx())
        __asm__ volatile(EACH_VECTOR("vbroadcastf128 (%0), %%ymm\\n") : : "r"(pair) : "memory");
    else
        __asm__ volatile(EACH_VECTOR("movups (%0), %%xmm\\n") : : "r"(pair) : "memory");
}

static void fill_control(uint32_t mxcsr, uint16_t control) {
    __asm__ volatile("ldmxcsr %0\n\tfninit\n\tfldcw %1\n\t"
                     ".rept 8\n\tfldpi\n\t.endr"
                     :
                     : "m"(mxcsr), "m"(control));
}

__attribute__((naked, noreturn)) static void fill_rest(uint64_t mark __attribute__((unused))) {
    __asm__ volatile("mov %ss, %eax\n\tmov %eax, %ds\n\tmov %eax, %es\n\tmov %eax, %fs\n\t"
                     "mov %eax, %gs\n\t"
                     "pushq $0x244cd5\n\tpopf\n\t" /* ID, AC, NT, DF, the arithmetic ones */
                     ".irp r,rax,rbx,rcx,rdx,rsi,rbp,r8,r9,r10,r11,r12,r13,r14,r15\n\t"
                     "mov %rdi, %\\r\n\t.endr\n\tud2");
}

void registers_plant(uint64_t mark) {
    fill_vectors(mark);
    fill_control(MXCSR_INITIAL ^ 0x6000, CONTROL_INITIAL ^ 0xc00); /* round to zero */
    fill_rest(mark);
}

static bool all_zero(const volatile uint8_t *bytes, unsigned count) {
    uint8_t any = 0;
    for (unsigned i = 0; i < count; i++)
        any |= bytes[i];
    return any == 0;
}

static uint32_t word16(const volatile uint8_t *at) {
    return at[0] | (uint32_t)at[1] << 8;
}

uint64_t registers_fxsave_marks(const volatile uint8_t *image) {
    uint64_t marks = 0;
    if (word16(image + FX_CONTROL) != CONTROL_INITIAL || word16(image + FX_STATUS) != 0 ||
        image[FX_TAGS] != 0 || word16(image + FX_OPCODE) != 0 ||
        !all_zero(image + FX_POINTERS, FX_MXCSR - FX_POINTERS) ||
        !all_zero(image + FX_ST, FX_XMM - FX_ST))
        marks |= REGISTERS_X87;
    if (!all_zero(image + FX_XMM, FX_END - FX_XMM))
        marks |= REGISTERS_XMM;
    if (word16(image + FX_MXCSR) != MXCSR_INITIAL)
        marks |= REGISTERS_MXCSR;
    return marks;
}

static void store_high(void) {
    __asm__ volatile(
        ".set at, 0\n\t" EACH_VECTOR("vextractf128 $1, %%ymm\\n, at(%0)\n\t.set at, at + 16")
        :
        : "r"(&seen->high)
        : "memory");
}

__attribute__((used)) static _Noreturn void registers_judge(void) {
    uint64_t marks = registers_fxsave_marks(seen->fxsave);
    if (has_avx()) {
        store_high();
        if (!all_zero(seen->high[0], sizeof(seen->high)))
            marks |= REGISTERS_YMM;
    }
    if (!all_zero((const volatile uint8_t *)seen->general, sizeof(seen->general)))
        marks |= REGISTERS_GENERAL;
    if (!all_zero((const volatile uint8_t *)seen->segment, sizeof(seen->segment)))
        marks |= REGISTERS_SEGMENTS;
    if (seen->flags != FLAGS_FRESH)
        marks |= REGISTERS_FLAGS;
    child_exit(marks);
}

__attribute__((naked)) void registers_look(uint64_t argument __attribute__((unused))) {
    __asm__ volatile(".set at, " TEXT(
        SEEN) "\n\t"
              ".irp r,rax,rbx,rcx,rdx,rsi,rbp,r8,r9,r10,r11,r12,r13,r14,r15\n\t"
              "mov %\\r, at\n\t.set at, at + 8\n\t.endr\n\t"
              "mov %ds, " AT(112) "\n\tmov %es, " AT(
                  114) "\n\t"
                       "mov %fs, " AT(116) "\n\tmov %gs, " AT(
                           118) "\n\t"
                                "pushf\n\tpop %rax\n\tmov %rax, " AT(
                                    120) "\n\t"
                                         "fxsave64 " AT(128) "\n\t"
                                                             "jmp registers_judge");
}

void registers_hold(uint64_t pattern) {
    const uint32_t mxcsr = MXCSR_INITIAL ^ (pattern & 1 ? 0x6000 : 0x2000);
    const uint16_t control = CONTROL_INITIAL ^ (pattern & 1 ? 0xc00 : 0x400);
    uint64_t marks = 0;
    for (unsigned turn = 0; turn < 100 && !marks; turn++) {
        fill_vectors(pattern);
        fill_control(mxcsr, control);
        hc_yield();
        __asm__ volatile("fxsave64 %0" : "=m"(seen->fxsave));
        if (has_avx()) {
            store_high();
            for (unsigned i = 0; i < 16; i++)
                if (*(volatile uint64_t *)(volatile void *)seen->high[i] != pattern)
                    marks |= REGISTERS_YMM;
        }
        for (unsigned at = FX_XMM; at < FX_END; at += 8)
            if (*(volatile uint64_t *)(volatile void *)(seen->fxsave + at) != pattern)
                marks |= REGISTERS_XMM;
        if (word16(seen->fxsave + FX_CONTROL) != control || seen->fxsave[FX_TAGS] != 0xff)
            marks |= REGISTERS_X87;
        if (word16(seen->fxsave + FX_MXCSR) != mxcsr)
            marks |= REGISTERS_MXCSR;
    }
    child_exit(marks);
}
