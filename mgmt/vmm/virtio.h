/* What all virtio devices have in common: a PCI function with the modern transport
 * (virtio 1.2, 4.1) and MSI-X. The notify registers are alone in an I/O BAR, so that hv can signal
 * the VMM without an exit; everything else is in a memory BAR. No INTx, no legacy interface, no
 * window in configuration space. */
#pragma once

#include "mgmt/vmm/pci.h"
#include "mgmt/vmm/virtq.h"

#define VIRTIO_QUEUES_MAX 4u
#define VIRTIO_NOTIFY_BYTES 64u /* two for each queue */
#define VIRTIO_F_VERSION_1 (1ull << 32)

enum virtio_type { VIRTIO_NET = 1, VIRTIO_BLOCK = 2, VIRTIO_ENTROPY = 4 };

struct virtio;
struct virtio_class {
    enum virtio_type type;
    uint32_t class_code; /* of PCI */
    uint16_t queues;
    /* There may be something in the queue. */
    void (*notify)(struct virtio *virtio, unsigned queue);
    /* The device is reset: nothing of what was taken may be given back or written to. May be NULL.
     */
    void (*reset)(struct virtio *virtio);
};

struct virtio {
    struct pci_function pci;
    const struct virtio_class *class;
    uint64_t features, accepted; /* offered; taken by the driver */
    uint32_t feature_select, accept_select;
    uint8_t status, isr;
    uint16_t queue_select, config_vector;
    struct virtq queue[VIRTIO_QUEUES_MAX];
    const void *config; /* the class's */
    uint32_t config_bytes;
    uint8_t msix_at;  /* the capability */
    uint64_t pending; /* vectors that wait to be unmasked */
    struct msix_entry {
        uint32_t address_low, address_high, data, control;
    } msix[VIRTIO_QUEUES_MAX + 1];
};

/* slot: of the PCI bus. */
void virtio_init(struct virtio *virtio, const struct virtio_class *class, unsigned slot,
                 uint64_t features, const void *config, uint32_t config_bytes);
static inline bool virtio_has(const struct virtio *virtio, uint64_t feature) {
    return virtio->accepted & feature;
}
bool virtio_is_running(const struct virtio *virtio);
/* A doorbell rang: looks at all queues. */
void virtio_notify_all(struct virtio *virtio);
/* Interrupts for a queue, if the guest wants to know of what was given. */
void virtio_signal(struct virtio *virtio, unsigned queue);
/* The guest broke the rules: the device does nothing any more until it is reset. */
void virtio_break(struct virtio *virtio);

/* Sends an interrupt message; the machine's. */
void machine_send_message(uint64_t address, uint32_t data);
