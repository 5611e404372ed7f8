/* Between device.c and registers.c, which are one thing in two rooms. */
#pragma once

#include "mgmt/vmm/virtio/device.h"

/* registers.c: the PCI function with its BARs and capabilities. */
void virtio_add_registers(struct virtio_device *d);

/* device.c: what writes to registers do. */
void virtio_write_status(struct virtio_device *d, uint8_t value);
void virtio_update_intx(struct virtio_device *d);
void virtio_enable_queue(struct virtio_device *d, struct virtio_queue *q);
