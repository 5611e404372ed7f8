/* The fake architecture layer: what the core's structures hold of it. */
#pragma once

/* The sanitizers call libc's function of this name when a process ends; the core's must not take
 * its place there. */
#define sched_yield core_sched_yield

#include <stdint.h>

#include "abi/hypercall.h"

struct arch_context {
    uint64_t argument[6];
    uint64_t status, value[2];
    uint64_t reg[BH_REG_GS_BASE + 1];
    uint32_t retired; /* calls of arch_context_retire */
};
struct arch_space {
    uint64_t *root; /* a 4-level table in the pool's pages: fake_arch.c */
};
struct arch_vcpu {
    uint64_t loaded, stored; /* groups, of the last load and store */
    uint32_t exits, retired;
};
struct arch_irq {
    uint64_t source;
};
struct arch_cpu {
    uint64_t timer;
};
