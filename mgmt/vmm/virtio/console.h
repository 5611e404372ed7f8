/* virtio-console (VIRTIO 1.2, 5.3) with one port. Where its bytes go to is the caller's: the
 * guest's console is shared with the serial port and the VMM's own messages. */
#pragma once

#include <stddef.h>

#include "mgmt/vmm/virtio/device.h"

/* What the driver writes. Returns how many bytes were taken; if fewer than there are,
 * virtio_console_room is called when more would be. */
struct virtio_console_port {
    size_t (*write)(void *context, const uint8_t *text, size_t bytes);
    void *context;
};

/* NULL: no memory. */
struct virtio_device *virtio_console_open(const struct virtio_console_port *port,
                                          void (*message)(uint64_t address, uint32_t data));

void virtio_console_room(struct virtio_device *d);

/* What was typed. Returns how many bytes found a place in the driver's buffers. */
size_t virtio_console_input(struct virtio_device *d, const uint8_t *text, size_t bytes);
