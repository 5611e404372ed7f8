/* virtio-net on a device model: frames both ways, and a device that lies about them. */
#include "unit.h"

#include "fake_virtio.h"
#include "mgmt/backend.h"
#include "mgmt/drivers/virtio_net.h"
#include "mgmt/net/uplink.h"

#define F_CSUM (1ull << 0)
#define F_GUEST_CSUM (1ull << 1)
#define F_GUEST_TSO4 (1ull << 7)
#define F_HOST_TSO4 (1ull << 11)
#define F_HOST_TSO6 (1ull << 12)
#define F_MRG_RXBUF (1ull << 15)
#define F_STATUS (1ull << 16)
#define F_CTRL_VQ (1ull << 17)
#define F_CTRL_RX (1ull << 18)
#define F_INDIRECT (1ull << 28)
#define F_EVENT (1ull << 29)
#define USUAL                                                                                      \
    (F_CSUM | F_GUEST_CSUM | F_GUEST_TSO4 | F_HOST_TSO4 | F_HOST_TSO6 | F_MRG_RXBUF | F_STATUS |   \
     F_CTRL_VQ | F_CTRL_RX | F_INDIRECT | F_EVENT)
#define HEADER_BYTES 12u
#define RECEIVE 0u
#define TRANSMIT 1u
#define CONTROL 2u

const struct pci_driver pci_drivers[] = {{0x1af4, 0x1041, virtio_net_probe}};
const unsigned pci_driver_count = 1;

static struct fake_virtio device;

/* The switch's side. */
static struct uplink *uplink;
static unsigned received, rooms;
static uint8_t last[70000];
static uint32_t last_bytes;
static struct bh_net_offload last_offload;

bool switch_uplink_wanted(void) {
    return uplink == NULL;
}

void switch_set_uplink(struct uplink *added) {
    uplink = added;
}

void switch_uplink_received(struct frame *frame) {
    struct frame_cursor cursor = {.frame = frame};
    received++;
    last_bytes = frame_read(&cursor, last, sizeof(last));
    assert_int_equal(last_bytes, frame->bytes);
    last_offload = frame->offload;
}

void switch_uplink_received_all(void) {
}

void switch_uplink_room(void) {
    rooms++;
}

/* The device's side. */
static bool swallows; /* transmissions stay where they are */
static unsigned transmitted, promiscuous;
static uint8_t on_wire[70000];
static uint32_t on_wire_bytes;

static void complete_transmissions(void) {
    struct fake_chain c;
    while (fake_virtio_take(&device, TRANSMIT, &c)) {
        on_wire_bytes = 0;
        for (unsigned i = 0; i < c.count; i++) {
            assert_false(c.segment[i].writable);
            memcpy(on_wire + on_wire_bytes, c.segment[i].data, c.segment[i].bytes);
            on_wire_bytes += c.segment[i].bytes;
        }
        assert_true(on_wire_bytes > HEADER_BYTES);
        transmitted++;
        fake_virtio_use(&device, TRANSMIT, c.head, 0);
    }
}

static void notified(struct fake_virtio *v, unsigned queue) {
    struct fake_chain c;
    if (queue == TRANSMIT && !swallows)
        complete_transmissions();
    if (queue == CONTROL && fake_virtio_take(v, queue, &c)) {
        assert_int_equal(c.count, 3);
        assert_memory_equal(c.segment[0].data, "\0\0", 2);
        promiscuous = *c.segment[1].data;
        *c.segment[2].data = 0;
        fake_virtio_use(v, queue, c.head, 1);
    }
}

static void begin(uint64_t features) {
    fake_virtio_init(&device, 2, 0x1041, features);
    device.notified = notified;
    device.config[6] = 1; /* link up */
}

static void start(void) {
    pci_start(FAKE_ECAM, 0, FAKE_ECAM_LAST_BUS);
}

static int setup(void **state) {
    (void)state;
    fake_reset();
    uplink = NULL;
    received = rooms = transmitted = promiscuous = 0;
    swallows = false;
    return 0;
}

/* A frame of so many bytes with this header, spread over buffers as they come. */
static void arrive(const uint8_t header[HEADER_BYTES], uint32_t bytes) {
    struct fake_chain c;
    uint32_t rest = HEADER_BYTES + bytes, done = 0;
    while (rest) {
        assert_true(fake_virtio_take(&device, RECEIVE, &c));
        assert_true(c.count == 1 && c.segment[0].writable);
        uint32_t now = rest < c.segment[0].bytes ? rest : c.segment[0].bytes;
        for (uint32_t i = 0; i < now; i++, done++)
            c.segment[0].data[i] =
                done < HEADER_BYTES ? header[done] : (uint8_t)((done - HEADER_BYTES) * 7);
        rest -= now;
        fake_virtio_use(&device, RECEIVE, c.head, now);
    }
}

