/* A virtio-pci device, as strict as the specification lets a device be with its driver: it stops
 * the test if the driver breaks a rule. What a request does is the user's; so is every lie. */
#pragma once

#include "fake_platform.h"

#define FAKE_VIRTIO_QUEUES 3u
#define FAKE_VIRTIO_SEGMENTS 64u
#define FAKE_VIRTIO_CONFIG_BYTES 64u

struct fake_segment {
    uint8_t *data;
    uint32_t bytes;
    bool writable;
};

struct fake_chain {
    uint16_t head;
    unsigned count;
    struct fake_segment segment[FAKE_VIRTIO_SEGMENTS];
};

struct fake_queue {
    uint16_t size, vector, enabled;
    uint64_t desc, driver, device;
    uint16_t avail_seen, used_made;
};

struct fake_virtio {
    struct fake_function function; /* first: the two are cast into each other */
    uint64_t features;             /* offered */
    uint64_t accepted;
    uint8_t status;
    bool ignores_reset, refuses_features, needs_reset;
    uint8_t config[FAKE_VIRTIO_CONFIG_BYTES];
    struct fake_queue queue[FAKE_VIRTIO_QUEUES];
    uint16_t config_vector;
    uint32_t feature_select, driver_feature_select;
    uint16_t queue_select;
    uint8_t msix[16 * 8];
    unsigned notifications;
    /* Called at a notification; NULL: nothing happens until the test takes chains itself. */
    void (*notified)(struct fake_virtio *v, unsigned queue);
};

/* A device of the modern kind at bus 0; BAR 1 holds the MSI-X table, BAR 4 everything else. */
void fake_virtio_init(struct fake_virtio *v, uint8_t slot, uint16_t device_id, uint64_t features);

/* Takes the next available chain, checked. False: there is none. */
bool fake_virtio_take(struct fake_virtio *v, unsigned queue, struct fake_chain *chain);
/* Writes a used entry and the index, whatever they are worth. */
void fake_virtio_use(struct fake_virtio *v, unsigned queue, uint32_t id, uint32_t bytes);
void fake_virtio_set_used_index(struct fake_virtio *v, unsigned queue, uint16_t index);
/* Interrupts if the driver wants it (or, with force, anyway). */
void fake_virtio_interrupt(struct fake_virtio *v, unsigned queue, bool force);
void fake_virtio_config_changed(struct fake_virtio *v);
