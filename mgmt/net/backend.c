/* The net back end: one client for each network device of a guest, served in turn. A frame's
 * headers are copied to private memory, checked and sent from there; its payload is copied once,
 * from window to window or from window to the uplink's buffers, so a guest's transmit never waits
 * for a device and nothing of a guest's window is ever given to one. Nothing is queued for a
 * receiver: who has posted no buffers loses the frame. */
#include "mgmt/backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guestlib/loop.h"
#include "mgmt/net/filter.h"
#include "mgmt/net/switch.h"
#include "mgmt/turns.h"

#define MTU 1500u
#define TURN_REQUESTS 32u /* then it is the next client's turn */
#define BURST_BYTES_MIN ((uint64_t)2 * BH_NET_FRAME_BYTES_MAX)
#define VLAN_MAX 4094u
#define FURTHER_MAX 255u /* eight bits of a completion, abi/net.h */

struct buffer {
    uint64_t offset;
    uint32_t bytes;
    uint32_t tag;
};

struct net_client {
    struct port port;
    struct channel channel;
    struct queue_end queue;
    struct filter_rules rules;
    struct rate rate;
    struct net_statistics statistics;
    struct turn turn;      /* in `runnable`: has, or may have, requests */
    struct turn completed; /* in `unpublished`: completions were written */
    bool gone;             /* broke the protocol: no port any more, waits for its detach */
    bool holds;            /* `frame` waits for the uplink, to complete `held_tag` */
    uint32_t held_tag;
    struct frame frame;
    /* Receive buffers, oldest first. The queue bounds how many requests are outstanding. */
    struct buffer *buffer;
    uint32_t buffers_max, buffer_first, buffers;
};

static struct turns runnable, unpublished;
static struct loop_work work;

static void serve(void *context);

static void wake(void) {
    work.handler = serve;
    loop_post(&work);
}

static struct net_client *of_port(struct port *port) {
    return (struct net_client *)(void *)((char *)port - offsetof(struct net_client, port));
}

static struct net_client *of_turn(struct turn *turn) {
    return (struct net_client *)(void *)((char *)turn - offsetof(struct net_client, turn));
}

static struct net_client *of_completed(struct turn *turn) {
    return (struct net_client *)(void *)((char *)turn - offsetof(struct net_client, completed));
}

static void complete(struct net_client *c, uint32_t tag, enum bh_status status, uint16_t flags,
                     uint64_t value) {
    queue_complete(&c->queue, tag, status, flags, value);
    turns_append(&unpublished, &c->completed);
}

/* How many of the oldest buffers hold so many bytes, 0: they do not. */
static uint32_t buffers_for(const struct net_client *c, uint32_t bytes) {
    uint64_t room = 0;
    for (uint32_t n = 0; n < c->buffers && n <= FURTHER_MAX; n++) {
        room += c->buffer[(c->buffer_first + n) % c->buffers_max].bytes;
        if (room >= bytes)
            return n + 1;
    }
    return 0;
}

static uint64_t receive_value(const struct frame *frame, uint32_t bytes, uint32_t further) {
    return bytes | (uint64_t)frame->offload.gso_bytes << 32 |
           (uint64_t)frame->offload.gso_type << 48 | (uint64_t)further << 56;
}

static void deliver(struct port *port, const struct frame *frame) {
    struct net_client *c = of_port(port);
    uint32_t needed = buffers_for(c, frame->bytes);
    if (needed == 0) {
        c->statistics.dropped_full++;
        return;
    }
    struct frame_cursor cursor = {.frame = frame};
    uint16_t flags = frame->offload.flags & (BH_NET_NEEDS_CHECKSUM | BH_NET_CHECKSUM_GOOD);
    while (needed--) {
        struct buffer *b = &c->buffer[c->buffer_first];
        uint32_t bytes = frame_read(&cursor, c->channel.window + b->offset, b->bytes);
        complete(c, b->tag, BH_OK, flags, receive_value(frame, bytes, needed));
        c->buffer_first = (c->buffer_first + 1) % c->buffers_max;
        c->buffers--;
    }
    c->statistics.received++;
    c->statistics.received_bytes += frame->bytes;
}

/* One empty buffer. queue_take_request checked that it lies in the window. */
static void take_buffer(struct net_client *c, const struct bh_request *request,
                        const struct bh_segment *segment) {
    if (request->segments != 1 || segment->bytes == 0 || c->buffers == c->buffers_max) {
        complete(c, request->tag, BH_BAD_ARG, 0, 0);
        return;
    }
    uint32_t last = (c->buffer_first + c->buffers++) % c->buffers_max;
    c->buffer[last] = (struct buffer){segment->offset, segment->bytes, request->tag};
}

static struct bh_net_offload offload_of(uint64_t argument) {
    struct bh_net_offload offload;
    memcpy(&offload, &argument, sizeof(offload));
    return offload;
}

