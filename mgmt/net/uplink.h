/* Between a network card's driver and the switch. There is one uplink: a second card stays unused,
 * since a bridge over two would join networks that nobody asked to join. */
#pragma once

#include "mgmt/net/frame.h"

struct uplink {
    const char *name; /* for messages */
    bool checksum;    /* completes transport checksums */
    bool gso;         /* cuts TCP over IPv4 and IPv6 */
    bool usable; /* the link is up and the device takes frames: else frames for it are dropped */
    /* Whether a frame of so many bytes fits now. If not, switch_uplink_room is called once
     * something does. */
    bool (*has_room)(struct uplink *uplink, uint32_t bytes);
    /* Copies the frame; only after has_room. Sent at the latest when flush is called. */
    void (*transmit)(struct uplink *uplink, const struct frame *frame);
    void (*flush)(struct uplink *uplink);
};

/* For drivers. */
bool switch_uplink_wanted(void);
void switch_set_uplink(struct uplink *uplink); /* for good */
/* A frame, taken but not parsed; may be changed here. Its memory is the driver's again afterwards.
 */
void switch_uplink_received(struct frame *frame);
/* After switch_uplink_received, once for all that came together. */
void switch_uplink_received_all(void);
/* There is room again, or `usable` changed. */
void switch_uplink_room(void);
