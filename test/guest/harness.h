/* Programs that start in init's place and build tiny domains of their own out of capabilities: each
 * claim about isolation is tried by a child that means harm, on the real hv, without mgmt. A child
 * runs a function of this same image in a Space, CapTable and Context of its own. It ends by a
 * fault, the expected one or not. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/bootinfo.h"
#include "abi/image.h"
#include "guestlib/hypercall.h"

/* Slots of init's table that the harness uses; tests may use TEST_SLOT.. and up. */
enum {
    POOL_OBJECTS = 2048, /* Untypeds that children are made of */
    POOL_FRAMES,
    PROGRAM, /* Region: text and rodata of this image, for the children */
    PROGRAM_UNTYPED,
    TEST_SLOT = 2100,
    CHILD_SLOT = 2200, /* CHILD_SLOTS for each child */
    CHILD_SLOTS = 32,
};

/* Slots of a child within its group of init's table. */
enum child_slot {
    CHILD_OBJECTS,
    CHILD_FRAMES,
    CHILD_TABLE,
    CHILD_SPACE,
    CHILD_CONTEXT,
    CHILD_EVENT,
    CHILD_MEMORY, /* Region: data, bss, stack and scratch pages */
    CHILD_TEXT_TMP,
};

/* Slots of the child's own table: 64 slots. */
enum {
    MY_PARENT = 1, /* Event: signals init's bit 1 + child number */
    MY_EVENT = 2,  /* Event: own, signal right: to itself */
    MY_PEER = 3,   /* Event of another child, when a test gives it */
    MY_TEXT = 4,
    MY_RODATA = 5,
    MY_DATA = 6,
    MY_STACK = 7,
    MY_SCRATCH = 8,
    MY_SLOTS = 64,
};

#define CHILD_STACK_VA 0x10000000ull
#define CHILD_SCRATCH_VA 0x20000000ull
#define CHILD_STACK_PAGES 4u
#define CHILD_SCRATCH_PAGES 16u
#define CHILD_OBJECT_PAGES 64u

struct child {
    unsigned number;
    bh_slot slots; /* first of its group */
};

extern const struct bh_bootinfo *boot;

/* The program: what start.S calls. */
_Noreturn void guest_start(const struct bh_bootinfo *info);

void harness_start(
    const struct bh_bootinfo *info); /* prepares the pools; stops with a message if it cannot */

/* priority below init's; quantum, budget, period in TSC ticks as in CTX_SCHED. */
struct child child_make(unsigned number);
void child_sched(struct child child, unsigned priority, uint64_t quantum, uint64_t budget,
                 uint64_t period);
void child_start(struct child child, void (*entry)(uint64_t), uint64_t argument);
uint64_t child_get(struct child child, enum bh_reg reg);
void child_destroy(struct child child);
bh_ref child_cap(struct child child, enum child_slot slot); /* in init's table */
bh_ref child_own(struct child child, unsigned slot);        /* in the child's table */

/* Waits until the child has faulted; false after `ticks`. */
bool child_ended(struct child child, uint64_t ticks);

/* For children: ends with a #UD and this number in RDI. */
_Noreturn void child_exit(uint64_t code);

/* Ends as expected? Vector 6 with a code is child_exit. */
bool ended_with(struct child child, uint64_t vector);
bool exited_with(struct child child, uint64_t code);

uint64_t now(void);
void say(const char *text);
void say_number(uint64_t value);
void check(const char *name, bool good); /* prints "test: NAME ok" or "test: NAME FAILED" */
_Noreturn void finish(void);             /* prints "test: done" and powers off */
_Noreturn void give_up(const char *why);
void expect_ok(enum bh_status status, const char *what);