static void interrupt(void) {
    fake_virtio_interrupt(&device, RECEIVE, false);
    fake_run_work(100);
}

static void check_last(uint32_t bytes) {
    assert_int_equal(last_bytes, bytes);
    for (uint32_t i = 0; i < bytes; i++)
        assert_int_equal(last[i], (uint8_t)(i * 7));
}

static void make_frame(struct frame *f, uint8_t *data, uint32_t bytes) {
    struct frame_piece piece = {data, bytes};
    for (uint32_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)(i * 13);
    f->offload = (struct bh_net_offload){0};
    assert_true(frame_take(f, &piece, 1));
}

static void features_follow_from_each_other(void **state) {
    (void)state;
    begin(USUAL);
    start();
    assert_true(uplink->checksum && uplink->gso && uplink->usable);
    assert_int_equal(promiscuous, 1);
    setup(NULL);
    begin(USUAL & ~F_CSUM);
    start();
    assert_false(uplink->checksum || uplink->gso);
    assert_int_equal(device.accepted & (F_HOST_TSO4 | F_HOST_TSO6), 0);
    setup(NULL);
    begin(USUAL & ~(F_MRG_RXBUF | F_CTRL_VQ));
    start();
    assert_int_equal(device.accepted & (F_GUEST_TSO4 | F_CTRL_RX), 0);
    setup(NULL);
    begin(0);
    start();
    assert_true(uplink->usable);
}

static void frames_arrive(void **state) {
    (void)state;
    static const uint8_t plain[HEADER_BYTES] = {[10] = 1};
    static const uint64_t features[] = {USUAL, USUAL & ~F_EVENT, USUAL & ~F_INDIRECT, 0};
    for (unsigned i = 0; i < 4; i++) {
        setup(NULL);
        begin(features[i]);
        start();
        for (unsigned n = 0; n < 300; n++) {
            arrive(plain, 60 + n);
            interrupt();
            assert_int_equal(received, n + 1);
            check_last(60 + n);
        }
        for (unsigned n = 0; n < 40; n++)
            arrive(plain, 1514);
        interrupt();
        assert_int_equal(received, 340);
    }
}

static void merged_buffers_and_offloads_arrive_whole(void **state) {
    (void)state;
    /* NEEDS_CSUM, TCPV4, header 54, segments of 1448, checksum at 34 + 16, 4 buffers */
    static const uint8_t header[HEADER_BYTES] = {1, 1, 54, 0, 0xa8, 5, 34, 0, 16, 0, 4, 0};
    static const struct bh_net_offload offload = {34, 16, 1448, 1, BH_NET_NEEDS_CHECKSUM};
    begin(USUAL);
    start();
    for (unsigned i = 0; i < 100; i++)
        arrive(header, 8000), interrupt();
    assert_int_equal(received, 100);
    check_last(8000);
    assert_memory_equal(&last_offload, &offload, sizeof(offload));
    uint8_t six[HEADER_BYTES];
    memcpy(six, header, sizeof(six));
    six[1] = 4; /* TCP over IPv6 was not negotiated */
    arrive(six, 8000);
    interrupt();
    assert_int_equal(received, 100);
    assert_false(device.status == 0);
}

static void frames_leave(void **state) {
    (void)state;
    static struct frame f;
    static uint8_t data[70000];
    static const uint64_t features[] = {USUAL, USUAL & ~F_EVENT, USUAL & ~F_INDIRECT};
    static const uint32_t lengths[] = {14, 60, 1514, 2036, 2037, 9000, BH_NET_FRAME_BYTES_MAX};
    for (unsigned i = 0; i < 3; i++) {
        setup(NULL);
        begin(features[i]);
        start();
        for (unsigned n = 0; n < 700; n++) {
            make_frame(&f, data, lengths[n % 7]);
            if (!uplink->has_room(uplink, f.bytes)) {
                /* Without indirect descriptors a queue of 64 holds one such frame only. */
                assert_true(i == 2);
                uplink->flush(uplink);
                assert_true(uplink->has_room(uplink, f.bytes));
            }
            uplink->transmit(uplink, &f);
            uplink->flush(uplink);
            assert_int_equal(transmitted, n + 1);
            assert_int_equal(on_wire_bytes, f.bytes + HEADER_BYTES);
            assert_memory_equal(on_wire + HEADER_BYTES, data, f.bytes);
        }
    }
}

static void offloads_leave(void **state) {
    (void)state;
    static struct frame f;
    static uint8_t data[4000];
    static const uint8_t header[HEADER_BYTES] = {1, 1, 66, 0, 0xa8, 5, 34, 0, 16, 0, 0, 0};
    begin(USUAL);
    start();
    make_frame(&f, data, 3000);
    f.header[34 + 12] = 0x80; /* a TCP header of 32 bytes */
    f.offload = (struct bh_net_offload){34, 16, 1448, BH_NET_GSO_TCP4, BH_NET_NEEDS_CHECKSUM};
    assert_true(uplink->has_room(uplink, f.bytes));
    uplink->transmit(uplink, &f);
    uplink->flush(uplink);
    assert_memory_equal(on_wire, header, HEADER_BYTES);
}

