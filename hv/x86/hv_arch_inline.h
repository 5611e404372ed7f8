/* The functions of arch.h that hot paths cannot afford to call. gnu_inline, because arch.h has
 * declared them as ordinary ones: no copy outside line exists. */
#pragma once

#define ARCH_INLINE extern inline __attribute__((gnu_inline, always_inline))

ARCH_INLINE struct cpu *this_cpu(void) {
    struct cpu *cpu;
    __asm__("mov %%gs:0, %0" : "=r"(cpu)); /* CPU_SELF */
    return cpu;
}

ARCH_INLINE uint64_t arch_now(void) {
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

ARCH_INLINE uint64_t arch_argument(const struct context *context, unsigned index) {
    return context->arch.argument[index];
}

/* RAX; RDX and RSI. */
ARCH_INLINE void arch_set_result(struct context *context, uint64_t status, uint64_t value0,
                                 uint64_t value1) {
    context->arch.rax = status;
    context->arch.argument[2] = value0;
    context->arch.argument[1] = value1;
}

ARCH_INLINE void arch_relax(void) {
    __asm__ volatile("pause");
}

/* CMP sets the carry if index < bound; SBB turns it into the mask. No branch to mispredict. */
ARCH_INLINE uint64_t arch_bounds_mask(uint64_t index, uint64_t bound) {
    uint64_t mask;
    __asm__("cmp %2, %1; sbb %0, %0" : "=r"(mask) : "r"(index), "r"(bound) : "cc");
    return mask;
}
