/* virtio-net. Transmitting: a chain's frame is copied into the window and the chain given back;
 * what finds no room waits in its queue. Receiving: frames come whole and are copied into as many
 * of the driver's buffers as they take; where there are too few, the frame is lost, as on any
 * network card. Addresses and protocols are not looked at: the host's switch filters. Of several
 * pairs of queues each connection keeps to one, by its ports: a table of which connection the
 * driver sends where, as 5.1.6.5.5 proposes, would be memory that strangers fill. */
#include "mgmt/vmm/virtio/net.h"

#include <stdlib.h>
#include <string.h>

#include "guestlib/net_front.h"
#include "mgmt/vmm/virtio/net_header.h"

#define PCI_CLASS_ETHERNET 0x020000u
#define QUEUE_SIZE 256u
#define QUEUE_RECEIVE(pair) (2u * (pair)) /* 5.1.2 */
#define QUEUE_TRANSMIT(pair) (2u * (pair) + 1)
#define TURN_CHAINS 64u
#define BLOCK_BYTES 2048u /* copied at a time; bounce space's chunks are no longer */

struct virtio_net {
    struct virtio_device device;
    struct net_front *front;
    uint8_t config[VIRTIO_NET_CONFIG_BYTES];
    uint16_t pairs, pairs_max; /* that the driver uses; that there are */
    uint32_t stalled;          /* queues in which a frame waits for room, a bit each */
    unsigned turn;             /* which pair has room first */
    struct net_piece piece[VIRTQUEUE_SIZE_MAX];
    struct virtqueue_chain chain; /* transmitting, and a received frame's further buffers */
    struct virtqueue_chain first; /* a received frame's first buffer */
    struct net_start start;       /* of the received frame */
};

static struct virtio_net *of_device(struct virtio_device *d) {
    return (struct virtio_net *)d; /* its first member */
}

/* --- transmitting --- */

/* False: an offload that was not negotiated, or does not exist. */
static bool read_offload(const struct virtio_net *n, const struct virtio_net_header *h,
                         struct bh_net_offload *offload) {
    uint64_t needed = h->gso_type == BH_NET_GSO_NONE   ? 0
                      : h->gso_type == BH_NET_GSO_TCP4 ? VIRTIO_NET_F_HOST_TSO4
                      : h->gso_type == BH_NET_GSO_TCP6 ? VIRTIO_NET_F_HOST_TSO6
                                                       : ~0ull;
    if (h->flags & VIRTIO_NET_HDR_NEEDS_CSUM)
        needed |= VIRTIO_NET_F_CSUM;
    else if (needed)
        return false; /* 5.1.6.2: segmentation without a checksum to complete makes no sense */
    if (needed & ~n->device.accepted)
        return false;
    *offload = (struct bh_net_offload){0};
    if (h->flags & VIRTIO_NET_HDR_NEEDS_CSUM) {
        offload->flags = BH_NET_NEEDS_CHECKSUM;
        offload->checksum_start = h->checksum_start;
        offload->checksum_offset = h->checksum_offset;
    }
    if (h->gso_type != BH_NET_GSO_NONE) {
        offload->gso_type = h->gso_type;
        offload->gso_bytes = h->gso_bytes;
    }
    return true;
}

/* The chain in n->chain. False: no room now. What is no frame is lost. */
static bool transmit(struct virtio_net *n) {
    struct virtqueue_chain *c = &n->chain;
    struct virtio_net_header header;
    struct bh_net_offload offload;
    pieces_read(c->piece, c->readable, 0, &header, sizeof(header));
    uint32_t bytes = c->readable_bytes - (uint32_t)sizeof(header);
    if (bytes == 0 || bytes > net_front_frame_bytes_max(n->front) ||
        !read_offload(n, &header, &offload))
        return true;
    unsigned count = pieces_part(c->piece, c->readable, sizeof(header), bytes, c->piece);
    for (unsigned i = 0; i < count; i++)
        n->piece[i] = (struct net_piece){c->piece[i].data, c->piece[i].bytes};
    return net_front_transmit(n->front, n->piece, count, offload);
}