static void a_full_ring_is_waited_for_and_then_not(void **state) {
    (void)state;
    static struct frame f;
    static uint8_t data[1514];
    begin(USUAL);
    start();
    swallows = true;
    make_frame(&f, data, sizeof(data));
    unsigned count = 0;
    while (uplink->has_room(uplink, f.bytes)) {
        uplink->transmit(uplink, &f);
        count++;
        assert_true(count < 1000);
    }
    assert_true(count >= 64);
    rooms = 0;
    complete_transmissions();
    assert_int_equal(transmitted, count); /* has_room had published what was there */
    fake_virtio_interrupt(&device, TRANSMIT, false);
    assert_int_equal(rooms, 1);
    while (uplink->has_room(uplink, f.bytes))
        uplink->transmit(uplink, &f);
    fake_advance_ns(1100000000); /* a device that transmits nothing: frames are dropped meanwhile */
    assert_false(uplink->usable);
    complete_transmissions();
    fake_virtio_interrupt(&device, TRANSMIT, false);
    assert_true(uplink->usable);
}

static void the_link_goes_down_and_up(void **state) {
    (void)state;
    begin(USUAL);
    start();
    device.config[6] = 0;
    fake_virtio_config_changed(&device);
    assert_false(uplink->usable);
    device.config[6] = 1;
    fake_virtio_config_changed(&device);
    assert_true(uplink->usable);
}

static void is_gone(void) {
    fake_virtio_interrupt(&device, RECEIVE, true);
    fake_run_work(10);
    assert_false(uplink->usable);
    assert_false(fake_bus_master(&device.function));
    assert_int_equal(device.status, 0);
    assert_int_equal(received, 0);
    setup(NULL);
    begin(USUAL);
    start();
}

static void liars_are_gone(void **state) {
    (void)state;
    struct fake_chain c;
    uint8_t header[HEADER_BYTES] = {[10] = 1};
    begin(USUAL);
    start();
    fake_virtio_take(&device, RECEIVE, &c);
    fake_virtio_use(&device, RECEIVE, c.head, 11); /* shorter than its header */
    is_gone();
    fake_virtio_take(&device, RECEIVE, &c);
    fake_virtio_use(&device, RECEIVE, c.head, 2049); /* longer than the buffer */
    is_gone();
    fake_virtio_use(&device, RECEIVE, 4711, 100);
    is_gone();
    fake_virtio_set_used_index(&device, RECEIVE, 5000);
    is_gone();
    header[10] = 0; /* spread over no buffer */
    arrive(header, 100);
    is_gone();
    header[10] = 34; /* over more than fit */
    arrive(header, 100);
    is_gone();
    header[10] = 3; /* over more than come */
    arrive(header, 100);
    is_gone();
    device.needs_reset = true;
    fake_virtio_config_changed(&device);
    is_gone();
}

static void a_transmission_completed_twice_ends_it(void **state) {
    (void)state;
    static struct frame f;
    static uint8_t data[100];
    begin(USUAL);
    start();
    make_frame(&f, data, sizeof(data));
    uplink->transmit(uplink, &f);
    uplink->flush(uplink);
    fake_virtio_use(&device, TRANSMIT, 0, 0);
    uplink->has_room(uplink, 100);
    uplink->has_room(uplink, 100);
    assert_false(uplink->usable);
    assert_false(fake_bus_master(&device.function));
    uplink->transmit(uplink, &f);
    uplink->flush(uplink);
    assert_int_equal(transmitted, 1);
}

static void a_second_card_is_left_alone(void **state) {
    (void)state;
    static struct fake_virtio second;
    begin(USUAL);
    fake_virtio_init(&second, 9, 0x1041, USUAL);
    start();
    assert_int_equal(second.status, 0);
    assert_false(fake_bus_master(&second.function));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(features_follow_from_each_other, setup),
        cmocka_unit_test_setup(frames_arrive, setup),
        cmocka_unit_test_setup(merged_buffers_and_offloads_arrive_whole, setup),
        cmocka_unit_test_setup(frames_leave, setup),
        cmocka_unit_test_setup(offloads_leave, setup),
        cmocka_unit_test_setup(a_full_ring_is_waited_for_and_then_not, setup),
        cmocka_unit_test_setup(the_link_goes_down_and_up, setup),
        cmocka_unit_test_setup(liars_are_gone, setup),
        cmocka_unit_test_setup(a_transmission_completed_twice_ends_it, setup),
        cmocka_unit_test_setup(a_second_card_is_left_alone, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
