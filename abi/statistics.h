/* What a VMM counts of its guest, since its own start: at the beginning of the control channel's
 * window. The VMM writes; the host reads, whenever it likes, and believes nothing. Version 1. */
#pragma once

#include "abi/domain.h"
#include "abi/vcpu.h"

struct bh_guest_statistics {
    uint64_t exits[BH_GUEST_VCPUS_MAX][BH_EXIT_COUNT]; /* by reason: enum bh_exit */
};

_Static_assert(sizeof(struct bh_guest_statistics) <= 4096, "the control channel's window");
