/* One Ethernet frame: taking, parsing, tagging, copying. Reads nothing but the private copy of the
 * headers, and never beyond what was copied. RFC 791 (IPv4), 8200 (IPv6), IEEE 802.1Q. */
#include "mgmt/net/frame.h"

#include <string.h>

#define IPV4_HEADER_BYTES 20u
#define IPV4_FRAGMENT_MASK 0x3fffu /* more-fragments and the offset */
#define IPV4_OFFSET_MASK 0x1fffu
#define IPV6_HEADER_BYTES 40u
#define IPV6_OFFSET_MASK 0xfff8u
#define IPV6_MORE 0x0001u
#define ARP_BYTES 28u /* for Ethernet and IPv4, RFC 826 */

#define EXTENSION_HOP_BY_HOP 0u
#define EXTENSION_ROUTING 43u
#define EXTENSION_FRAGMENT 44u
#define EXTENSION_AUTHENTICATION 51u /* RFC 4302: length in units of 4 bytes, less 2 */
#define EXTENSION_DESTINATION 60u
#define EXTENSIONS_MAX 8u /* ours: RFC 8200 knows five, one of them twice */
#define FRAGMENT_HEADER_BYTES 8u

#define TCP_HEADER_BYTES 20u
#define UDP_HEADER_BYTES 8u /* every ICMPv6 message that anybody sends has as many */
#define TCP_CHECKSUM 16u
#define UDP_CHECKSUM 6u
#define GSO_BYTES_MIN 256u /* ours: at most 256 segments come out of a frame */

#define TAG_VID_MASK 0x0fffu

bool ethernet_is_multicast(const uint8_t address[ETHERNET_ADDRESS_BYTES]) {
    return address[0] & 1u;
}

bool frame_take(struct frame *frame, const struct frame_piece *pieces, unsigned count) {
    frame->bytes = 0;
    frame->header_bytes = 0;
    frame->pieces = 0;
    for (unsigned i = 0; i < count; i++) {
        struct frame_piece p = pieces[i];
        if (p.bytes > BH_NET_FRAME_BYTES_MAX - frame->bytes)
            return false;
        frame->bytes += p.bytes;
        uint32_t room = FRAME_HEADER_BYTES - frame->header_bytes;
        uint32_t copied = p.bytes < room ? p.bytes : room;
        memcpy(frame->header + frame->header_bytes, p.data, copied);
        frame->header_bytes += copied;
        if (p.bytes > copied)
            frame->piece[frame->pieces++] = (struct frame_piece){p.data + copied, p.bytes - copied};
    }
    return frame->bytes >= ETHERNET_HEADER_BYTES;
}

static uint16_t transport_header_bytes(uint8_t protocol) {
    switch (protocol) {
    case PROTOCOL_TCP:
        return TCP_HEADER_BYTES;
    case PROTOCOL_UDP:
    case PROTOCOL_ICMPV6:
        return UDP_HEADER_BYTES;
    }
    return 0;
}

/* The transport header has to be there in full where it begins: so nobody hides ports or a message
 * type in a second fragment. */
static bool parse_transport(const struct frame *f, struct frame_facts *facts, uint32_t at,
                            uint32_t end) {
    facts->l4 = (uint16_t)at;
    facts->l4_bytes = end - at;
    uint16_t needed = transport_header_bytes(facts->protocol);
    return facts->l4_bytes >= needed && at + needed <= f->header_bytes;
}

static bool parse_ipv4(const struct frame *f, struct frame_facts *facts) {
    uint32_t at = facts->l3;
    const uint8_t *ip = f->header + at;
    if (f->header_bytes - at < IPV4_HEADER_BYTES || ip[0] >> 4 != 4)
        return false;
    uint32_t header = (ip[0] & 0xfu) * 4u;
    uint32_t total = read_be16(ip + 2);
    if (header < IPV4_HEADER_BYTES || total < header || total > f->bytes - at ||
        header > f->header_bytes - at)
        return false;
    uint16_t fragment = read_be16(ip + 6);
    facts->fragment = fragment & IPV4_FRAGMENT_MASK;
    facts->protocol = ip[9];
    if (fragment & IPV4_OFFSET_MASK)
        return true;
    return parse_transport(f, facts, at + header, at + total);
}

/* Length of an extension header, 0: it is none. */
static uint32_t extension_bytes(uint8_t next, const uint8_t *header) {
    switch (next) {
    case EXTENSION_HOP_BY_HOP:
    case EXTENSION_ROUTING:
    case EXTENSION_DESTINATION:
        return 8u + header[1] * 8u;
    case EXTENSION_FRAGMENT:
        return FRAGMENT_HEADER_BYTES;
    case EXTENSION_AUTHENTICATION:
        return 8u + header[1] * 4u;
    }
    return 0;
}

static bool is_extension(uint8_t next) {
    static const uint8_t none[2];
    return extension_bytes(next, none) != 0;
}

static bool parse_ipv6(const struct frame *f, struct frame_facts *facts) {
    uint32_t at = facts->l3;
    const uint8_t *ip = f->header + at;
    if (f->header_bytes - at < IPV6_HEADER_BYTES || ip[0] >> 4 != 6)
        return false;
    uint32_t payload = read_be16(ip + 4);
    if (payload > f->bytes - at - IPV6_HEADER_BYTES)
        return false;
    uint8_t next = ip[6];
    at += IPV6_HEADER_BYTES;
    uint32_t end = at + payload;
    for (unsigned i = 0; is_extension(next); i++) {
        if (i == EXTENSIONS_MAX || end - at < 8 || f->header_bytes < at + 8)
            return false;
        const uint8_t *header = f->header + at;
        uint32_t bytes = extension_bytes(next, header);
        if (bytes > end - at)
            return false;
        uint8_t kind = next;
        next = header[0];
        at += bytes;
        if (kind != EXTENSION_FRAGMENT)
            continue;
        uint16_t fragment = read_be16(header + 2);
        facts->fragment = fragment & (IPV6_OFFSET_MASK | IPV6_MORE);
        facts->protocol = next;
        if (fragment & IPV6_OFFSET_MASK)
            return true;
    }
    facts->protocol = next;
    return parse_transport(f, facts, at, end);
}

