/* See offload.h. Field positions: RFC 791 (IPv4), RFC 8200 (IPv6), RFC 9293 (TCP). */
#include "guestlib/lwip/offload.h"

#include <string.h>

#define ETHERNET_BYTES 14u
#define IPV4_BYTES 20u
#define IPV6_BYTES 40u
#define TCP_BYTES_MIN 20u
#define PROTOCOL_TCP 6u

enum { IPV4_LENGTH = 2, IPV4_ID = 4, IPV4_FRAGMENT = 6, IPV4_PROTOCOL = 9, IPV4_CHECKSUM = 10 };
enum { IPV4_SOURCE = 12, IPV6_LENGTH = 4, IPV6_NEXT = 6, IPV6_SOURCE = 8 };
enum { TCP_SEQUENCE = 4, TCP_OFFSET = 12, TCP_FLAGS = 13, TCP_CHECKSUM = 16 };

#define FLAG_PSH 0x08u
#define FLAG_ACK 0x10u

static uint16_t get16(const uint8_t *at) {
    return (uint16_t)(at[0] << 8 | at[1]);
}

static void put16(uint8_t *at, uint32_t value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static uint32_t sum16(const uint8_t *at, size_t bytes, uint32_t sum) {
    for (size_t i = 0; i < bytes; i += 2)
        sum += get16(at + i);
    return sum;
}

static uint16_t fold(uint32_t sum) {
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

static bool parse_ip(const uint8_t *ip, uint16_t ether_type, struct offload_tcp *tcp,
                     uint32_t *ip_payload) {
    tcp->ipv6 = ether_type == 0x86dd;
    if (tcp->ipv6) {
        tcp->tcp_at = ETHERNET_BYTES + IPV6_BYTES;
        *ip_payload = get16(ip + IPV6_LENGTH);
        return ip[IPV6_NEXT] == PROTOCOL_TCP;
    }
    tcp->tcp_at = ETHERNET_BYTES + IPV4_BYTES;
    *ip_payload = (uint32_t)get16(ip + IPV4_LENGTH) - IPV4_BYTES;
    bool fragment = (get16(ip + IPV4_FRAGMENT) & 0x3fff) != 0;
    return ether_type == 0x0800 && ip[0] == 0x45 && ip[IPV4_PROTOCOL] == PROTOCOL_TCP && !fragment;
}

static uint32_t min(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

bool offload_parse(const uint8_t *start, size_t start_bytes, size_t frame_bytes, uint16_t mtu,
                   struct offload_tcp *tcp) {
    uint32_t ip_payload;
    if (start_bytes < ETHERNET_BYTES + IPV6_BYTES ||
        !parse_ip(start + ETHERNET_BYTES, get16(start + 12), tcp, &ip_payload) ||
        start_bytes < tcp->tcp_at + TCP_BYTES_MIN)
        return false;
    const uint8_t *header = start + tcp->tcp_at;
    uint32_t tcp_bytes = (header[TCP_OFFSET] >> 4) * 4u;
    tcp->header_bytes = (uint16_t)(tcp->tcp_at + tcp_bytes);
    if (tcp_bytes < TCP_BYTES_MIN || tcp->header_bytes > start_bytes || ip_payload < tcp_bytes ||
        tcp->tcp_at + ip_payload != frame_bytes || tcp->header_bytes >= ETHERNET_BYTES + mtu)
        return false;
    memcpy(tcp->header, start, tcp->header_bytes);
    tcp->payload_bytes = ip_payload - tcp_bytes;
    tcp->cut_bytes = min(tcp->payload_bytes, ETHERNET_BYTES + mtu - tcp->header_bytes);
    tcp->sequence = (uint32_t)get16(header + TCP_SEQUENCE) << 16 | get16(header + TCP_SEQUENCE + 2);
    tcp->mergeable = tcp->payload_bytes > 0 && (header[TCP_FLAGS] & ~(FLAG_PSH | FLAG_ACK)) == 0;
    return true;
}

/* The header without what may differ between segments that one long frame replaces. */
static void blank(const struct offload_tcp *tcp, uint8_t *header) {
    memcpy(header, tcp->header, tcp->header_bytes);
    uint8_t *ip = header + ETHERNET_BYTES, *own = header + tcp->tcp_at;
    if (tcp->ipv6) {
        put16(ip + IPV6_LENGTH, 0);
    } else {
        put16(ip + IPV4_LENGTH, 0);
        put16(ip + IPV4_ID, 0);
        put16(ip + IPV4_CHECKSUM, 0);
    }
    memset(own + TCP_SEQUENCE, 0, 4);
    own[TCP_FLAGS] &= (uint8_t)~FLAG_PSH;
    put16(own + TCP_CHECKSUM, 0);
}

bool offload_follows(const struct offload_tcp *first, uint32_t payload_bytes,
                     const struct offload_tcp *next) {
    if (!first->mergeable || !next->mergeable || first->header_bytes != next->header_bytes ||
        payload_bytes % first->cut_bytes != 0 || next->cut_bytes > first->cut_bytes ||
        next->sequence != first->sequence + payload_bytes)
        return false;
    uint8_t a[OFFLOAD_HEADER_BYTES_MAX], b[OFFLOAD_HEADER_BYTES_MAX];
    blank(first, a);
    blank(next, b);
    return memcmp(a, b, first->header_bytes) == 0;
}

struct bh_net_offload offload_finish(struct offload_tcp *first, uint32_t payload_bytes,
                                     const struct offload_tcp *last) {
    uint8_t *ip = first->header + ETHERNET_BYTES, *own = first->header + first->tcp_at;
    uint32_t tcp_bytes = first->header_bytes - first->tcp_at + payload_bytes;
    uint32_t sum = PROTOCOL_TCP + tcp_bytes;
    if (first->ipv6) {
        put16(ip + IPV6_LENGTH, tcp_bytes);
        sum = sum16(ip + IPV6_SOURCE, 32, sum);
    } else {
        put16(ip + IPV4_LENGTH, IPV4_BYTES + tcp_bytes);
        put16(ip + IPV4_CHECKSUM, 0);
        put16(ip + IPV4_CHECKSUM, (uint16_t)~fold(sum16(ip, IPV4_BYTES, 0)));
        sum = sum16(ip + IPV4_SOURCE, 8, sum);
    }
    own[TCP_FLAGS] |= last->header[last->tcp_at + TCP_FLAGS] & FLAG_PSH;
    put16(own + TCP_CHECKSUM, fold(sum)); /* of the pseudo-header; the device adds the rest */
    bool several = payload_bytes > first->cut_bytes;
    uint8_t gso_type = first->ipv6 ? BH_NET_GSO_TCP6 : BH_NET_GSO_TCP4;
    return (struct bh_net_offload){
        .checksum_start = first->tcp_at,
        .checksum_offset = TCP_CHECKSUM,
        .gso_bytes = several ? (uint16_t)first->cut_bytes : 0,
        .gso_type = several ? gso_type : BH_NET_GSO_NONE,
        .flags = BH_NET_NEEDS_CHECKSUM,
    };
}
