/* The smallest guest that answers on the network, for tests with very many: ARP, and UDP sent back
 * as it came. It says when its first instruction ran. With the argument `busy` it works without end
 * instead. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guestlib/control_front.h"
#include "guestlib/guest.h"
#include "guestlib/loop.h"
#include "guestlib/net_front.h"
#include "guestlib/tsc.h"

#define FRAME_BYTES_MAX 1514u

/* Offsets in an Ethernet frame with ARP (RFC 826) or IPv4 without options (RFC 791) and UDP. */
enum {
    TO = 0,
    FROM = 6,
    TYPE = 12,
    ARP_OPERATION = 20,
    ARP_SENDER = 22, /* MAC and IPv4 address */
    ARP_TARGET = 32,
    ARP_TARGET_IP = 38,
    ARP_END = 42,
    IP_FIRST = 14, /* version, header length */
    IP_PROTOCOL = 23,
    IP_FROM = 26,
    IP_TO = 30,
    UDP_FROM = 34,
    UDP_TO = 36,
    UDP_END = 42,
};

static uint64_t first_tsc;
static struct net_front *net;

/* The linker puts it in guest_start's place (--wrap): start.S has run four instructions before. */
_Noreturn void __real_guest_start(const void *info);
_Noreturn void __wrap_guest_start(const void *info);

void __wrap_guest_start(const void *info) {
    first_tsc = tsc_read();
    __real_guest_start(info);
}

static void swap(uint8_t *frame, size_t a, size_t b, size_t bytes) {
    uint8_t kept[ARP_TARGET - ARP_SENDER];
    memcpy(kept, frame + a, bytes);
    memcpy(frame + a, frame + b, bytes);
    memcpy(frame + b, kept, bytes);
}

static bool is(const uint8_t *frame, size_t at, unsigned high, unsigned low) {
    return frame[at] == high && frame[at + 1] == low;
}

/* Turns a request into its answer; false: it is none. */
static bool answer(uint8_t *frame, size_t bytes, const struct bh_net_info *info) {
    if (bytes >= ARP_END && is(frame, TYPE, 8, 6) && is(frame, ARP_OPERATION, 0, 1) &&
        memcmp(frame + ARP_TARGET_IP, &info->ipv4_address, 4) == 0) {
        frame[ARP_OPERATION + 1] = 2;
        memcpy(frame + ARP_TARGET, info->mac, sizeof info->mac);
        swap(frame, ARP_SENDER, ARP_TARGET, ARP_TARGET - ARP_SENDER);
    } else if (bytes >= UDP_END && is(frame, TYPE, 8, 0) && frame[IP_FIRST] == 0x45 &&
               frame[IP_PROTOCOL] == 17 && memcmp(frame + IP_TO, &info->ipv4_address, 4) == 0) {
        swap(frame, IP_FROM, IP_TO, 4); /* checksums stay as they are */
        swap(frame, UDP_FROM, UDP_TO, 2);
    } else {
        return false;
    }
    memcpy(frame + TO, frame + FROM, sizeof info->mac);
    memcpy(frame + FROM, info->mac, sizeof info->mac);
    return true;
}

static void receive(void *context, const struct net_frame *received) {
    (void)context;
    uint8_t frame[FRAME_BYTES_MAX];
    size_t bytes = received->bytes;
    if (bytes > sizeof frame)
        return;
    net_frame_read(received, 0, frame, bytes);
    struct net_piece piece = {frame, bytes};
    if (answer(frame, bytes, net_front_info(net)))
        net_front_transmit(net, &piece, 1, (struct bh_net_offload){0});
}

static void room(void *context) {
    (void)context;
}

int main(int argc, char **argv) {
    static const struct net_handlers handlers = {.receive = receive, .room = room};
    printf("first instruction at TSC %" PRIu64 "\n", first_tsc);
    net = net_front_open(0, &handlers);
    control_ready();
    if (argc < 2 || strcmp(argv[1], "busy") != 0)
        return loop_run();
    loop_turn(false); /* what was said goes out */
    for (;;)
        __asm__ volatile(".fill 63, 1, 0x90"); /* NOPs: emulators like long runs */
}
