/* The net back end and the switch: clients with real queues, and an uplink that notes what it is
 * given. */
#include "unit.h"

#include "fake_client.h"
#include "fake_platform.h"
#include "frames.h"
#include "mgmt/net/uplink.h"

#define OFFSET_SEND 0u
#define OFFSET_BUFFERS 65536u

static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t station[6] = {2, 0, 0, 0, 0, 99}; /* out in the network */
static const uint8_t macs[3][6] = {{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}, {2, 0, 0, 0, 0, 3}};
static const uint8_t ips[3][4] = {{10, 0, 0, 1}, {10, 0, 0, 2}, {10, 0, 0, 3}};

/* The uplink. */
static bool full;
static unsigned sent, flushed;
static uint8_t sent_frame[70000];
static uint32_t sent_bytes;
static struct bh_net_offload sent_offload;

static bool has_room(struct uplink *uplink, uint32_t bytes) {
    (void)uplink;
    assert_true(bytes <= BH_NET_FRAME_BYTES_MAX + FRAME_TAG_BYTES);
    return !full;
}

static void transmit(struct uplink *uplink, const struct frame *frame) {
    struct frame_cursor cursor = {.frame = frame};
    assert_true(uplink->usable && !full);
    sent++;
    sent_bytes = frame_read(&cursor, sent_frame, sizeof(sent_frame));
    assert_int_equal(sent_bytes, frame->bytes);
    sent_offload = frame->offload;
}

static void flush(struct uplink *uplink) {
    (void)uplink;
    flushed++;
}

static struct uplink uplink = {.name = "uplink",
                               .checksum = true,
                               .gso = true,
                               .usable = true,
                               .has_room = has_room,
                               .transmit = transmit,
                               .flush = flush};

static struct fake_client guest[3];
static struct net_client *port[3];
static struct bytes b;

static struct net_client *attach_with(unsigned i, struct net_settings settings) {
    struct bh_net_info info;
    enum bh_status status;
    char error[128] = "";
    client_prepare(&guest[i], "guest", i + 1);
    struct net_client *n =
        net_attach(&guest[i].channel, &settings, &info, &status, error, sizeof(error));
    assert_int_equal(n == NULL, error[0] != 0);
    if (!n)
        return NULL;
    assert_true(client_open(&guest[i]));
    assert_int_equal(info.mtu, 1500);
    assert_memory_equal(info.mac, settings.mac, 6);
    return n;
}

static struct net_settings usual(unsigned i) {
    struct net_settings settings = {0};
    memcpy(settings.mac, macs[i], 6);
    memcpy(&settings.ipv4_address, ips[i], 4);
    return settings;
}

static int setup_group(void **state) {
    (void)state;
    fake_reset();
    assert_true(switch_uplink_wanted());
    switch_set_uplink(&uplink);
    assert_false(switch_uplink_wanted());
    net_start();
    return 0;
}

static int setup(void **state) {
    (void)state;
    fake_reset();
    full = false;
    uplink.usable = uplink.gso = uplink.checksum = true;
    sent = flushed = 0;
    for (unsigned i = 0; i < 3; i++)
        port[i] = attach_with(i, usual(i));
    fake_advance_ns(10000000000ull); /* the uplink's multicast allowance */
    return 0;
}

static unsigned detached;

static void count_detached(void *context) {
    (void)context;
    detached++;
}

static int teardown(void **state) {
    (void)state;
    detached = 0;
    for (unsigned i = 0; i < 3; i++)
        net_detach(port[i], count_detached, NULL);
    return detached == 3 ? 0 : -1;
}

static void run(unsigned i) {
    net_service(port[i]);
    fake_run_work(1000);
}

static void post_buffers(unsigned i, unsigned count, uint32_t bytes) {
    for (unsigned n = 0; n < count; n++)
        assert_true(
            client_push(&guest[i], BH_NET_RECEIVE, 100 + n, 0, OFFSET_BUFFERS + n * bytes, bytes));
    run(i);
}

static void make_udp(const uint8_t *to, unsigned from, unsigned payload) {
    put_ethernet(&b, to, macs[from], 0x0800);
    put_ipv4(&b, ips[from], 17, 8 + payload, 0);
    put_udp(&b, 1000, 2000, payload);
}

static struct bh_completion send_as(unsigned i, struct bh_net_offload offload) {
    uint64_t argument;
    memcpy(&argument, &offload, 8);
    memcpy(guest[i].window + OFFSET_SEND, b.data, b.count);
    assert_true(client_push(&guest[i], BH_NET_TRANSMIT, 7, argument, OFFSET_SEND, b.count));
    run(i);
    return client_take(&guest[i]);
}

static enum bh_status send_frame(unsigned i) {
    return send_as(i, (struct bh_net_offload){0}).status;
}

