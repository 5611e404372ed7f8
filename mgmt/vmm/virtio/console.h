/* virtio-console (VIRTIO 1.2, 5.3) with one port: hvc0. Where its bytes go to is the caller's: the
 * guest's console is shared with the serial port and the VMM's own messages. */
#pragma once

#include <stddef.h>

#include "mgmt/vmm/virtio/device.h"

/* write: takes what the driver writes. drained: there are buffers again for input that was refused;
 * called also when none was. NULL: no memory. */
struct virtio_device *virtio_console_open(void (*write)(const char *text, size_t bytes),
                                          void (*drained)(void));

/* What was typed, and how much of it found a place in the driver's buffers. False: there is no
 * driver. */
bool virtio_console_input(struct virtio_device *d, const char *text, size_t bytes, size_t *taken);
