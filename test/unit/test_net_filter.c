/* What a guest may send, frame by frame: spoofed addresses on every layer, fragments, tags,
 * extension headers, and headers that end too early. */
#include "unit.h"

#include "frames.h"
#include "mgmt/net/filter.h"

static const uint8_t own_mac[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};
static const uint8_t other_mac[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x57};
static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t own_ip[4] = {10, 0, 0, 2};
static const uint8_t other_ip[4] = {10, 0, 0, 3};
static const uint8_t no_ip[16];
static const uint8_t own_ip6[16] = {0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2};
static const uint8_t other_ip6[16] = {0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3};
/* RFC 4291, appendix A, from own_mac. */
static const uint8_t own_local[16] = {0xfe, 0x80, 0,    0,    0,    0,    0,    0,
                                      0x50, 0x54, 0x00, 0xff, 0xfe, 0x12, 0x34, 0x56};
static const uint8_t other_local[16] = {0xfe, 0x80, 0,    0,    0,    0,    0,    0,
                                        0x50, 0x54, 0x00, 0xff, 0xfe, 0x12, 0x34, 0x57};

static struct filter_rules strict, loose;
static struct bytes b;

static int setup(void **state) {
    (void)state;
    memcpy(strict.mac, own_mac, 6);
    memcpy(strict.ipv4, own_ip, 4);
    memcpy(strict.ipv6, own_ip6, 16);
    memcpy(loose.mac, own_mac, 6);
    return 0;
}

/* Whether the frame in `b` gets through; split over pieces of every kind of size. */
static bool passes_split(const struct filter_rules *rules, uint32_t first_bytes) {
    static struct frame f;
    struct frame_piece pieces[2] = {{b.data, first_bytes},
                                    {b.data + first_bytes, b.count - first_bytes}};
    memset(&f, 0, sizeof(f));
    return frame_take(&f, pieces, 2) && frame_parse(&f) && filter_allows(rules, &f);
}

static bool passes(const struct filter_rules *rules) {
    bool result = passes_split(rules, 0);
    for (uint32_t at = 1; at <= b.count; at++)
        assert_int_equal(passes_split(rules, at), result);
    return result;
}

/* Cut anywhere before `needed` bytes, no frame may pass. */
static void no_prefix_passes(const struct filter_rules *rules, uint32_t needed) {
    uint32_t whole = b.count;
    for (b.count = 0; b.count < needed; b.count++)
        assert_false(passes(rules));
    b.count = whole;
}

static void udp4(const uint8_t *mac, const uint8_t *ip, unsigned from, unsigned to) {
    put_ethernet(&b, broadcast, mac, 0x0800);
    put_ipv4(&b, ip, 17, 8 + 32, 0);
    put_udp(&b, from, to, 32);
}

static void ipv4_source_addresses(void **state) {
    (void)state;
    udp4(own_mac, own_ip, 1000, 2000);
    assert_true(passes(&strict));
    assert_true(passes(&loose));
    no_prefix_passes(&strict, b.count);
    udp4(own_mac, other_ip, 1000, 2000);
    assert_false(passes(&strict));
    assert_true(passes(&loose));
    udp4(other_mac, own_ip, 1000, 2000);
    assert_false(passes(&strict));
    assert_false(passes(&loose));
    udp4(broadcast, own_ip, 1000, 2000);
    assert_false(passes(&loose));
}

static void dhcp(void **state) {
    (void)state;
    udp4(own_mac, no_ip, 68, 67); /* a client */
    assert_true(passes(&loose));
    assert_false(passes(&strict));
    udp4(own_mac, own_ip, 67, 68); /* a server */
    assert_false(passes(&strict));
    assert_false(passes(&loose));
    udp4(own_mac, own_ip, 1000, 68);
    assert_false(passes(&loose));
}

