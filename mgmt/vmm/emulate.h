/* Carries out the instruction behind an access to device memory. */
#pragma once

#include "mgmt/vmm/vcpu.h"

/* For BH_EXIT_MEMORY. False: the guest cannot go on (its event is lost, it runs where nothing is).
 */
bool emulate_memory_access(struct vcpu *vcpu);

/* For BH_EXIT_PORT with BH_EXIT_PORT_STRING. */
void emulate_port_string(struct vcpu *vcpu);

/* The length of the instruction at RIP, for exits where hv does not know it; 0: it is not, or no
 * longer, the one that this exit is for. */
unsigned emulate_length(struct vcpu *vcpu);
