/* A network card used as no driver does. Its interface has MAC 52:54:00:66:00:N and IPv4 address
 * 10.0.2.(100 + N). One guest of this program floods the network with frames that it may send, so
 * that the others receive some: the queue that receives takes buffers only then. */
#include "test/guest/hvm/hostile/device.h"

#include "mgmt/virtio/net.h"

#define QUEUE_RECEIVE 0u
#define CONFIG_BAR1 0x200u /* device configuration: mgmt/vmm/virtio/registers.c */
#define HEADER_BYTES ((uint32_t)sizeof(struct virtio_net_header))
#define FRAME_BYTES 60u
#define GUARD 0xa5
#define PATIENCE (20000 * MHZ) /* for a frame: there are many guests */
#define FLOOD (30000 * MHZ)

static void find_card(void) {
    unsigned device = 0;
    while (device < DEVICES && !(is_virtio(device) && is_network(device)))
        device++;
    expect(device < DEVICES);
    find_registers(device);
}

static void own_mac(uint8_t *mac) {
    for (unsigned i = 0; i < 6; i++)
        mac[i] = (uint8_t)read_memory(common + CONFIG_BAR1 + i, 1);
}

/* An ARP request to all for its own address (RFC 826), with these sender's addresses. */
static void make_arp(uint8_t *frame, const uint8_t *mac, uint8_t host) {
    static const uint8_t arp[] = {8, 6, 0, 1, 8, 0, 6, 4, 0, 1};
    for (unsigned i = 0; i < FRAME_BYTES; i++)
        frame[i] = 0;
    for (unsigned i = 0; i < 6; i++) {
        frame[i] = 0xff;
        frame[6 + i] = frame[22 + i] = mac[i];
    }
    for (unsigned i = 0; i < sizeof(arp); i++)
        frame[12 + i] = arp[i];
    frame[28] = frame[38] = 10;
    frame[30] = frame[40] = 2;
    frame[31] = frame[41] = host;
}

static struct virtio_net_header *header(void) {
    return (struct virtio_net_header *)buffer;
}

static void make_own_arp(void) {
    uint8_t mac[6];
    own_mac(mac);
    *header() = (struct virtio_net_header){0};
    make_arp(buffer + HEADER_BYTES, mac, (uint8_t)(100 + mac[5]));
}

/* Until the device has given `count` chains back in all; false: it does not. */
static bool wait_used(uint16_t count, uint64_t ticks) {
    uint64_t end = rdtsc() + ticks;
    while (rings.used[1] != count)
        if (rdtsc() > end)
            return false;
    return true;
}

static bool wait_frame(void) {
    uint64_t end = rdtsc() + PATIENCE;
    while (rings.used[1] == 0)
        if (rdtsc() > end)
            return false;
    return true;
}

static void start_transmit(uint32_t features) {
    begin(features);
    place((uint64_t)rings.desc, (uint64_t)rings.avail, (uint64_t)rings.used, SIZE);
    run();
}

/* The frame in the buffer, of these many bytes with the header. */
static void transmit(uint32_t bytes) {
    uint16_t sent = rings.used[1];
    describe(0, (uint64_t)buffer, bytes, 0, 0);
    submit(0, 1);
    expect(wait_used((uint16_t)(sent + 1), PATIENCE));
}

static void flood(void) {
    uint64_t end = rdtsc() + FLOOD;
    find_card();
    start_transmit(0);
    while (rdtsc() < end) {
        make_own_arp();
        transmit(HEADER_BYTES + FRAME_BYTES);
        spin(2 * MHZ);
    }
}

/* --- Transmitting ------------------------------------------------------------------------------
 */

