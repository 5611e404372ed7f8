/* Long TCP segments, on lwIP itself: a connection of this machine with itself over a device that
 * cuts long segments into frames, loses some, sends some twice and some late. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "guestlib/lwip/hooks.h"
#include "guestlib/lwip/segments.h"
#include "lwip/init.h"
#include "lwip/ip.h"
#include "lwip/netif.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/ip6.h"
#include "lwip/prot/tcp.h"
#include "lwip/sys.h"
#include "lwip/tcp.h"
#include "lwip/timeouts.h"
#include "lwip/udp.h"

#define MTU 1500u
#define PORT 9
#define WAY_MAX 4096u
#define TRANSFER_BYTES (3u << 20)
#define STEP_MS 10u

/* The way from the device back to it: a ring of frames. */
static struct pbuf *way[WAY_MAX];
static uint32_t way_head, way_tail;
static unsigned loss_percent;
static uint32_t now_ms, longest, frames_seen;
static uint32_t cuts; /* segments that were cut */
static bool device_cuts = true;
static struct netif netif;

u32_t sys_now(void) {
    return now_ms;
}

u32_t stack_rand(void) {
    return (u32_t)rand();
}

u32_t stack_isn(const ip_addr_t *local, u16_t local_port, const ip_addr_t *remote,
                u16_t remote_port) {
    (void)local, (void)local_port, (void)remote, (void)remote_port;
    return 0xfff00000u; /* wraps on the way */
}

_Noreturn void guest_panic(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    abort();
}

uint32_t segments_bytes_max(const struct netif *asked) {
    assert_ptr_equal(asked, &netif);
    return device_cuts ? 60000 : 0;
}

/* --- the device --- */

static bool happens(void) {
    return loss_percent > 0 && (unsigned)rand() % 100 < loss_percent;
}

static void put(const uint8_t *frame, size_t bytes) {
    assert_true(bytes <= MTU);
    frames_seen++;
    if (happens())
        return;
    unsigned copies = happens() ? 2 : 1;
    while (copies-- > 0) {
        struct pbuf *p = pbuf_alloc(PBUF_RAW, (u16_t)bytes, PBUF_RAM);
        assert_non_null(p);
        assert_int_equal(pbuf_take(p, frame, (u16_t)bytes), ERR_OK);
        assert_true(way_tail - way_head < WAY_MAX);
        way[way_tail++ % WAY_MAX] = p;
        if (happens() && way_tail - way_head > 1) { /* overtakes the one before */
            way[(way_tail - 1) % WAY_MAX] = way[(way_tail - 2) % WAY_MAX];
            way[(way_tail - 2) % WAY_MAX] = p;
        }
    }
}

static void set_lengths(uint8_t *frame, size_t ip_bytes, size_t bytes) {
    if (frame[0] >> 4 == 4) {
        ((struct ip_hdr *)frame)->_len = lwip_htons((u16_t)bytes);
        return;
    }
    ((struct ip6_hdr *)frame)->_plen = lwip_htons((u16_t)(bytes - ip_bytes));
}

/* A TCP segment that is longer than a frame, as a device with GSO does it. */
static void cut(const uint8_t *segment, size_t bytes) {
    size_t ip_bytes = segment[0] >> 4 == 4 ? IP_HLEN : IP6_HLEN;
    size_t header_bytes = ip_bytes + (segment[ip_bytes + 12] >> 4) * 4u;
    uint32_t sequence = lwip_ntohl(((const struct tcp_hdr *)(segment + ip_bytes))->seqno);
    for (size_t at = header_bytes; at < bytes;) {
        size_t part = bytes - at < MTU - header_bytes ? bytes - at : MTU - header_bytes;
        uint8_t frame[MTU];
        memcpy(frame, segment, header_bytes);
        memcpy(frame + header_bytes, segment + at, part);
        set_lengths(frame, ip_bytes, header_bytes + part);
        ((struct tcp_hdr *)(frame + ip_bytes))->seqno =
            lwip_htonl(sequence + (uint32_t)(at - header_bytes));
        put(frame, header_bytes + part);
        at += part;
    }
    cuts++;
}

static err_t take(struct pbuf *p) {
    static uint8_t whole[UINT16_MAX];
    pbuf_copy_partial(p, whole, p->tot_len, 0);
    longest = p->tot_len > longest ? p->tot_len : longest;
    if (p->tot_len > MTU)
        cut(whole, p->tot_len);
    else
        put(whole, p->tot_len);
    return ERR_OK;
}

