/* pvpanic: a port to which the guest's kernel writes that it has panicked. Reference: QEMU,
 * docs/specs/pvpanic. The DSDT names it. */
#pragma once

#include <stdint.h>

#define PVPANIC_PORT 0x505u
#define PVPANIC_PANICKED 0x1u
#define PVPANIC_CRASH_LOADED 0x2u /* a crash kernel takes over: the guest goes on */

/* panicked: called at most once a panic. */
void pvpanic_init(void (*panicked)(void));
