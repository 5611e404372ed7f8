/* From the guest's linear addresses to guest-physical ones, through tables that the guest may have
 * filled with anything. SDM 3A, chapter 4. */
#pragma once

#include "mgmt/vmm/vcpu.h"

#define ACCESS_WRITE 0x2u /* the bits of a page fault's error code */
#define ACCESS_USER 0x4u
#define ACCESS_FETCH 0x10u

/* False: a page fault, *error its error code. Sets no accessed or dirty bits. */
bool walk(struct vcpu *vcpu, uint64_t linear, uint32_t access, struct gpa *gpa, uint32_t *error);

/* Copies instruction bytes at RIP, as many as can be had, up to `max`; returns how many. */
unsigned walk_fetch(struct vcpu *vcpu, uint8_t *to, unsigned max);