/* Frames that say they are another's, between frames of its own. */
static void forged_frames(void) {
    static const uint8_t forged[6] = {2, 0xde, 0xad, 0xbe, 0xef, 1};
    uint8_t mac[6];
    find_card();
    start_transmit(0);
    own_mac(mac);
    for (unsigned round = 0; round < 50; round++) {
        make_own_arp();
        transmit(HEADER_BYTES + FRAME_BYTES);
        for (unsigned which = 0; which < 4; which++) {
            uint8_t *frame = buffer + HEADER_BYTES;
            make_own_arp();
            if (which == 0 || which == 2)
                make_arp(frame, forged, (uint8_t)(100 + mac[5]));
            if (which == 1) /* the gateway's address */
                make_arp(frame, mac, 2);
            for (unsigned i = 0; which == 2 && i < 6; i++)
                frame[6 + i] = mac[i];
            for (unsigned i = 0; which == 3 && i < 6; i++)
                frame[6 + i] = forged[i];
            transmit(HEADER_BYTES + FRAME_BYTES);
        }
    }
}

/* Whatever stands in the header, the chain comes back and the queue goes on. */
static void headers(void) {
    static const uint32_t features[] = {
        0, VIRTIO_NET_F_CSUM, VIRTIO_NET_F_CSUM | VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_HOST_TSO6};
    static const uint16_t edges[] = {0,  1,  13,   14,     33,     34,    59,
                                     60, 61, 1514, 0x7fff, 0xfffe, 0xffff};
    const unsigned count = sizeof(edges) / sizeof(edges[0]);
    find_card();
    for (unsigned f = 0; f < sizeof(features) / sizeof(features[0]); f++) {
        start_transmit(features[f]);
        for (unsigned i = 0; i < 400; i++) {
            uint64_t r = random_next();
            make_own_arp();
            *header() = (struct virtio_net_header){
                .flags = (uint8_t)(r & 1 ? VIRTIO_NET_HDR_NEEDS_CSUM : r >> 8),
                .gso_type = (uint8_t)(r & 2 ? r >> 16 & 7 : r >> 16),
                .header_bytes = edges[(r >> 24) % count],
                .gso_bytes = r & 4 ? 0 : edges[(r >> 32) % count],
                .checksum_start = edges[(r >> 40) % count],
                .checksum_offset = edges[(r >> 48) % count],
                .buffers = (uint16_t)r,
            };
            transmit(HEADER_BYTES + (r & 8 ? FRAME_BYTES : (uint32_t)(r >> 52)));
        }
        expect(waits_for(VIRTIO_STATUS_NEEDS_RESET, 0));
        describe(0, (uint64_t)buffer, HEADER_BYTES - 1, 0, 0);
        submit(0, 1);
        expect_broken();
    }
}

/* --- Receiving ---------------------------------------------------------------------------------
 */

static void expect_broken_by_frame(void) {
    uint64_t end = rdtsc() + PATIENCE;
    while (!waits_for(VIRTIO_STATUS_NEEDS_RESET, VIRTIO_STATUS_NEEDS_RESET))
        if (rdtsc() > end)
            break;
    expect_broken();
}

static void start_receive(uint32_t features) {
    find_card();
    queue = QUEUE_RECEIVE;
    start_transmit(features);
}

/* Each of these is seen when a frame comes. */
static void receive_rings(void) {
    const uint64_t top = ram_end();
    const uint64_t bad[] = {top, top - 4, NOTHING_BASE, ~0ull - 11, 0xfee00000};
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        start_receive(0);
        describe(0, bad[i], 2048, VIRTQ_DESC_WRITE, 0);
        submit(0, 1);
        expect_broken_by_frame();
    }
    start_receive(0); /* a loop */
    for (unsigned i = 0; i < SIZE; i++)
        describe(i, (uint64_t)buffer, 64, VIRTQ_DESC_WRITE | VIRTQ_DESC_NEXT,
                 (uint16_t)((i + 1) % SIZE));
    submit(0, 1);
    expect_broken_by_frame();
    start_receive(0); /* backwards */
    submit(0, 0xffff);
    expect_broken_by_frame();
    start_receive(0); /* for reading */
    describe(0, (uint64_t)buffer, 2048, 0, 0);
    submit(0, 1);
    expect_broken_by_frame();
}

