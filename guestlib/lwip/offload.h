/* Transmit offload for lwIP, which knows neither: TCP checksums are left to the device, and
 * segments of one connection that follow each other are made one long frame, which the device cuts
 * up again (GSO). A segment may itself be longer than a frame (segments.h). Pure functions on
 * headers; no lwIP in here. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/net.h"

/* Ethernet, IPv4 without options or IPv6 without extension headers, TCP with options. */
#define OFFLOAD_HEADER_BYTES_MAX (14u + 40u + 60u)

struct offload_tcp {
    uint8_t header[OFFLOAD_HEADER_BYTES_MAX];
    uint16_t header_bytes;
    uint16_t tcp_at; /* where the TCP header begins */
    bool ipv6;
    bool mergeable; /* carries data and nothing special: no SYN, FIN, RST, URG */
    uint32_t sequence;
    uint32_t payload_bytes;
    uint32_t cut_bytes; /* how much of it one frame can carry */
};

/* Parses the beginning of an outgoing frame of frame_bytes, for a device whose frames carry mtu
 * bytes. False: not TCP, or not in a form that can be offloaded; send it as it is. */
bool offload_parse(const uint8_t *start, size_t start_bytes, size_t frame_bytes, uint16_t mtu,
                   struct offload_tcp *tcp);

/* Whether `next` continues the frame that begins with `first` and has payload_bytes already. All
 * that the device cuts it into but the last must be of the same size. */
bool offload_follows(const struct offload_tcp *first, uint32_t payload_bytes,
                     const struct offload_tcp *next);

/* Completes first->header for a frame with that payload, `last` being the segment it ends with, and
 * says what the device has to do. */
struct bh_net_offload offload_finish(struct offload_tcp *first, uint32_t payload_bytes,
                                     const struct offload_tcp *last);
