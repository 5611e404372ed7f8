/* virtio-net (VIRTIO 1.2, 5.1) on a queue pair of class net. */
#pragma once

#include "mgmt/vmm/virtio/device.h"

/* Opens the VMM's network device `index` and makes a virtio device of it, with 1..NET_PAIRS_MAX
 * pairs of queues and, if there are several, a queue for control. NULL: there is no such device, or
 * no memory. */
#define NET_PAIRS_MAX ((VIRTIO_QUEUES_MAX - 1) / 2)
struct virtio_device *virtio_net_open(unsigned index, unsigned pairs);
