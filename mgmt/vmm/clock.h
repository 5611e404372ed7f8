/* The guest's time: its TSC, and a page from which it reads nanoseconds without any calibration
 * (KVM's pvclock: Linux, include/asm/pvclock-abi.h and Documentation/virt/kvm/x86/msr.rst). */
#pragma once

#include "mgmt/vmm/vcpu.h"

/* A periodic timer that is faster would do nothing but interrupt, and leave the guest no time to
 * run in. As Linux's KVM has it (min_timer_period_us). */
#define TIMER_PERIOD_NS_MIN 200000u

/* Call once, before the vCPUs run. tsc_hz: the host's. */
void clock_init(uint64_t tsc_hz);
/* Gives a vCPU the guest's TSC, which begins at 0 with the guest. */
void clock_start(struct vcpu *vcpu);

/* The guest's time goes on, when loaded, from where it was: what has passed since it was saved
 * never was. A TSC of another rate than this host's is refused, but for what measuring it at two
 * starts makes different. */
void clock_state(struct state *s);
/* After that, and when RAM is back: gives a vCPU this TSC, and tells a guest that reads its clock
 * from a page what time it is and that it was stopped. False: the page is not in RAM. */
bool clock_resume(struct vcpu *vcpu);

uint64_t clock_guest_tsc(void);
/* The host's TSC when the guest's will show, or has shown, `tsc`; 0 or ~0 if that is beyond it. */
uint64_t clock_host_tsc(uint64_t tsc);

/* MSR_KVM_SYSTEM_TIME and MSR_KVM_WALL_CLOCK. False: the address is not RAM. */
bool clock_set_system_time(struct vcpu *vcpu, uint64_t value);
bool clock_set_wall_clock(uint64_t value);
