/* See net_header.h. A frame that waits for its checksum came from another guest of this host, and
 * the queue pair does not say where the checksum stands: the headers do. */
#include "mgmt/vmm/virtio/net_header.h"

#include <string.h>

#define TCP_CHECKSUM 16u /* RFC 9293, 3.1 */
#define TCP_DATA_OFFSET 12u
#define TCP_HEADER_BYTES 20u
#define UDP_CHECKSUM 6u /* RFC 768 */
#define UDP_HEADER_BYTES 8u
#define SUM_BYTES 256u /* at a time; even */

/* Where the checksum stands in its header; 0: not one that can be completed. */
static uint16_t checksum_offset(const struct frame *f) {
    bool tcp = f->facts.protocol == PROTOCOL_TCP;
    uint32_t least = tcp ? TCP_HEADER_BYTES : UDP_HEADER_BYTES;
    if (f->facts.l4 == 0 || f->facts.fragment || f->facts.l4_bytes < least ||
        f->facts.l4 + least > f->header_bytes || f->facts.l4 + f->facts.l4_bytes > f->bytes)
        return 0;
    return tcp ? TCP_CHECKSUM : f->facts.protocol == PROTOCOL_UDP ? UDP_CHECKSUM : 0;
}

/* RFC 1071. The sum of the pseudo header stands in the field. */
static void complete_checksum(struct frame *f, const struct net_frame *frame, uint16_t offset) {
    uint64_t sum = 0;
    uint32_t at = f->facts.l4, end = at + f->facts.l4_bytes;
    while (at < end) {
        uint8_t bytes[SUM_BYTES];
        uint32_t count = end - at < SUM_BYTES ? end - at : SUM_BYTES;
        net_frame_read(frame, at, bytes, count);
        if (count % 2)
            bytes[count] = 0; /* SUM_BYTES is even: there is room */
        for (uint32_t i = 0; i < count; i += 2)
            sum += read_be16(bytes + i);
        at += count;
    }
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    uint16_t checksum = (uint16_t)~sum;
    if (checksum == 0 && f->facts.protocol == PROTOCOL_UDP)
        checksum = 0xffff; /* 0 would say that there is none */
    uint8_t *field = f->header + f->facts.l4 + offset;
    field[0] = (uint8_t)(checksum >> 8);
    field[1] = (uint8_t)checksum;
}

static bool make_checksum(struct net_start *s, const struct net_frame *frame, uint64_t features) {
    uint16_t offset = frame_parse(&s->frame) ? checksum_offset(&s->frame) : 0;
    if (offset == 0)
        return false;
    if (!(features & VIRTIO_NET_F_GUEST_CSUM)) {
        complete_checksum(&s->frame, frame, offset);
        return true;
    }
    s->header.flags = VIRTIO_NET_HDR_NEEDS_CSUM;
    s->header.checksum_start = s->frame.facts.l4;
    s->header.checksum_offset = offset;
    return true;
}

/* A long frame that the driver has to take whole, as it says it can. */
static bool make_gso(struct net_start *s, const struct net_frame *frame, uint64_t features) {
    uint64_t needed = frame->gso_type == BH_NET_GSO_TCP4   ? VIRTIO_NET_F_GUEST_TSO4
                      : frame->gso_type == BH_NET_GSO_TCP6 ? VIRTIO_NET_F_GUEST_TSO6
                                                           : 0;
    if (!(features & needed) || !(s->header.flags & VIRTIO_NET_HDR_NEEDS_CSUM) ||
        s->header.checksum_offset != TCP_CHECKSUM)
        return false;
    uint32_t l4 = s->header.checksum_start;
    s->header.gso_type = frame->gso_type;
    s->header.gso_bytes = frame->gso_bytes;
    s->header.header_bytes = (uint16_t)(l4 + (s->frame.header[l4 + TCP_DATA_OFFSET] >> 4) * 4u);
    return true;
}

bool net_start_make(struct net_start *s, const struct net_frame *frame, uint64_t features) {
    uint8_t start[FRAME_HEADER_BYTES];
    s->bytes = frame->bytes < sizeof(start) ? (uint32_t)frame->bytes : (uint32_t)sizeof(start);
    if (frame->bytes > BH_NET_FRAME_BYTES_MAX)
        return false;
    net_frame_read(frame, 0, start, s->bytes);
    s->header = (struct virtio_net_header){.buffers = 1};
    s->frame.offload = (struct bh_net_offload){0};
    /* What follows the copied beginning is not looked at by way of the piece. */
    struct frame_piece piece = {start, (uint32_t)frame->bytes};
    if (!frame_take(&s->frame, &piece, 1))
        return false;
    if (frame->flags & BH_NET_NEEDS_CHECKSUM) {
        if (!make_checksum(s, frame, features))
            return false;
    } else if (frame->flags & BH_NET_CHECKSUM_GOOD && features & VIRTIO_NET_F_GUEST_CSUM) {
        s->header.flags = VIRTIO_NET_HDR_DATA_VALID;
    }
    return frame->gso_type == BH_NET_GSO_NONE || make_gso(s, frame, features);
}

uint32_t net_start_flow(struct net_start *s) {
    struct frame *f = &s->frame;
    bool parsed = frame_parse(f);
    const struct frame_facts *facts = &f->facts;
    if (!parsed || facts->l4 == 0 || facts->fragment || facts->l4 + 4u > f->header_bytes ||
        (facts->protocol != PROTOCOL_TCP && facts->protocol != PROTOCOL_UDP))
        return 0;
    return (uint32_t)read_be16(f->header + facts->l4) + read_be16(f->header + facts->l4 + 2);
}
