/* A split virtqueue, driver's side. Virtual I/O Device (VIRTIO) 1.2, 2.7.
 *
 * The device may write anything into the used ring at any time: index and entries are read once,
 * and an entry counts only if it names a request that is in flight and claims no more bytes than
 * the request offered. What the driver itself wrote (descriptors, free list, lengths) it keeps
 * privately and never reads back. Once `broken`, all calls do nothing. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "mgmt/platform.h"

#define VIRTQ_SIZE_MAX 256u /* descriptors; ours, the device's limit may be lower */

struct virtq_segment {
    struct hpa hpa;
    uint32_t bytes;
    bool device_writes; /* those that the device reads come first */
};

struct virtq_settings {
    uint16_t size;         /* a power of two, at most VIRTQ_SIZE_MAX */
    uint16_t segments_max; /* of one request */
    bool indirect;         /* VIRTIO_F_INDIRECT_DESC was negotiated */
    bool event_index;      /* VIRTIO_F_EVENT_IDX was negotiated */
};

struct virtq_slot; /* private */

struct virtq {
    struct virtq_settings settings;
    struct dma_memory memory; /* all that the device sees of the queue */
    struct hpa avail, used;   /* inside it; the descriptor table is at its beginning */
    uint16_t slots;           /* requests that fit at a time */
    uint16_t free_slots;
    uint16_t free_head;
    uint16_t avail_next, avail_published; /* free-running, as in the ring */
    uint16_t used_next;
    struct virtq_slot *slot;
    volatile uint8_t *notify; /* register; written with `index` */
    uint16_t index;
    bool broken;
};

/* OK, BAD_ARG (no request would fit), NO_MEMORY. */
enum bh_status virtq_create(struct virtq *q, const struct virtq_settings *settings);

/* The slot that the next virtq_add takes, below q->slots. Only if q->free_slots. */
uint16_t virtq_next_slot(const struct virtq *q);

/* Adds one request of 1..segments_max segments; not visible to the device before virtq_publish.
 * Only if q->free_slots. */
void virtq_add(struct virtq *q, const struct virtq_segment *segments, unsigned count);

/* Makes everything added visible and notifies the device if it wants that. */
void virtq_publish(struct virtq *q);

enum virtq_take { VIRTQ_EMPTY, VIRTQ_TAKEN, VIRTQ_BROKEN };

/* Takes one completion. *bytes: what the device claims to have written, no more than the request
 * offered. */
enum virtq_take virtq_take(struct virtq *q, uint16_t *slot, uint32_t *bytes);

/* Asks for an interrupt at the next completion. False: something has come meanwhile, take it. */
bool virtq_want_interrupt(struct virtq *q);
void virtq_refuse_interrupt(struct virtq *q);
