/* The fake architecture layer: what the core's structures hold of it. */
#pragma once

#include <stdint.h>

#include "abi/hypercall.h"

#define FAKE_SPACE_PAGES 65536u

struct arch_context {
    uint64_t argument[6];
    uint64_t status, value[2];
    uint64_t reg[BH_REG_GS_BASE + 1];
};
struct arch_space {
    uint32_t index; /* into the fake's table of page maps */
};
struct arch_irq {
    uint64_t source;
};
struct arch_cpu {
    uint64_t timer;
};
