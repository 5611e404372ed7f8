/* virtio-net: the switch's uplink. VIRTIO 1.2, 5.1. One receive and one transmit queue, buffers in
 * memory of the driver's own: the device never gets at a guest's memory. Its lengths and offload
 * fields are checked, here or by the switch; a device that breaks the rules is reset and the uplink
 * is gone. */
#include "mgmt/drivers/virtio_net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guestlib/loop.h"
#include "mgmt/drivers/virtio.h"
#include "mgmt/net/uplink.h"
#include "mgmt/virtio/net.h"

#define QUEUE_RECEIVE 0u /* 5.1.2, without VIRTIO_NET_F_MQ */
#define QUEUE_TRANSMIT 1u
#define QUEUE_CONTROL 2u

#define CTRL_UNANSWERED 0xffu /* ours */
#define CTRL_ANSWER_NS 1000000000ull

#define QUEUE_SIZE 256u
#define BUFFER_BYTES 2048u /* one frame without GSO, with its header */
#define TRANSMIT_BUFFERS 512u
/* The longest frame with the driver's header takes this many buffers, either way. */
#define FRAME_BUFFERS_MAX 33u
_Static_assert(BH_NET_FRAME_BYTES_MAX + FRAME_TAG_BYTES + 12u <= FRAME_BUFFERS_MAX * BUFFER_BYTES,
               "fits");
_Static_assert(FRAME_BUFFERS_MAX <= FRAME_PIECES_MAX, "a received frame is a struct frame");
#define TURN_FRAMES 64u        /* received before others have their turn */
#define STUCK_NS 1000000000ull /* no room for so long: frames are dropped instead of waiting */

struct control {
    uint8_t class, command, argument;
    uint8_t answer; /* the device writes it */
};

struct transmission {
    uint16_t buffer[FRAME_BUFFERS_MAX];
    unsigned buffers;
};

struct virtio_net {
    struct virtio_device device;
    struct virtq receive, transmit, control;
    struct uplink uplink;
    struct dma_memory receive_memory; /* buffer n belongs to slot n */
    struct dma_memory transmit_memory, control_memory;
    struct transmission transmission[QUEUE_SIZE]; /* by slot */
    uint16_t free_buffer[TRANSMIT_BUFFERS];       /* a stack */
    unsigned free_buffers;
    struct loop_work receive_work;
    struct loop_timer stuck_timer, control_timer;
    bool link_up, stuck;
    char name[24];
    struct frame frame; /* the one being received */
};

static struct virtio_net *of_uplink(struct uplink *uplink) {
    return (struct virtio_net *)(void *)((char *)uplink - offsetof(struct virtio_net, uplink));
}

static uint8_t *receive_buffer(const struct virtio_net *n, uint16_t slot) {
    return (uint8_t *)n->receive_memory.va + (size_t)slot * BUFFER_BYTES;
}

static void update_usable(struct virtio_net *n) {
    bool usable = n->link_up && !n->stuck && !n->device.broken;
    if (usable == n->uplink.usable)
        return;
    n->uplink.usable = usable;
    log_line("virtio-net", "%s: %s", n->name, usable ? "up" : "down: frames for it are dropped");
    switch_uplink_room(); /* who waits must look again */
}

static void failed(void *context) {
    struct virtio_net *n = context;
    loop_timer_cancel(&n->stuck_timer);
    loop_timer_cancel(&n->control_timer);
    update_usable(n);
}

static void give_up(struct virtio_net *n, const char *why) {
    virtio_break(&n->device, why);
    failed(n);
}

static void read_link(void *context) {
    struct virtio_net *n = context;
    bool known = n->device.features & VIRTIO_NET_F_STATUS;
    n->link_up = !known || virtio_config_read16(&n->device, VIRTIO_NET_CONFIG_STATUS) &
                               VIRTIO_NET_STATUS_LINK_UP;
    update_usable(n);
}

/* Receiving. */

static void post_buffers(struct virtio_net *n) {
    while (n->receive.free_slots) {
        uint64_t offset = (uint64_t)virtq_next_slot(&n->receive) * BUFFER_BYTES;
        struct virtq_segment segment = {.hpa = {n->receive_memory.hpa.raw + offset},
                                        .bytes = BUFFER_BYTES,
                                        .device_writes = true};
        virtq_add(&n->receive, &segment, 1);
    }
    virtq_publish(&n->receive);
}

