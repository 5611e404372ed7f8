/* What CPUID tells the guest: template "bulkhead-v1". A leaf that is not in it is all zeroes; of a
 * leaf that is, those bits pass that the template names and the processor has. */
#pragma once

#include "mgmt/vmm/vcpu.h"

struct cpuid_value {
    uint32_t eax, ebx, ecx, edx;
};

/* host: the processor's own answer. vcpus: how many the guest has. */
struct cpuid_value cpuid_template(uint32_t leaf, uint32_t subleaf, struct cpuid_value host);

/* What of it other parts of the machine have to agree with: what XCR0 may be, and whether there is
 * RDTSCP, with TSC_AUX. */
bool cpuid_admits_xcr0(uint64_t value);
bool cpuid_has_rdtscp(void);

/* A hash of all that the template gives on this processor: a saved guest relies on it. */
uint64_t cpuid_hash(void);

/* For BH_EXIT_CPUID. */
void cpuid_exit(struct vcpu *vcpu, uint32_t vcpus);
