/* Transmit offload: which segments become one frame, and what its header says. And the keyed hash.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "guestlib/lwip/offload.h"
#include "guestlib/random.h"

#define MSS 1000u
#define MTU 1500u

static const uint8_t ipv4[] = {
    2,    0,  0,    0,    0,  1, 2,    0, 0,  0, 0,    2,    0x08, 0x00, /* Ethernet */
    0x45, 0,  0,    0,    0,  9, 0x40, 0, 64, 6, 0xaa, 0xbb,             /* IPv4, wrong checksum */
    10,   0,  2,    15,   10, 0, 2,    2,                                /* addresses */
    0,    80, 0x12, 0x34, 0,  0, 0,    0, 0,  0, 0,    7,    0x50, 0x10, 1, 0, /* TCP, ACK */
    0,    0,  0,    0,
};
static const uint8_t ipv6[] = {
    2,    0,    0, 0, 0, 1, 2, 0,  0,    0,    0, 2, 0x86, 0xdd, /* Ethernet */
    0x60, 0,    0, 0, 0, 0, 6, 64,                               /* IPv6 */
    0xfe, 0x80, 0, 0, 0, 0, 0, 0,  0,    0,    0, 0, 0,    0,    0, 1,  0xfe, 0x80,
    0,    0,    0, 0, 0, 0, 0, 0,  0,    0,    0, 0, 0,    2,    0, 80, 0x12, 0x34,
    0,    0,    0, 0, 0, 0, 0, 7,  0x50, 0x10, 1, 0, 0,    0,    0, 0,
};

struct form {
    const uint8_t *header;
    size_t bytes, tcp_at;
    uint8_t gso_type;
};
static const struct form forms[] = {
    {ipv4, sizeof ipv4, 34, BH_NET_GSO_TCP4},
    {ipv6, sizeof ipv6, 54, BH_NET_GSO_TCP6},
};

static uint8_t frame[128];

/* The header of a segment with `payload` bytes at `sequence`. */
static void build(const struct form *form, uint32_t sequence, uint32_t payload, uint8_t flags) {
    size_t ip_bytes = form->bytes - 14 + payload;
    memcpy(frame, form->header, form->bytes);
    if (form->gso_type == BH_NET_GSO_TCP4) {
        frame[16] = (uint8_t)(ip_bytes >> 8);
        frame[17] = (uint8_t)ip_bytes;
        frame[18] = (uint8_t)sequence; /* identification differs */
    } else {
        frame[18] = (uint8_t)((ip_bytes - 40) >> 8);
        frame[19] = (uint8_t)(ip_bytes - 40);
    }
    for (unsigned i = 0; i < 4; i++)
        frame[form->tcp_at + 4 + i] = (uint8_t)(sequence >> (24 - 8 * i));
    frame[form->tcp_at + 13] = flags;
}

static struct offload_tcp parse(const struct form *form, uint32_t sequence, uint32_t payload,
                                uint8_t flags) {
    struct offload_tcp tcp;
    build(form, sequence, payload, flags);
    assert_true(offload_parse(frame, form->bytes, form->bytes + payload, MTU, &tcp));
    assert_int_equal(tcp.payload_bytes, payload);
    assert_int_equal(tcp.sequence, sequence);
    assert_int_equal(tcp.header_bytes, form->bytes);
    return tcp;
}

static uint32_t sum(const uint8_t *at, size_t bytes) {
    uint32_t total = 0;
    for (size_t i = 0; i < bytes; i += 2)
        total += (uint32_t)(at[i] << 8 | at[i + 1]);
    while (total >> 16)
        total = (total & 0xffff) + (total >> 16);
    return total;
}

static void merges_segments_that_follow(void **state) {
    (void)state;
    for (size_t f = 0; f < 2; f++) {
        const struct form *form = &forms[f];
        uint32_t start = UINT32_MAX - 500; /* sequence numbers wrap */
        struct offload_tcp first = parse(form, start, MSS, 0x10);
        struct offload_tcp next = parse(form, start + MSS, MSS, 0x10);
        struct offload_tcp last = parse(form, start + 2 * MSS, 300, 0x18);
        assert_true(offload_follows(&first, MSS, &next));
        assert_true(offload_follows(&first, 2 * MSS, &last));
        struct bh_net_offload offload = offload_finish(&first, 2 * MSS + 300, &last);
        assert_int_equal(offload.gso_type, form->gso_type);
        assert_int_equal(offload.gso_bytes, MSS);
        assert_int_equal(offload.checksum_start, form->tcp_at);
        assert_int_equal(offload.checksum_offset, 16);
        assert_int_equal(offload.flags, BH_NET_NEEDS_CHECKSUM);
        assert_int_equal(first.header[form->tcp_at + 13], 0x18); /* PSH of the last one */
        uint32_t tcp_bytes = 20 + 2 * MSS + 300;
        uint8_t pseudo[36] = {0};
        if (f == 0) {
            assert_int_equal(first.header[16] << 8 | first.header[17], 20 + tcp_bytes);
            assert_int_equal(sum(first.header + 14, 20), 0xffff); /* a right IPv4 checksum */
            memcpy(pseudo, first.header + 26, 8);
        } else {
            assert_int_equal(first.header[18] << 8 | first.header[19], tcp_bytes);
            memcpy(pseudo, first.header + 22, 32);
        }
        pseudo[33] = 6;
        pseudo[34] = (uint8_t)(tcp_bytes >> 8);
        pseudo[35] = (uint8_t)tcp_bytes;
        assert_int_equal(first.header[form->tcp_at + 16] << 8 | first.header[form->tcp_at + 17],
                         sum(pseudo, sizeof pseudo));
    }
}