/* False: an offload that was not negotiated; the frame is worth nothing. */
static bool read_offload(const struct virtio_net *n, const struct virtio_net_header *h,
                         struct bh_net_offload *offload) {
    *offload = (struct bh_net_offload){0};
    uint64_t gso_feature = h->gso_type == BH_NET_GSO_TCP4   ? VIRTIO_NET_F_GUEST_TSO4
                           : h->gso_type == BH_NET_GSO_TCP6 ? VIRTIO_NET_F_GUEST_TSO6
                                                            : 0;
    if (h->gso_type != BH_NET_GSO_NONE && !(n->device.features & gso_feature))
        return false;
    if (!(n->device.features & VIRTIO_NET_F_GUEST_CSUM))
        return true; /* then the flags mean nothing (5.1.6.4.1) */
    if (h->flags & VIRTIO_NET_HDR_NEEDS_CSUM) {
        offload->flags = BH_NET_NEEDS_CHECKSUM;
        offload->checksum_start = h->checksum_start;
        offload->checksum_offset = h->checksum_offset;
    } else if (h->flags & VIRTIO_NET_HDR_DATA_VALID) {
        offload->flags = BH_NET_CHECKSUM_GOOD;
    }
    if (h->gso_type != BH_NET_GSO_NONE) {
        offload->gso_type = h->gso_type;
        offload->gso_bytes = h->gso_bytes;
    }
    return true;
}

/* Takes one frame and gives it to the switch. False: there is none, or the device is broken now. */
static bool receive_frame(struct virtio_net *n) {
    struct frame_piece pieces[FRAME_BUFFERS_MAX];
    uint16_t slot;
    uint32_t bytes;
    enum virtq_take take = virtq_take(&n->receive, &slot, &bytes);
    if (take == VIRTQ_EMPTY)
        return false;
    struct virtio_net_header header;
    if (take == VIRTQ_BROKEN || bytes < sizeof(header)) {
        give_up(n, "returns receive buffers that it was not given");
        return false;
    }
    memcpy(&header, receive_buffer(n, slot), sizeof(header));
    pieces[0] = (struct frame_piece){receive_buffer(n, slot) + sizeof(header),
                                     bytes - (uint32_t)sizeof(header)};
    unsigned count = (n->device.features & VIRTIO_NET_F_MRG_RXBUF) ? header.buffers : 1;
    if (count == 0 || count > FRAME_BUFFERS_MAX) {
        give_up(n, "spreads a frame over an impossible number of buffers");
        return false;
    }
    for (unsigned i = 1; i < count; i++) {
        /* 5.1.6.3.1: all buffers of a frame are returned together. */
        if (virtq_take(&n->receive, &slot, &bytes) != VIRTQ_TAKEN) {
            give_up(n, "returns a part of a frame");
            return false;
        }
        pieces[i] = (struct frame_piece){receive_buffer(n, slot), bytes};
    }
    if (read_offload(n, &header, &n->frame.offload) && frame_take(&n->frame, pieces, count))
        switch_uplink_received(&n->frame);
    return true;
}

/* A turn of the event loop: some frames; the rest after the others. */
static void receive_some(void *context) {
    struct virtio_net *n = context;
    if (n->device.broken)
        return;
    unsigned frames = 0;
    while (frames < TURN_FRAMES && receive_frame(n))
        frames++;
    if (n->device.broken)
        return;
    post_buffers(n);
    if (frames)
        switch_uplink_received_all();
    if (frames == TURN_FRAMES || !virtq_want_interrupt(&n->receive))
        loop_post(&n->receive_work);
}

/* Sending. */

static void reclaim(struct virtio_net *n) {
    uint16_t slot;
    uint32_t bytes;
    enum virtq_take take;
    while ((take = virtq_take(&n->transmit, &slot, &bytes)) == VIRTQ_TAKEN) {
        struct transmission *t = &n->transmission[slot];
        while (t->buffers)
            n->free_buffer[n->free_buffers++] = t->buffer[--t->buffers];
    }
    if (take == VIRTQ_BROKEN)
        give_up(n, "completes transmissions that it was not given");
}

static bool fits(const struct virtio_net *n, uint32_t bytes) {
    uint32_t needed =
        (bytes + (uint32_t)sizeof(struct virtio_net_header) + BUFFER_BYTES - 1) / BUFFER_BYTES;
    return n->transmit.free_slots && needed <= n->free_buffers;
}

