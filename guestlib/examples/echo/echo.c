/* Echoes TCP and UDP on port 7. For tests of bulk transfer, port 9 takes whatever comes and answers
 * with its length and CRC-32 when the peer has sent everything, and port 19 sends as many bytes of
 * a known sequence as the first line of the connection asks for. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guestlib/control_front.h"
#include "guestlib/examples/echo/crc32.h"
#include "guestlib/guest.h"
#include "guestlib/loop.h"
#include "guestlib/lwip/inbox.h"
#include "guestlib/lwip/stack.h"
#include "lwip/tcp.h"
#include "lwip/udp.h"

/* --- port 7 --------------------------------------------------------------------------------------
 */

struct echo {
    struct tcp_pcb *pcb;
    struct inbox inbox; /* what has come and not gone back yet */
    bool peer_done;
};

static err_t abandon(struct tcp_pcb *pcb) {
    tcp_abort(pcb);
    return ERR_ABRT;
}

/* Ends a connection in order; lwIP must not call us for it any more. */
static err_t finish(struct tcp_pcb *pcb) {
    tcp_arg(pcb, NULL);
    tcp_recv(pcb, NULL);
    tcp_sent(pcb, NULL);
    tcp_err(pcb, NULL);
    if (tcp_close(pcb) != ERR_OK)
        return abandon(pcb);
    return ERR_OK;
}

static err_t echo_send(struct echo *echo) {
    const void *start;
    size_t bytes;
    while ((start = inbox_peek(&echo->inbox, &bytes))) {
        if (bytes > tcp_sndbuf(echo->pcb))
            bytes = tcp_sndbuf(echo->pcb);
        if (bytes == 0 || tcp_write(echo->pcb, start, (u16_t)bytes, TCP_WRITE_FLAG_COPY) != ERR_OK)
            break; /* echo_sent calls again */
        inbox_drop(&echo->inbox, echo->pcb, bytes);
    }
    tcp_output(echo->pcb);
    if (start || !echo->peer_done)
        return ERR_OK;
    struct tcp_pcb *pcb = echo->pcb;
    free(echo);
    return finish(pcb);
}

static err_t echo_received(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t error) {
    struct echo *echo = arg;
    (void)pcb, (void)error;
    if (!p)
        echo->peer_done = true;
    else if (!inbox_put(&echo->inbox, p))
        return ERR_MEM; /* lwIP offers it again */
    return echo_send(echo);
}

static err_t echo_sent(void *arg, struct tcp_pcb *pcb, u16_t bytes) {
    (void)pcb, (void)bytes;
    return echo_send(arg);
}

static void echo_failed(void *arg, err_t error) {
    struct echo *echo = arg;
    (void)error;
    inbox_clear(&echo->inbox, NULL);
    free(echo);
}

static err_t echo_accept(void *arg, struct tcp_pcb *pcb, err_t error) {
    (void)arg;
    if (error != ERR_OK)
        return error;
    struct echo *echo = calloc(1, sizeof *echo);
    if (!echo)
        return abandon(pcb);
    echo->pcb = pcb;
    tcp_arg(pcb, echo);
    tcp_recv(pcb, echo_received);
    tcp_sent(pcb, echo_sent);
    tcp_err(pcb, echo_failed);
    return ERR_OK;
}

static void echo_datagram(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *from,
                          u16_t port) {
    (void)arg;
    udp_sendto(pcb, p, from, port);
    pbuf_free(p);
}

/* --- ports 9 and 19 ------------------------------------------------------------------------------
 */

struct bulk {
    uint64_t bytes; /* taken so far; to send */
    uint64_t sent;
    uint32_t crc;
    char line[24]; /* port 19: the request */
};

static err_t sink_received(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t error) {
    struct bulk *bulk = arg;
    (void)error;
    if (!p) {
        char answer[48];
        int length =
            snprintf(answer, sizeof answer, "%" PRIu64 " %08" PRIx32 "\n", bulk->bytes, bulk->crc);
        tcp_write(pcb, answer, (u16_t)length, TCP_WRITE_FLAG_COPY);
        free(bulk);
        return finish(pcb);
    }
    for (const struct pbuf *q = p; q; q = q->next)
        bulk->crc = crc32(bulk->crc, q->payload, q->len);
    bulk->bytes += p->tot_len;
    tcp_recved(pcb, p->tot_len);
    pbuf_free(p);
    return ERR_OK;
}

