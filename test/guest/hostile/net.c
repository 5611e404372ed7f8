/* Forged frames and buffers. Interface 0 sends what it must not; interface 1 of the same guest is
 * who would receive it. test_hostile.py gives both their addresses. */
#include "test/guest/hostile/raw.h"

enum { ETHERNET = 14, IPV4 = 20, IPV6 = 40, FRAME_MAX = 1514 };
enum { ATTACK_AT = 0, BUFFERS_AT = 262144 }; /* in each window */

static struct raw *q, *witness;
static uint8_t *f; /* the frame being made, in q's window */

static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static void copy(uint8_t *to, const uint8_t *from, unsigned bytes) {
    for (unsigned i = 0; i < bytes; i++)
        to[i] = from[i];
}

static void put16(uint8_t *to, unsigned value) {
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
}

static const uint8_t *my_ipv4(void) {
    return (const uint8_t *)&q->device->net.ipv4_address;
}

static void begin(void) {
    q = raw_open(BH_CLASS_NET, 0);
    witness = raw_open(BH_CLASS_NET, 1);
    expect(q && witness);
    f = raw_window(q) + ATTACK_AT;
}

static void ethernet(unsigned type) {
    for (unsigned i = 0; i < 2048; i++)
        f[i] = 0;
    copy(f, broadcast, 6);
    copy(f + 6, q->device->net.mac, 6);
    put16(f + 12, type);
}

/* A request of ours; reply or probe by its operation. */
static unsigned arp(void) {
    ethernet(0x0806);
    put16(f + 14, 1);
    put16(f + 16, 0x0800);
    put16(f + 18, 0x0604);
    put16(f + 20, 1);
    copy(f + 22, q->device->net.mac, 6);
    copy(f + 28, my_ipv4(), 4);
    return ETHERNET + 28;
}

/* UDP (17), TCP (6) or anything with so many bytes behind the IPv4 header. */
static unsigned ipv4(unsigned protocol, unsigned bytes) {
    ethernet(0x0800);
    f[14] = 0x45;
    put16(f + 16, IPV4 + bytes);
    f[22] = 64;
    f[23] = (uint8_t)protocol;
    copy(f + 26, my_ipv4(), 4);
    copy(f + 30, broadcast, 4);
    if (protocol == 6)
        f[34 + 12] = 5 << 4;
    return ETHERNET + IPV4 + bytes;
}

static unsigned ipv6(unsigned next, unsigned bytes) {
    ethernet(0x86dd);
    f[14] = 0x60;
    put16(f + 18, bytes);
    f[20] = (uint8_t)next;
    f[21] = 255;
    copy(f + 22, q->device->net.ipv6_address, 16);
    f[38] = 0xff;
    f[39] = 2;
    f[53] = 1;
    return ETHERNET + IPV6 + bytes;
}

static enum bh_status send_with(unsigned bytes, uint64_t offload) {
    return raw_ask(q, BH_NET_TRANSMIT, offload, ATTACK_AT, bytes);
}

static enum bh_status send(unsigned bytes) {
    return send_with(bytes, 0);
}

static void give_buffer(uint64_t offset, uint32_t bytes) {
    raw_request(witness, BH_NET_RECEIVE, 1, 0, (uint32_t)offset, 0);
    raw_segment(witness, offset, bytes);
    raw_publish(witness);
}

/* Has the witness got anything? It does not wait. */
static bool received(struct bh_completion *done) {
    return __atomic_load_n(&witness->peer->tail, __ATOMIC_ACQUIRE) != witness->head &&
           raw_take(witness, done);
}

/* Lengths from nothing to far too much. */
static void lengths(void) {
    begin();
    arp();
    for (unsigned bytes = 0; bytes < ETHERNET; bytes++)
        expect(send(bytes) == BH_BAD_ARG);
    for (unsigned bytes = ETHERNET; bytes < ETHERNET + 28; bytes++)
        expect(send(bytes) == BH_BAD_RIGHTS);
    expect(send(ETHERNET + 28) == BH_OK);
    for (unsigned bytes = ipv4(17, 8); bytes-- > ETHERNET;)
        expect(send(bytes) == BH_BAD_RIGHTS);
    for (unsigned bytes = ipv6(17, 8); bytes-- > ETHERNET;)
        expect(send(bytes) == BH_BAD_RIGHTS);
    expect(send(ipv4(17, 1480)) == BH_OK);
    expect(send(ipv4(17, 1481)) == BH_BAD_ARG);
    expect(send(BH_NET_FRAME_BYTES_MAX) == BH_BAD_ARG);
    expect(send(BH_NET_FRAME_BYTES_MAX + 1) == BH_BAD_ARG);
    expect(send(0xffffffff) == BH_BAD_ARG);
}