bool frame_parse(struct frame *f) {
    struct frame_facts *facts = &f->facts;
    *facts =
        (struct frame_facts){.ethertype = read_be16(f->header + 12), .l3 = ETHERNET_HEADER_BYTES};
    switch (facts->ethertype) {
    case ETHERTYPE_IPV4:
        return parse_ipv4(f, facts);
    case ETHERTYPE_IPV6:
        return parse_ipv6(f, facts);
    case ETHERTYPE_ARP:
        return f->header_bytes - facts->l3 >= ARP_BYTES;
    }
    return true;
}

static bool checksum_valid(const struct frame *f) {
    const struct frame_facts *facts = &f->facts;
    uint16_t field = facts->protocol == PROTOCOL_TCP ? TCP_CHECKSUM : UDP_CHECKSUM;
    bool known = facts->protocol == PROTOCOL_TCP || facts->protocol == PROTOCOL_UDP;
    return known && facts->l4 != 0 && !facts->fragment && f->offload.checksum_start == facts->l4 &&
           f->offload.checksum_offset == field;
}

static bool gso_valid(const struct frame *f, uint16_t mtu) {
    const struct frame_facts *facts = &f->facts;
    uint16_t ethertype = f->offload.gso_type == BH_NET_GSO_TCP4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6;
    if (facts->ethertype != ethertype || facts->protocol != PROTOCOL_TCP)
        return false;
    uint32_t tcp_header = (f->header[facts->l4 + 12] >> 4) * 4u;
    uint32_t headers = facts->l4 - facts->l3 + tcp_header;
    return tcp_header >= TCP_HEADER_BYTES && tcp_header <= facts->l4_bytes &&
           facts->l4 + tcp_header <= f->header_bytes && f->offload.gso_bytes >= GSO_BYTES_MIN &&
           headers + f->offload.gso_bytes <= mtu;
}

bool frame_offload_valid(const struct frame *f, uint16_t mtu) {
    const struct bh_net_offload *o = &f->offload;
    bool checksum = o->flags & BH_NET_NEEDS_CHECKSUM;
    if (checksum && !checksum_valid(f))
        return false;
    switch (o->gso_type) {
    case BH_NET_GSO_NONE:
        return o->gso_bytes == 0 && f->bytes <= ETHERNET_HEADER_BYTES + (uint32_t)mtu;
    case BH_NET_GSO_TCP4:
    case BH_NET_GSO_TCP6:
        return checksum && gso_valid(f, mtu);
    }
    return false;
}

bool frame_untag(struct frame *f, uint16_t *vlan) {
    *vlan = 0;
    if (read_be16(f->header + 12) != ETHERTYPE_TAG)
        return true;
    if (f->header_bytes < ETHERNET_HEADER_BYTES + FRAME_TAG_BYTES)
        return false;
    *vlan = read_be16(f->header + ETHERNET_HEADER_BYTES) & TAG_VID_MASK;
    uint32_t tag = 2 * ETHERNET_ADDRESS_BYTES;
    memmove(f->header + tag, f->header + tag + FRAME_TAG_BYTES,
            f->header_bytes - tag - FRAME_TAG_BYTES);
    f->header_bytes -= FRAME_TAG_BYTES;
    f->bytes -= FRAME_TAG_BYTES;
    if (f->offload.flags & BH_NET_NEEDS_CHECKSUM)
        f->offload.checksum_start -=
            FRAME_TAG_BYTES; /* a wrap is refused with the rest of nonsense */
    return true;
}

void frame_tag(struct frame *f, uint16_t vlan) {
    uint32_t tag = 2 * ETHERNET_ADDRESS_BYTES;
    memmove(f->header + tag + FRAME_TAG_BYTES, f->header + tag, f->header_bytes - tag);
    f->header[tag] = ETHERTYPE_TAG >> 8;
    f->header[tag + 1] = ETHERTYPE_TAG & 0xffu;
    f->header[tag + 2] = (uint8_t)(vlan >> 8);
    f->header[tag + 3] = (uint8_t)vlan;
    f->header_bytes += FRAME_TAG_BYTES;
    f->bytes += FRAME_TAG_BYTES;
    if (f->offload.flags & BH_NET_NEEDS_CHECKSUM)
        f->offload.checksum_start += FRAME_TAG_BYTES;
}

uint32_t frame_read(struct frame_cursor *c, uint8_t *to, uint32_t bytes) {
    const struct frame *f = c->frame;
    uint32_t rest = f->header_bytes - c->header_done;
    uint32_t done = bytes < rest ? bytes : rest;
    memcpy(to, f->header + c->header_done, done);
    c->header_done += done;
    while (done < bytes && c->piece < f->pieces) {
        const struct frame_piece *p = &f->piece[c->piece];
        uint32_t left = p->bytes - c->piece_done;
        uint32_t now = bytes - done < left ? bytes - done : left;
        memcpy(to + done, p->data + c->piece_done, now);
        done += now;
        c->piece_done += now;
        if (c->piece_done == p->bytes) {
            c->piece++;
            c->piece_done = 0;
        }
    }
    return done;
}
