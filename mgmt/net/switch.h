/* The switch: ports, one for each guest's network device, and the uplink. Which port a MAC address
 * belongs to is not learnt but known, since a port can send from its own address only; everything
 * else is behind the uplink. So there is no table that a stranger could fill. */
#pragma once

#include "abi/status.h"
#include "mgmt/net/uplink.h"
#include "mgmt/rate.h"

#define SWITCH_PORTS_MAX 4096u

struct port {
    uint8_t mac[ETHERNET_ADDRESS_BYTES];
    uint16_t vlan; /* 0: none */
    /* Copies the frame to the guest, or drops it if there are no buffers. */
    void (*deliver)(struct port *port, const struct frame *frame);
    /* The switch's: */
    struct rate multicast; /* frames that are copied to many */
    struct port *next_in_bucket;
    struct port *next;
};

/* The switch calls serve() from the event loop's work phase after switch_wake: clients that wait
 * for room at the uplink and those whose queues are to be published. */
void switch_start(void (*wake)(void));

/* OK, BUSY (the VLAN has a port of this address), NO_MEMORY (too many ports). */
enum bh_status switch_add(struct port *port);
void switch_remove(struct port *port);

/* What guests may use towards everybody they can reach. */
bool switch_has_checksum(void);
bool switch_has_gso(void);

enum switch_result {
    SWITCH_SENT,
    SWITCH_DROPPED, /* too many multicast frames */
    SWITCH_WAIT,    /* the uplink has no room: try the same frame again after wake() */
};

/* A frame that a port's guest sent: parsed and filtered. Its header may be changed unless the
 * result is WAIT. */
enum switch_result switch_from_port(struct port *from, struct frame *frame);

/* Starts what switch_from_port gave to the uplink. */
void switch_flush(void);
