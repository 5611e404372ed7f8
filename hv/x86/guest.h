/* Guest mode, as the rest of hv/x86 sees it: svm.c and what belongs to it; a processor of the other
 * vendor implements the same. arch.h has what the core calls. */
#pragma once

#include "hv/x86/x86.h"

void guest_cpu_init(struct cpu *cpu); /* at CPU start, after cpu_init's registers */

/* Runs the guest until the next exit, and does what hv does by itself. The Context that runs it is
 * current and loaded, and is still in VCPU_RUN or not any more when this returns: it does not for a
 * host interrupt. */
void guest_run(struct cpu *cpu, struct vcpu *vcpu);

/* Another Context is loaded: nothing of the guest that ring 3 could read stays in the processor. */
void guest_leave(struct cpu *cpu);
