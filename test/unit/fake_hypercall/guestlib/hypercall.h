/* Stands in for guestlib/hypercall.h where guestlib runs natively: the test is the hypervisor. Only
 * the calls that front ends and the event loop make. */
#pragma once

#include "abi/hypercall.h"

enum bh_status hc_signal(bh_slot event);
enum bh_status hc_wait(uint64_t mask, uint64_t deadline_tsc, uint64_t *bits, uint64_t *group);
