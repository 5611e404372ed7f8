/* virtio net (virtio 1.2, 5.1) in front of a network device of the VMM's: checksum offload, TCP
 * segmentation, mergeable receive buffers; one pair of queues. */
#pragma once

#include <stdbool.h>

/* net: index of the VMM's network device. False: there is none, or no memory. */
bool virtio_net_add(unsigned net, unsigned slot);
