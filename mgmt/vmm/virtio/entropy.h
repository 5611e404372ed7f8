/* virtio-rng (VIRTIO 1.2, 5.4): random numbers for the guest. */
#pragma once

#include <stddef.h>

#include "mgmt/vmm/virtio/device.h"

/* fill: where they come from. NULL: no memory. */
struct virtio_device *virtio_entropy_open(void (*fill)(void *bytes, size_t count));
