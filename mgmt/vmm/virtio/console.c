/* virtio-console: see console.h. Bytes only; no multiport, no size. */
#include "mgmt/vmm/virtio/console.h"

#include <stdlib.h>

#define PCI_CLASS_OTHER 0x078000u /* simple communication controller */
#define QUEUE_SIZE 64u
#define QUEUE_RECEIVE 0u /* 5.3.2 */
#define QUEUE_TRANSMIT 1u
#define QUEUES 2u
#define TURN_BYTES 4096u /* taken from the driver before others have their turn */
#define BLOCK_BYTES 256u

struct virtio_console {
    struct virtio_device device;
    void (*write)(const char *text, size_t bytes);
    void (*drained)(void);
    uint32_t written;             /* of the chain at the head of the transmit queue */
    struct virtqueue_chain chain; /* being transmitted */
    struct virtqueue_chain input; /* what is typed may come while `write` waits for room */
};

static struct virtio_console *of_device(struct virtio_device *d) {
    return (struct virtio_console *)d; /* its first member */
}

/* Writes the chain from v->written on, as far as the budget goes. True: it is written. */
static bool write_chain(struct virtio_console *v, uint32_t *budget) {
    const struct virtqueue_chain *c = &v->chain;
    while (v->written < c->readable_bytes && *budget) {
        char text[BLOCK_BYTES];
        uint32_t bytes = pieces_read(c->piece, c->readable, v->written, text, sizeof(text));
        v->write(text, bytes);
        v->written += bytes;
        *budget -= *budget < bytes ? *budget : bytes;
    }
    return v->written >= c->readable_bytes;
}

static bool serve_transmit(struct virtio_console *v) {
    struct virtio_device *d = &v->device;
    struct virtqueue *ring = &d->queue[QUEUE_TRANSMIT].ring;
    uint32_t budget = TURN_BYTES;
    bool more = true;
    while (more && budget) {
        if (!virtio_take(d, QUEUE_TRANSMIT, &v->chain)) {
            more = virtio_idle(d, QUEUE_TRANSMIT);
        } else if (write_chain(v, &budget)) {
            virtqueue_complete(ring, v->chain.head, 0);
            v->written = 0;
            budget -= budget > 0;
        } else {
            virtqueue_put_back(ring, 1);
        }
    }
    virtio_publish(d, QUEUE_TRANSMIT);
    return more;
}

static bool serve(struct virtio_device *d, unsigned queue) {
    if (queue == QUEUE_TRANSMIT)
        return serve_transmit(of_device(d));
    virtqueue_refuse_notification(&d->queue[queue].ring); /* buffers are taken as input comes */
    of_device(d)->drained();
    return false;
}

/* A chain for input. False: there is none; the driver has been asked to notify of the next. */
static bool take_input(struct virtio_console *v) {
    struct virtio_device *d = &v->device;
    return virtio_take(d, QUEUE_RECEIVE, &v->input) ||
           (virtio_idle(d, QUEUE_RECEIVE) && virtio_take(d, QUEUE_RECEIVE, &v->input));
}

bool virtio_console_input(struct virtio_device *d, const char *text, size_t bytes, size_t *taken) {
    struct virtio_console *v = of_device(d);
    *taken = 0;
    if (!virtio_running(d, QUEUE_RECEIVE))
        return false;
    while (*taken < bytes && take_input(v)) {
        size_t left = bytes - *taken;
        uint32_t written =
            pieces_write(chain_writable(&v->input), v->input.writable, 0, text + *taken,
                         left < UINT32_MAX ? (uint32_t)left : UINT32_MAX);
        virtqueue_complete(&d->queue[QUEUE_RECEIVE].ring, v->input.head, written);
        *taken += written;
    }
    virtio_publish(d, QUEUE_RECEIVE);
    return true;
}

static void start(struct virtio_device *d) {
    of_device(d)->written = 0;
}

struct virtio_device *virtio_console_open(void (*write)(const char *text, size_t bytes),
                                          void (*drained)(void)) {
    static const struct virtio_class class = {.type = VIRTIO_TYPE_CONSOLE,
                                              .pci_class = PCI_CLASS_OTHER,
                                              .queue_size = QUEUE_SIZE,
                                              .start = start,
                                              .serve = serve};
    struct virtio_console *v = calloc(1, sizeof(*v));
    if (!v)
        return NULL;
    v->write = write;
    v->drained = drained;
    v->device.class = &class;
    v->device.queues = QUEUES;
    virtio_init(&v->device);
    return &v->device;
}
