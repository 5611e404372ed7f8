/* The virtual PC: its vCPUs, interrupt controllers and devices, wired together. */
#pragma once

#include "mgmt/vmm/power.h"
#include "mgmt/vmm/vcpu.h"

/* Makes the machine as it is after power-on; the guest's devices by what the VMM was given. False:
 * no memory. */
bool machine_init(const struct bh_guest_info *guest);

/* All of it but RAM. To be saved, no vCPU runs, and the devices are quiet (devices.h); to be
 * loaded, it is fresh, and RAM is as it was. */
void machine_state(struct state *s);

uint32_t machine_vcpus(void);
struct vcpu *machine_vcpu(uint32_t index);

/* How it ended, if it did. */
enum power_end machine_end(void);
/* Ends it as if its plug had been pulled. */
void machine_switch_off(void);
/* What a reset line does. */
void machine_reset(void);

/* Before each entry: gives the vCPU the interrupt that is due, or asks hv to say when it can take
 * one.
 */
void machine_deliver(struct vcpu *vcpu);
/* Whether something is there that ends HLT. */
bool machine_wakes(const struct vcpu *vcpu);

/* Input for the virtio console or the first serial port, which say by console_input_again that they
 * can take more. Returns how much was taken. */
size_t machine_type(const char *text, size_t bytes);
/* Shows what the guest has written so far. */
void machine_flush(void);