static err_t output(struct netif *to, struct pbuf *p, const ip4_addr_t *address) {
    (void)to, (void)address;
    return take(p);
}

static err_t output_ip6(struct netif *to, struct pbuf *p, const ip6_addr_t *address) {
    (void)to, (void)address;
    return take(p);
}

static err_t init_netif(struct netif *new) {
    new->mtu = MTU;
    new->output = output;
    new->output_ip6 = output_ip6;
    /* The device vouches for what it cut. */
    NETIF_SET_CHECKSUM_CTRL(new, NETIF_CHECKSUM_ENABLE_ALL &
                                     ~(NETIF_CHECKSUM_CHECK_TCP | NETIF_CHECKSUM_CHECK_IP));
    return ERR_OK;
}

static void pass(void) {
    struct pbuf *p = way[way_head++ % WAY_MAX];
    if (ip_input(p, &netif) != ERR_OK)
        pbuf_free(p);
}

/* Goes on until nothing happens at once any more, and a little of time passes. */
static void step(void) {
    while (way_head != way_tail)
        pass();
    now_ms += STEP_MS;
    sys_check_timeouts();
}

/* --- the two ends --- */

static struct tcp_pcb *sender, *receiver;
static uint32_t sent, received, acknowledged_bytes;

static uint8_t pattern(uint32_t at) {
    return (uint8_t)(at * 31 + (at >> 8) * 7 + (at >> 16));
}

static void write_some(void) {
    static uint8_t piece[20000];
    while (sent < TRANSFER_BYTES) {
        u16_t bytes = (u16_t)(1 + (unsigned)rand() % sizeof piece);
        bytes = (u16_t)LWIP_MIN(bytes, TRANSFER_BYTES - sent);
        for (u16_t i = 0; i < bytes; i++)
            piece[i] = pattern(sent + i);
        if (bytes > tcp_sndbuf(sender) ||
            tcp_write(sender, piece, bytes, TCP_WRITE_FLAG_COPY) != ERR_OK)
            break;
        sent += bytes;
    }
    tcp_output(sender);
}

static err_t acknowledged(void *unused, struct tcp_pcb *pcb, u16_t bytes) {
    (void)unused, (void)pcb;
    acknowledged_bytes += bytes;
    write_some();
    return ERR_OK;
}

static err_t take_data(void *unused, struct tcp_pcb *pcb, struct pbuf *p, err_t error) {
    (void)unused, (void)error;
    if (!p)
        return ERR_OK;
    for (u16_t i = 0; i < p->tot_len; i++)
        assert_int_equal(pbuf_get_at(p, i), pattern(received + i));
    received += p->tot_len;
    tcp_recved(pcb, p->tot_len);
    pbuf_free(p);
    return ERR_OK;
}

static err_t accept(void *unused, struct tcp_pcb *pcb, err_t error) {
    (void)unused, (void)error;
    receiver = pcb;
    tcp_recv(pcb, take_data);
    return ERR_OK;
}

static err_t connected(void *unused, struct tcp_pcb *pcb, err_t error) {
    (void)unused;
    assert_int_equal(error, ERR_OK);
    tcp_sent(pcb, acknowledged);
    return ERR_OK;
}

static void open_connection(const ip_addr_t *address) {
    static struct tcp_pcb *listener;
    if (!listener) {
        listener = tcp_new_ip_type(IPADDR_TYPE_ANY);
        assert_int_equal(tcp_bind(listener, IP_ANY_TYPE, PORT), ERR_OK);
        listener = tcp_listen(listener);
        tcp_accept(listener, accept);
    }
    receiver = NULL;
    sent = received = acknowledged_bytes = 0;
    longest = cuts = 0;
    sender = tcp_new_ip_type(IP_GET_TYPE(address));
    assert_int_equal(tcp_connect(sender, address, PORT, connected), ERR_OK);
    for (unsigned i = 0; i < 1000 && !(receiver && receiver->state == ESTABLISHED); i++)
        step();
    assert_non_null(receiver);
    for (unsigned i = 0; i < 1000 && sender->state != ESTABLISHED; i++)
        step();
    assert_int_equal(sender->state, ESTABLISHED);
}

static void close_connection(void) {
    tcp_abort(sender);
    if (receiver->state != CLOSED)
        tcp_abort(receiver);
    while (way_head != way_tail)
        pbuf_free(way[way_head++ % WAY_MAX]);
}