static bool offload_offered(const struct bh_net_offload *o) {
    if (o->flags & ~BH_NET_NEEDS_CHECKSUM)
        return false;
    bool checksum = o->flags & BH_NET_NEEDS_CHECKSUM;
    return (!checksum || switch_has_checksum()) &&
           (o->gso_type == BH_NET_GSO_NONE || switch_has_gso());
}

/* BAD_ARG: not a frame; BAD_RIGHTS: not one that this port may send. */
static enum bh_status take_frame(struct net_client *c, const struct bh_request *request,
                                 const struct bh_segment *segments) {
    struct frame_piece pieces[BH_QUEUE_SEGMENTS_MAX];
    struct frame *f = &c->frame;
    for (unsigned i = 0; i < request->segments; i++)
        pieces[i] = (struct frame_piece){c->channel.window + segments[i].offset, segments[i].bytes};
    f->offload = offload_of(request->argument);
    if (!frame_take(f, pieces, request->segments) || !offload_offered(&f->offload))
        return BH_BAD_ARG;
    if (!frame_parse(f) || !filter_allows(&c->rules, f)) {
        c->statistics.dropped_spoofed++;
        return BH_BAD_RIGHTS;
    }
    return frame_offload_valid(f, MTU) ? BH_OK : BH_BAD_ARG;
}

/* The frame taken last. False: it has to wait for the uplink. */
static bool forward(struct net_client *c, uint32_t tag) {
    uint32_t bytes = c->frame.bytes;
    enum switch_result result = switch_from_port(&c->port, &c->frame);
    c->holds = result == SWITCH_WAIT;
    c->held_tag = tag;
    if (c->holds)
        return false;
    if (result == SWITCH_DROPPED) {
        c->statistics.dropped_rate++;
    } else {
        c->statistics.transmitted++;
        c->statistics.transmitted_bytes += bytes;
    }
    complete(c, tag, BH_OK, 0, bytes);
    return true;
}

/* False: the client has to wait for the uplink. */
static bool transmit(struct net_client *c, const struct bh_request *request,
                     const struct bh_segment *segments) {
    enum bh_status status = take_frame(c, request, segments);
    if (status != BH_OK) {
        complete(c, request->tag, status, 0, 0);
        return true;
    }
    if (!rate_allows(&c->rate, loop_now_ns())) {
        c->statistics.dropped_rate++;
        complete(c, request->tag, BH_OK, 0, c->frame.bytes);
        return true;
    }
    rate_use(&c->rate, c->frame.bytes);
    return forward(c, request->tag);
}

static bool execute(struct net_client *c, const struct bh_request *request,
                    const struct bh_segment *segments, bool bad) {
    if (bad || request->flags) {
        complete(c, request->tag, BH_BAD_ARG, 0, 0);
        return true;
    }
    switch (request->operation) {
    case BH_NET_TRANSMIT:
        return transmit(c, request, segments);
    case BH_NET_RECEIVE:
        take_buffer(c, request, segments);
        return true;
    }
    complete(c, request->tag, BH_BAD_CALL, 0, 0);
    return true;
}

static void disconnect(struct net_client *c) {
    log_line("net", "%s: broke the queue's protocol: disconnected", c->channel.name);
    c->gone = true;
    switch_remove(&c->port);
}

enum turn_end { TURN_IDLE, TURN_MORE, TURN_WAITS };

/* One client's turn. */
static enum turn_end serve_client(struct net_client *c) {
    if (c->holds && !forward(c, c->held_tag))
        return TURN_WAITS;
    for (unsigned i = 0; i < TURN_REQUESTS; i++) {
        struct bh_request request;
        struct bh_segment segments[BH_QUEUE_SEGMENTS_MAX];
        bool bad;
        enum queue_take take = queue_take_request(&c->queue, &request, segments, &bad);
        if (take == QUEUE_BROKEN) {
            disconnect(c);
            return TURN_IDLE;
        }
        if (take == QUEUE_EMPTY) {
            if (queue_sleep(&c->queue))
                return TURN_IDLE;
            continue;
        }
        if (!execute(c, &request, segments, bad))
            return TURN_WAITS;
    }
    return TURN_MORE;
}

static void publish_all(void) {
    struct turn *turn;
    while ((turn = turns_take(&unpublished))) {
        struct net_client *c = of_completed(turn);
        if (queue_publish(&c->queue))
            event_signal(c->channel.signal);
    }
}

/* Every client that is runnable has one turn. Those that wait for the uplink keep their order, in
 * front of those that had their turn: so the room that comes is shared fairly. */
