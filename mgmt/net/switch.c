/* Forwarding: by MAC address and VLAN to a port, else to the uplink; multicast to all ports of the
 * VLAN. Each frame costs at most one copy for each port. */
#include "mgmt/net/switch.h"

#include <string.h>

#include "guestlib/loop.h"
#include "mgmt/net/filter.h"
#include "mgmt/platform.h"

#define BUCKETS 1024u
#define VLAN_MTU 1500u

/* A multicast frame costs a copy for each port. Frames a second, and at once: far above what
 * address resolution needs, far below what would keep the switch busy. */
#define PORT_MULTICAST_PER_S 1000u
#define PORT_MULTICAST_BURST 200u
#define UPLINK_MULTICAST_PER_S 4000u
#define UPLINK_MULTICAST_BURST 800u

static struct port *buckets[BUCKETS];
static struct port *ports;
static unsigned port_count;
static struct uplink *uplink;
static struct rate uplink_multicast;
static void (*wake_clients)(void);

void switch_start(void (*wake)(void)) {
    wake_clients = wake;
}

/* A guest's administrator chooses MAC addresses, not a guest: long chains are not an attack. */
static struct port **bucket_of(const uint8_t *mac, uint16_t vlan) {
    uint32_t hash = vlan;
    for (unsigned i = 0; i < ETHERNET_ADDRESS_BYTES; i++)
        hash = hash * 31u + mac[i];
    return &buckets[hash % BUCKETS];
}

static struct port *find_port(const uint8_t *mac, uint16_t vlan) {
    struct port *p = *bucket_of(mac, vlan);
    while (p && (p->vlan != vlan || memcmp(p->mac, mac, ETHERNET_ADDRESS_BYTES) != 0))
        p = p->next_in_bucket;
    return p;
}

enum bh_status switch_add(struct port *port) {
    if (find_port(port->mac, port->vlan))
        return BH_BUSY;
    if (port_count == SWITCH_PORTS_MAX)
        return BH_NO_MEMORY;
    struct port **bucket = bucket_of(port->mac, port->vlan);
    port->next_in_bucket = *bucket;
    *bucket = port;
    port->next = ports;
    ports = port;
    port_count++;
    rate_start(&port->multicast, PORT_MULTICAST_PER_S, PORT_MULTICAST_BURST, loop_now_ns());
    return BH_OK;
}

void switch_remove(struct port *port) {
    struct port **at = bucket_of(port->mac, port->vlan);
    while (*at != port)
        at = &(*at)->next_in_bucket;
    *at = port->next_in_bucket;
    for (at = &ports; *at != port;)
        at = &(*at)->next;
    *at = port->next;
    port_count--;
}

bool switch_has_checksum(void) {
    return !uplink || uplink->checksum;
}

/* Not segmented in software: a guest that may not use it cuts its own frames, at its own cost. */
bool switch_has_gso(void) {
    return !uplink || uplink->gso;
}

static void deliver_to_all(const struct frame *frame, uint16_t vlan, const struct port *but) {
    for (struct port *p = ports; p; p = p->next)
        if (p != but && p->vlan == vlan)
            p->deliver(p, frame);
}

static bool multicast_allowed(struct rate *rate) {
    if (!rate_allows(rate, loop_now_ns()))
        return false;
    rate_use(rate, 1);
    return true;
}

enum switch_result switch_from_port(struct port *from, struct frame *frame) {
    bool multicast = ethernet_is_multicast(frame->header);
    struct port *to = multicast ? NULL : find_port(frame->header, from->vlan);
    if (to) {
        if (to != from)
            to->deliver(to, frame);
        return SWITCH_SENT;
    }
    bool up = uplink && uplink->usable;
    if (up && !uplink->has_room(uplink, frame->bytes + FRAME_TAG_BYTES))
        return SWITCH_WAIT;
    if (multicast) {
        if (!multicast_allowed(&from->multicast))
            return SWITCH_DROPPED;
        deliver_to_all(frame, from->vlan, from);
    }
    if (up) {
        if (from->vlan)
            frame_tag(frame, from->vlan);
        uplink->transmit(uplink, frame);
    }
    return SWITCH_SENT;
}

void switch_flush(void) {
    if (uplink)
        uplink->flush(uplink);
}

bool switch_uplink_wanted(void) {
    return uplink == NULL;
}

void switch_set_uplink(struct uplink *device) {
    uplink = device;
    rate_start(&uplink_multicast, UPLINK_MULTICAST_PER_S, UPLINK_MULTICAST_BURST, loop_now_ns());
}

/* Frames from outside are not held to any address, but to being of a kind that guests may get, and
 * to not posing as one of the guests here. */
void switch_uplink_received(struct frame *frame) {
    uint16_t vlan;
    if (!frame_untag(frame, &vlan) || !frame_parse(frame) || !filter_carries(frame) ||
        !frame_offload_valid(frame, VLAN_MTU))
        return;
    if (find_port(frame->header + ETHERNET_ADDRESS_BYTES, vlan))
        return;
    if (ethernet_is_multicast(frame->header)) {
        if (multicast_allowed(&uplink_multicast))
            deliver_to_all(frame, vlan, NULL);
        return;
    }
    struct port *to = find_port(frame->header, vlan);
    if (to)
        to->deliver(to, frame);
}

void switch_uplink_received_all(void) {
    if (wake_clients)
        wake_clients();
}

void switch_uplink_room(void) {
    if (wake_clients)
        wake_clients();
}