static bool serve_transmit(struct virtio_net *n, unsigned queue) {
    struct virtio_device *d = &n->device;
    struct virtqueue *ring = &d->queue[queue].ring;
    bool more = true, stalled = false;
    n->stalled &= ~(1u << queue);
    virtqueue_refuse_notification(ring);
    for (unsigned i = 0; i < TURN_CHAINS && more && !stalled; i++) {
        if (!virtio_take(d, queue, &n->chain)) {
            more = virtio_idle(d, queue);
        } else if (n->chain.readable_bytes < sizeof(struct virtio_net_header)) {
            virtio_break(d); /* 5.1.6.2 */
            more = false;
        } else if (transmit(n)) {
            virtqueue_complete(ring, n->chain.head, 0);
        } else {
            virtqueue_put_back(ring, 1);
            stalled = true;
        }
    }
    n->stalled |= (uint32_t)stalled << queue;
    virtio_publish(d, queue);
    return more && !stalled;
}

/* --- control --- */

/* 5.1.2: behind all pairs that could be used. */
static bool is_control(const struct virtio_net *n, unsigned queue) {
    uint64_t accepted = n->device.accepted;
    return accepted & VIRTIO_NET_F_CTRL_VQ &&
           queue == QUEUE_RECEIVE(accepted & VIRTIO_NET_F_MQ ? n->pairs_max : 1);
}

/* 5.1.6.5.5 is all there is. */
static uint8_t obey(struct virtio_net *n) {
    struct {
        uint8_t class, command;
        uint16_t pairs;
    } request;
    const struct virtqueue_chain *c = &n->chain;
    if (pieces_read(c->piece, c->readable, 0, &request, sizeof(request)) < sizeof(request) ||
        request.class != VIRTIO_NET_CTRL_MQ || request.command != VIRTIO_NET_CTRL_MQ_PAIRS_SET ||
        !(n->device.accepted & VIRTIO_NET_F_MQ) || request.pairs < 1 ||
        request.pairs > n->pairs_max)
        return VIRTIO_NET_CTRL_ERROR;
    n->pairs = request.pairs;
    return VIRTIO_NET_CTRL_OK;
}

static bool serve_control(struct virtio_net *n, unsigned queue) {
    struct virtio_device *d = &n->device;
    bool more = true;
    for (unsigned i = 0; i < TURN_CHAINS && more; i++) {
        if (!virtio_take(d, queue, &n->chain)) {
            more = virtio_idle(d, queue);
            continue;
        }
        uint8_t answer = obey(n);
        uint32_t bytes = pieces_write(chain_writable(&n->chain), n->chain.writable, 0, &answer, 1);
        virtqueue_complete(&d->queue[queue].ring, n->chain.head, bytes);
    }
    virtio_publish(d, queue);
    return more;
}

static bool serve(struct virtio_device *d, unsigned queue) {
    if (is_control(of_device(d), queue))
        return serve_control(of_device(d), queue);
    if (queue % 2)
        return serve_transmit(of_device(d), queue);
    virtqueue_refuse_notification(&d->queue[queue].ring); /* buffers are taken as frames come */
    return false;
}

/* --- receiving --- */

/* Copies bytes [at, at + bytes) of the frame into a chain's writable pieces from `to` on. The
 * beginning comes from the private copy, that was looked at. */
static void fill(struct virtio_net *n, const struct virtqueue_chain *c, uint32_t to,
                 const struct net_frame *frame, uint32_t at, uint32_t bytes) {
    uint8_t block[BLOCK_BYTES];
    while (bytes > 0) {
        const uint8_t *from = block;
        uint32_t count = bytes < BLOCK_BYTES ? bytes : BLOCK_BYTES;
        if (at < n->start.bytes) {
            from = n->start.frame.header + at;
            if (count > n->start.bytes - at)
                count = n->start.bytes - at;
        } else {
            net_frame_read(frame, at, block, count);
        }
        pieces_write(chain_writable(c), c->writable, to, from, count);
        to += count;
        at += count;
        bytes -= count;
    }
}

