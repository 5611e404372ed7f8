/* ACPI's fixed hardware: PM1 event and control registers, the PM timer, and the ways to reset.
 * Reference: ACPI 6.5, 4.8.3. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "mgmt/vmm/state.h"

#define POWER_PM1_EVENT 0x600u
#define POWER_PM1_CONTROL 0x604u
#define POWER_TIMER 0x608u
#define POWER_S5 5u /* SLP_TYP of \_S5 in the DSDT */
#define POWER_SCI 9u

/* How the machine ended, if it did; the last two are pvpanic.h's and watchdog.h's. */
enum power_end { POWER_GOES_ON, POWER_OFF, POWER_RESET, POWER_PANIC, POWER_WATCHDOG };

void power_init(void (*set_sci)(bool level), void (*end)(enum power_end how));
void power_state(struct state *s);
/* The power button is pressed. False: the guest does not listen to it. */
bool power_button(void);
