/* Network devices: Ethernet frames in and out, with checksum and segmentation offload. Frames go
 * through bounce buffers in the window. For TCP/IP see lwip/stack.h, which stands on this. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/net.h"

struct net_front;

/* A received frame, valid while receive() runs. Its contents are memory of the host's: read once.
 */
struct net_frame {
    size_t bytes;
    uint8_t flags;      /* BH_NET_* */
    uint8_t gso_type;   /* BH_NET_GSO_*: several segments that were left, or made, one */
    uint16_t gso_bytes; /* payload of each of them */
    struct net_front *net;
    uint32_t chain;
};

struct net_handlers {
    void (*receive)(void *context, const struct net_frame *frame);
    /* After completions: there may be room to transmit. */
    void (*room)(void *context);
    void *context;
};

/* Opens the index-th network device and begins to receive. NULL: there is none, or no memory. */
struct net_front *net_front_open(unsigned index, const struct net_handlers *handlers);

/* MAC, MTU, offload features, addresses. */
const struct bh_net_info *net_front_info(const struct net_front *net);

/* Copies part of a frame out; must lie within it. */
void net_frame_read(const struct net_frame *frame, size_t at, void *to, size_t bytes);

/* The longest frame that can be transmitted; shorter than BH_NET_FRAME_BYTES_MAX if the window is
 * small. */
size_t net_front_frame_bytes_max(const struct net_front *net);

struct net_piece {
    const void *bytes;
    size_t length;
};

/* Transmits the frame made of `pieces`, which are copied. False: no room now, `room` will be called
 * (or the device is gone). What was transmitted is published at the end of this turn of the loop.
 */
bool net_front_transmit(struct net_front *net, const struct net_piece *pieces, unsigned count,
                        struct bh_net_offload offload);
