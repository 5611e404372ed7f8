/* Virtio over PCI, modern interface only. VIRTIO 1.2, 3.1 (initialisation), 4.1 (PCI). Interrupts
 * are MSI-X, entry 0 for configuration changes and entry n + 1 for queue n, so the ISR register is
 * never needed. */
#pragma once

#include "mgmt/drivers/virtq.h"
#include "mgmt/pci/pci.h"
#include "mgmt/virtio/pci.h"

struct virtio_device {
    const char *name; /* for messages */
    struct pci_function *pci;
    volatile uint8_t *common, *notify, *config; /* config: NULL if the device has none */
    uint32_t notify_bytes, notify_multiplier, config_bytes;
    uint64_t features; /* negotiated */
    bool broken;
    void (*config_changed)(void *context); /* may be NULL */
    void (*failed)(void *context);         /* the device said that it needs a reset */
    void *context;
};

/* Finds the registers, resets the device and negotiates: VERSION_1 is required, the transport's own
 * features are taken, and of those offered beside them what choose(offered) returns. False, with
 * the reason logged: not usable. */
bool virtio_open(struct virtio_device *d, uint64_t (*choose)(uint64_t offered));

/* Creates queue `index` and points it at the device. handler(context) runs at its interrupts; NULL:
 * the queue is polled. False, with the reason logged: not usable. */
bool virtio_queue_open(struct virtio_device *d, struct virtq *q, uint16_t index, uint16_t size_max,
                       uint16_t segments_max, void (*handler)(void *context), void *context);

/* Queues are set up: lets the device do DMA and run. False: it refused. */
bool virtio_run(struct virtio_device *d);

/* Device configuration; 0 beyond its end. The 64-bit value is consistent (2.5.3). */
uint8_t virtio_config_read8(const struct virtio_device *d, uint32_t offset);
uint16_t virtio_config_read16(const struct virtio_device *d, uint32_t offset);
uint32_t virtio_config_read32(const struct virtio_device *d, uint32_t offset);
uint64_t virtio_config_read64(const struct virtio_device *d, uint32_t offset);

/* Declares the device broken, for good: logs why, resets it, shuts off its DMA. Afterwards it owns
 * no memory any more; queues must not be used again. */
void virtio_break(struct virtio_device *d, const char *why);