/* Headers scattered over 32 pieces, many of them empty; and 32 times the largest frame. */
static void pieces(void) {
    struct bh_completion done;
    begin();
    unsigned bytes = ipv4(17, 100);
    for (unsigned step = 1; step < 32; step++) {
        raw_request(q, BH_NET_TRANSMIT, BH_QUEUE_SEGMENTS_MAX, 0, step, 0);
        unsigned at = 0;
        for (unsigned i = 0; i < BH_QUEUE_SEGMENTS_MAX; i++) {
            unsigned here = i + 1 == BH_QUEUE_SEGMENTS_MAX ? bytes - at : i % 3 ? step : 0;
            if (here > bytes - at)
                here = bytes - at;
            raw_segment(q, at, here);
            at += here;
        }
        raw_publish(q);
        expect(raw_take(q, &done) && done.status == BH_OK && done.value == bytes);
    }
    raw_request(q, BH_NET_TRANSMIT, BH_QUEUE_SEGMENTS_MAX, 0, 0, 0);
    for (unsigned i = 0; i < BH_QUEUE_SEGMENTS_MAX; i++)
        raw_segment(q, 0, BH_NET_FRAME_BYTES_MAX);
    raw_publish(q);
    expect(raw_take(q, &done) && done.status == BH_BAD_ARG);
    expect(raw_ask(q, BH_NET_TRANSMIT, 0, q->device->window_bytes - 20, 42) == BH_BAD_ARG);
    expect(raw_ask(q, BH_NET_TRANSMIT, 0, ~0ull - 20, 42) == BH_BAD_ARG);
}

static void refused(unsigned bytes) {
    struct bh_completion done;
    expect(send(bytes) == BH_BAD_RIGHTS);
    expect(!received(&done));
}

/* An address of somebody else's wherever one can stand. */
static void spoofs(void) {
    begin();
    give_buffer(BUFFERS_AT, 2048);
    unsigned bytes = arp();
    f[11] ^= 1; /* source MAC */
    refused(bytes);
    bytes = arp();
    f[27] ^= 1; /* sender MAC */
    refused(bytes);
    bytes = arp();
    f[31] ^= 1; /* sender IP, request and reply */
    refused(bytes);
    f[21] = 2;
    refused(bytes);
    bytes = arp();
    f[21] = 2; /* a reply from nobody */
    f[28] = f[29] = f[30] = f[31] = 0;
    refused(bytes);
    bytes = arp();
    f[19] = 6; /* protocol addresses of 6 bytes */
    refused(bytes);

    bytes = ipv4(17, 8);
    f[29] ^= 1;
    refused(bytes);
    bytes = ipv4(17, 8);
    f[26] = f[27] = f[28] = f[29] = 0;
    refused(bytes);
    bytes = ipv4(17, 8);
    put16(f + 34, 67); /* a DHCP server */
    put16(f + 36, 68);
    refused(bytes);
    bytes = ipv4(17, 8);
    f[14] = 0x46; /* the ports lie behind an option */
    f[34] = 1;
    put16(f + 16, IPV4 + 8);
    refused(bytes);
    bytes = ipv4(17, 1); /* a first fragment too short for its ports */
    f[20] = 0x20;
    refused(bytes);

    bytes = ipv6(17, 8);
    f[37] ^= 1;
    refused(bytes);
    bytes = ipv6(58, 24); /* another's neighbour advertisement */
    f[54] = 136;
    copy(f + 62, f + 22, 16);
    f[77] ^= 1;
    refused(bytes);
    bytes = ipv6(58, 32); /* one's own, with another's MAC address in it */
    f[54] = 136;
    copy(f + 62, f + 22, 16);
    f[78] = 2;
    f[79] = 1;
    refused(bytes);
    bytes = ipv6(58, 16); /* a router, a redirect */
    f[54] = 134;
    refused(bytes);
    bytes = ipv6(58, 40);
    f[54] = 137;
    refused(bytes);
    bytes = ipv6(0, 8 + 16); /* a router behind a hop-by-hop header */
    f[54] = 58;
    f[62] = 134;
    refused(bytes);
    bytes = ipv6(44, 8 + 8); /* and in a fragment */
    f[54] = 58;
    f[57] = 1;
    f[62] = 134;
    refused(bytes);

    static const uint16_t types[] = {0x8100, 0x88a8, 0x9100, 0x8808, 0x88cc, 0x8863,
                                     0x8864, 0x0027, 0x05dc, 0x0000, 0xffff, 0x8847};
    for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        ethernet(types[i]); /* tags, pause frames, LLDP, PPPoE, spanning tree, MPLS */
        refused(60);
    }
    bytes = ipv4(17, 8); /* addressed to bridges */
    static const uint8_t bridges[6] = {0x01, 0x80, 0xc2, 0, 0, 0};
    copy(f, bridges, 6);
    refused(bytes);

    struct bh_completion done; /* what is its own is let through, whole */
    bytes = arp();
    expect(send(bytes) == BH_OK);
    expect(raw_take(witness, &done) && (uint32_t)done.value == bytes);
    for (unsigned i = 0; i < bytes; i++)
        expect(raw_window(witness)[BUFFERS_AT + i] == f[i]);
}

