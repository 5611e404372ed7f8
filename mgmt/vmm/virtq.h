/* A split virtqueue (virtio 1.2, 2.7). The guest owns all of it and may change any byte at any
 * time: each descriptor is copied once, the copy is checked against the guest's RAM, and only the
 * copy is used. What is against the rules breaks the queue; the device then asks to be reset. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mgmt/vmm/ram.h"

#define VIRTQ_SIZE_MAX 256u
#define VIRTQ_CHAIN_MAX 64u

struct virtq {
    uint16_t size; /* entries, a power of two; as the guest has set it */
    bool enabled;
    bool broken;
    uint16_t vector; /* MSI-X */
    struct gpa descriptors, available, used;
    uint16_t next_available, next_used;
    uint16_t signalled_used; /* next_used when the guest was last told */
};

struct virtq_segment {
    uint8_t *at;
    uint32_t bytes;
};

/* A chain of descriptors: what the device may read comes before what it may write. */
struct virtq_chain {
    uint16_t head;
    uint16_t readable, writable; /* segments */
    uint32_t readable_bytes, writable_bytes;
    struct virtq_segment segment[VIRTQ_CHAIN_MAX];
};

enum virtq_take { VIRTQ_EMPTY, VIRTQ_TAKEN, VIRTQ_BROKEN };

/* Whether the areas lie in RAM and are aligned: asked when the guest enables the queue. */
bool virtq_is_valid(const struct virtq *q);

enum virtq_take virtq_take(struct virtq *q, struct virtq_chain *chain);
/* Puts the last `count` chains back that were taken and not given. */
void virtq_untake(struct virtq *q, uint16_t count);
/* The chain is the guest's again, with `bytes` written to its beginning. */
void virtq_give(struct virtq *q, uint16_t head, uint32_t bytes);
/* Whether the guest wants an interrupt for what was given since it was last told. */
bool virtq_wants_interrupt(struct virtq *q);

/* Copies from the readable part, from its byte `at` on, or to the writable part. False: too short.
 */
bool virtq_read(const struct virtq_chain *chain, uint32_t at, void *to, uint32_t bytes);
bool virtq_write(const struct virtq_chain *chain, uint32_t at, const void *from, uint32_t bytes);

/* The part of the readable (or writable) bytes from `at` on, `bytes` long, as segments; returns
 * their number. It must lie in the chain. */
unsigned virtq_slice(const struct virtq_chain *chain, bool writable, uint32_t at, uint32_t bytes,
                     struct virtq_segment *out);
