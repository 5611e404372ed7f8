/* x87, SSE, AVX and AVX-512 state: saved and restored whenever the Context changes (never lazily:
 * what is left in the registers can be read by speculation). XSAVE, or FXSAVE where it is missing.
 */
#include "hv/x86/x86.h"

/* The legacy area, common to both: SDM 1, 10.5.1. */
enum { FXSAVE_BYTES = 512, FCW_OFFSET = 0, MXCSR_OFFSET = 24 };
#define FCW_INITIAL 0x037f
#define MXCSR_INITIAL 0x1f80

static uint32_t state_bytes = FXSAVE_BYTES;
static uint32_t components; /* XCR0; 0: FXSAVE */
static bool optimized;

uint64_t fpu_bytes(void) {
    return state_bytes;
}

void fpu_init(void) {
    if (!features.xsave)
        return;
    uint32_t supported = cpuid(0xd, 0).eax;
    components = XCR0_X87 | XCR0_SSE | (supported & XCR0_AVX);
    if ((supported & XCR0_AVX512) == XCR0_AVX512 && (supported & XCR0_AVX))
        components |= XCR0_AVX512;
    __asm__ volatile("xsetbv" ::"c"(0), "a"(components), "d"(0));
    state_bytes = cpuid(0xd, 0).ebx; /* for what XCR0 enables now */
    optimized = cpuid(0xd, 1).eax & CPUID_D1_EAX_XSAVEOPT;
}

/* Zeroes are the initial state of everything else: SDM 1, 13.8.1. */
void fpu_context_init(struct context *context) {
    uint8_t *area = context_fpu(context);
    *(uint16_t *)(void *)(area + FCW_OFFSET) = FCW_INITIAL;
    *(uint32_t *)(void *)(area + MXCSR_OFFSET) = MXCSR_INITIAL;
}

void fpu_save(struct context *context) {
    void *area = context_fpu(context);
    if (optimized)
        __asm__ volatile("xsaveopt64 (%0)" ::"r"(area), "a"(components), "d"(0) : "memory");
    else if (components)
        __asm__ volatile("xsave64 (%0)" ::"r"(area), "a"(components), "d"(0) : "memory");
    else
        __asm__ volatile("fxsave64 (%0)" ::"r"(area) : "memory");
}

/* AMD's restore skips the x87 instruction and data pointers when no exception is pending (APM 2,
 * 11.4.4.3), so loading any value first keeps the next Context from reading the last one's. */
void fpu_restore(const struct context *context) {
    static const uint32_t any;
    void *area = context_fpu(context);
    __asm__ volatile("fnclex; emms; fildl %0" ::"m"(any));
    if (components)
        __asm__ volatile("xrstor64 (%0)" ::"r"(area), "a"(components), "d"(0) : "memory");
    else
        __asm__ volatile("fxrstor64 (%0)" ::"r"(area) : "memory");
}
