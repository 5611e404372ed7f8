/* virtio-net of the virtual PC, between a guest's driver and the server of a queue pair. */
#include "test/unit/unit.h"

#include "mgmt/virtio/net.h"
#include "mgmt/vmm/virtio/net.h"
#include "test/unit/virtio_guest.h"
#include "test/unit/virtio_host.h"

#define RINGS (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX)
#define OFFLOADS                                                                                   \
    (VIRTIO_NET_F_CSUM | VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_GUEST_TSO4 |                       \
     VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_MRG_RXBUF)
#define RECEIVE 0u
#define TRANSMIT 1u
#define HEADER 12u
#define TCP_AT 34u
#define BUFFERS_MAX 512u
#define PAIRS 3u
#define SEVERAL (RINGS | OFFLOADS | VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_MQ)

static struct virtio_device *device;
static struct guest_device g;
static struct guest_queue receive, transmit;
static uint8_t wire[70000], frame[70000];
static size_t wire_bytes;
static unsigned transmitted;
static struct bh_net_offload wire_offload;
static struct {
    uint32_t tag;
    struct bh_segment segment;
} buffer[BUFFERS_MAX];
static unsigned buffer_first, buffers;
static bool hold;
static uint32_t held[BUFFERS_MAX];
static unsigned held_count;

void host_serve(const struct bh_request *request, const struct bh_segment *segments) {
    if (request->operation == BH_NET_RECEIVE) {
        unsigned last = (buffer_first + buffers++) % BUFFERS_MAX;
        buffer[last].tag = request->tag;
        buffer[last].segment = segments[0];
        return;
    }
    wire_bytes = 0;
    memcpy(&wire_offload, &request->argument, sizeof wire_offload);
    for (unsigned i = 0; i < request->segments; i++) {
        memcpy(wire + wire_bytes, host_window + segments[i].offset, segments[i].bytes);
        wire_bytes += segments[i].bytes;
    }
    transmitted++;
    if (hold)
        held[held_count++] = request->tag;
    else
        queue_complete(&host_queue, request->tag, BH_OK, 0, wire_bytes);
}

static void send_to_guest(uint32_t bytes, uint16_t flags, uint8_t gso_type, uint16_t gso_bytes) {
    unsigned needed = (bytes + 2047) / 2048;
    assert_true(needed <= buffers);
    for (uint32_t at = 0; at < bytes; at += 2048) {
        uint32_t part = bytes - at < 2048 ? bytes - at : 2048;
        memcpy(host_window + buffer[buffer_first].segment.offset, frame + at, part);
        queue_complete(&host_queue, buffer[buffer_first].tag, BH_OK, flags,
                       part | (uint64_t)gso_bytes << 32 | (uint64_t)gso_type << 48 |
                           (uint64_t)--needed << 56);
        buffer_first = (buffer_first + 1) % BUFFERS_MAX;
        buffers--;
    }
    host_publish();
    host_run();
}

static int open_device(unsigned pairs) {
    guest_start();
    host_start(BH_CLASS_NET, 1024, 512, 512 * 1024);
    host_info.net = (struct bh_net_info){.mac = {2, 0, 0, 1, 2, 3},
                                         .mtu = 1500,
                                         .features = BH_NET_FEATURE_CHECKSUM | BH_NET_FEATURE_GSO};
    buffers = buffer_first = held_count = transmitted = 0;
    wire_bytes = 0;
    hold = false;
    device = virtio_net_open(0, pairs);
    assert_non_null(device);
    pci_add(&device->function, 1);
    guest_probe(&g);
    host_run();
    assert_true(buffers > 64);
    return 0;
}

static int start(void **state) {
    (void)state;
    return open_device(1);
}

static int start_pairs(void **state) {
    (void)state;
    return open_device(PAIRS);
}

static int stop(void **state) {
    (void)state;
    host_stop();
    free(device);
    return 0;
}

static void drive(uint64_t features) {
    assert_true(guest_negotiate(&g, features));
    guest_queue_set(&g, &receive, RECEIVE, 64, features);
    guest_queue_set(&g, &transmit, TRANSMIT, 64, features);
    guest_run(&g);
}

