/* What a guest may send. Let through: IPv4, ARP and IPv6 with the port's own MAC address, and if
 * the port was given IP addresses, with those only. Never: another MAC address, anything that poses
 * as a DHCP server or a router, tags, other protocols (so no spanning tree, no pause frames).
 *
 * Addresses inside ARP and neighbour discovery are held to the same rules, or a neighbour's cache
 * could be turned against him. RFC 826, 5227 (ARP), 4861, 4862 (neighbour discovery), 6980 (its
 * fragments). */
#include "mgmt/net/filter.h"

#include <string.h>

#define ARP_HARDWARE 0u
#define ARP_PROTOCOL 2u
#define ARP_LENGTHS 4u
#define ARP_OPERATION 6u
#define ARP_SENDER_MAC 8u
#define ARP_SENDER_IP 14u
#define ARP_REQUEST 1u
#define ARP_ETHERNET 1u
#define ARP_LENGTHS_ETHERNET_IPV4 0x0604u

#define IPV4_SOURCE 12u
#define IPV6_SOURCE 8u

#define PORT_DHCP_SERVER 67u
#define PORT_DHCP_CLIENT 68u
#define PORT_DHCP6_CLIENT 546u
#define PORT_DHCP6_SERVER 547u

#define ICMPV6_ROUTER_SOLICITATION 133u
#define ICMPV6_ROUTER_ADVERTISEMENT 134u
#define ICMPV6_NEIGHBOUR_SOLICITATION 135u
#define ICMPV6_NEIGHBOUR_ADVERTISEMENT 136u
#define ICMPV6_REDIRECT 137u
#define ICMPV6_MLD_REPORT 131u
#define ICMPV6_MLD_DONE 132u
#define ICMPV6_MLD2_REPORT 143u

#define ND_TARGET 8u /* in NS and NA */
#define ND_OPTIONS_RS 8u
#define ND_OPTIONS_NEIGHBOUR 24u
#define ND_OPTION_SOURCE_ADDRESS 1u
#define ND_OPTION_TARGET_ADDRESS 2u

static const uint8_t unspecified[16];

/* IEEE 802.1Q, table 8-1: link-local group addresses, never forwarded by a bridge. */
static bool is_bridge_group(const uint8_t *address) {
    static const uint8_t group[5] = {0x01, 0x80, 0xc2, 0x00, 0x00};
    return memcmp(address, group, sizeof(group)) == 0 && address[5] <= 0x0f;
}

bool filter_carries(const struct frame *f) {
    uint16_t type = f->facts.ethertype;
    bool known = type == ETHERTYPE_IPV4 || type == ETHERTYPE_ARP || type == ETHERTYPE_IPV6;
    return known && !is_bridge_group(f->header);
}

static bool ipv4_may_be(const struct filter_rules *rules, const uint8_t *address) {
    return memcmp(rules->ipv4, unspecified, 4) == 0 || memcmp(rules->ipv4, address, 4) == 0;
}

/* RFC 4291, appendix A: fe80::/64 and the interface identifier made from the MAC address. Another
 * link-local address could be a neighbour's. */
static bool is_own_link_local(const struct filter_rules *rules, const uint8_t *address) {
    const uint8_t *m = rules->mac;
    const uint8_t own[16] = {0xfe, 0x80, 0,    0,    0,    0,    0,   0, (uint8_t)(m[0] ^ 2u),
                             m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]};
    return memcmp(own, address, sizeof(own)) == 0;
}

static bool ipv6_may_be(const struct filter_rules *rules, const uint8_t *address) {
    return memcmp(rules->ipv6, unspecified, 16) == 0 || memcmp(rules->ipv6, address, 16) == 0 ||
           is_own_link_local(rules, address);
}

static bool allows_arp(const struct filter_rules *rules, const uint8_t *arp) {
    if (read_be16(arp + ARP_HARDWARE) != ARP_ETHERNET ||
        read_be16(arp + ARP_PROTOCOL) != ETHERTYPE_IPV4 ||
        read_be16(arp + ARP_LENGTHS) != ARP_LENGTHS_ETHERNET_IPV4)
        return false;
    if (memcmp(arp + ARP_SENDER_MAC, rules->mac, ETHERNET_ADDRESS_BYTES) != 0)
        return false;
    /* RFC 5227, 2.1.1: a probe names no sender address, so it fills no cache. */
    bool probe = read_be16(arp + ARP_OPERATION) == ARP_REQUEST &&
                 memcmp(arp + ARP_SENDER_IP, unspecified, 4) == 0;
    return probe || ipv4_may_be(rules, arp + ARP_SENDER_IP);
}