static void stuck(void *context) {
    struct virtio_net *n = context;
    n->stuck = true;
    update_usable(n);
}

static bool has_room(struct uplink *uplink, uint32_t bytes) {
    struct virtio_net *n = of_uplink(uplink);
    reclaim(n);
    if (fits(n, bytes)) {
        loop_timer_cancel(&n->stuck_timer);
        return true;
    }
    virtq_publish(&n->transmit); /* what is in it must be on its way before we wait for it */
    while (!virtq_want_interrupt(&n->transmit))
        reclaim(n);
    if (fits(n, bytes))
        return true;
    if (!n->stuck_timer.set)
        loop_timer_set(&n->stuck_timer, loop_now_ns() + STUCK_NS, stuck, n);
    return false;
}

static void transmit_interrupt(void *context) {
    struct virtio_net *n = context;
    if (n->device.broken)
        return;
    virtq_refuse_interrupt(&n->transmit);
    reclaim(n);
    if (n->device.broken)
        return;
    loop_timer_cancel(&n->stuck_timer);
    n->stuck = false;
    update_usable(n);
    switch_uplink_room();
}

static struct virtio_net_header header_for(const struct frame *f) {
    const struct bh_net_offload *o = &f->offload;
    struct virtio_net_header h = {0};
    if (o->flags & BH_NET_NEEDS_CHECKSUM) {
        h.flags = VIRTIO_NET_HDR_NEEDS_CSUM;
        h.checksum_start = o->checksum_start;
        h.checksum_offset = o->checksum_offset;
    }
    if (o->gso_type != BH_NET_GSO_NONE) {
        uint16_t tcp_header = (uint16_t)((f->header[o->checksum_start + 12u] >> 4) * 4u);
        h.gso_type = o->gso_type;
        h.gso_bytes = o->gso_bytes;
        h.header_bytes = (uint16_t)(o->checksum_start + tcp_header);
    }
    return h;
}

static void transmit(struct uplink *uplink, const struct frame *frame) {
    struct virtio_net *n = of_uplink(uplink);
    if (n->device.broken)
        return;
    struct transmission *t = &n->transmission[virtq_next_slot(&n->transmit)];
    struct virtq_segment segments[FRAME_BUFFERS_MAX];
    struct frame_cursor cursor = {.frame = frame};
    struct virtio_net_header header = header_for(frame);
    uint32_t rest = frame->bytes;
    uint32_t used = sizeof(header); /* of the buffer */
    unsigned count = 0;
    do {
        uint16_t buffer = n->free_buffer[--n->free_buffers];
        size_t offset = (size_t)buffer * BUFFER_BYTES;
        uint8_t *to = (uint8_t *)n->transmit_memory.va + offset;
        if (count == 0)
            memcpy(to, &header, sizeof(header));
        uint32_t bytes = frame_read(&cursor, to + used, BUFFER_BYTES - used);
        segments[count] = (struct virtq_segment){.hpa = {n->transmit_memory.hpa.raw + offset},
                                                 .bytes = used + bytes};
        t->buffer[count++] = buffer;
        rest -= bytes;
        used = 0;
    } while (rest);
    t->buffers = count;
    virtq_add(&n->transmit, segments, count);
}

static void flush(struct uplink *uplink) {
    virtq_publish(&of_uplink(uplink)->transmit);
}

/* Start. */

/* GSO needs checksums (5.1.3.1), and received GSO needs frames spread over buffers. */
static uint64_t choose_features(uint64_t offered) {
    uint64_t chosen = offered & (VIRTIO_NET_F_CSUM | VIRTIO_NET_F_GUEST_CSUM |
                                 VIRTIO_NET_F_MRG_RXBUF | VIRTIO_NET_F_STATUS);
    if (chosen & VIRTIO_NET_F_CSUM)
        chosen |= offered & (VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_HOST_TSO6);
    if (chosen & VIRTIO_NET_F_GUEST_CSUM && chosen & VIRTIO_NET_F_MRG_RXBUF)
        chosen |= offered & (VIRTIO_NET_F_GUEST_TSO4 | VIRTIO_NET_F_GUEST_TSO6);
    if ((offered & (VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_CTRL_RX)) ==
        (VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_CTRL_RX))
        chosen |= VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_CTRL_RX;
    return chosen;
}

