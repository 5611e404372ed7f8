/* Class net. Version 1. A frame starts with the Ethernet header and has no FCS. */
#pragma once

#include <stdint.h>

enum bh_net_operation {
    BH_NET_TRANSMIT = 0, /* segments: one frame; argument: struct bh_net_offload as 64 bits */
    BH_NET_RECEIVE = 1,  /* one segment: an empty buffer; completes when it has been filled */
};

#define BH_NET_GSO_NONE 0u
#define BH_NET_GSO_TCP4 1u
#define BH_NET_GSO_TCP6 4u

#define BH_NET_NEEDS_CHECKSUM 0x1u /* the 16 bits at start + offset are to be completed */
#define BH_NET_CHECKSUM_GOOD 0x2u  /* receive only: transport checksum known to be right */

/* Request argument (transmit), completion value's upper half (receive, GSO left whole). */
struct bh_net_offload {
    uint16_t checksum_start;  /* from the frame's first byte */
    uint16_t checksum_offset; /* from checksum_start */
    uint16_t gso_bytes;       /* payload bytes of one resulting segment; 0 with GSO_NONE */
    uint8_t gso_type;
    uint8_t flags;
};

/* Transmit completion. OK, value = bytes: sent, or lost on the way as on any network (rate limit,
 * no buffers at the receiver). BAD_ARG: not a frame, or offload fields that do not fit it or were
 * not offered. BAD_RIGHTS: not a frame that this device may send (addresses, protocol). */

/* Receive completion. status OK; flags: BH_NET_*; value: bytes stored in this buffer in bits 0..31,
 * gso_bytes in 32..47, gso_type in 48..55, in bits 56..63 how many further buffers (completions
 * that follow at once) continue the same frame. With BH_NET_NEEDS_CHECKSUM the transport checksum
 * field holds the pseudo-header sum and the frame came from a guest of this host. */

#define BH_NET_FRAME_BYTES_MAX 65550u /* 64 KiB of IP and an Ethernet header with VLAN tag */

struct bh_net_info {
    uint8_t mac[6];
    uint16_t mtu;
    uint32_t features;     /* BH_NET_FEATURE_* */
    uint32_t ipv4_address; /* network byte order; 0: none given, use DHCP */
    uint32_t ipv4_gateway;
    uint8_t ipv4_prefix;
    uint8_t ipv6_prefix;
    uint8_t reserved[6];
    uint8_t ipv6_address[16]; /* all zero: none given */
};
#define BH_NET_FEATURE_CHECKSUM 0x1u
#define BH_NET_FEATURE_GSO 0x2u

_Static_assert(sizeof(struct bh_net_offload) == 8, "layout");
_Static_assert(sizeof(struct bh_net_info) == 44, "layout");