/* An IPv4 frame with TCP (or UDP) whose checksum field holds the pseudo-header's sum. */
static void make_frame(uint32_t bytes, uint8_t protocol) {
    static const uint8_t start[] = {2, 0, 0, 1,    2, 3,  2, 0, 0, 9,  9, 9, 8, 0,  0x45, 0, 0,
                                    0, 0, 1, 0x40, 0, 64, 0, 0, 0, 10, 0, 0, 1, 10, 0,    0, 2};
    for (uint32_t i = 0; i < bytes; i++)
        frame[i] = (uint8_t)(i * 13 + i / 256);
    memcpy(frame, start, sizeof start);
    frame[23] = protocol;
    uint32_t ip = bytes - 14, l4 = bytes - 34;
    frame[16] = (uint8_t)(ip >> 8);
    frame[17] = (uint8_t)ip;
    frame[TCP_AT + 12] = 0x50;
    if (protocol == 17) {
        frame[TCP_AT + 4] = (uint8_t)(l4 >> 8);
        frame[TCP_AT + 5] = (uint8_t)l4;
    }
    uint32_t sum = 0x0a00u + 1 + 0x0a00u + 2 + protocol + l4;
    sum = (sum & 0xffff) + (sum >> 16);
    unsigned field = TCP_AT + (protocol == 6 ? 16 : 6);
    frame[field] = (uint8_t)(sum >> 8);
    frame[field + 1] = (uint8_t)sum;
}

