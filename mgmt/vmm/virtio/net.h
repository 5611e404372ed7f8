/* virtio-net (VIRTIO 1.2, 5.1) on a queue pair of class net. One pair of queues. */
#pragma once

#include "mgmt/vmm/virtio/device.h"

/* Opens the VMM's network device `index` and makes a virtio device of it. NULL: there is no such
 * device, or no memory. */
struct virtio_device *virtio_net_open(unsigned index,
                                      void (*message)(uint64_t address, uint32_t data));
