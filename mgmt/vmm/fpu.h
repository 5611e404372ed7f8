/* The guest's x87, SSE and AVX registers. They are live in its vCPU's Context all the time, so only
 * that Context can store and load them, and nothing else in the VMM touches them. The area is as
 * XSAVE makes it (SDM 1, 13.4), or FXSAVE where hv does not use that. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define FPU_BYTES 832u /* legacy area, header, AVX */
#define FPU_ALIGN 64u

/* area: FPU_BYTES, all zero at first. */
void fpu_store(uint8_t *area);
/* Only if it is valid. */
void fpu_load(const uint8_t *area);
/* Whether fpu_load can be done with it: it would fault. */
bool fpu_is_valid(const uint8_t *area);
