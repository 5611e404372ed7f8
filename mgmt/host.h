/* The host as the policy role sees it: what hv told at the start, the boot archive, time of day,
 * random numbers. platform.c holds this and mgmt/platform.h, which is the part of it that drivers
 * may use.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/bootinfo.h"
#include "abi/cap.h"

/* Call first. Takes over all memory. `info` lives forever. */
enum bh_status host_start(const struct bh_bootinfo *info);

const struct bh_bootinfo *host_info(void);

/* How many domains there is room for in mgmt's CapTable and Event. */
uint32_t host_domains_max(void);

/* Maps the boot archive, read-only; NULL: there is none, or no memory. */
const uint8_t *host_map_archive(size_t *bytes);
/* The Region that it is. */
bh_ref host_archive(void);

/* hv's log: up to `bytes` of its newest text; returns how many. */
size_t host_hv_log(char *out, size_t bytes);

/* Nanoseconds since 1970-01-01 UTC at TSC value 0, by the real-time clock; 0: it makes no sense. */
uint64_t host_wall_ns_at_tsc_0(void);

/* From RDRAND where there is one. Without it the numbers are distinct, but a guest might guess
 * them. */
void host_random(void *out, size_t bytes);
bool host_random_is_good(void);