static void ipv4_fragments_hide_nothing(void **state) {
    (void)state;
    put_ethernet(&b, broadcast, own_mac, 0x0800); /* the first one, with ports */
    put_ipv4(&b, own_ip, 17, 16, 0x2000);
    put_udp(&b, 67, 68, 8);
    assert_false(passes(&loose));
    put_ethernet(&b, broadcast, own_mac, 0x0800); /* too short to hold the ports */
    put_ipv4(&b, own_ip, 17, 4, 0x2000);
    put_zeroes(&b, 4);
    assert_false(passes(&loose));
    put_ethernet(&b, broadcast, own_mac, 0x0800); /* a later one: its address still counts */
    put_ipv4(&b, other_ip, 17, 8, 0x2001);
    put_zeroes(&b, 8);
    assert_true(passes(&loose));
    assert_false(passes(&strict));
}

static void ipv4_lengths(void **state) {
    (void)state;
    udp4(own_mac, own_ip, 1000, 2000);
    b.data[14] = 0x44; /* header shorter than a header */
    assert_false(passes(&loose));
    b.data[14] = 0x4f; /* longer than the packet */
    b.data[17] = 40;
    assert_false(passes(&loose));
    b.data[14] = 0x65; /* version 6 */
    assert_false(passes(&loose));
    udp4(own_mac, own_ip, 1000, 2000);
    b.data[17] += 1; /* total length beyond the frame */
    assert_false(passes(&loose));
    b.data[17] -= 2; /* padding behind it */
    assert_true(passes(&loose));
}

static void arp(void **state) {
    (void)state;
    put_ethernet(&b, broadcast, own_mac, 0x0806);
    put_arp(&b, 1, own_mac, own_ip);
    assert_true(passes(&strict));
    no_prefix_passes(&loose, b.count);
    put_ethernet(&b, broadcast, own_mac, 0x0806);
    put_arp(&b, 2, own_mac, other_ip);
    assert_false(passes(&strict));
    assert_true(passes(&loose));
    put_ethernet(&b, broadcast, own_mac, 0x0806);
    put_arp(&b, 2, other_mac, own_ip); /* Ethernet source right, ARP sender wrong */
    assert_false(passes(&loose));
    put_ethernet(&b, broadcast, own_mac, 0x0806);
    put_arp(&b, 1, own_mac, no_ip); /* a probe */
    assert_true(passes(&strict));
    put_ethernet(&b, broadcast, own_mac, 0x0806);
    put_arp(&b, 2, own_mac, no_ip); /* no probe */
    assert_false(passes(&strict));
    put_ethernet(&b, broadcast, own_mac, 0x0806);
    put_arp(&b, 1, own_mac, own_ip);
    b.data[18] = 8; /* odd address length */
    assert_false(passes(&loose));
}

static void other_protocols_and_tags(void **state) {
    (void)state;
    static const unsigned types[] = {0x8100, 0x88a8, 0x9100, 0x88cc,
                                     0x8809, 0x0026, 0x8863, 0x86db};
    for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        put_ethernet(&b, broadcast, own_mac, types[i]);
        put16(&b, 7);
        put16(&b, 0x0800);
        put_ipv4(&b, own_ip, 17, 16, 0);
        put_udp(&b, 1, 2, 8);
        assert_false(passes(&loose));
    }
    static const uint8_t bridge_group[6] = {0x01, 0x80, 0xc2, 0, 0, 0x0e};
    udp4(own_mac, own_ip, 1, 2);
    memcpy(b.data, bridge_group, 6);
    assert_false(passes(&loose));
}

static void udp6(const uint8_t *ip, unsigned from, unsigned to) {
    put_ethernet(&b, broadcast, own_mac, 0x86dd);
    put_ipv6(&b, ip, 17, 8 + 8);
    put_udp(&b, from, to, 8);
}