/* Buffers too small for the header or for a frame, one piece or many, and not a byte is written
 * beside them. Without mergeable buffers a frame that does not fit is lost. */
static void small_buffers(void) {
    static const uint32_t bytes[] = {1, 11, 12, 13, 40, 71};
    for (unsigned merge = 0; merge < 2; merge++)
        for (unsigned i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
            for (unsigned at = 0; at < sizeof(buffer); at++)
                buffer[at] = GUARD;
            start_receive(merge ? VIRTIO_NET_F_MRG_RXBUF : 0);
            for (uint16_t d = 0; d < SIZE; d++)
                describe(d, (uint64_t)buffer + 256 * d + 64, bytes[i], VIRTQ_DESC_WRITE, 0);
            for (uint16_t d = 0; d < SIZE; d++)
                rings.avail[2 + d] = d;
            rings.avail[1] = SIZE;
            __asm__ volatile("mfence" ::: "memory");
            ring_doorbell(queue);
            if (bytes[i] <= HEADER_BYTES)
                expect_broken_by_frame();
            else if (merge)
                expect(wait_frame());
            else
                spin(PATIENCE / 100);
            for (unsigned at = 0; at < sizeof(buffer); at++)
                expect(buffer[at] == GUARD ||
                       (at < 256 * SIZE && at % 256 >= 64 && at % 256 < 64 + bytes[i]));
        }
}

/* Rings that move, shrink and go while frames come and are sent, and notifications without end. */
static void moved(void) {
    find_card();
    for (unsigned round = 0; round < 300; round++) {
        queue = round & 1;
        start_transmit(round & 2 ? VIRTIO_NET_F_MRG_RXBUF : 0);
        for (unsigned i = 0; i < SIZE; i++)
            describe(i, (uint64_t)buffer + 512 * i, 512, queue ? 0 : VIRTQ_DESC_WRITE, 0);
        submit((uint16_t)(round % SIZE), 1 + round % SIZE);
        for (unsigned i = 0; i < 50; i++)
            ring_doorbell(i & 1);
        spin(MHZ);
        place(random_next(), random_next(), random_next(), (uint16_t)random_next());
        place((uint64_t)&rings, (uint64_t)&rings, (uint64_t)&rings, SIZE);
        for (unsigned i = 0; i < SIZE; i++)
            describe(i, random_next(), (uint32_t)random_next(), (uint16_t)(random_next() & 7),
                     (uint16_t)(random_next() & 15));
        submit((uint16_t)random_next(), (uint16_t)random_next());
    }
    reset();
    start_transmit(0); /* it works as ever */
    queue = 1;
    start_transmit(0);
    make_own_arp();
    transmit(HEADER_BYTES + FRAME_BYTES);
}

/* No attack of its own: it receives, while its VMM is lied to. Nothing comes that is longer than
 * its buffers. */
static void listen(void) {
    uint64_t end = rdtsc() + 2000 * MHZ;
    for (unsigned at = 0; at < sizeof(buffer); at++)
        buffer[at] = GUARD;
    while (rdtsc() < end) {
        start_receive(VIRTIO_NET_F_MRG_RXBUF);
        for (uint16_t d = 0; d < SIZE; d++) {
            describe(d, (uint64_t)buffer + 1024 * d, 512, VIRTQ_DESC_WRITE, 0);
            rings.avail[2 + d] = d;
        }
        rings.avail[1] = SIZE;
        __asm__ volatile("mfence" ::: "memory");
        ring_doorbell(queue);
        spin(20 * MHZ);
        for (unsigned at = 0; at < sizeof(buffer); at++)
            expect(at % 1024 < 512 || buffer[at] == GUARD);
    }
}

const struct attack attacks[] = {
    {"flood", flood},
    {"forged-frames", forged_frames},
    {"headers", headers},
    {"receive-rings", receive_rings},
    {"small-buffers", small_buffers},
    {"moved", moved},
    {"listen", listen},
    {0},
};
