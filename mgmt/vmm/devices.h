/* The virtio devices of the guest: what the VMM was given (disks, network cards), a source of
 * random numbers and, where the definition wants one, a console, in this order in the slots from
 * `first_slot` on. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/domain.h"
#include "mgmt/vmm/state.h"

/* False: no memory, or too many devices. */
bool devices_add(const struct bh_guest_info *guest, unsigned first_slot);

/* Whether their state can be saved; as long as no vCPU runs it will be so in a while. */
bool devices_are_quiet(void);
void devices_state(struct state *s);

/* What was typed, and how much of it was taken. False: it is not for the virtio console, which is
 * not there or has no driver. */
bool devices_type(const char *text, size_t bytes, size_t *taken);