static void got_frame(unsigned i, bool expected) {
    struct bh_completion completion = client_take(&guest[i]);
    if (!expected) {
        assert_int_equal(completion.status, 0xffff);
        return;
    }
    assert_int_equal(completion.status, BH_OK);
    assert_int_equal(completion.value, b.count);
    assert_memory_equal(guest[i].window + OFFSET_BUFFERS, b.data, b.count);
}

static void unicast_goes_to_its_port_and_nobody_else(void **state) {
    (void)state;
    post_buffers(1, 2, 2048);
    post_buffers(2, 2, 2048);
    make_udp(macs[1], 0, 900);
    assert_int_equal(send_frame(0), BH_OK);
    got_frame(1, true);
    got_frame(2, false);
    assert_int_equal(sent, 0);
    assert_true(fake_signals(2) > 0);
}

static void what_is_not_here_is_outside(void **state) {
    (void)state;
    post_buffers(1, 1, 2048);
    make_udp(station, 0, 100);
    assert_int_equal(send_frame(0), BH_OK);
    got_frame(1, false);
    assert_int_equal(sent, 1);
    assert_true(flushed > 0);
    assert_int_equal(sent_bytes, b.count);
    assert_memory_equal(sent_frame, b.data, b.count);
    uplink.usable = false; /* the link is down: lost, not waited for */
    assert_int_equal(send_frame(0), BH_OK);
    assert_int_equal(sent, 1);
    make_udp(macs[0], 0, 100); /* to itself */
    assert_int_equal(send_frame(0), BH_OK);
}

static void broadcast_goes_to_all_but_its_sender(void **state) {
    (void)state;
    for (unsigned i = 0; i < 3; i++)
        post_buffers(i, 1, 2048);
    put_ethernet(&b, broadcast, macs[0], 0x0806);
    put_arp(&b, 1, macs[0], ips[0]);
    assert_int_equal(send_frame(0), BH_OK);
    got_frame(0, false);
    got_frame(1, true);
    got_frame(2, true);
    assert_int_equal(sent, 1);
}

static void spoofers_are_told_and_counted(void **state) {
    (void)state;
    post_buffers(1, 1, 2048);
    put_ethernet(&b, macs[1], macs[2], 0x0800);
    put_ipv4(&b, ips[2], 17, 16, 0);
    put_udp(&b, 1, 2, 8);
    assert_int_equal(send_frame(0), BH_BAD_RIGHTS);
    b.count = 10;
    assert_int_equal(send_frame(0), BH_BAD_ARG);
    got_frame(1, false);
    struct net_statistics statistics;
    net_get_statistics(port[0], &statistics);
    assert_int_equal(statistics.dropped_spoofed, 1);
    assert_int_equal(statistics.transmitted, 0);
}

static void who_posts_no_buffers_loses_his_own_frames(void **state) {
    (void)state;
    post_buffers(2, 4, 2048);
    make_udp(macs[1], 0, 100);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(send_frame(0), BH_OK);
    make_udp(macs[2], 0, 100);
    assert_int_equal(send_frame(0), BH_OK);
    got_frame(2, true);
    struct net_statistics statistics;
    net_get_statistics(port[1], &statistics);
    assert_int_equal(statistics.dropped_full, 5);
}

static void long_frames_are_spread_over_buffers(void **state) {
    (void)state;
    post_buffers(1, 3, 512);
    make_udp(macs[1], 0, 1200 - 42);
    assert_int_equal(send_frame(0), BH_OK);
    static const uint32_t bytes[] = {512, 512, 176};
    for (unsigned i = 0; i < 3; i++) {
        struct bh_completion completion = client_take(&guest[1]);
        assert_int_equal(completion.value & 0xffffffff, bytes[i]);
        assert_int_equal(completion.value >> 56, 2 - i);
        assert_int_equal(completion.tag, 100 + i);
    }
    assert_memory_equal(guest[1].window + OFFSET_BUFFERS, b.data, b.count);
    post_buffers(1, 2, 512); /* too few for the next: all or nothing */
    assert_int_equal(send_frame(0), BH_OK);
    assert_int_equal(client_take(&guest[1]).status, 0xffff);
}