static void ipv6_source_addresses(void **state) {
    (void)state;
    udp6(own_ip6, 1000, 2000);
    assert_true(passes(&strict));
    no_prefix_passes(&strict, b.count);
    udp6(own_local, 546, 547); /* a DHCPv6 client */
    assert_true(passes(&strict));
    udp6(other_local, 1000, 2000);
    assert_false(passes(&strict));
    assert_true(passes(&loose));
    udp6(other_ip6, 1000, 2000);
    assert_false(passes(&strict));
    udp6(no_ip, 1000, 2000);
    assert_false(passes(&strict));
    assert_false(passes(&loose));
    udp6(own_ip6, 547, 546); /* a DHCPv6 server */
    assert_false(passes(&loose));
}

/* A neighbour discovery message of `type` with one link-layer address option. */
static void nd(const uint8_t *from, uint8_t type, const uint8_t *target, uint8_t option,
               const uint8_t *mac) {
    unsigned body = type == 133 ? 8 : 24;
    put_ethernet(&b, broadcast, own_mac, 0x86dd);
    put_ipv6(&b, from, 58, body + (option ? 8 : 0));
    put8(&b, type);
    put_zeroes(&b, 7);
    if (type != 133)
        put(&b, target, 16);
    if (!option)
        return;
    put8(&b, option);
    put8(&b, 1);
    put(&b, mac, 6);
}

static void neighbour_discovery(void **state) {
    (void)state;
    nd(own_ip6, 136, own_ip6, 2, own_mac);
    assert_true(passes(&strict));
    no_prefix_passes(&strict, b.count);
    nd(own_ip6, 136, own_local, 2, own_mac);
    assert_true(passes(&strict));
    nd(own_ip6, 136, other_ip6, 2, own_mac); /* speaks for another */
    assert_false(passes(&strict));
    assert_true(passes(&loose));
    nd(own_ip6, 136, own_ip6, 2, other_mac);
    assert_false(passes(&loose));
    nd(own_ip6, 135, other_ip6, 1, own_mac); /* asks for another */
    assert_true(passes(&strict));
    nd(own_ip6, 135, other_ip6, 1, other_mac);
    assert_false(passes(&loose));
    nd(no_ip, 135, own_ip6, 0, own_mac); /* duplicate address detection */
    assert_true(passes(&strict));
    nd(no_ip, 135, other_ip6, 0, own_mac);
    assert_false(passes(&strict));
    nd(own_local, 133, no_ip, 1, own_mac);
    assert_true(passes(&strict));
    nd(own_local, 134, own_local, 1, own_mac); /* a router, a redirect */
    assert_false(passes(&loose));
    nd(own_local, 137, own_local, 2, own_mac);
    assert_false(passes(&loose));
    nd(own_ip6, 136, own_ip6, 2, own_mac);
    b.data[14 + 40 + 24 + 1] = 0; /* option of length 0 */
    assert_false(passes(&loose));
    b.data[14 + 40 + 24 + 1] = 2; /* beyond the message */
    assert_false(passes(&loose));
}

/* Before the ICMPv6 router advertisement comes a chain of extension headers. */
static void advertisement_behind(const uint8_t *kinds, unsigned count) {
    put_ethernet(&b, broadcast, own_mac, 0x86dd);
    put_ipv6(&b, own_local, kinds[0], count * 8 + 16);
    for (unsigned i = 0; i < count; i++) {
        put8(&b, i + 1 < count ? kinds[i + 1] : 58);
        put_zeroes(&b, 7);
    }
    put8(&b, 134);
    put_zeroes(&b, 15);
}

static void extension_headers_hide_nothing(void **state) {
    (void)state;
    static const uint8_t all[] = {0, 60, 43, 44, 60};
    static const uint8_t many[] = {60, 60, 60, 60, 60, 60, 60, 60, 60};
    for (unsigned first = 0; first < sizeof(all); first++) {
        advertisement_behind(all + first, (unsigned)sizeof(all) - first);
        assert_false(passes(&loose));
    }
    advertisement_behind(all, sizeof(all));
    b.data[14 + 40 + 5 * 8] = 128; /* an echo request instead: the chain as such is fine */
    assert_true(passes(&loose));
    advertisement_behind(many, sizeof(many));
    b.data[14 + 40 + 9 * 8] = 128;
    assert_false(passes(&loose));
    advertisement_behind(all, 1);
    b.data[14 + 40 + 1] = 200; /* a header that is longer than the packet */
    assert_false(passes(&loose));
}

