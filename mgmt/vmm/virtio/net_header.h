/* The headers of a received frame: what virtio-net tells the driver of it. */
#pragma once

#include <stdbool.h>

#include "guestlib/net_front.h"
#include "mgmt/net/frame.h"
#include "mgmt/virtio/net.h"

/* The beginning of a frame, in private memory. */
struct net_start {
    struct frame frame; /* its header[] is what the driver gets */
    uint32_t bytes;     /* of it: the frame's first bytes */
    struct virtio_net_header header;
};

/* Copies the frame's beginning and makes the header for a driver that has negotiated `features`. A
 * checksum that the driver does not want to complete is completed here. False: a frame that such a
 * driver cannot be given. */
bool net_start_make(struct net_start *start, const struct net_frame *frame, uint64_t features);

/* A number that all frames of one TCP connection, or of one UDP port to another, have in common; 0
 * for all else. After net_start_make. */
uint32_t net_start_flow(struct net_start *start);