static void offloads_pass_through_whole(void **state) {
    (void)state;
    struct bh_net_offload offload = {34, 16, 1000, BH_NET_GSO_TCP4, BH_NET_NEEDS_CHECKSUM};
    post_buffers(1, 2, 2048);
    put_ethernet(&b, macs[1], macs[0], 0x0800);
    put_ipv4(&b, ips[0], 6, 20 + 1900, 0);
    put_tcp(&b, 1900);
    assert_int_equal(send_as(0, offload).status, BH_OK);
    struct bh_completion completion = client_take(&guest[1]);
    assert_int_equal(completion.flags, BH_NET_NEEDS_CHECKSUM);
    assert_int_equal(completion.value, 1954 | 1000ull << 32 | (uint64_t)BH_NET_GSO_TCP4 << 48);
    memcpy(b.data, station, 6);
    assert_int_equal(send_as(0, offload).status, BH_OK);
    assert_memory_equal(&sent_offload, &offload, sizeof(offload));
    uplink.gso = false; /* not offered, so not to be used */
    assert_int_equal(send_as(0, offload).status, BH_BAD_ARG);
    uplink.gso = true;
    offload.flags |= 0x80;
    assert_int_equal(send_as(0, offload).status, BH_BAD_ARG);
    offload = (struct bh_net_offload){2000, 16, 1000, BH_NET_GSO_TCP4, BH_NET_NEEDS_CHECKSUM};
    assert_int_equal(send_as(0, offload).status, BH_BAD_ARG);
}

static void a_full_uplink_holds_frames_and_their_order(void **state) {
    (void)state;
    full = true;
    make_udp(station, 0, 10);
    assert_int_equal(send_frame(0), 0xffff);
    make_udp(station, 1, 20);
    assert_int_equal(send_frame(1), 0xffff);
    post_buffers(2, 1, 2048); /* between others all goes on */
    full = false;
    switch_uplink_room();
    fake_run_work(10);
    assert_int_equal(sent, 2);
    assert_int_equal(client_take(&guest[0]).status, BH_OK);
    assert_int_equal(client_take(&guest[1]).status, BH_OK);
    full = true;
    assert_int_equal(send_frame(1), 0xffff);
    uplink.usable = false; /* it will never have room */
    switch_uplink_room();
    fake_run_work(10);
    assert_int_equal(client_take(&guest[1]).status, BH_OK);
    uplink.usable = true;
    assert_int_equal(send_frame(1), 0xffff); /* held while it is detached: see teardown */
}

static void receive_from_outside(void) {
    static struct frame f;
    struct frame_piece piece = {b.data, b.count};
    f.offload = (struct bh_net_offload){0};
    assert_true(frame_take(&f, &piece, 1));
    switch_uplink_received(&f);
    switch_uplink_received_all();
    fake_run_work(10);
}

static void frames_from_outside(void **state) {
    (void)state;
    static const uint8_t far_ip[4] = {8, 8, 8, 8};
    for (unsigned i = 0; i < 3; i++)
        post_buffers(i, 4, 2048);
    put_ethernet(&b, macs[1], station, 0x0800);
    put_ipv4(&b, far_ip, 17, 16, 0);
    put_udp(&b, 67, 68, 8); /* a DHCP server outside is none of our business */
    receive_from_outside();
    got_frame(1, true);
    got_frame(0, false);
    memcpy(b.data, station, 6); /* for somebody else */
    receive_from_outside();
    memcpy(b.data, broadcast, 6);
    memcpy(b.data + 6, macs[2], 6); /* one of ours cannot be outside */
    receive_from_outside();
    memcpy(b.data + 6, station, 6);
    b.data[12] = 0x88; /* LLDP */
    b.data[13] = 0xcc;
    receive_from_outside();
    for (unsigned i = 0; i < 3; i++)
        got_frame(i, false);
    assert_int_equal(sent, 0); /* and nothing ever goes back out */
}

static void vlans_are_apart(void **state) {
    (void)state;
    struct net_settings settings = usual(2);
    net_detach(port[2], count_detached, NULL);
    settings.vlan = 77;
    port[2] = attach_with(2, settings);
    for (unsigned i = 0; i < 3; i++)
        post_buffers(i, 4, 2048);
    put_ethernet(&b, broadcast, macs[2], 0x0806);
    put_arp(&b, 1, macs[2], ips[2]);
    assert_int_equal(send_frame(2), BH_OK);
    got_frame(0, false);
    got_frame(1, false);
    assert_int_equal(sent_bytes, b.count + 4);
    assert_memory_equal(sent_frame + 12, "\x81\x00\x00\x4d\x08\x06", 6);
    make_udp(macs[0], 2, 10); /* that address is in another VLAN: so outside */
    assert_int_equal(send_frame(2), BH_OK);
    got_frame(0, false);
    assert_int_equal(sent, 2);

    struct bytes plain;
    make_udp(macs[2], 0, 10);
    memcpy(b.data + 6, station, 6);
    plain = b;
    receive_from_outside(); /* untagged: not for the VLAN */
    got_frame(2, false);
    put_ethernet(&b, macs[2], station, 0x8100);
    put16(&b, 0xe000 | 77); /* with a priority */
    put(&b, plain.data + 12, plain.count - 12);
    receive_from_outside();
    b = plain;
    got_frame(2, true);
    put_ethernet(&b, macs[2], station, 0x8100); /* a tag in the tag */
    put16(&b, 77);
    put16(&b, 0x8100);
    put16(&b, 77);
    put(&b, plain.data + 12, plain.count - 12);
    receive_from_outside();
    got_frame(2, false);
}

