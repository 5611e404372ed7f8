/* See entropy.h. */
#include "mgmt/vmm/virtio/entropy.h"

#include <stdlib.h>

#define PCI_CLASS_OTHER 0x00ff00u
#define QUEUE_SIZE 16u
#define QUEUE 0u
#define CHAIN_BYTES 256u /* at most; 5.4.6.2 lets a device fill less than there is room for */
#define TURN_CHAINS 8u

struct virtio_entropy {
    struct virtio_device device;
    void (*fill)(void *bytes, size_t count);
    struct virtqueue_chain chain;
};

static bool serve(struct virtio_device *d, unsigned queue) {
    struct virtio_entropy *e = (struct virtio_entropy *)d; /* its first member */
    bool more = true;
    for (unsigned i = 0; i < TURN_CHAINS && more; i++) {
        if (!virtio_take(d, queue, &e->chain)) {
            more = virtio_idle(d, queue);
            continue;
        }
        uint8_t bytes[CHAIN_BYTES];
        e->fill(bytes, sizeof(bytes));
        uint32_t count =
            pieces_write(chain_writable(&e->chain), e->chain.writable, 0, bytes, sizeof(bytes));
        virtqueue_complete(&d->queue[queue].ring, e->chain.head, count);
    }
    virtio_publish(d, queue);
    return more;
}

struct virtio_device *virtio_entropy_open(void (*fill)(void *bytes, size_t count)) {
    static const struct virtio_class class = {.type = VIRTIO_TYPE_ENTROPY,
                                              .pci_class = PCI_CLASS_OTHER,
                                              .queue_size = QUEUE_SIZE,
                                              .serve = serve};
    struct virtio_entropy *e = calloc(1, sizeof(*e));
    if (!e)
        return NULL;
    e->fill = fill;
    e->device.class = &class;
    e->device.queues = QUEUE + 1;
    virtio_init(&e->device);
    return &e->device;
}