static uint32_t sum_of(const uint8_t *bytes, uint32_t count) {
    uint32_t sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

/* --- transmitting --- */

static void transmit_frame(struct virtio_net_header header, uint32_t bytes, unsigned pieces) {
    uint64_t at = guest_alloc(HEADER + bytes, 1);
    memcpy(guest_at(at), &header, HEADER);
    memcpy((uint8_t *)guest_at(at) + HEADER, frame, bytes);
    struct guest_buffer b[64];
    uint32_t all = HEADER + bytes, each = (all + pieces - 1) / pieces;
    unsigned count = 0;
    for (uint32_t done = 0; done < all; done += each)
        b[count++] = (struct guest_buffer){at + done, all - done < each ? all - done : each, false};
    guest_add(&transmit, b, count);
    guest_kick(&g, &transmit);
    host_run();
}

static void transmits(void **state) {
    (void)state;
    drive(RINGS | OFFLOADS);
    const uint32_t sizes[] = {60, 1514, 9000, 65000};
    unsigned used = 0;
    for (unsigned i = 0; i < 4; i++)
        for (unsigned pieces = 1; pieces < 20; pieces += 6) {
            make_frame(sizes[i], 6);
            transmit_frame((struct virtio_net_header){0}, sizes[i], pieces);
            assert_int_equal(wire_bytes, sizes[i]);
            assert_memory_equal(wire, frame, sizes[i]);
            assert_int_equal(wire_offload.flags, 0);
            assert_int_equal(guest_used(&transmit)[1], ++used);
        }
}

static void offloads(void **state) {
    (void)state;
    drive(RINGS | OFFLOADS);
    make_frame(4000, 6);
    struct virtio_net_header h = {.flags = VIRTIO_NET_HDR_NEEDS_CSUM,
                                  .gso_type = BH_NET_GSO_TCP4,
                                  .header_bytes = 54,
                                  .gso_bytes = 1448,
                                  .checksum_start = TCP_AT,
                                  .checksum_offset = 16};
    transmit_frame(h, 4000, 2);
    assert_int_equal(transmitted, 1);
    assert_int_equal(wire_offload.flags, BH_NET_NEEDS_CHECKSUM);
    assert_int_equal(wire_offload.gso_type, BH_NET_GSO_TCP4);
    assert_int_equal(wire_offload.gso_bytes, 1448);
    assert_int_equal(wire_offload.checksum_start, TCP_AT);
    assert_int_equal(wire_offload.checksum_offset, 16);
    /* What was not negotiated, or does not exist, is lost. */
    h.gso_type = BH_NET_GSO_TCP6;
    transmit_frame(h, 4000, 2);
    h.gso_type = 3;
    transmit_frame(h, 4000, 2);
    h.gso_type = BH_NET_GSO_TCP4;
    h.flags = 0;
    transmit_frame(h, 4000, 2);
    assert_int_equal(transmitted, 1);
    assert_int_equal(guest_used(&transmit)[1], 4);
    drive(VIRTIO_F_VERSION_1);
    h.flags = VIRTIO_NET_HDR_NEEDS_CSUM;
    h.gso_type = 0;
    transmit_frame(h, 4000, 2);
    assert_int_equal(transmitted, 1);
}

static void not_frames(void **state) {
    (void)state;
    drive(RINGS | OFFLOADS);
    transmit_frame((struct virtio_net_header){0}, 0, 1);
    uint64_t at = guest_alloc(70000, 1);
    struct guest_buffer b = {at, 69000, false};
    guest_add(&transmit, &b, 1);
    guest_kick(&g, &transmit);
    host_run();
    assert_int_equal(transmitted, 0);
    assert_int_equal(guest_used(&transmit)[1], 2);
    assert_false(guest_status(&g) & VIRTIO_STATUS_NEEDS_RESET);
    b.bytes = 11;
    guest_add(&transmit, &b, 1);
    guest_kick(&g, &transmit);
    host_run();
    assert_true(guest_status(&g) & VIRTIO_STATUS_NEEDS_RESET);
}

static void waits_for_room(void **state) {
    (void)state;
    drive(VIRTIO_F_VERSION_1);
    make_frame(30000, 6);
    hold = true;
    uint64_t at = guest_alloc(HEADER + 30000, 1);
    memset(guest_at(at), 0, HEADER);
    memcpy((uint8_t *)guest_at(at) + HEADER, frame, 30000);
    for (unsigned i = 0; i < 20; i++)
        guest_add(&transmit, &(struct guest_buffer){at, HEADER + 30000, false}, 1);
    guest_kick(&g, &transmit);
    host_run();
    assert_true(transmitted > 2 && transmitted < 20);
    hold = false;
    while (held_count)
        queue_complete(&host_queue, held[--held_count], BH_OK, 0, 0);
    host_publish();
    host_run();
    assert_int_equal(transmitted, 20);
    assert_int_equal(guest_used(&transmit)[1], 20);
}

/* --- receiving --- */

static uint64_t offer(unsigned count, uint32_t bytes) {
    uint64_t first = guest_alloc(count * bytes, 1);
    for (unsigned i = 0; i < count; i++)
        guest_add(&receive, &(struct guest_buffer){first + i * bytes, bytes, true}, 1);
    guest_kick(&g, &receive);
    host_run();
    return first;
}

static struct virtio_net_header take_frame(uint32_t bytes) {
    static uint8_t got[80000];
    struct virtio_net_header header = {.buffers = 1};
    uint32_t at = 0, id, part;
    for (unsigned i = 0; i < header.buffers; i++) {
        assert_true(guest_take(&receive, &id, &part));
        const struct virtq_desc *d = guest_desc(&receive, id);
        assert_true(part <= d->bytes);
        memcpy(got + at, guest_at(d->address), part);
        at += part;
        if (i == 0)
            memcpy(&header, got, HEADER);
    }
    assert_int_equal(at, HEADER + bytes);
    assert_memory_equal(got + HEADER, frame, bytes);
    assert_false(guest_take(&receive, &id, &part));
    return header;
}

static void receives(void **state) {
    (void)state;
    const uint32_t sizes[] = {60, 255, 256, 257, 1514, 9000, 65000};
    for (unsigned i = 0; i < 7; i++) {
        guest_alloc_reset();
        drive(RINGS | OFFLOADS);
        offer(60, 1536);
        make_frame(sizes[i], 6);
        send_to_guest(sizes[i], BH_NET_CHECKSUM_GOOD, 0, 0);
        struct virtio_net_header h = take_frame(sizes[i]);
        assert_int_equal(h.buffers, (sizes[i] + HEADER + 1535) / 1536);
        assert_int_equal(h.flags, VIRTIO_NET_HDR_DATA_VALID);
        assert_int_equal(guest_messages[1], i + 1);
    }
}

static void receives_odd_buffers(void **state) {
    (void)state;
    drive(RINGS | OFFLOADS);
    const uint32_t sizes[] = {5, 8, 100, 1, 3000}; /* the first together have room for the header */
    uint64_t at = guest_alloc(4000, 1);
    struct guest_buffer first[] = {{at, 5, true}, {at + 100, 8, true}};
    guest_add(&receive, first, 2);
    for (unsigned i = 2; i < 5; i++)
        guest_add(&receive, &(struct guest_buffer){at + 200 + i * 100, sizes[i], true}, 1);
    guest_kick(&g, &receive);
    make_frame(1000, 6);
    send_to_guest(1000, 0, 0, 0);
    uint32_t id, bytes, all = 0;
    while (guest_take(&receive, &id, &bytes))
        all += bytes;
    assert_int_equal(all, 1012);
    assert_int_equal(guest_ram[at + 100 + 5], 4); /* buffers, the header's last field */
    assert_int_equal(guest_ram[at + 100 + 7], frame[0]);
    assert_memory_equal(guest_at(at + 400), frame + 1, 100);
}

static void loses_what_has_no_room(void **state) {
    (void)state;
    drive(RINGS | OFFLOADS);
    make_frame(9000, 6);
    send_to_guest(9000, 0, 0, 0);
    offer(2, 1536);
    send_to_guest(9000, 0, 0, 0);
    assert_int_equal(guest_used(&receive)[1], 0);
    make_frame(1000, 6);
    send_to_guest(1000, 0, 0, 0); /* the buffers are still there */
    take_frame(1000);
    drive(RINGS | VIRTIO_NET_F_GUEST_CSUM); /* not mergeable */
    offer(4, 1536);
    make_frame(1600, 6);
    send_to_guest(1600, 0, 0, 0);
    assert_int_equal(guest_used(&receive)[1], 0);
    make_frame(1514, 6);
    send_to_guest(1514, 0, 0, 0);
    assert_int_equal(take_frame(1514).buffers, 1);
    guest_write(g.common + VIRTIO_COMMON_STATUS, 1, 0);
    send_to_guest(1514, 0, 0, 0);
    assert_int_equal(guest_used(&receive)[1], 1);
}

static void tells_where_the_checksum_is(void **state) {
    (void)state;
    drive(RINGS | OFFLOADS);
    offer(60, 1536);
    make_frame(9000, 6);
    send_to_guest(9000, BH_NET_NEEDS_CHECKSUM, BH_NET_GSO_TCP4, 1448);
    struct virtio_net_header h = take_frame(9000);
    assert_int_equal(h.flags, VIRTIO_NET_HDR_NEEDS_CSUM);
    assert_int_equal(h.checksum_start, TCP_AT);
    assert_int_equal(h.checksum_offset, 16);
    assert_int_equal(h.gso_type, BH_NET_GSO_TCP4);
    assert_int_equal(h.gso_bytes, 1448);
    assert_int_equal(h.header_bytes, 54);
    make_frame(500, 17);
    send_to_guest(500, BH_NET_NEEDS_CHECKSUM, 0, 0);
    assert_int_equal(take_frame(500).checksum_offset, 6);
    /* Not what the driver takes, or not what can be completed: lost. */
    make_frame(500, 1);
    send_to_guest(500, BH_NET_NEEDS_CHECKSUM, 0, 0);
    make_frame(500, 6);
    send_to_guest(500, BH_NET_NEEDS_CHECKSUM, BH_NET_GSO_TCP6, 400);
    send_to_guest(500, 0, BH_NET_GSO_TCP4, 400);
    frame[TCP_AT - 20] = 0x4f; /* a header longer than the frame says */
    frame[16] = 0;
    frame[17] = 40;
    send_to_guest(500, BH_NET_NEEDS_CHECKSUM, 0, 0);
    uint32_t id, bytes;
    assert_false(guest_take(&receive, &id, &bytes));
}

static void completes_checksums(void **state) {
    (void)state;
    drive(RINGS | VIRTIO_NET_F_MRG_RXBUF);
    for (uint32_t bytes = 60; bytes < 1500; bytes += 61)
        for (unsigned protocol = 6; protocol <= 17; protocol += 11) {
            guest_alloc_reset();
            drive(RINGS | VIRTIO_NET_F_MRG_RXBUF);
            uint64_t at = offer(1, 1536);
            make_frame(bytes, (uint8_t)protocol);
            send_to_guest(bytes, BH_NET_NEEDS_CHECKSUM, 0, 0);
            const uint8_t *got = guest_at(at + HEADER);
            uint32_t l4 = bytes - TCP_AT;
            uint32_t pseudo = 0x0a00u + 1 + 0x0a00u + 2 + protocol + l4;
            uint32_t sum = sum_of(got + TCP_AT, l4) + (pseudo & 0xffff) + (pseudo >> 16);
            sum = (sum & 0xffff) + (sum >> 16);
            assert_int_equal(sum, 0xffff);
            assert_int_equal(*((const uint8_t *)guest_at(at)), 0); /* no flags */
        }
    make_frame(1500, 6);
    offer(4, 1536);
    uint16_t before = guest_used(&receive)[1];
    send_to_guest(1500, BH_NET_NEEDS_CHECKSUM, BH_NET_GSO_TCP4, 400);
    assert_int_equal(guest_used(&receive)[1], before);
}

static void buffers_nobody_can_write(void **state) {
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        drive(RINGS | OFFLOADS);
        guest_add(&receive, &(struct guest_buffer){0x1000, i ? 2000 : 12, i == 0}, 1);
        guest_kick(&g, &receive);
        make_frame(100, 6);
        send_to_guest(100, 0, 0, 0);
        assert_true(guest_status(&g) & VIRTIO_STATUS_NEEDS_RESET);
        assert_int_equal(guest_used(&receive)[1], 0);
    }
}

