/* Two of these measure the network between PV guests. With "serve" it answers datagrams on UDP port
 * 7 and takes what comes on TCP port 9. Else its argument is the address of one that serves, and
 * for each line "udp ROUNDS" or "tcp KIB" on its console it exchanges so many datagrams of 64 bytes
 * one after the other, or sends so much, and prints "bench: done" when the last answer or
 * acknowledgement has come. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guestlib/console_front.h"
#include "guestlib/control_front.h"
#include "guestlib/guest.h"
#include "guestlib/loop.h"
#include "guestlib/lwip/stack.h"
#include "lwip/tcp.h"
#include "lwip/udp.h"

#define DATAGRAM_BYTES 64u
#define UDP_PORT 7
#define TCP_PORT 9
#define WRITE_BYTES 32768u

static uint8_t data[WRITE_BYTES]; /* is sent again and again, and never changes: not copied */
static ip_addr_t peer;
static struct udp_pcb *udp;
static struct tcp_pcb *tcp;
static unsigned long rounds;            /* datagrams to go */
static size_t to_write, to_acknowledge; /* bytes */

/* --- The one that serves --- */

static void answer(void *unused, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *from,
                   u16_t port) {
    (void)unused;
    udp_sendto(pcb, p, from, port);
    pbuf_free(p);
}

static err_t drop(void *unused, struct tcp_pcb *pcb, struct pbuf *p, err_t error) {
    (void)unused, (void)error;
    if (!p)
        return tcp_close(pcb);
    tcp_recved(pcb, p->tot_len);
    pbuf_free(p);
    return ERR_OK;
}

static err_t accept(void *unused, struct tcp_pcb *pcb, err_t error) {
    (void)unused;
    if (error == ERR_OK)
        tcp_recv(pcb, drop);
    return error;
}

static void serve(void) {
    struct tcp_pcb *listener = tcp_new_ip_type(IPADDR_TYPE_ANY);
    if (!listener || tcp_bind(listener, IP_ANY_TYPE, TCP_PORT) != ERR_OK ||
        !(listener = tcp_listen(listener)) || udp_bind(udp, IP_ANY_TYPE, UDP_PORT) != ERR_OK)
        guest_panic("no ports");
    tcp_accept(listener, accept);
    udp_recv(udp, answer, NULL);
}

/* --- The one that asks --- */

static void done(void) {
    puts("bench: done");
}

static void send_datagram(void) {
    struct pbuf *p = pbuf_alloc(PBUF_TRANSPORT, DATAGRAM_BYTES, PBUF_RAM);
    if (!p)
        guest_panic("no memory");
    memset(p->payload, 0, DATAGRAM_BYTES);
    udp_sendto(udp, p, &peer, UDP_PORT);
    pbuf_free(p);
}

static void answered(void *unused, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *from,
                     u16_t port) {
    (void)unused, (void)pcb, (void)from, (void)port;
    pbuf_free(p);
    if (--rounds > 0)
        send_datagram();
    else
        done();
}

static void write_some(void) {
    while (to_write > 0) {
        size_t bytes = to_write < WRITE_BYTES ? to_write : WRITE_BYTES;
        if (bytes > tcp_sndbuf(tcp) || tcp_write(tcp, data, (u16_t)bytes, 0) != ERR_OK)
            break; /* what is acknowledged makes room */
        to_write -= bytes;
    }
    tcp_output(tcp);
}

static err_t acknowledged(void *unused, struct tcp_pcb *pcb, u16_t bytes) {
    (void)unused, (void)pcb;
    to_acknowledge -= bytes;
    if (to_acknowledge == 0)
        done();
    else
        write_some();
    return ERR_OK;
}

static err_t connected(void *unused, struct tcp_pcb *pcb, err_t error) {
    (void)unused, (void)pcb;
    if (error != ERR_OK)
        guest_panic("not connected: %d", error);
    tcp_sent(tcp, acknowledged);
    puts("bench: connected");
    return ERR_OK;
}

static void command(const char *line) {
    unsigned long count;
    if (sscanf(line, "udp %lu", &count) == 1 && count > 0) {
        rounds = count;
        send_datagram();
    } else if (sscanf(line, "tcp %lu", &count) == 1 && count > 0) {
        to_write = to_acknowledge = count << 10;
        write_some();
    } else {
        puts("bench: udp ROUNDS or tcp KIB");
    }
}

static size_t typed(void *unused, const char *text, size_t bytes) {
    static char line[32];
    static size_t length;
    (void)unused;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '\r' || text[i] == '\n') {
            line[length] = '\0';
            if (length > 0)
                command(line);
            length = 0;
        } else if (length < sizeof(line) - 1) {
            line[length++] = text[i];
        }
    }
    return bytes;
}

static void ask(const char *address) {
    tcp = tcp_new();
    if (!tcp || !ipaddr_aton(address, &peer) ||
        tcp_connect(tcp, &peer, TCP_PORT, connected) != ERR_OK)
        guest_panic("cannot ask %s", address);
    udp_recv(udp, answered, NULL);
    console_on_input(typed, NULL);
}

int main(int argc, char **argv) {
    udp = stack_open(0) ? udp_new_ip_type(IPADDR_TYPE_ANY) : NULL;
    if (!udp || argc != 2)
        guest_panic("a network card and one word are needed");
    if (strcmp(argv[1], "serve") == 0)
        serve();
    else
        ask(argv[1]);
    control_ready();
    return loop_run();
}