static void transfer(void) {
    write_some();
    for (unsigned i = 0; i < 600000 && acknowledged_bytes < TRANSFER_BYTES; i++)
        step();
    assert_int_equal(received, TRANSFER_BYTES);
    assert_int_equal(acknowledged_bytes, TRANSFER_BYTES);
}

static ip_addr_t own_ipv4(void) {
    ip_addr_t address = IPADDR4_INIT_BYTES(10, 0, 0, 1);
    return address;
}

static ip_addr_t own_ipv6(void) {
    ip_addr_t address;
    ip_addr_copy_from_ip6(address, *netif_ip6_addr(&netif, 0));
    return address;
}

static void bulk_goes_in_long_segments(void **state) {
    (void)state;
    const ip_addr_t addresses[] = {own_ipv4(), own_ipv6()};
    for (unsigned i = 0; i < 2; i++) {
        open_connection(&addresses[i]);
        transfer();
        assert_true(cuts > 50);
        assert_true(longest > 16 * 1400 && longest <= 16 * 1460 + 60);
        close_connection();
    }
}

static void nothing_is_lost_where_frames_are(void **state) {
    (void)state;
    const ip_addr_t addresses[] = {own_ipv4(), own_ipv6()};
    for (unsigned i = 0; i < 4; i++) {
        loss_percent = i < 2 ? 1 : 4;
        open_connection(&addresses[i % 2]);
        transfer();
        assert_true(cuts > 0);
        loss_percent = 0;
        close_connection();
    }
}

static void short_segments_where_the_device_does_not_cut(void **state) {
    (void)state;
    device_cuts = false;
    ip_addr_t address = own_ipv4();
    open_connection(&address);
    transfer();
    assert_int_equal(longest, MTU);
    device_cuts = true;
    close_connection();
}

static void short_segments_beyond_a_router(void **state) {
    (void)state;
    ip_addr_t address = own_ipv4();
    open_connection(&address);
    IP_ADDR4(&sender->remote_ip, 10, 0, 1, 1); /* as if */
    sender->cwnd = 1 << 17;
    struct tcp_hdr header = {0};
    TCPH_HDRLEN_FLAGS_SET(&header, 5, TCP_ACK);
    ip_data.current_input_netif = &netif;
    assert_int_equal(segments_received(sender, &header, 0, 0, NULL, NULL), ERR_OK);
    assert_int_equal(sender->mss, MTU - 40);
    IP_ADDR4(&sender->remote_ip, 10, 0, 0, 1);
    for (netif.mtu = 0; netif.mtu <= 40; netif.mtu++) /* nonsense from a wrong host */
        assert_int_equal(segments_received(sender, &header, 0, 0, NULL, NULL), ERR_OK);
    assert_int_equal(sender->mss, MTU - 40);
    netif.mtu = MTU;
    assert_int_equal(segments_received(sender, &header, 0, 0, NULL, NULL), ERR_OK);
    assert_int_equal(sender->mss, 16 * (MTU - 40));
    close_connection();
}

static void a_datagram_is_cut_by_ip(void **state) {
    (void)state;
    struct udp_pcb *udp = udp_new();
    struct pbuf *p = pbuf_alloc(PBUF_TRANSPORT, 5000, PBUF_RAM);
    memset(p->payload, 1, 5000);
    ip_addr_t addresses[] = {own_ipv4(), own_ipv6()};
    for (unsigned i = 0; i < 2; i++) {
        longest = frames_seen = 0;
        struct udp_pcb *of_its_kind = udp_new_ip_type(IP_GET_TYPE(&addresses[i]));
        assert_int_equal(udp_sendto(of_its_kind, p, &addresses[i], 4000), ERR_OK);
        assert_true(longest <= MTU);
        assert_int_equal(frames_seen, 4);
        udp_remove(of_its_kind);
        step();
    }
    udp_remove(udp);
    pbuf_free(p);
}

/* A peer that changes its MSS in mid-connection. lwIP 2.1.3 would obey, and then give up over what
 * it holds of the former size. */