/* Offload fields on a TCP segment: every value of each, then all at random. */
static void offload(void) {
    begin();
    unsigned bytes = ipv4(6, 20 + 1000);
    bool offered = q->device->net.features & BH_NET_FEATURE_CHECKSUM;
    const uint64_t good = 34 | 16 << 16 | (uint64_t)BH_NET_NEEDS_CHECKSUM << 56;
    const uint64_t gso = good | 500ull << 32 | (uint64_t)BH_NET_GSO_TCP4 << 48;
    expect(send_with(bytes, good) == (offered ? BH_OK : BH_BAD_ARG));
    expect(send_with(bytes, gso) == (offered ? BH_OK : BH_BAD_ARG));
    for (unsigned i = 0; i < 256; i++) {
        expect((send_with(bytes, (good & ~0xffull) | i) == BH_OK) == (offered && i == 34));
        expect((send_with(bytes, (good & ~0xff0000ull) | i << 16) == BH_OK) ==
               (offered && i == 16));
        expect(send_with(bytes, (gso & ~0xff000000000000ull) | (uint64_t)i << 48) != BH_OK ||
               (offered && i == BH_NET_GSO_TCP4));
        expect(send_with(bytes, (gso & ~0xff00000000000000ull) | (uint64_t)i << 56) != BH_OK ||
               (offered && i == BH_NET_NEEDS_CHECKSUM));
    }
    for (unsigned size = 0; size < 256; size++)
        expect(send_with(bytes, (gso & ~0xffff00000000ull) | (uint64_t)size << 32) != BH_OK);
    for (unsigned size = 1461; size < 65536; size += 97)
        expect(send_with(bytes, (gso & ~0xffff00000000ull) | (uint64_t)size << 32) != BH_OK);
    for (unsigned i = 0; i < 3000; i++)
        expect(send_with(bytes, random_next()) != BH_DISCONNECTED);
    for (unsigned offset = 0; offset < 16; offset++) { /* TCP headers that are not whole */
        bytes = ipv4(6, 20 + 1000);
        f[46] = (uint8_t)(offset << 4);
        expect((send_with(bytes, gso) == BH_OK) == (offered && offset >= 5));
    }
    bytes = ipv4(17, 20 + 1000);
    expect(send_with(bytes, gso) != BH_OK);
    bytes = ipv6(6, 20 + 1000);
    expect(send_with(bytes, gso) != BH_OK);
}

