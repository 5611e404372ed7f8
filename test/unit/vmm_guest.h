/* RAM and a vCPU for tests of the VMM: there is no processor, only the page of its state. */
#pragma once

#include <stdint.h>

#include "mgmt/vmm/vcpu.h"

#define GUEST_RAM_BYTES (4ull << 20)

extern uint8_t guest_ram[GUEST_RAM_BYTES];
extern struct bh_vcpu_state guest_state;
extern struct vcpu guest_vcpu;

/* Cleared RAM at 0; the vCPU after INIT. */
void guest_reset(void);
/* 64-bit mode without virtual memory's help: the first 2 GiB map to themselves, by tables at
 * 0x1000. */
void guest_long_mode(void);
