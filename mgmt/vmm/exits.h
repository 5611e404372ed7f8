/* What the VMM does for each reason the guest came back. */
#pragma once

#include "mgmt/vmm/vcpu.h"

/* False: this vCPU cannot go on; why() says why. */
bool exits_handle(struct vcpu *vcpu, enum bh_exit exit);
const char *exits_why(void);