/* --- several pairs of queues --- */

static struct guest_queue queue[2 * PAIRS + 1];

static void drive_pairs(uint64_t features) {
    assert_true(guest_negotiate(&g, features));
    for (uint16_t i = 0; i < 2 * PAIRS + 1; i++)
        guest_queue_set(&g, &queue[i], i, 64, features);
    guest_run(&g);
}

/* What the device answers on queue `control`. */
static uint8_t ask(unsigned control, uint8_t class, uint8_t command, uint16_t pairs,
                   uint32_t bytes) {
    uint64_t at = guest_alloc(8, 8);
    uint8_t *request = guest_at(at);
    uint32_t id, written;
    request[0] = class;
    request[1] = command;
    memcpy(request + 2, &pairs, 2);
    request[7] = 0xaa;
    guest_add(&queue[control], (struct guest_buffer[]){{at, bytes, false}, {at + 7, 1, true}}, 2);
    guest_kick(&g, &queue[control]);
    assert_true(guest_take(&queue[control], &id, &written));
    assert_int_equal(written, 1);
    return request[7];
}

/* Which pair gets a frame between these ports; PAIRS: none. */
static unsigned pair_of(uint16_t from, uint16_t to, uint8_t protocol) {
    unsigned found = PAIRS;
    uint32_t id, bytes;
    for (unsigned i = 0; i < PAIRS; i++) {
        uint64_t at = guest_alloc(1536, 1);
        guest_add(&queue[2 * i], &(struct guest_buffer){at, 1536, true}, 1);
        guest_kick(&g, &queue[2 * i]);
    }
    make_frame(300, protocol);
    frame[TCP_AT] = (uint8_t)(from >> 8);
    frame[TCP_AT + 1] = (uint8_t)from;
    frame[TCP_AT + 2] = (uint8_t)(to >> 8);
    frame[TCP_AT + 3] = (uint8_t)to;
    send_to_guest(300, BH_NET_CHECKSUM_GOOD, 0, 0);
    for (unsigned i = 0; i < PAIRS; i++)
        if (guest_take(&queue[2 * i], &id, &bytes)) {
            assert_int_equal(found, PAIRS);
            assert_int_equal(bytes, HEADER + 300);
            assert_memory_equal(guest_at(guest_desc(&queue[2 * i], id)->address + HEADER), frame,
                                300);
            found = i;
        }
    return found;
}

