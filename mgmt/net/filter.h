/* What a guest may send: the rules of one port, applied to the private copy of a frame's headers.
 */
#pragma once

#include "mgmt/net/frame.h"

struct filter_rules {
    uint8_t mac[ETHERNET_ADDRESS_BYTES];
    uint8_t ipv4[4];  /* all zero: any IPv4 address */
    uint8_t ipv6[16]; /* all zero: any IPv6 address */
};

/* frame->facts must be known. Default deny: true only for what filter.c lists. */
bool filter_allows(const struct filter_rules *rules, const struct frame *frame);

/* For either direction: the frame is of a kind that the switch carries at all. */
bool filter_carries(const struct frame *frame);
