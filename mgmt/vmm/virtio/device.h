/* One virtio device on the PCI bus: registers, status, features, queues, interrupts. VIRTIO 1.2,
 * modern interface only. What it is (block.h, net.h, ...) stands in a class.
 *
 * Notify registers lie in I/O BAR 0, two bytes a queue, so that they can become doorbells; all
 * others in memory BAR 1. Everything here runs in the VMM's one event loop. A driver that breaks
 * the rules gets DEVICE_NEEDS_RESET and costs its guest this device. */
#pragma once

#include "guestlib/loop.h"
#include "mgmt/virtio/pci.h"
#include "mgmt/vmm/msix.h"
#include "mgmt/vmm/pci.h"
#include "mgmt/vmm/virtio/virtqueue.h"

#define VIRTIO_QUEUES_MAX 17u
_Static_assert(VIRTIO_QUEUES_MAX + 1 <= MSIX_VECTORS_MAX, "one for each queue, one for the rest");

#define VIRTIO_BAR_NOTIFY 0u
#define VIRTIO_BAR_MEMORY 1u
#define VIRTIO_NOTIFY_BYTES 2u /* a queue's part of BAR 0 */

struct virtio_device;

struct virtio_class {
    uint16_t type; /* VIRTIO_TYPE_* */
    uint32_t pci_class;
    uint16_t queue_size; /* the most that a driver may choose */
    /* The driver has said DRIVER_OK; `accepted` is what it takes of the features. May be NULL. */
    void (*start)(struct virtio_device *d);
    /* The queue may have chains. False: no more now, and the driver has been asked to notify of the
     * next, or the device will call virtio_serve_later by itself. True: its turn is over, call
     * again. */
    bool (*serve)(struct virtio_device *d, unsigned queue);
    /* The driver resets the device, or it broke: nothing of the guest's may be used any more.
     * False: something is still in flight, virtio_reset_done will be called. May be NULL: true. */
    bool (*reset)(struct virtio_device *d);
    /* Something is in flight. May be NULL: never between two turns. */
    bool (*is_busy)(const struct virtio_device *d);
    /* What the driver has set beyond registers and queues. May be NULL. */
    void (*state)(struct state *s, struct virtio_device *d);
};

/* A queue's registers, as the driver wrote them, and the queue. */
struct virtio_queue {
    uint16_t size, vector;
    bool enabled;
    uint64_t desc, avail, used;
    struct virtqueue ring;
};

struct virtio_device {
    struct pci_function function;
    struct msix msix;
    const struct virtio_class *class;
    unsigned queues; /* 1..VIRTIO_QUEUES_MAX */
    struct virtio_queue queue[VIRTIO_QUEUES_MAX];
    uint64_t offered, accepted;
    uint32_t device_feature_select, driver_feature_select;
    uint16_t queue_select, config_vector;
    uint8_t status, isr, generation;
    bool resetting;          /* the driver asked for it; status reads 0 when it is done */
    const void *config;      /* the device's own configuration, read-only for the driver */
    uint32_t config_bytes;   /* up to 256 */
    unsigned pci_capability; /* window to the BARs in configuration space */
    uint32_t notified;       /* queues to serve, a bit each */
    struct loop_work work;
};

/* Zero but for class, queues, the class's features in `offered` (the transport adds its own), and
 * config with its length. After this the caller puts d->function into a slot (pci_add). */
void virtio_init(struct virtio_device *d);

/* Whether its state can be saved: it has served all that the driver has notified of. As long as no
 * vCPU runs, it will have. */
bool virtio_is_quiet(const struct virtio_device *d);
/* Its function's state is pci_state's. */
void virtio_state(struct state *s, struct virtio_device *d);

/* The driver notified of a queue: a write to BAR 0. */
void virtio_notify(struct virtio_device *d, unsigned queue);
/* The device's doorbell rang, for whichever queue. */
void virtio_notify_all(struct virtio_device *d);

/* --- for classes --- */

/* Whether the queue can be used: the driver said DRIVER_OK and enabled it, and nothing is broken.
 */
bool virtio_running(const struct virtio_device *d, unsigned queue);

/* As virtqueue_take; a broken queue breaks the device and counts as empty, as one that does not
 * run. False: no chain. */
bool virtio_take(struct virtio_device *d, unsigned queue, struct virtqueue_chain *chain);

/* Publishes completions, and interrupts. */
void virtio_publish(struct virtio_device *d, unsigned queue);

/* No chain now: asks for notification. True: there is one after all. For the end of serve. */
bool virtio_idle(struct virtio_device *d, unsigned queue);

void virtio_serve_later(struct virtio_device *d, unsigned queue);

/* The driver broke the rules: DEVICE_NEEDS_RESET. */
void virtio_break(struct virtio_device *d);

void virtio_reset_done(struct virtio_device *d);

/* The class changed `config`: tells the driver. */
void virtio_config_changed(struct virtio_device *d);
