/* Runs the guest: each vCPU on the Context of its number, until it ends. A Context holds the VMM
 * lock but for the time in which it is outside, that is, in VCPU_RUN or asleep. Before it goes
 * outside it looks at all there is for its vCPU; whoever makes something new for a vCPU that is
 * outside wakes it, and it comes back and looks again. The first Context alone is told of Events
 * and timers of the loop. */
#pragma once

#include "mgmt/vmm/vcpu.h"

/* On the first Context, which has had the lock from the beginning, when the machine is made. */
_Noreturn void run(struct vcpu *vcpu);
/* On each further Context, at any time. */
_Noreturn void run_further(uint32_t number);

/* From the loop: stops all vCPUs, and when the machine is quiet saves it. If that succeeds it has
 * ended; if not, the guest goes on. */
void run_save(void);

/* There may be something for it to do. */
void run_wake(struct vcpu *vcpu);
