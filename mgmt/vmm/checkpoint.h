/* The guest's checkpoint: all of it, on a disk of its own. Made by a save, which ends the guest,
 * and good for one restore: the guest's other disks go on from there, and a second guest that went
 * on from the same moment would find them changed under it. What is on the disk is not trusted. */
#pragma once

#include "abi/domain.h"

/* Opens the disk, if the guest has one, and makes room for what is saved; the machine is made.
 * NULL: done. Else what is wrong, as in all of these. */
const char *checkpoint_open(const struct bh_guest_info *guest);

/* All vCPUs are stopped and have stored their FPU registers, and the machine is quiet; nothing else
 * of the VMM runs meanwhile. */
const char *checkpoint_save(void);

/* Loads RAM and the fresh machine. */
const char *checkpoint_load(void);

/* The guest starts from its beginning: what was saved is void. */
const char *checkpoint_forget(void);