static void pairs_are_asked_for(void **state) {
    (void)state;
    assert_int_equal(guest_read(g.config + VIRTIO_NET_CONFIG_PAIRS_MAX, 2), PAIRS);
    drive_pairs(SEVERAL);
    for (uint16_t port = 1; port < 5; port++)
        assert_int_equal(pair_of(port, 80, 6), 0); /* until it asks for more */
    assert_int_equal(ask(2 * PAIRS, 4, 0, PAIRS, 4), VIRTIO_NET_CTRL_OK);
    assert_int_equal(ask(2 * PAIRS, 4, 0, 0, 4), VIRTIO_NET_CTRL_ERROR);
    assert_int_equal(ask(2 * PAIRS, 4, 0, PAIRS + 1, 4), VIRTIO_NET_CTRL_ERROR);
    assert_int_equal(ask(2 * PAIRS, 4, 1, 1, 4), VIRTIO_NET_CTRL_ERROR);
    assert_int_equal(ask(2 * PAIRS, 0, 0, 1, 4), VIRTIO_NET_CTRL_ERROR);
    assert_int_equal(ask(2 * PAIRS, 4, 0, 1, 3), VIRTIO_NET_CTRL_ERROR);
    unsigned used = 0;
    for (uint16_t port = 1; port < 5; port++) {
        unsigned pair = pair_of(port, 80, 6);
        assert_in_range(pair, 0, PAIRS - 1);
        assert_int_equal(pair_of(port, 80, 6), pair); /* a connection keeps to one */
        used |= 1u << pair;
    }
    assert_int_equal(used, 7);
    assert_int_equal(pair_of(2, 80, 1), 0); /* neither TCP nor UDP */
    drive_pairs(SEVERAL);                   /* begins with one again */
    for (uint16_t port = 1; port < 5; port++)
        assert_int_equal(pair_of(port, 80, 17), 0);
}

