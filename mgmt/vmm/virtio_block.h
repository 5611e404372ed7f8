/* virtio block (virtio 1.2, 5.2) in front of a block device of the VMM's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* disk: index of the VMM's block device. False: there is none, or no memory. */
bool virtio_block_add(unsigned disk, unsigned slot);