static void serve(void *context) {
    (void)context;
    struct turns waiting = {0}, again = {0};
    struct turn *turn;
    while ((turn = turns_take(&runnable))) {
        enum turn_end end = serve_client(of_turn(turn));
        if (end == TURN_WAITS)
            turns_append(&waiting, turn);
        if (end == TURN_MORE)
            turns_append(&again, turn);
    }
    if (again.count)
        wake();
    while ((turn = turns_take(&waiting)))
        turns_append(&runnable, turn);
    while ((turn = turns_take(&again)))
        turns_append(&runnable, turn);
    switch_flush();
    publish_all();
}

void net_service(struct net_client *c) {
    if (c->gone)
        return;
    turns_append(&runnable, &c->turn);
    wake();
}

static bool settings_valid(const struct net_settings *s, char *error, size_t error_bytes) {
    static const uint8_t zero[ETHERNET_ADDRESS_BYTES];
    if (ethernet_is_multicast(s->mac) || memcmp(s->mac, zero, sizeof(zero)) == 0)
        snprintf(error, error_bytes, "the MAC address is not that of one station");
    else if (s->vlan > VLAN_MAX)
        snprintf(error, error_bytes, "VLAN %u: 1 to %u", (unsigned)s->vlan, VLAN_MAX);
    else
        return true;
    return false;
}

static struct net_client *create(const struct channel *channel, const struct net_settings *s) {
    struct net_client *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->channel = *channel;
    c->buffers_max = channel->own_units; /* more requests are never outstanding */
    c->buffer = calloc(c->buffers_max, sizeof(*c->buffer));
    if (!c->buffer) {
        free(c);
        return NULL;
    }
    memcpy(c->port.mac, s->mac, sizeof(c->port.mac));
    c->port.vlan = s->vlan;
    c->port.deliver = deliver;
    memcpy(c->rules.mac, s->mac, sizeof(c->rules.mac));
    memcpy(c->rules.ipv4, &s->ipv4_address, sizeof(c->rules.ipv4));
    memcpy(c->rules.ipv6, s->ipv6_address, sizeof(c->rules.ipv6));
    uint64_t burst = s->burst_bytes > BURST_BYTES_MIN ? s->burst_bytes : BURST_BYTES_MIN;
    rate_start(&c->rate, s->bytes_per_s_limit, burst, loop_now_ns());
    return c;
}

static void destroy(struct net_client *c) {
    free(c->buffer);
    free(c);
}

static void fill_info(struct bh_net_info *info, const struct net_settings *s) {
    *info = (struct bh_net_info){
        .mtu = MTU,
        .features = (switch_has_checksum() ? BH_NET_FEATURE_CHECKSUM : 0) |
                    (switch_has_gso() ? BH_NET_FEATURE_GSO : 0),
        .ipv4_address = s->ipv4_address,
        .ipv4_gateway = s->ipv4_gateway,
        .ipv4_prefix = s->ipv4_prefix,
        .ipv6_prefix = s->ipv6_prefix,
    };
    memcpy(info->mac, s->mac, sizeof(info->mac));
    memcpy(info->ipv6_address, s->ipv6_address, sizeof(info->ipv6_address));
}

struct net_client *net_attach(const struct channel *channel, const struct net_settings *settings,
                              struct bh_net_info *info, enum bh_status *status, char *error,
                              size_t error_bytes) {
    *status = BH_BAD_ARG;
    if (!settings_valid(settings, error, error_bytes))
        return NULL;
    *status = BH_NO_MEMORY;
    struct net_client *c = create(channel, settings);
    if (!c) {
        snprintf(error, error_bytes, "no memory for a network device");
        return NULL;
    }
    *status = switch_add(&c->port);
    if (*status != BH_OK) {
        snprintf(error, error_bytes,
                 *status == BH_BUSY ? "the MAC address is in use on this network"
                                    : "the switch has no port left");
        destroy(c);
        return NULL;
    }
    *status = queue_server_open(&c->queue, channel->own, channel->own_units, channel->peer,
                                channel->peer_units, channel->window_bytes, channel->generation);
    if (*status != BH_OK) {
        snprintf(error, error_bytes, "the queue's size is not a power of two in its bounds");
        switch_remove(&c->port);
        destroy(c);
        return NULL;
    }
    fill_info(info, settings);
    event_signal(channel->signal); /* a client of an earlier server opens its end again */
    net_service(c);                /* the client may have been there first */
    return c;
}

/* No device ever sees the window, so there is nothing to wait for. */
void net_detach(struct net_client *c, void (*done)(void *context), void *context) {
    if (!c->gone)
        switch_remove(&c->port);
    turns_remove(&runnable, &c->turn);
    turns_remove(&unpublished, &c->completed);
    destroy(c);
    done(context);
}

void net_get_statistics(const struct net_client *client, struct net_statistics *out) {
    *out = client->statistics;
}

void net_start(void) {
    switch_start(wake);
    if (switch_uplink_wanted())
        log_line("net", "no network card: guests reach each other only");
}