/* Segments of several frames: the device cuts each frame as long as the link allows. */
static void has_long_segments_cut(void **state) {
    (void)state;
    for (size_t f = 0; f < 2; f++) {
        const struct form *form = &forms[f];
        uint32_t full = MTU + 14 - (uint32_t)form->bytes;
        struct offload_tcp first = parse(form, 0, 16 * full, 0x10);
        assert_int_equal(first.cut_bytes, full);
        struct offload_tcp last = parse(form, 16 * full, 2 * full + 1, 0x18);
        assert_true(offload_follows(&first, 16 * full, &last));
        struct offload_tcp further = parse(form, 18 * full + 1, full, 0x10);
        assert_false(offload_follows(&first, 18 * full + 1, &further));
        struct bh_net_offload offload = offload_finish(&first, 18 * full + 1, &last);
        assert_int_equal(offload.gso_type, form->gso_type);
        assert_int_equal(offload.gso_bytes, full);
        struct offload_tcp alone = parse(form, 0, full + 1, 0x11); /* with FIN */
        assert_int_equal(offload_finish(&alone, full + 1, &alone).gso_bytes, full);
        struct offload_tcp small = parse(form, 0, full - 1, 0x10);
        struct offload_tcp longer = parse(form, full - 1, 2 * full, 0x10);
        assert_false(offload_follows(&small, full - 1, &longer));
    }
}

static void leaves_one_segment_alone(void **state) {
    (void)state;
    struct offload_tcp only = parse(&forms[0], 1, 10, 0x18);
    struct bh_net_offload offload = offload_finish(&only, 10, &only);
    assert_int_equal(offload.gso_type, BH_NET_GSO_NONE);
    assert_int_equal(offload.gso_bytes, 0);
    assert_int_equal(offload.flags, BH_NET_NEEDS_CHECKSUM);
}

static void does_not_merge_what_does_not_belong_together(void **state) {
    (void)state;
    struct offload_tcp first = parse(&forms[0], 0, MSS, 0x10), next;
    next = parse(&forms[0], MSS + 1, MSS, 0x10); /* a gap */
    assert_false(offload_follows(&first, MSS, &next));
    next = parse(&forms[0], MSS, MSS + 1, 0x10); /* larger */
    assert_false(offload_follows(&first, MSS, &next));
    next = parse(&forms[0], MSS + 500, MSS, 0x10); /* after a short one */
    assert_false(offload_follows(&first, MSS + 500, &next));
    next = parse(&forms[0], MSS, 0, 0x10); /* no payload */
    assert_false(offload_follows(&first, MSS, &next));
    for (uint8_t flags = 1; flags < 0x80; flags = (uint8_t)(flags << 1)) {
        bool harmless = flags == 0x08 || flags == 0x10;
        next = parse(&forms[0], MSS, MSS, flags | 0x10);
        assert_int_equal(offload_follows(&first, MSS, &next), harmless);
        struct offload_tcp special = parse(&forms[0], 0, MSS, flags | 0x10);
        next = parse(&forms[0], MSS, MSS, 0x10);
        assert_int_equal(offload_follows(&special, MSS, &next), harmless);
    }
    /* Every byte of the header but those that may differ. */
    next = parse(&forms[0], MSS, MSS, 0x10);
    for (size_t i = 0; i < next.header_bytes; i++) {
        bool may_differ =
            (i >= 16 && i < 20) || i == 24 || i == 25 || (i >= 38 && i < 42) || i == 50 || i == 51;
        struct offload_tcp other = next;
        other.header[i] ^= 1;
        assert_int_equal(offload_follows(&first, MSS, &other), may_differ);
    }
}

static void passes_other_frames_by(void **state) {
    (void)state;
    static const struct {
        size_t at;
        uint8_t value;
    } changes[] = {
        {12, 0x81}, /* VLAN */
        {14, 0x46}, /* options */
        {20, 0x20}, /* more fragments */
        {21, 1},    /* fragment offset */
        {23, 17},   /* UDP */
        {46, 0x40}, /* TCP header too short */
        {46, 0xf0}, /* longer than there is */
        {17, 0},    /* length does not fit */
    };
    struct offload_tcp tcp;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        build(&forms[0], 0, 10, 0x10);
        frame[changes[i].at] = changes[i].value;
        assert_false(offload_parse(frame, sizeof ipv4, sizeof ipv4 + 10, MTU, &tcp));
    }
    build(&forms[0], 0, 10, 0x10);
    for (size_t bytes = 0; bytes < sizeof ipv4; bytes++)
        assert_false(offload_parse(frame, bytes, bytes, MTU, &tcp));
}

/* The vector of the SipHash paper's appendix. */
static void hashes_as_published(void **state) {
    (void)state;
    uint8_t key_bytes[16], message[15];
    uint64_t key[2];
    for (uint8_t i = 0; i < 16; i++)
        key_bytes[i] = i;
    memcpy(key, key_bytes, sizeof key);
    memcpy(message, key_bytes, sizeof message);
    assert_true(siphash(key, message, sizeof message) == 0xa129ca6149be45e5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_segments_that_follow),
        cmocka_unit_test(has_long_segments_cut),
        cmocka_unit_test(leaves_one_segment_alone),
        cmocka_unit_test(does_not_merge_what_does_not_belong_together),
        cmocka_unit_test(passes_other_frames_by),
        cmocka_unit_test(hashes_as_published),
    };
    return cmocka_run_group_tests_name("offload", tests, NULL, NULL);
}
