/* Network front end. Receive buffers are one chunk each; a long frame comes in several. */
#include "guestlib/net_front.h"

#include <stdlib.h>
#include <string.h>

#include "guestlib/front.h"
#include "guestlib/guest.h"

#define REQUESTS_MAX 512u
#define CHUNK_BYTES 2048u /* an Ethernet frame without jumbo; 32 of them a frame of 64 KiB */

struct net_front {
    struct front front;
    struct net_handlers handlers;
    uint32_t receive_target, receiving; /* buffers wanted with the server, and there now */
    struct net_frame frame;             /* being received */
    unsigned frame_missing;             /* buffers of it that have not come yet */
};

static void receive_completed(struct net_front *net, const struct front_request *request,
                              const struct bh_completion *completion) {
    struct window *window = &net->front.window;
    uint32_t bytes = (uint32_t)completion->value;
    net->receiving--;
    if (completion->status != BH_OK || bytes == 0 || bytes > CHUNK_BYTES) {
        /* A buffer that is refused is not offered again, lest the two of us do nothing else. */
        net->receive_target--;
        window_give(window, request->chain);
        window_give(window, net->frame.chain);
        net->frame.chain = WINDOW_NONE;
        net->frame_missing = 0;
        return;
    }
    window->chunks[request->chain].bytes = bytes;
    if (net->frame_missing == 0) {
        net->frame = (struct net_frame){
            .flags = (uint8_t)completion->flags,
            .gso_bytes = (uint16_t)(completion->value >> 32),
            .gso_type = (uint8_t)(completion->value >> 48),
            .net = net,
            .chain = WINDOW_NONE,
        };
        net->frame_missing = 1 + (unsigned)(completion->value >> 56);
    }
    net->frame.chain = window_append(window, net->frame.chain, request->chain);
    net->frame.bytes += bytes;
    if (--net->frame_missing > 0)
        return;
    net->handlers.receive(net->handlers.context, &net->frame);
    window_give(window, net->frame.chain);
    net->frame.chain = WINDOW_NONE;
}

static void completed(struct front *front, const struct front_request *request,
                      const struct bh_completion *completion) {
    if (request->operation == BH_NET_RECEIVE)
        receive_completed((struct net_front *)front, request, completion);
    else
        window_give(&front->window, request->chain); /* a frame that was lost is lost */
}

static void offer_buffers(struct net_front *net) {
    while (net->receiving < net->receive_target) {
        uint32_t chunk = window_take(&net->front.window, CHUNK_BYTES);
        if (chunk == WINDOW_NONE)
            return;
        if (!front_submit(&net->front, (struct front_request){
                                           .operation = BH_NET_RECEIVE,
                                           .chain = chunk,
                                       })) {
            window_give(&net->front.window, chunk);
            return;
        }
        net->receiving++;
    }
}

static void room(struct front *front) {
    struct net_front *net = (struct net_front *)front;
    offer_buffers(net);
    net->handlers.room(net->handlers.context);
}

static uint32_t min(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

struct net_front *net_front_open(unsigned index, const struct net_handlers *handlers) {
    static const struct front_class class = {.completed = completed, .room = room};
    const struct bh_device_info *device = guest_device(BH_CLASS_NET, index);
    if (!device)
        return NULL;
    struct net_front *net = calloc(1, sizeof *net);
    if (!net || !front_open(&net->front, device, &class, REQUESTS_MAX, CHUNK_BYTES)) {
        free(net);
        return NULL;
    }
    net->handlers = *handlers;
    net->frame.chain = WINDOW_NONE;
    /* Half of everything for either direction; a buffer takes two units of the queue. */
    net->receive_target =
        min(min(net->front.tags, net->front.window.free_count) / 2, device->client_units / 4);
    loop_post(&net->front.work); /* its first service offers the buffers */
    return net;
}

const struct bh_net_info *net_front_info(const struct net_front *net) {
    return &net->front.device->net;
}

void net_frame_read(const struct net_frame *frame, size_t at, void *to, size_t bytes) {
    window_read(&frame->net->front.window, frame->chain, at, to, bytes);
}

/* Chunks that transmission may have: those that are not kept for receive buffers. */
static uint32_t transmit_chunks(const struct net_front *net) {
    uint32_t free_count = net->front.window.free_count;
    uint32_t kept = net->receive_target - net->receiving;
    return free_count > kept ? free_count - kept : 0;
}

size_t net_front_frame_bytes_max(const struct net_front *net) {
    const struct bh_device_info *device = net->front.device;
    uint32_t chunks = (uint32_t)(device->window_bytes / CHUNK_BYTES) - net->receive_target;
    chunks = min(chunks, min(BH_QUEUE_SEGMENTS_MAX, device->client_units / 4));
    size_t bytes = (size_t)chunks * CHUNK_BYTES;
    return bytes < BH_NET_FRAME_BYTES_MAX ? bytes : BH_NET_FRAME_BYTES_MAX;
}

static uint64_t as_argument(struct bh_net_offload offload) {
    uint64_t argument;
    memcpy(&argument, &offload, sizeof argument);
    return argument;
}

bool net_front_transmit(struct net_front *net, const struct net_piece *pieces, unsigned count,
                        struct bh_net_offload offload) {
    struct window *window = &net->front.window;
    size_t bytes = 0;
    for (unsigned i = 0; i < count; i++)
        bytes += pieces[i].length;
    if (bytes == 0 || bytes > (size_t)transmit_chunks(net) * CHUNK_BYTES)
        return false;
    uint32_t chain = window_take(window, bytes);
    size_t at = 0;
    for (unsigned i = 0; i < count; i++) {
        window_write(window, chain, at, pieces[i].bytes, pieces[i].length);
        at += pieces[i].length;
    }
    bool submitted = front_submit(&net->front, (struct front_request){
                                                   .operation = BH_NET_TRANSMIT,
                                                   .argument = as_argument(offload),
                                                   .chain = chain,
                                               });
    if (!submitted)
        window_give(window, chain);
    return submitted;
}