/* Byte n of the sequence is n mod 251: no power of two, so that a shift shows. */
static err_t source_send(struct bulk *bulk, struct tcp_pcb *pcb) {
    static uint8_t sequence[251 + 8192];
    if (sequence[1] == 0)
        for (size_t i = 0; i < sizeof sequence; i++)
            sequence[i] = (uint8_t)(i % 251);
    while (bulk->sent < bulk->bytes) {
        uint64_t bytes = bulk->bytes - bulk->sent;
        if (bytes > 8192)
            bytes = 8192;
        if (tcp_sndbuf(pcb) < bytes ||
            tcp_write(pcb, sequence + bulk->sent % 251, (u16_t)bytes, 0) != ERR_OK) {
            tcp_output(pcb);
            return ERR_OK; /* source_sent calls again */
        }
        bulk->sent += bytes;
    }
    free(bulk);
    return finish(pcb);
}

static err_t source_sent(void *arg, struct tcp_pcb *pcb, u16_t bytes) {
    struct bulk *bulk = arg;
    (void)bytes;
    if (bulk->bytes == 0)
        return ERR_OK;
    return source_send(bulk, pcb);
}

static err_t source_received(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t error) {
    struct bulk *bulk = arg;
    (void)error;
    if (!p) { /* went away without asking, or before it got everything */
        free(bulk);
        return finish(pcb);
    }
    size_t have = strlen(bulk->line), room = sizeof bulk->line - 1 - have;
    pbuf_copy_partial(p, bulk->line + have, (u16_t)(p->tot_len < room ? p->tot_len : room), 0);
    tcp_recved(pcb, p->tot_len);
    pbuf_free(p);
    if (bulk->bytes > 0 || !strchr(bulk->line, '\n'))
        return ERR_OK;
    bulk->bytes = strtoull(bulk->line, NULL, 10);
    return source_send(bulk, pcb);
}

static void bulk_failed(void *arg, err_t error) {
    (void)error;
    free(arg);
}

static err_t bulk_accept(void *arg, struct tcp_pcb *pcb, err_t error) {
    if (error != ERR_OK)
        return error;
    struct bulk *bulk = calloc(1, sizeof *bulk);
    if (!bulk)
        return abandon(pcb);
    bool source = arg != NULL;
    tcp_arg(pcb, bulk);
    tcp_recv(pcb, source ? source_received : sink_received);
    tcp_sent(pcb, source ? source_sent : NULL);
    tcp_err(pcb, bulk_failed);
    return ERR_OK;
}

/* --- start ---------------------------------------------------------------------------------------
 */

static void listen_on(u16_t port, tcp_accept_fn accept, void *arg) {
    struct tcp_pcb *pcb = tcp_new_ip_type(IPADDR_TYPE_ANY);
    if (!pcb || tcp_bind(pcb, IP_ANY_TYPE, port) != ERR_OK || !(pcb = tcp_listen(pcb)))
        guest_panic("cannot listen on port %u", port);
    tcp_arg(pcb, arg);
    tcp_accept(pcb, accept);
}

int main(void) {
    static char source;
    if (!stack_open(0)) {
        puts("echo needs a network device");
        return EXIT_FAILURE;
    }
    listen_on(7, echo_accept, NULL);
    listen_on(9, bulk_accept, NULL);
    listen_on(19, bulk_accept, &source);
    struct udp_pcb *udp = udp_new_ip_type(IPADDR_TYPE_ANY);
    if (!udp || udp_bind(udp, IP_ANY_TYPE, 7) != ERR_OK)
        guest_panic("cannot bind UDP port 7");
    udp_recv(udp, echo_datagram, NULL);
    puts("echo: TCP and UDP on port 7, sink on 9, source on 19");
    control_ready();
    return loop_run();
}
