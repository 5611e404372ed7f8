/* What carries interrupt messages between the local APICs: from one to others (IPIs), from the I/O
 * APIC, from devices (MSI). Reference: SDM 3A, 11.6, 11.7 and 11.11. */
#pragma once

#include "mgmt/vmm/vcpu.h"

/* wake(vcpu): a message has arrived for it. */
void apicbus_init(struct vcpu *vcpus, uint32_t count, void (*wake)(struct vcpu *vcpu));

/* An interrupt command: destination as in the mode of `from`, ICR's low word. */
void apicbus_command(struct lapic *from, uint32_t destination, uint32_t command);
/* The message of an I/O APIC's entry. */
void apicbus_entry(uint64_t entry);
void apicbus_message(uint64_t address, uint32_t data);
