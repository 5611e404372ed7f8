/* ACPI's fixed hardware (PM1 event and control registers, the PM timer), and the other ports by
 * which a machine ends: the ways to reset, and pvpanic, to which the guest's kernel writes that it
 * has panicked. References: ACPI 6.5, 4.8.3; QEMU, docs/specs/pvpanic. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "mgmt/vmm/state.h"

#define POWER_PM1_EVENT 0x600u
#define POWER_PM1_CONTROL 0x604u
#define POWER_TIMER 0x608u
#define POWER_S5 5u /* SLP_TYP of \_S5 in the DSDT */
#define POWER_SCI 9u
#define POWER_PVPANIC 0x505u /* as the DSDT says */
#define PVPANIC_PANICKED 0x1u
#define PVPANIC_CRASH_LOADED 0x2u /* a crash kernel takes over: the guest goes on */

/* How the machine ended, if it did; the last is watchdog.h's. */
enum power_end { POWER_GOES_ON, POWER_OFF, POWER_RESET, POWER_PANIC, POWER_WATCHDOG };

void power_init(void (*set_sci)(bool level), void (*end)(enum power_end how));
void power_state(struct state *s);
/* The power button is pressed. False: the guest does not listen to it. */
bool power_button(void);
