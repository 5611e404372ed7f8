/* A web server for static files, read from an archive on block device 0 as they are sent. A
 * connection reads a request, sends its answer, and reads the next; it never holds more of a file
 * than one piece and what the network has not acknowledged. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include "guestlib/block_front.h"
#include "guestlib/control_front.h"
#include "guestlib/examples/webd/http.h"
#include "guestlib/examples/webd/site.h"
#include "guestlib/guest.h"
#include "guestlib/loop.h"
#include "guestlib/lwip/inbox.h"
#include "guestlib/lwip/stack.h"
#include "lwip/tcp.h"

#define CONNECTIONS_MAX 256u
#define PIECE_BYTES 32768u
#define BUFFER_BYTES (PIECE_BYTES + BH_SECTOR_BYTES) /* a piece may begin inside a sector */
#define UNSENT_MAX 65536u                            /* of one connection, in lwIP */
#define HEAD_BYTES (512u + HTTP_ENCODED_BYTES_MAX)
#define POLL_HALF_S 2u
#define REQUEST_S 15u /* for a request's head, or between two requests */
#define SEND_S 20u    /* without anything acknowledged */
#define LINGER_S 5u   /* for the peer to close after our last word */

enum state { READING, SENDING, LINGERING };

struct connection {
    struct tcp_pcb *pcb; /* NULL: it is gone, and so is this when the read in flight is done */
    enum state state;
    unsigned waited_s;
    bool peer_done, keep_alive, read_in_flight;
    struct inbox inbox;              /* received, not looked at yet */
    char input[HTTP_HEAD_BYTES_MAX]; /* the beginning of a request */
    size_t input_bytes;
    char head[HEAD_BYTES]; /* of the answer */
    size_t head_bytes;
    uint64_t at, end; /* on the device: what is still to be read */
    uint8_t *buffer;  /* BUFFER_BYTES, while there is something to send */
    size_t buffer_at, buffer_end;
    struct block_io io;
};

static struct block_front *block;
static uint32_t piece_bytes;
static unsigned connections;

/* --- the end of a connection ---------------------------------------------------------------------
 */

static void release(struct connection *c) {
    if (c->read_in_flight)
        return; /* read_done comes back here */
    inbox_clear(&c->inbox, NULL);
    free(c->buffer);
    free(c);
    connections--;
}

static struct tcp_pcb *detach(struct connection *c) {
    struct tcp_pcb *pcb = c->pcb;
    tcp_arg(pcb, NULL);
    tcp_recv(pcb, NULL);
    tcp_sent(pcb, NULL);
    tcp_poll(pcb, NULL, 0);
    tcp_err(pcb, NULL);
    c->pcb = NULL;
    release(c);
    return pcb;
}

static err_t drop(struct connection *c) {
    tcp_abort(detach(c));
    return ERR_ABRT;
}

static err_t finish(struct connection *c) {
    struct tcp_pcb *pcb = detach(c);
    if (tcp_close(pcb) == ERR_OK)
        return ERR_OK;
    tcp_abort(pcb);
    return ERR_ABRT;
}

/* --- answers -------------------------------------------------------------------------------------
 */

static void append(struct connection *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void append(struct connection *c, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int length =
        vsnprintf(c->head + c->head_bytes, sizeof c->head - c->head_bytes, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= sizeof c->head - c->head_bytes)
        guest_panic("an answer's head is longer than expected");
    c->head_bytes += (size_t)length;
}

static void begin_head(struct connection *c, unsigned status) {
    c->state = SENDING;
    c->waited_s = 0;
    c->head_bytes = 0;
    append(c, "HTTP/1.1 %u %s\r\nServer: webd\r\n", status, http_reason(status));
    if (guest_domain()->wall_ns_at_tsc_0 != 0) {
        struct timeval now;
        struct tm tm;
        char date[32];
        gettimeofday(&now, NULL);
        strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now.tv_sec, &tm));
        append(c, "Date: %s\r\n", date);
    }
    append(c, "Connection: %s\r\n", c->keep_alive ? "keep-alive" : "close");
}

/* A short answer that is not a file; `field` is one more header line or "". */
static void answer_status(struct connection *c, const struct http_request *request, unsigned status,
                          const char *field) {
    char text[64];
    int length = snprintf(text, sizeof text, "%u %s\n", status, http_reason(status));
    begin_head(c, status);
    append(c, "%sContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n\r\n%s", field,
           length, request->head_only ? "" : text);
}

