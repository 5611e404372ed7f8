/* mgmt on the build machine: mgmt/hv.h on the real core (fake_arch), as the Context that init would
 * have made, an event loop that a test turns by hand, and back ends that remember what they were
 * told. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "abi/bootinfo.h"

#define MGMT_WORLD_FRAMES 4096u  /* pages: 16 MiB */
#define MGMT_WORLD_OBJECTS 1024u /* what mgmt is left with is less */
#define MGMT_WORLD_SLOTS 4096u

/* A fresh machine; host_start has run. */
int mgmt_world_boot(void **state);
const struct bh_bootinfo *mgmt_world_info(void);

/* The next n-th hypercall that could fail for want of memory fails; 0: none. */
void mgmt_world_fail(unsigned n);

/* What the guest in mgmt's CapTable slot `context` does. */
void mgmt_world_fault(bh_slot context, uint64_t vector);
/* Signals, as the guest could: slot `index` of its CapTable. */
void mgmt_world_signal(bh_slot table, uint32_t index);

/* Slots of mgmt's CapTable that are in use. */
unsigned mgmt_world_slots_used(void);

/* Runs posted work, and handlers of the bits that are set, until nothing is left. */
void mgmt_world_turn(void);
void mgmt_world_time(uint64_t ns); /* forward; due timers run */

/* Back ends: a detach is only done when this says so. */
extern bool mgmt_world_hold_detach;
void mgmt_world_finish_detach(void);
extern unsigned mgmt_world_attached; /* block and net clients */

/* Everything that was logged since boot. */
const char *mgmt_world_log(void);