static void pairs_that_were_not_agreed_on(void **state) {
    (void)state;
    drive_pairs(RINGS | VIRTIO_NET_F_CTRL_VQ);
    assert_int_equal(ask(2, 4, 0, 2, 4), VIRTIO_NET_CTRL_ERROR); /* 5.1.2: there it is now */
    drive_pairs(RINGS | VIRTIO_NET_F_MQ);
    guest_add(&queue[2 * PAIRS], &(struct guest_buffer){0x1000, 4, false}, 1);
    guest_kick(&g, &queue[2 * PAIRS]);
    assert_int_equal(guest_used(&queue[2 * PAIRS])[1], 0);
}

/* Each pair's frames go out, and no pair waits for another's to end. */
static void pairs_transmit(void **state) {
    (void)state;
    drive_pairs(SEVERAL);
    make_frame(30000, 6);
    uint64_t at = guest_alloc(HEADER + 30000, 1);
    memset(guest_at(at), 0, HEADER);
    memcpy((uint8_t *)guest_at(at) + HEADER, frame, 30000);
    hold = true;
    for (unsigned i = 0; i < PAIRS; i++) {
        for (unsigned frames = 0; frames < 30; frames++)
            guest_add(&queue[2 * i + 1], &(struct guest_buffer){at, HEADER + 30000, false}, 1);
        guest_kick(&g, &queue[2 * i + 1]);
    }
    host_run();
    while (guest_used(&queue[1])[1] < 30) {
        assert_true(held_count > 0);
        queue_complete(&host_queue, held[--held_count], BH_OK, 0, 0);
        host_publish();
        host_run();
    }
    for (unsigned i = 1; i < PAIRS; i++)
        assert_in_range(guest_used(&queue[2 * i + 1])[1], 10, 30);
    hold = false;
    while (held_count)
        queue_complete(&host_queue, held[--held_count], BH_OK, 0, 0);
    host_publish();
    host_run();
    assert_int_equal(transmitted, 30 * PAIRS);
    assert_memory_equal(wire, frame, 30000);
}

static void pairs_are_state(void **state) {
    (void)state;
    static uint8_t saved[4096];
    drive_pairs(SEVERAL);
    assert_int_equal(ask(2 * PAIRS, 4, 0, PAIRS, 4), VIRTIO_NET_CTRL_OK);
    struct state s = {.at = saved, .left = sizeof(saved)};
    virtio_state(&s, device);
    size_t bytes = sizeof(saved) - s.left;
    static const uint8_t pairs[] = {1, 0, PAIRS + 1, PAIRS};
    for (unsigned i = 0; i < sizeof(pairs); i++) {
        saved[bytes - 2] = pairs[i];
        s = (struct state){.at = saved, .left = bytes, .loading = true};
        virtio_state(&s, device);
        assert_int_equal(s.wrong == NULL, pairs[i] == 1 || pairs[i] == PAIRS);
    }
    assert_true(pair_of(1, 80, 6) != pair_of(2, 80, 6));
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)
#define PAIRS_TEST(f) cmocka_unit_test_setup_teardown(f, start_pairs, stop)
    const struct CMUnitTest tests[] = {
        TEST(transmits),
        TEST(offloads),
        TEST(not_frames),
        TEST(waits_for_room),
        TEST(receives),
        TEST(receives_odd_buffers),
        TEST(loses_what_has_no_room),
        TEST(tells_where_the_checksum_is),
        TEST(completes_checksums),
        TEST(buffers_nobody_can_write),
        PAIRS_TEST(pairs_are_asked_for),
        PAIRS_TEST(pairs_that_were_not_agreed_on),
        PAIRS_TEST(pairs_transmit),
        PAIRS_TEST(pairs_are_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