/* Frames of random bytes behind a header that is one's own. */
static void random_frames(void) {
    begin();
    for (unsigned round = 0; round < 3000; round++) {
        unsigned bytes = random_next() & 1 ? ipv4(random_next() & 0xff, random_next() & 0x3ff)
                                           : ipv6(random_next() & 0x3f, random_next() & 0x3ff);
        for (unsigned flips = random_next() & 7; flips; flips--)
            f[12 + random_next() % 80] = (uint8_t)random_next();
        expect(send_with(bytes, random_next() & 1 ? 0 : random_next()) != BH_DISCONNECTED);
    }
}

/* Buffers of every odd kind, and frames that come into them. */
static void buffers(void) {
    struct bh_completion done;
    begin();
    uint64_t end = witness->device->window_bytes;
    expect(raw_ask(witness, BH_NET_RECEIVE, 0, 0, 0) == BH_BAD_ARG);
    expect(raw_ask(witness, BH_NET_RECEIVE, 0, end, 1) == BH_BAD_ARG);
    expect(raw_ask(witness, BH_NET_RECEIVE, 0, ~0ull, 2) == BH_BAD_ARG);
    for (unsigned segments = 0; segments < 4; segments += 2) {
        raw_request(witness, BH_NET_RECEIVE, segments, 0, 0, 0);
        for (unsigned i = 0; i < segments; i++)
            raw_segment(witness, 0, 2048);
        raw_publish(witness);
        expect(raw_take(witness, &done) && done.status == BH_BAD_ARG);
    }
    for (unsigned operation = 2; operation < 256; operation++)
        expect(raw_ask(witness, operation, 0, 0, 64) == BH_BAD_CALL);

    unsigned bytes = ipv4(17, 8 + 200); /* no buffer is there: lost */
    expect(send(bytes) == BH_OK && !received(&done));

    /* All on one byte, and the last of the window: a frame fills them one by one. */
    for (unsigned i = 0; i < 250; i++)
        give_buffer(i == 7 ? end - 1 : BUFFERS_AT, 1);
    expect(send(bytes) == BH_OK);
    for (unsigned i = 0; i < bytes; i++)
        expect(raw_take(witness, &done) && done.status == BH_OK && (uint32_t)done.value == 1 &&
               done.value >> 56 == bytes - 1 - i);
    expect(raw_window(witness)[end - 1] == f[7]);
    expect(send(bytes) == BH_OK && !received(&done)); /* 8 bytes are not enough: lost */

    /* Overlapping ones, behind the eight. */
    for (unsigned i = 0; i < 100; i++)
        give_buffer(BUFFERS_AT + i, 64);
    expect(send(bytes) == BH_OK);
    for (unsigned further = 255; further; further = (unsigned)(done.value >> 56))
        expect(raw_take(witness, &done) && done.status == BH_OK);
}

/* Broadcasts without end, for three seconds. */
static void flood(void) {
    struct bh_completion done;
    begin();
    unsigned bytes = arp();
    uint64_t end = tsc_read() + 3 * domain->tsc_hz;
    while (tsc_read() < end) {
        for (unsigned i = 0; i < 400; i++) {
            raw_request(q, BH_NET_TRANSMIT, 1, 0, i, 0);
            raw_segment(q, ATTACK_AT, bytes);
        }
        raw_publish(q);
        for (unsigned i = 0; i < 400; i++)
            expect(raw_take(q, &done));
    }
}

/* More requests than completions can ever be taken: disconnected, and the port is gone. */
static void breaks(void) {
    begin();
    for (unsigned i = 0; i < 300; i++) {
        raw_request(witness, BH_NET_RECEIVE, 1, 0, i, 0);
        raw_segment(witness, 0, 64);
    }
    raw_publish(witness);
    expect(!raw_broken(witness));
    for (unsigned i = 0; i < 300; i++) {
        raw_request(witness, BH_NET_RECEIVE, 1, 0, i, 0);
        raw_segment(witness, 0, 64);
    }
    raw_publish(witness);
    expect(raw_broken(witness));
    expect(send(arp()) == BH_OK);
    raw_tail(q, q->tail + q->device->client_units + 1);
    expect(raw_broken(q));
}

const struct attempt attempts[] = {
    {"lengths", lengths}, {"pieces", pieces},        {"spoofs", spoofs},
    {"offload", offload}, {"random", random_frames}, {"buffers", buffers},
    {"flood", flood},     {"breaks", breaks},        {0},
};