/* By either port: many clients look at their own only. Parsing saw to it that ports and ICMPv6
 * types are there where a transport header begins. */
static bool poses_as_server(const struct frame *f) {
    const struct frame_facts *facts = &f->facts;
    if (facts->l4 == 0 || facts->protocol != PROTOCOL_UDP)
        return false;
    uint16_t from = read_be16(f->header + facts->l4);
    uint16_t to = read_be16(f->header + facts->l4 + 2);
    if (facts->ethertype == ETHERTYPE_IPV4)
        return from == PORT_DHCP_SERVER || to == PORT_DHCP_CLIENT;
    return from == PORT_DHCP6_SERVER || to == PORT_DHCP6_CLIENT;
}

static bool allows_ipv4(const struct filter_rules *rules, const struct frame *f) {
    return ipv4_may_be(rules, f->header + f->facts.l3 + IPV4_SOURCE) && !poses_as_server(f);
}

/* The link-layer addresses in a message's options must be the sender's own. */
static bool nd_options_honest(const struct filter_rules *rules, const uint8_t *option,
                              uint32_t bytes) {
    while (bytes) {
        uint32_t length = bytes >= 2 ? option[1] * 8u : 0;
        if (length == 0 || length > bytes) /* RFC 4861, 4.6: such a message is to be discarded */
            return false;
        bool address =
            option[0] == ND_OPTION_SOURCE_ADDRESS || option[0] == ND_OPTION_TARGET_ADDRESS;
        if (address && memcmp(option + 2, rules->mac, ETHERNET_ADDRESS_BYTES) != 0)
            return false;
        option += length;
        bytes -= length;
    }
    return true;
}

static bool allows_nd(const struct filter_rules *rules, const struct frame *f, bool from_nobody) {
    const struct frame_facts *facts = &f->facts;
    const uint8_t *message = f->header + facts->l4;
    uint8_t type = message[0];
    uint32_t options = type == ICMPV6_ROUTER_SOLICITATION ? ND_OPTIONS_RS : ND_OPTIONS_NEIGHBOUR;
    if (facts->fragment || facts->l4_bytes < options ||
        facts->l4 + facts->l4_bytes > f->header_bytes)
        return false;
    /* An advertisement speaks for its target; a solicitation from nobody claims it (RFC 4862, 5.4).
     */
    bool claims = type == ICMPV6_NEIGHBOUR_ADVERTISEMENT ||
                  (type == ICMPV6_NEIGHBOUR_SOLICITATION && from_nobody);
    if (claims && !ipv6_may_be(rules, message + ND_TARGET))
        return false;
    return nd_options_honest(rules, message + options, facts->l4_bytes - options);
}

static bool allows_icmpv6(const struct filter_rules *rules, const struct frame *f,
                          bool from_nobody) {
    switch (f->header[f->facts.l4]) {
    case ICMPV6_ROUTER_ADVERTISEMENT:
    case ICMPV6_REDIRECT:
        return false;
    case ICMPV6_ROUTER_SOLICITATION:
    case ICMPV6_NEIGHBOUR_SOLICITATION:
    case ICMPV6_NEIGHBOUR_ADVERTISEMENT:
        return allows_nd(rules, f, from_nobody);
    case ICMPV6_MLD_REPORT:
    case ICMPV6_MLD_DONE:
    case ICMPV6_MLD2_REPORT:
        return true;
    }
    return !from_nobody;
}

static bool allows_ipv6(const struct filter_rules *rules, const struct frame *f) {
    const struct frame_facts *facts = &f->facts;
    const uint8_t *source = f->header + facts->l3 + IPV6_SOURCE;
    bool from_nobody = memcmp(source, unspecified, 16) == 0;
    if (!from_nobody && !ipv6_may_be(rules, source))
        return false;
    if (facts->protocol == PROTOCOL_ICMPV6 && facts->l4 != 0)
        return allows_icmpv6(rules, f, from_nobody);
    return !from_nobody && !poses_as_server(f);
}

bool filter_allows(const struct filter_rules *rules, const struct frame *f) {
    const uint8_t *source = f->header + ETHERNET_ADDRESS_BYTES;
    if (!filter_carries(f) || memcmp(source, rules->mac, ETHERNET_ADDRESS_BYTES) != 0)
        return false;
    switch (f->facts.ethertype) {
    case ETHERTYPE_ARP:
        return allows_arp(rules, f->header + f->facts.l3);
    case ETHERTYPE_IPV4:
        return allows_ipv4(rules, f);
    case ETHERTYPE_IPV6:
        return allows_ipv6(rules, f);
    }
    return false;
}
