/* x87, SSE, AVX and AVX-512 state: saved and restored whenever the Context changes (never lazily:
 * what is left in the registers can be read by speculation). XSAVE, or FXSAVE where it is missing.
 */
#include "hv/x86/x86.h"

/* The legacy area, common to both: SDM 1, 10.5.1. */
enum { FXSAVE_BYTES = 512, FCW_OFFSET = 0, MXCSR_OFFSET = 24 };
#define FCW_INITIAL 0x037f
#define MXCSR_INITIAL 0x1f80

static uint32_t state_bytes = FXSAVE_BYTES;
static uint32_t host_xcr0 = XCR0_X87; /* what is saved, with XSAVE */

uint64_t fpu_bytes(void) {
    return state_bytes;
}

static void set_xcr0(uint64_t xcr0) {
    __asm__ volatile("xsetbv" ::"c"(0), "a"((uint32_t)xcr0), "d"((uint32_t)(xcr0 >> 32)));
}

void fpu_init(void) {
    if (!features.xsave)
        return;
    uint32_t supported = cpuid(0xd, 0).eax;
    /* PKRU is nothing to ring 3, but a guest can use it, and then it must not be the next one's. */
    host_xcr0 = XCR0_X87 | XCR0_SSE | (supported & (XCR0_AVX | XCR0_PKRU));
    if ((supported & XCR0_AVX512) == XCR0_AVX512 && (supported & XCR0_AVX))
        host_xcr0 |= XCR0_AVX512;
    set_xcr0(host_xcr0);
    state_bytes = cpuid(0xd, 0).ebx; /* for what XCR0 enables now */
}

/* Zeroes are the initial state of everything else: SDM 1, 13.8.1. */
void fpu_context_init(struct context *context) {
    uint8_t *area = context_fpu(context);
    *(uint16_t *)(void *)(area + FCW_OFFSET) = FCW_INITIAL;
    *(uint32_t *)(void *)(area + MXCSR_OFFSET) = MXCSR_INITIAL;
}

/* What XSETBV accepts (SDM 1, 13.3), of what is saved. */
bool fpu_xcr0_valid(uint64_t xcr0) {
    uint64_t avx512 = xcr0 & XCR0_AVX512;
    return !(xcr0 & ~(uint64_t)host_xcr0) && (xcr0 & XCR0_X87) &&
           (!(xcr0 & XCR0_AVX) || (xcr0 & XCR0_SSE)) &&
           (!avx512 || (avx512 == XCR0_AVX512 && (xcr0 & XCR0_AVX)));
}

void fpu_enter_xcr0(uint64_t xcr0) {
    if (xcr0 != host_xcr0)
        set_xcr0(xcr0);
}

/* XSETBV is intercepted, but not by every processor: QEMU 7.2's lets the guest do it. */
uint64_t fpu_leave_xcr0(void) {
    if (!features.xsave)
        return XCR0_X87;
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    uint64_t xcr0 = (uint64_t)high << 32 | low;
    if (xcr0 != host_xcr0)
        set_xcr0(host_xcr0);
    return xcr0;
}

void fpu_save(struct context *context) {
    void *area = context_fpu(context);
    if (features.xsave)
        __asm__ volatile("xsave64 (%0)" ::"r"(area), "a"(host_xcr0), "d"(0) : "memory");
    else
        __asm__ volatile("fxsave64 (%0)" ::"r"(area) : "memory");
}

/* AMD's restore skips the x87 instruction and data pointers when no exception is pending (APM 2,
 * 11.4.4.3), so loading any value first keeps the next Context from reading the last one's. */
void fpu_restore(const struct context *context) {
    static const uint32_t any;
    void *area = context_fpu(context);
    __asm__ volatile("fnclex; emms; fildl %0" ::"m"(any));
    if (features.xsave)
        __asm__ volatile("xrstor64 (%0)" ::"r"(area), "a"(host_xcr0), "d"(0) : "memory");
    else
        __asm__ volatile("fxrstor64 (%0)" ::"r"(area) : "memory");
}