static void control_answered(void *context) {
    struct virtio_net *n = context;
    const struct control *c = n->control_memory.va;
    if (__atomic_load_n(&c->answer, __ATOMIC_RELAXED) != VIRTIO_NET_CTRL_OK)
        log_line("virtio-net", "%s: refuses promiscuous mode: guests may receive nothing", n->name);
}

/* Guests have MAC addresses of their own, which the device would otherwise be free to filter out.
 */
static void ask_for_promiscuous_mode(struct virtio_net *n) {
    struct control *c = n->control_memory.va;
    *c = (struct control){VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 1, CTRL_UNANSWERED};
    uint64_t at = n->control_memory.hpa.raw;
    const struct virtq_segment segments[] = {
        {.hpa = {at}, .bytes = 2},
        {.hpa = {at + offsetof(struct control, argument)}, .bytes = 1},
        {.hpa = {at + offsetof(struct control, answer)}, .bytes = 1, .device_writes = true},
    };
    virtq_add(&n->control, segments, 3);
    virtq_publish(&n->control);
    loop_timer_set(&n->control_timer, loop_now_ns() + CTRL_ANSWER_NS, control_answered, n);
}

static bool allocate(struct virtio_net *n) {
    if (dma_alloc((size_t)n->receive.slots * BUFFER_BYTES, &n->receive_memory) != BH_OK ||
        dma_alloc((size_t)TRANSMIT_BUFFERS * BUFFER_BYTES, &n->transmit_memory) != BH_OK ||
        dma_alloc(sizeof(struct control), &n->control_memory) != BH_OK)
        return false;
    for (uint16_t i = 0; i < TRANSMIT_BUFFERS; i++)
        n->free_buffer[n->free_buffers++] = i;
    return true;
}

static void receive_interrupt(void *context) {
    struct virtio_net *n = context;
    virtq_refuse_interrupt(&n->receive);
    loop_post(&n->receive_work);
}

static bool open_queues(struct virtio_net *n) {
    struct virtio_device *d = &n->device;
    return virtio_queue_open(d, &n->receive, QUEUE_RECEIVE, QUEUE_SIZE, 1, receive_interrupt, n) &&
           virtio_queue_open(d, &n->transmit, QUEUE_TRANSMIT, QUEUE_SIZE, FRAME_BUFFERS_MAX,
                             transmit_interrupt, n) &&
           (!(d->features & VIRTIO_NET_F_CTRL_RX) ||
            virtio_queue_open(d, &n->control, QUEUE_CONTROL, 4, 3, NULL, NULL));
}

static bool start(struct virtio_net *n) {
    if (!virtio_open(&n->device, choose_features) || !open_queues(n))
        return false;
    if (!allocate(n)) {
        virtio_break(&n->device, "there is no memory for it");
        return false;
    }
    virtq_refuse_interrupt(&n->transmit);
    virtq_want_interrupt(&n->receive);
    if (!virtio_run(&n->device))
        return false;
    post_buffers(n);
    if (n->device.features & VIRTIO_NET_F_CTRL_RX)
        ask_for_promiscuous_mode(n);
    return true;
}

/* As virtio_blk_probe: what fails to start keeps its few pages. */
void virtio_net_probe(struct pci_function *function) {
    struct pci_address a = function->address;
    if (!switch_uplink_wanted()) {
        log_line("virtio-net", "%02x:%02x.%x: there is an uplink already: not used", a.bus,
                 a.device, a.function);
        return;
    }
    struct virtio_net *n = calloc(1, sizeof(*n));
    if (!n) {
        log_line("virtio-net", "no memory");
        return;
    }
    snprintf(n->name, sizeof(n->name), "virtio-net %02x:%02x.%x", a.bus, a.device, a.function);
    n->device = (struct virtio_device){.name = n->name,
                                       .pci = function,
                                       .config_changed = read_link,
                                       .failed = failed,
                                       .context = n};
    n->receive_work.handler = receive_some;
    n->receive_work.context = n;
    if (!start(n))
        return;
    uint64_t tso = VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_HOST_TSO6;
    n->uplink = (struct uplink){.name = n->name,
                                .checksum = n->device.features & VIRTIO_NET_F_CSUM,
                                .gso = (n->device.features & tso) == tso,
                                .has_room = has_room,
                                .transmit = transmit,
                                .flush = flush};
    switch_set_uplink(&n->uplink);
    read_link(n);
}
