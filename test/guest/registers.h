/* Children that leave a mark in every register that ring 3 can write, and children that look for
 * one: what a register holds that nobody but its last user knew. */
#pragma once

#include <stdint.h>

/* Entries for child_start. Leaves `mark` in the general registers, FLAGS, the segments, MXCSR, the
 * x87 and vector registers, and ends with #UD. */
void registers_plant(uint64_t mark);

/* Looks at its own at its first instruction: child_exit of 0 if all are as at a Context's start,
 * else of which are not, REGISTERS_*. */
void registers_look(uint64_t argument);

/* Keeps a pattern in the FPU's registers while others run; child_exit of 0, or of which changed. */
void registers_hold(uint64_t pattern);

enum {
    REGISTERS_GENERAL = 1,
    REGISTERS_SEGMENTS = 2,
    REGISTERS_FLAGS = 4,
    REGISTERS_X87 = 8,
    REGISTERS_XMM = 16,
    REGISTERS_MXCSR = 32,
    REGISTERS_YMM = 64,
};

/* Of an FXSAVE64 image of 512 bytes: which are not in their initial state. */
uint64_t registers_fxsave_marks(const volatile uint8_t *image);