static void answer_file(struct connection *c, const struct http_request *request,
                        const struct site_file *file) {
    uint64_t first, last;
    unsigned status = http_part(request, file->bytes, &first, &last);
    if (status == 416) {
        char field[64];
        snprintf(field, sizeof field, "Content-Range: bytes */%" PRIu32 "\r\n", file->bytes);
        answer_status(c, request, status, field);
        return;
    }
    begin_head(c, status);
    append(c,
           "Accept-Ranges: bytes\r\nX-Content-Type-Options: nosniff\r\nContent-Type: %s\r\n"
           "Content-Length: %" PRIu64 "\r\n",
           http_content_type(file->name), last + 1 - first);
    if (status == 206)
        append(c, "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu32 "\r\n", first, last,
               file->bytes);
    append(c, "\r\n");
    if (!request->head_only) {
        c->at = file->offset + first;
        c->end = file->offset + last + 1;
    }
}

static void answer(struct connection *c, struct http_request *request) {
    static const char index[] = "index.html";
    char name[HTTP_PATH_BYTES_MAX + sizeof "/" + sizeof index];
    size_t length = strlen(request->path);
    c->keep_alive = request->keep_alive && !c->peer_done;
    if (request->status != 200) {
        answer_status(c, request, request->status,
                      request->status == 405 ? "Allow: GET, HEAD\r\n" : "");
        return;
    }
    bool folder = length == 0 || request->path[length - 1] == '/';
    snprintf(name, sizeof name, "%s%s", request->path, folder ? index : "");
    const struct site_file *file = site_find(name);
    if (file) {
        answer_file(c, request, file);
        return;
    }
    snprintf(name, sizeof name, "%s/%s", request->path, index);
    if (folder || !site_find(name)) {
        answer_status(c, request, 404, "");
        return;
    }
    /* Without the slash, links relative to the folder would lead elsewhere. */
    char encoded[HTTP_ENCODED_BYTES_MAX], field[sizeof encoded + 32];
    http_encode(request->path, encoded);
    snprintf(field, sizeof field, "Location: /%s/\r\n", encoded);
    answer_status(c, request, 301, field);
}

/* --- sending -------------------------------------------------------------------------------------
 */

static err_t drive(struct connection *c);

static void read_done(struct block_io *io, enum bh_status status) {
    struct connection *c = io->context;
    c->read_in_flight = false;
    if (!c->pcb) {
        release(c);
    } else if (status != BH_OK) {
        /* The head promised these bytes: only a broken connection tells the client. */
        printf("webd: reading sector %" PRIu64 " failed, status %d\n", io->sector, status);
        drop(c);
    } else {
        drive(c);
    }
}

static bool read_piece(struct connection *c) {
    if (!c->buffer && !(c->buffer = malloc(BUFFER_BYTES)))
        return false;
    uint32_t skip = (uint32_t)(c->at % BH_SECTOR_BYTES);
    uint64_t bytes = c->end - c->at;
    if (bytes > piece_bytes)
        bytes = piece_bytes;
    uint32_t whole = (skip + (uint32_t)bytes + BH_SECTOR_BYTES - 1) & ~(BH_SECTOR_BYTES - 1);
    c->io = (struct block_io){
        .operation = BH_BLOCK_READ,
        .sector = c->at / BH_SECTOR_BYTES,
        .buffer = c->buffer,
        .bytes = whole,
        .done = read_done,
        .context = c,
    };
    c->buffer_at = skip;
    c->buffer_end = skip + (size_t)bytes;
    c->at += bytes;
    c->read_in_flight = true;
    block_front_submit(block, &c->io);
    return true;
}

/* Gives lwIP what it takes of the head and the buffer. True: all of it. */
static bool write_out(struct connection *c) {
    if (c->head_bytes > 0) {
        if (tcp_write(c->pcb, c->head, (u16_t)c->head_bytes, TCP_WRITE_FLAG_COPY) != ERR_OK)
            return false;
        c->head_bytes = 0;
    }
    size_t bytes = c->buffer_end - c->buffer_at;
    if (bytes == 0)
        return true;
    /* Not tcp_sndbuf(): that counts to 65,535 only. */
    if ((size_t)TCP_SND_BUF - c->pcb->snd_buf + bytes > UNSENT_MAX ||
        tcp_write(c->pcb, c->buffer + c->buffer_at, (u16_t)bytes, TCP_WRITE_FLAG_COPY) != ERR_OK)
        return false;
    c->buffer_at = c->buffer_end;
    return true;
}

/* Sends until there is nothing left, no room, or a piece must be read first. True: nothing left. */
static bool send_on(struct connection *c) {
    bool done = false;
    if (!c->read_in_flight && write_out(c)) {
        done = c->at == c->end;
        if (!done)
            read_piece(c); /* without memory for it: tried again when something is acknowledged */
    }
    tcp_output(c->pcb);
    return done;
}

static void end_answer(struct connection *c) {
    free(c->buffer);
    c->buffer = NULL;
    c->state = c->keep_alive ? READING : LINGERING;
    c->waited_s = 0;
    if (c->state == LINGERING)
        tcp_shutdown(c->pcb, 0, 1);
}

