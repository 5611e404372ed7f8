/* virtio-blk (VIRTIO 1.2, 5.2) on a queue pair of class block. */
#pragma once

#include "mgmt/vmm/virtio/device.h"

/* Opens the VMM's block device `index` and makes a virtio device of it, with so many queues (1 ..
 * VIRTIO_QUEUES_MAX). NULL: there is no such device, or no memory. */
struct virtio_device *virtio_blk_open(unsigned index, unsigned queues);