static void ipv6_fragments_hide_nothing(void **state) {
    (void)state;
    static const uint8_t fragment[] = {44};
    advertisement_behind(fragment, 1);
    b.data[14 + 40 + 3] = 1; /* first of several */
    assert_false(passes(&loose));
    b.data[14 + 40 + 8] = 136; /* advertisements in fragments: RFC 6980 */
    assert_false(passes(&loose));
    put_ethernet(&b, broadcast, own_mac, 0x86dd); /* a first fragment that ends before the type */
    put_ipv6(&b, own_local, 44, 8);
    put8(&b, 58);
    put_zeroes(&b, 2);
    put8(&b, 1);
    put_zeroes(&b, 4);
    assert_false(passes(&loose));
    b.data[14 + 40 + 2] = 1; /* a later one */
    assert_true(passes(&loose));
    memcpy(b.data + 14 + 8, other_ip6, 16);
    assert_false(passes(&strict));
}

static void headers_longer_than_the_copy_are_refused(void **state) {
    (void)state;
    put_ethernet(&b, broadcast, own_mac, 0x86dd);
    put_ipv6(&b, own_ip6, 60, 400);
    put8(&b, 17);
    put8(&b, 30); /* 248 bytes: the transport header lies beyond the private copy */
    put_zeroes(&b, 398);
    assert_false(passes(&loose));
}

static bool offload_passes(uint16_t start, uint16_t offset, uint8_t type, uint16_t gso,
                           uint8_t flags) {
    static struct frame f;
    struct frame_piece piece = {b.data, b.count};
    memset(&f, 0, sizeof(f));
    f.offload = (struct bh_net_offload){start, offset, gso, type, flags};
    return frame_take(&f, &piece, 1) && frame_parse(&f) && frame_offload_valid(&f, 1500);
}

static void offload_fields(void **state) {
    (void)state;
    put_ethernet(&b, broadcast, own_mac, 0x0800);
    put_ipv4(&b, own_ip, 6, 20 + 1800, 0);
    put_tcp(&b, 1800);
    assert_true(offload_passes(34, 16, BH_NET_GSO_TCP4, 1460, 1));
    assert_false(offload_passes(34, 16, BH_NET_GSO_NONE, 0, 1)); /* longer than the MTU */
    assert_false(offload_passes(34, 16, BH_NET_GSO_TCP4, 1461, 1));
    assert_false(offload_passes(34, 16, BH_NET_GSO_TCP4, 0, 1));
    assert_false(offload_passes(34, 16, BH_NET_GSO_TCP4, 1, 1));
    assert_false(offload_passes(34, 16, BH_NET_GSO_TCP4, 1460, 0)); /* needs the checksum */
    assert_false(offload_passes(34, 16, BH_NET_GSO_TCP6, 1440, 1));
    assert_false(offload_passes(34, 16, 3, 1460, 1));
    b.data[14 + 20 + 12] = 0xf0; /* TCP options up to 60 bytes */
    assert_false(offload_passes(34, 16, BH_NET_GSO_TCP4, 1460, 1));
    assert_true(offload_passes(34, 16, BH_NET_GSO_TCP4, 1420, 1));
    b.data[14 + 20 + 12] = 0x40; /* shorter than a TCP header */
    assert_false(offload_passes(34, 16, BH_NET_GSO_TCP4, 1420, 1));
    udp4(own_mac, own_ip, 1, 2);
    assert_true(offload_passes(34, 6, BH_NET_GSO_NONE, 0, 1));
    assert_true(offload_passes(0, 0, BH_NET_GSO_NONE, 0, 0));
    assert_false(offload_passes(34, 16, BH_NET_GSO_NONE, 0, 1));
    assert_false(offload_passes(33, 6, BH_NET_GSO_NONE, 0, 1));
    assert_false(offload_passes(65535, 65535, BH_NET_GSO_NONE, 0, 1));
    assert_false(offload_passes(34, 6, BH_NET_GSO_NONE, 100, 1));
    b.data[20] = 0x20; /* a fragment's checksum is not in the fragment */
    assert_false(offload_passes(34, 6, BH_NET_GSO_NONE, 0, 1));
}

