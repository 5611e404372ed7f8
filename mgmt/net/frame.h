/* One Ethernet frame on its way through the switch: its headers in private memory, the rest where
 * the sender left it. Filters and lookups see the private copy, and receivers get that copy: what
 * was checked is what is sent. The rest is copied exactly once for each receiver, unread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "abi/net.h"

#define FRAME_HEADER_BYTES                                                                         \
    256u                     /* copied and checked; holds every header chain that is let through */
#define FRAME_TAG_BYTES 4u   /* 802.1Q */
#define FRAME_PIECES_MAX 33u /* a guest's segments, or the buffers of a driver */
#define ETHERNET_HEADER_BYTES 14u
#define ETHERNET_ADDRESS_BYTES 6u

#define ETHERTYPE_IPV4 0x0800u
#define ETHERTYPE_ARP 0x0806u
#define ETHERTYPE_TAG 0x8100u
#define ETHERTYPE_IPV6 0x86ddu

#define PROTOCOL_TCP 6u
#define PROTOCOL_UDP 17u
#define PROTOCOL_ICMPV6 58u

struct frame_piece {
    const uint8_t *data; /* others may change what it points at */
    uint32_t bytes;
};

/* What the headers say; offsets into frame->header. All of it is inside the private copy. */
struct frame_facts {
    uint16_t ethertype;
    uint16_t l3;       /* IP or ARP header */
    uint16_t l4;       /* transport header; 0: none, or not in this fragment */
    uint8_t protocol;  /* transport protocol, IP only */
    bool fragment;     /* one of several */
    uint32_t l4_bytes; /* transport header and payload, by the IP header's length */
};

struct frame {
    uint8_t header[FRAME_HEADER_BYTES + FRAME_TAG_BYTES];
    uint32_t header_bytes;
    uint32_t bytes; /* all */
    unsigned pieces;
    struct frame_piece piece[FRAME_PIECES_MAX]; /* what follows the header's copy */
    struct bh_net_offload offload;
    struct frame_facts facts;
};

/* Copies the headers of the frame that consists of these pieces (count <= FRAME_PIECES_MAX). False:
 * shorter than an Ethernet header or longer than BH_NET_FRAME_BYTES_MAX. */
bool frame_take(struct frame *frame, const struct frame_piece *pieces, unsigned count);

/* Finds out frame->facts. False: the headers contradict each other or do not end inside the private
 * copy. A frame that is not IPv4, IPv6 or ARP has no facts but its ethertype. */
bool frame_parse(struct frame *frame);

/* Whether frame->offload asks for what can be done to this frame, as parsed: the transport checksum
 * of TCP or UDP, and cutting of TCP into pieces that fit into `mtu`. */
bool frame_offload_valid(const struct frame *frame, uint16_t mtu);

/* Takes the outer 802.1Q tag off; *vlan is its VID, 0 without a tag or with a priority tag. False:
 * no room for an Ethernet header afterwards. Before frame_parse. */
bool frame_untag(struct frame *frame, uint16_t *vlan);
/* Puts a tag in. After everything else: facts and offload no longer hold, but for the latter's
 * offsets. */
void frame_tag(struct frame *frame, uint16_t vlan);

/* Reads a frame from its beginning, bit by bit. Bounded by the frame's bytes. */
struct frame_cursor {
    const struct frame *frame;
    uint32_t header_done;
    unsigned piece;
    uint32_t piece_done;
};
/* Copies the next bytes, fewer at the end; returns how many. */
uint32_t frame_read(struct frame_cursor *cursor, uint8_t *to, uint32_t bytes);

/* Network byte order. */
static inline uint16_t read_be16(const uint8_t *at) {
    return (uint16_t)(at[0] << 8 | at[1]);
}

bool ethernet_is_multicast(const uint8_t address[ETHERNET_ADDRESS_BYTES]); /* broadcast too */
