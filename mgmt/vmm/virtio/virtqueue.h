/* A split virtqueue, device's side. VIRTIO 1.2, 2.7.
 *
 * Everything in it is the guest's: it may change at any time and say anything. Each word is read
 * once; a chain is copied, checked against the guest's RAM and handed out as pieces. What the
 * device itself wrote it never reads back. What no driver may do (indices that run backwards or
 * too far, descriptors out of range, loops, chains of nothing, buffers outside RAM) makes the
 * queue `broken`, after which all calls do nothing: the transport then asks for a reset. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "mgmt/vmm/ram.h"
#include "mgmt/vmm/virtio/pieces.h"

#define VIRTQUEUE_SIZE_MAX 256u /* descriptors; of an indirect table as well */

struct virtqueue_settings {
    uint16_t size;              /* a power of two, 1..VIRTQUEUE_SIZE_MAX */
    bool indirect, event_index; /* negotiated */
    struct gpa desc, avail, used;
};

struct virtqueue {
    uint16_t size;
    bool indirect, event_index;
    bool broken;
    const uint8_t *desc; /* in the guest's RAM; it stays mapped while the queue is in use */
    const uint16_t *avail;
    uint16_t *used;
    uint16_t avail_next;                /* chains taken; all indices are free-running */
    uint16_t used_next, used_published; /* chains given back; those that the driver knows of */
};

/* One request: pieces that the device may read, then pieces that it may write. */
struct virtqueue_chain {
    uint16_t head;
    uint16_t readable, writable; /* pieces */
    uint32_t readable_bytes, writable_bytes;
    struct piece piece[VIRTQUEUE_SIZE_MAX];
};

/* False: rings not aligned (2.7) or not in RAM, or a size that is not allowed. */
bool virtqueue_open(struct virtqueue *q, const struct virtqueue_settings *settings);

enum virtqueue_take { VIRTQUEUE_EMPTY, VIRTQUEUE_TAKEN, VIRTQUEUE_BROKEN };

/* Takes the next chain. Bound: VIRTQUEUE_SIZE_MAX descriptors and one per queue entry. */
enum virtqueue_take virtqueue_take(struct virtqueue *q, struct virtqueue_chain *chain);

/* Puts back the `count` chains that were taken last; they will be read and checked anew. */
void virtqueue_put_back(struct virtqueue *q, uint16_t count);

/* Gives a chain back, with `bytes` written into it; not visible before virtqueue_publish. */
void virtqueue_complete(struct virtqueue *q, uint16_t head, uint32_t bytes);
/* Forgets the `count` completions made last; not if they were published. */
void virtqueue_take_back(struct virtqueue *q, uint16_t count);

/* Makes completions visible. True if the driver wants an interrupt for them. */
bool virtqueue_publish(struct virtqueue *q);

/* Asks the driver to notify of the next chain, and looks again. False: there is one already. */
bool virtqueue_want_notification(struct virtqueue *q);
void virtqueue_refuse_notification(struct virtqueue *q);

static inline const struct piece *chain_writable(const struct virtqueue_chain *chain) {
    return chain->piece + chain->readable;
}