static uint32_t min(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

/* The frame into the driver's buffers, header left for later; returns how many it took, 0: there
 * are too few. */
static uint16_t deliver(struct virtio_net *n, unsigned queue, const struct net_frame *frame) {
    const uint32_t header = sizeof(struct virtio_net_header);
    struct virtqueue *ring = &n->device.queue[queue].ring;
    bool mergeable = n->device.accepted & VIRTIO_NET_F_MRG_RXBUF;
    uint32_t at = 0, all = (uint32_t)frame->bytes;
    uint16_t buffers = 0;
    while (at < all && (buffers == 0 || mergeable)) {
        struct virtqueue_chain *c = buffers == 0 ? &n->first : &n->chain;
        uint32_t skip = buffers == 0 ? header : 0;
        if (!virtio_take(&n->device, queue, c))
            break;
        uint32_t part = c->writable_bytes > skip ? min(c->writable_bytes - skip, all - at) : 0;
        if (part == 0) {
            virtio_break(&n->device); /* 5.1.6.3.1: no place even for the header */
            break;
        }
        fill(n, c, skip, frame, at, part);
        virtqueue_complete(ring, c->head, skip + part);
        at += part;
        buffers++;
    }
    if (at == all)
        return buffers;
    virtqueue_take_back(ring, buffers);
    virtqueue_put_back(ring, buffers);
    return 0;
}

static void receive(void *context, const struct net_frame *frame) {
    struct virtio_net *n = context;
    if (!virtio_running(&n->device, QUEUE_RECEIVE(0)) ||
        !net_start_make(&n->start, frame, n->device.accepted))
        return;
    unsigned pair = n->pairs > 1 ? net_start_flow(&n->start) % n->pairs : 0;
    n->start.header.buffers = deliver(n, QUEUE_RECEIVE(pair), frame);
    if (n->start.header.buffers)
        pieces_write(chain_writable(&n->first), n->first.writable, 0, &n->start.header,
                     sizeof(n->start.header));
}

/* --- turns, start, state --- */

static void room(void *context) {
    struct virtio_net *n = context;
    uint32_t stalled = n->stalled;
    for (unsigned i = 0; i < n->pairs; i++)
        virtio_publish(&n->device, QUEUE_RECEIVE(i));
    for (unsigned i = 0; i < n->pairs_max && stalled; i++) {
        unsigned queue = QUEUE_TRANSMIT((n->turn + i) % n->pairs_max);
        if (stalled >> queue & 1)
            virtio_notify(&n->device, queue);
    }
    n->turn++;
}

static void start(struct virtio_device *d) {
    of_device(d)->stalled = 0;
    of_device(d)->pairs = 1;
}

static void state(struct state *s, struct virtio_device *d) {
    struct virtio_net *n = of_device(d);
    STATE(s, n->pairs);
    state_check(s, n->pairs >= 1 && n->pairs <= n->pairs_max, "more queues than there are");
}

static uint64_t features(const struct bh_net_info *info, unsigned pairs) {
    uint64_t all = VIRTIO_NET_F_MAC | VIRTIO_NET_F_MTU | VIRTIO_NET_F_STATUS |
                   VIRTIO_NET_F_MRG_RXBUF | VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_GUEST_TSO4 |
                   VIRTIO_NET_F_GUEST_TSO6;
    if (info->features & BH_NET_FEATURE_CHECKSUM)
        all |= VIRTIO_NET_F_CSUM;
    if (info->features & BH_NET_FEATURE_CHECKSUM && info->features & BH_NET_FEATURE_GSO)
        all |= VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_HOST_TSO6;
    if (pairs > 1)
        all |= VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_MQ;
    return all;
}

static void make_config(struct virtio_net *n, const struct bh_net_info *info) {
    const uint16_t link = VIRTIO_NET_STATUS_LINK_UP;
    memcpy(n->config + VIRTIO_NET_CONFIG_MAC, info->mac, sizeof(info->mac));
    memcpy(n->config + VIRTIO_NET_CONFIG_STATUS, &link, sizeof(link));
    memcpy(n->config + VIRTIO_NET_CONFIG_PAIRS_MAX, &n->pairs_max, sizeof(n->pairs_max));
    memcpy(n->config + VIRTIO_NET_CONFIG_MTU, &info->mtu, sizeof(info->mtu));
}

struct virtio_device *virtio_net_open(unsigned index, unsigned pairs) {
    static const struct virtio_class class = {.type = VIRTIO_TYPE_NET,
                                              .pci_class = PCI_CLASS_ETHERNET,
                                              .queue_size = QUEUE_SIZE,
                                              .start = start,
                                              .serve = serve,
                                              .state = state};
    struct virtio_net *n = calloc(1, sizeof(*n));
    if (!n)
        return NULL;
    n->front = net_front_open(
        index, &(struct net_handlers){.receive = receive, .room = room, .context = n});
    if (!n->front) {
        free(n);
        return NULL;
    }
    const struct bh_net_info *info = net_front_info(n->front);
    n->pairs = 1;
    n->pairs_max = (uint16_t)pairs;
    make_config(n, info);
    n->device.class = &class;
    n->device.queues = pairs > 1 ? 2 * pairs + 1 : 2;
    n->device.offered = features(info, pairs);
    n->device.config = n->config;
    n->device.config_bytes = sizeof(n->config);
    virtio_init(&n->device);
    return &n->device;
}
