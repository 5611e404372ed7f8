#include "mgmt/vmm/fpu.h"

#include <string.h>

#define FEATURES_ECX_OSXSAVE 0x08000000u
#define COMPONENTS 0x7u     /* x87, SSE, AVX: what the guest is told of */
#define MXCSR_OFFSET 24u    /* SDM 1, table 10-2 */
#define MXCSR_EXIST 0xffffu /* SDM 1, 10.2.3 */
#define HEADER_OFFSET 512u  /* XSTATE_BV, and 56 bytes that are 0 in this form */
#define HEADER_BYTES 64u

/* Those of them that hv keeps for each Context; 0: it has FXSAVE alone. */
static uint32_t components(void) {
    uint32_t eax = 1, ebx, ecx = 0, edx;
    __asm__("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    if (!(ecx & FEATURES_ECX_OSXSAVE))
        return 0;
    __asm__("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
    return eax & COMPONENTS;
}

void fpu_store(uint8_t *area) {
    uint32_t which = components();
    if (which)
        __asm__ volatile("xsave64 (%0)" ::"r"(area), "a"(which), "d"(0) : "memory");
    else
        __asm__ volatile("fxsave64 (%0)" ::"r"(area) : "memory");
}

void fpu_load(const uint8_t *area) {
    uint32_t which = components();
    if (which)
        __asm__ volatile("xrstor64 (%0)" ::"r"(area), "a"(which), "d"(0) : "memory");
    else
        __asm__ volatile("fxrstor64 (%0)" ::"r"(area) : "memory");
}

/* What XRSTOR refuses: SDM 1, 13.8.1. */
bool fpu_is_valid(const uint8_t *area) {
    uint64_t header[HEADER_BYTES / sizeof(uint64_t)];
    uint32_t mxcsr;
    memcpy(header, area + HEADER_OFFSET, sizeof(header));
    memcpy(&mxcsr, area + MXCSR_OFFSET, sizeof(mxcsr));
    bool good = !(header[0] & ~(uint64_t)components()) && !(mxcsr & ~MXCSR_EXIST);
    for (unsigned i = 1; i < sizeof(header) / sizeof(header[0]); i++)
        good = good && header[i] == 0;
    return good;
}