static void an_mss_out_of_place_is_dropped(void **state) {
    (void)state;
    static const uint8_t options[][8] = {
        {2, 4, 0, 1, 0, 0, 0, 0}, {1, 1, 1, 1, 2, 4, 0, 1}, {1, 2, 4, 0, 1, 0, 0, 0},
        {5, 3, 9, 2, 4, 0, 1, 0}, {2, 9, 9, 9, 9, 9, 9, 9},
    };
    static const uint8_t harmless[][8] = {
        {0, 2, 4, 0, 1, 0, 0, 0}, {5, 8, 2, 2, 2, 2, 2, 2}, {5, 0, 2, 4, 0, 1, 0, 0},
        {1, 1, 1, 1, 1, 1, 1, 5}, {5, 6, 9, 9, 9, 9, 1, 1},
    };
    ip_addr_t address = own_ipv4();
    open_connection(&address);
    for (unsigned i = 0; i < LWIP_ARRAYSIZE(options) + LWIP_ARRAYSIZE(harmless); i++) {
        bool bad = i < LWIP_ARRAYSIZE(options);
        const uint8_t *bytes = bad ? options[i] : harmless[i - LWIP_ARRAYSIZE(options)];
        for (u16_t first = 0; first <= 8; first++) {
            struct {
                struct tcp_hdr header;
                uint8_t options[8];
            } segment = {0};
            memcpy(segment.options, bytes, 8);
            TCPH_HDRLEN_FLAGS_SET(&segment.header, 7, TCP_ACK);
            ip_data.current_input_netif = &netif;
            err_t expected = bad ? ERR_VAL : ERR_OK;
            memset(segment.options + first, 0xaa, 8u - first); /* is in the second buffer */
            assert_int_equal(
                segments_received(sender, &segment.header, 8, first, bytes + first, NULL),
                expected);
            TCPH_HDRLEN_FLAGS_SET(&segment.header, 7, TCP_SYN);
            assert_int_equal(
                segments_received(sender, &segment.header, 8, first, bytes + first, NULL), ERR_OK);
        }
    }
    close_connection();
}

/* The same through lwIP, with data waiting: it goes on. */
static void an_mss_out_of_place_harms_nobody(void **state) {
    (void)state;
    ip_addr_t address = own_ipv4();
    open_connection(&address);
    static uint8_t data[4000];
    assert_int_equal(tcp_write(sender, data, sizeof data, TCP_WRITE_FLAG_COPY), ERR_OK);
    uint8_t frame[44] = {0x45, 0, 0, 44, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 1};
    struct tcp_hdr *header = (struct tcp_hdr *)(frame + 20);
    header->src = lwip_htons(PORT);
    header->dest = lwip_htons(sender->local_port);
    header->seqno = lwip_htonl(sender->rcv_nxt);
    header->ackno = lwip_htonl(sender->snd_nxt);
    header->wnd = lwip_htons(1000);
    TCPH_HDRLEN_FLAGS_SET(header, 6, TCP_ACK);
    memcpy(frame + 40, (const uint8_t[]){2, 4, 0, 1}, 4);
    put(frame, sizeof frame);
    pass();
    assert_int_equal(sender->mss, MTU - 40);
    assert_int_equal(tcp_write(sender, data, sizeof data, TCP_WRITE_FLAG_COPY), ERR_OK);
    close_connection();
}

static int start(void **state) {
    (void)state;
    lwip_init();
    ip4_addr_t address, mask, gateway;
    IP4_ADDR(&address, 10, 0, 0, 1);
    IP4_ADDR(&mask, 255, 255, 255, 0);
    IP4_ADDR(&gateway, 10, 0, 0, 2);
    netif_add(&netif, &address, &mask, &gateway, NULL, init_netif, ip_input);
    netif_create_ip6_linklocal_address(&netif, 1);
    netif_ip6_addr_set_state(&netif, 0, IP6_ADDR_PREFERRED);
    netif_set_default(&netif);
    netif_set_link_up(&netif);
    netif_set_up(&netif);
    return 0;
}

int main(void) {
    const char *given = getenv("BULKHEAD_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 0) : (unsigned)time(NULL);
    printf("BULKHEAD_SEED=%u\n", seed);
    srand(seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bulk_goes_in_long_segments),
        cmocka_unit_test(nothing_is_lost_where_frames_are),
        cmocka_unit_test(short_segments_where_the_device_does_not_cut),
        cmocka_unit_test(short_segments_beyond_a_router),
        cmocka_unit_test(a_datagram_is_cut_by_ip),
        cmocka_unit_test(an_mss_out_of_place_is_dropped),
        cmocka_unit_test(an_mss_out_of_place_harms_nobody),
    };
    return cmocka_run_group_tests_name("segments", tests, start, NULL);
}