static void rates_hold(void **state) {
    (void)state;
    struct net_settings settings = usual(0);
    net_detach(port[0], count_detached, NULL);
    settings.bytes_per_s_limit = 1000000;
    port[0] = attach_with(0, settings);
    make_udp(station, 0, 1000 - 42);
    uint64_t before = sent;
    for (unsigned ms = 0; ms < 2000; ms++) {
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(send_frame(0), BH_OK); /* lost as on a line */
        fake_advance_ns(1000000);
    }
    assert_in_range(sent - before, 2000, 2000 + 140); /* and a burst of 131 kB */
    struct net_statistics statistics;
    net_get_statistics(port[0], &statistics);
    assert_true(statistics.dropped_rate > 3500);
}

static void a_broadcast_storm_is_cut(void **state) {
    (void)state;
    put_ethernet(&b, broadcast, macs[0], 0x0806);
    put_arp(&b, 1, macs[0], ips[0]);
    for (unsigned i = 0; i < 5000; i++)
        assert_int_equal(send_frame(0), BH_OK);
    assert_int_equal(sent, 200);
    fake_advance_ns(1000000000);
    assert_int_equal(send_frame(0), BH_OK);
    assert_int_equal(sent, 201);
}

static void a_broken_queue_is_disconnected_alone(void **state) {
    (void)state;
    post_buffers(1, 2, 2048);
    post_buffers(2, 2, 2048);
    unsigned lines = fake_log_lines();
    ((struct bh_queue_header *)(void *)guest[1].submissions)->tail = 5000;
    for (unsigned i = 0; i < 3; i++)
        run(1);
    assert_int_equal(fake_log_lines(), lines + 1);
    make_udp(macs[1], 0, 10); /* its address is nobody's now */
    assert_int_equal(send_frame(0), BH_OK);
    assert_int_equal(sent, 1);
    make_udp(macs[2], 0, 10);
    assert_int_equal(send_frame(0), BH_OK);
    got_frame(2, true);
}

static void bad_requests_get_a_status(void **state) {
    (void)state;
    static const struct {
        uint8_t operation;
        uint64_t offset;
        uint32_t bytes;
        enum bh_status status;
    } bad[] = {
        {BH_NET_RECEIVE, 0, 0, BH_BAD_ARG},
        {BH_NET_RECEIVE, CLIENT_WINDOW_BYTES - 1, 2, BH_BAD_ARG},
        {BH_NET_TRANSMIT, 0, 0, BH_BAD_ARG},
        {BH_NET_TRANSMIT, 0, 65551, BH_BAD_ARG},
        {BH_NET_TRANSMIT, ~0ull - 5, 60, BH_BAD_ARG},
        {2, 0, 60, BH_BAD_CALL},
    };
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_true(client_push(&guest[0], bad[i].operation, 1, 0, bad[i].offset, bad[i].bytes));
        run(0);
        assert_int_equal(client_take(&guest[0]).status, bad[i].status);
    }
}

static void one_mac_address_one_port(void **state) {
    (void)state;
    struct net_settings settings = usual(0);
    struct bh_net_info info;
    enum bh_status status;
    char error[64];
    static struct fake_client fourth;
    client_prepare(&fourth, "fourth", 4);
    assert_null(net_attach(&fourth.channel, &settings, &info, &status, error, sizeof(error)));
    assert_int_equal(status, BH_BUSY);
    settings.mac[0] = 3; /* a group address */
    assert_null(net_attach(&fourth.channel, &settings, &info, &status, error, sizeof(error)));
    assert_int_equal(status, BH_BAD_ARG);
    settings.mac[0] = 4;
    settings.vlan = 4095;
    assert_null(net_attach(&fourth.channel, &settings, &info, &status, error, sizeof(error)));
    assert_int_equal(status, BH_BAD_ARG);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(unicast_goes_to_its_port_and_nobody_else),
        TEST(what_is_not_here_is_outside),
        TEST(broadcast_goes_to_all_but_its_sender),
        TEST(spoofers_are_told_and_counted),
        TEST(who_posts_no_buffers_loses_his_own_frames),
        TEST(long_frames_are_spread_over_buffers),
        TEST(offloads_pass_through_whole),
        TEST(a_full_uplink_holds_frames_and_their_order),
        TEST(frames_from_outside),
        TEST(vlans_are_apart),
        TEST(rates_hold),
        TEST(a_broadcast_storm_is_cut),
        TEST(a_broken_queue_is_disconnected_alone),
        TEST(bad_requests_get_a_status),
        TEST(one_mac_address_one_port),
    };
    return cmocka_run_group_tests(tests, setup_group, NULL);
}