/* Moves what there is room for to `input`; after the last answer nobody wants it any more. */
static void pull(struct connection *c) {
    const void *start;
    size_t bytes;
    if (c->state == LINGERING)
        inbox_clear(&c->inbox, c->pcb);
    while ((start = inbox_peek(&c->inbox, &bytes)) && c->input_bytes < sizeof c->input) {
        if (bytes > sizeof c->input - c->input_bytes)
            bytes = sizeof c->input - c->input_bytes;
        memcpy(c->input + c->input_bytes, start, bytes);
        c->input_bytes += bytes;
        inbox_drop(&c->inbox, c->pcb, bytes);
    }
}

/* Goes on with whatever the connection can go on with. */
static err_t drive(struct connection *c) {
    for (;;) {
        if (c->state == SENDING) {
            if (!send_on(c))
                return ERR_OK;
            end_answer(c);
        }
        pull(c);
        struct http_request request;
        if (c->state == LINGERING || !http_parse(c->input, c->input_bytes, &request)) {
            if (c->peer_done)
                return finish(c);
            return ERR_OK;
        }
        c->input_bytes -= request.bytes;
        memmove(c->input, c->input + request.bytes, c->input_bytes);
        answer(c, &request);
    }
}

/* --- what lwIP tells -----------------------------------------------------------------------------
 */

static err_t received(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t error) {
    struct connection *c = arg;
    (void)pcb, (void)error;
    if (!p)
        c->peer_done = true;
    else if (!inbox_put(&c->inbox, p))
        return ERR_MEM; /* lwIP offers it again */
    return drive(c);
}

static err_t sent(void *arg, struct tcp_pcb *pcb, u16_t bytes) {
    struct connection *c = arg;
    (void)pcb, (void)bytes;
    if (c->state != SENDING)
        return ERR_OK;
    c->waited_s = 0;
    return drive(c);
}

static err_t polled(void *arg, struct tcp_pcb *pcb) {
    static const unsigned patience_s[] = {REQUEST_S, SEND_S, LINGER_S};
    struct connection *c = arg;
    (void)pcb;
    c->waited_s++;
    if (c->state == SENDING && c->waited_s <= SEND_S)
        return drive(c);
    if (c->waited_s <= patience_s[c->state])
        return ERR_OK;
    if (c->state != READING)
        return drop(c);
    if (c->input_bytes == 0)
        return finish(c);
    c->keep_alive = false;
    answer_status(c, &(struct http_request){0}, 408, "");
    return drive(c);
}

static void failed(void *arg, err_t error) {
    struct connection *c = arg;
    (void)error;
    c->pcb = NULL;
    release(c);
}

static err_t accepted(void *arg, struct tcp_pcb *pcb, err_t error) {
    (void)arg;
    if (error != ERR_OK)
        return error;
    struct connection *c = connections < CONNECTIONS_MAX ? calloc(1, sizeof *c) : NULL;
    if (!c) {
        tcp_abort(pcb);
        return ERR_ABRT;
    }
    connections++;
    c->pcb = pcb;
    tcp_arg(pcb, c);
    tcp_recv(pcb, received);
    tcp_sent(pcb, sent);
    tcp_poll(pcb, polled, POLL_HALF_S);
    tcp_err(pcb, failed);
    return ERR_OK;
}

/* --- start ---------------------------------------------------------------------------------------
 */

/* Called for every change; IPv6 addresses come and go without being news. */
static void say_address(struct netif *netif) {
    static ip4_addr_t said;
    if (ip4_addr_cmp(&said, netif_ip4_addr(netif)) || ip4_addr_isany(netif_ip4_addr(netif)))
        return;
    said = *netif_ip4_addr(netif);
    printf("webd: http://%s/\n", ip4addr_ntoa(&said));
}

static void loaded(bool ok) {
    if (!ok) {
        loop_stop(EXIT_FAILURE);
        return;
    }
    struct tcp_pcb *pcb = tcp_new_ip_type(IPADDR_TYPE_ANY);
    if (!pcb || tcp_bind(pcb, IP_ANY_TYPE, 80) != ERR_OK || !(pcb = tcp_listen(pcb)))
        guest_panic("cannot listen on port 80");
    tcp_accept(pcb, accepted);
    printf("webd: %u files\n", site_files());
    say_address(netif_default);
    netif_set_status_callback(netif_default, say_address);
    control_ready();
}

int main(void) {
    block = block_front_open(0);
    if (!block || !stack_open(0)) {
        puts("webd needs a disk with its content and a network device");
        return EXIT_FAILURE;
    }
    piece_bytes = block_front_bytes_max(block) - BH_SECTOR_BYTES;
    if (piece_bytes > PIECE_BYTES)
        piece_bytes = PIECE_BYTES;
    site_load(block, loaded);
    return loop_run();
}
