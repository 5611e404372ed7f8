/* The files that the VMM loads: the guest's kernel and its initrd. */
#pragma once

#include "mgmt/vmm/loader.h"

/* disk: the block device that holds all of it, BH_GUEST_NO_DISK for none. No disk is no file; a
 * disk that is smaller than it should be is none either. mapped: the part that is in memory; stays
 * the caller's. */
struct loader_file file_open(uint32_t disk, uint64_t bytes, const struct bh_guest_file *mapped);