static void tags_go_on_and_off(void **state) {
    (void)state;
    static struct frame f;
    uint8_t out[2048];
    uint16_t vlan;
    for (uint32_t payload = 32; payload < 600; payload += 189) {
        put_ethernet(&b, broadcast, own_mac, 0x0800);
        put_ipv4(&b, own_ip, 17, 8 + payload, 0);
        put_udp(&b, 1, 2, payload);
        struct frame_piece piece = {b.data, b.count};
        f.offload = (struct bh_net_offload){.flags = 1, .checksum_start = 34, .checksum_offset = 6};
        assert_true(frame_take(&f, &piece, 1));
        frame_tag(&f, 0x123);
        assert_int_equal(f.offload.checksum_start, 38);
        struct frame_cursor cursor = {.frame = &f};
        assert_int_equal(frame_read(&cursor, out, sizeof(out)), b.count + 4);
        assert_memory_equal(out + 12, "\x81\x00\x01\x23\x08\x00", 6);
        assert_memory_equal(out + 16, b.data + 12, b.count - 12);
        struct frame_piece tagged = {out, b.count + 4};
        assert_true(frame_take(&f, &tagged, 1));
        assert_true(frame_untag(&f, &vlan));
        assert_int_equal(vlan, 0x123);
        assert_true(frame_parse(&f) && frame_offload_valid(&f, 1500));
        uint8_t again[2048];
        cursor = (struct frame_cursor){.frame = &f};
        assert_int_equal(frame_read(&cursor, again, sizeof(again)), b.count);
        assert_memory_equal(again, b.data, b.count);
    }
    struct frame_piece stub = {out, 17}; /* no room for what follows a tag */
    assert_true(frame_take(&f, &stub, 1));
    assert_false(frame_untag(&f, &vlan));
}

static void frames_of_any_length(void **state) {
    (void)state;
    static struct frame f;
    static uint8_t big[70000];
    struct frame_piece pieces[3] = {{big, 13}, {big, 0}, {big, 1}};
    assert_false(frame_take(&f, pieces, 0));
    assert_false(frame_take(&f, pieces, 2));
    assert_true(frame_take(&f, pieces, 3));
    pieces[1].bytes = BH_NET_FRAME_BYTES_MAX - 14;
    assert_true(frame_take(&f, pieces, 3));
    pieces[1].bytes++;
    assert_false(frame_take(&f, pieces, 3));
    pieces[1].bytes = ~0u;
    assert_false(frame_take(&f, pieces, 3));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ipv4_source_addresses),
        cmocka_unit_test(dhcp),
        cmocka_unit_test(ipv4_fragments_hide_nothing),
        cmocka_unit_test(ipv4_lengths),
        cmocka_unit_test(arp),
        cmocka_unit_test(other_protocols_and_tags),
        cmocka_unit_test(ipv6_source_addresses),
        cmocka_unit_test(neighbour_discovery),
        cmocka_unit_test(extension_headers_hide_nothing),
        cmocka_unit_test(ipv6_fragments_hide_nothing),
        cmocka_unit_test(headers_longer_than_the_copy_are_refused),
        cmocka_unit_test(offload_fields),
        cmocka_unit_test(tags_go_on_and_off),
        cmocka_unit_test(frames_of_any_length),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
