#include "mgmt/vmm/virtio_net.h"

#include <stdlib.h>
#include <string.h>

#include "guestlib/net_front.h"
#include "mgmt/vmm/virtio.h"

#define CLASS_CODE 0x020000u /* Ethernet */
enum { RECEIVE, TRANSMIT, QUEUES };

/* 5.1.3 */
#define F_CSUM (1ull << 0)
#define F_GUEST_CSUM (1ull << 1)
#define F_MTU (1ull << 3)
#define F_MAC (1ull << 5)
#define F_GUEST_TSO4 (1ull << 7)
#define F_GUEST_TSO6 (1ull << 8)
#define F_HOST_TSO4 (1ull << 11)
#define F_HOST_TSO6 (1ull << 12)
#define F_MERGEABLE (1ull << 15)
#define F_STATUS (1ull << 16)

/* 5.1.6 */
struct header {
    uint8_t flags, gso_type;
    uint16_t header_bytes, gso_bytes, checksum_start, checksum_offset, buffers;
};
_Static_assert(sizeof(struct header) == 12, "virtio_net_hdr with num_buffers");
#define HEADER_NEEDS_CHECKSUM 1u
#define HEADER_DATA_VALID 2u
#define GSO_ECN 0x80u

struct __attribute__((packed)) config {
    uint8_t mac[6];
    uint16_t status, pairs, mtu;
};
#define LINK_UP 1u

#define RECEIVE_CHAINS_MAX 34u /* 64 KiB in buffers of 2 KiB, and some */

struct device {
    struct virtio virtio;
    struct net_front *front;
    struct config config;
    struct virtq_chain chain[RECEIVE_CHAINS_MAX]; /* taken while one frame is received */
};

/* --- Transmit --- */

/* False: no room with the host now. */
static bool transmit(struct device *device, const struct virtq_chain *chain,
                     const struct header *header) {
    struct virtq_segment segments[VIRTQ_CHAIN_MAX];
    struct net_piece pieces[VIRTQ_CHAIN_MAX];
    uint32_t bytes = chain->readable_bytes - (uint32_t)sizeof(*header);
    unsigned count = virtq_slice(chain, false, sizeof(*header), bytes, segments);
    for (unsigned i = 0; i < count; i++)
        pieces[i] = (struct net_piece){segments[i].at, segments[i].bytes};
    struct bh_net_offload offload = {
        .gso_bytes = header->gso_type ? header->gso_bytes : 0,
        .gso_type = header->gso_type & (uint8_t)~GSO_ECN,
    };
    if (header->flags & HEADER_NEEDS_CHECKSUM) {
        offload.flags = BH_NET_NEEDS_CHECKSUM;
        offload.checksum_start = header->checksum_start;
        offload.checksum_offset = header->checksum_offset;
    }
    /* What can never be sent is dropped; the host checks everything else. */
    return bytes == 0 || bytes > net_front_frame_bytes_max(device->front) ||
           net_front_transmit(device->front, pieces, count, offload);
}

static void take_transmits(struct device *device) {
    struct virtq *q = &device->virtio.queue[TRANSMIT];
    struct virtq_chain *chain = &device->chain[0];
    for (unsigned i = 0; i < VIRTQ_SIZE_MAX; i++) {
        enum virtq_take took = virtq_take(q, chain);
        if (took == VIRTQ_EMPTY)
            return;
        struct header header;
        if (took == VIRTQ_BROKEN || !virtq_read(chain, 0, &header, sizeof(header))) {
            virtio_break(&device->virtio);
            return;
        }
        if (!transmit(device, chain, &header)) {
            virtq_untake(q, 1); /* room() comes */
            return;
        }
        virtq_give(q, chain->head, 0);
    }
}

static void room(void *context) {
    struct device *device = context;
    if (!virtio_is_running(&device->virtio))
        return;
    take_transmits(device);
    virtio_signal(&device->virtio, TRANSMIT);
}

/* --- Receive --- */

/* Where the transport checksum of a frame is to go, by its first bytes; false: not TCP or UDP. */
static bool find_checksum(const uint8_t *frame, size_t bytes, struct header *header) {
    enum { ETHERNET = 14, IPV4 = 0x0800, IPV6 = 0x86dd, TCP = 6, UDP = 17 };
    if (bytes < ETHERNET + 40)
        return false;
    unsigned type = frame[12] << 8 | frame[13], start, protocol;
    if (type == IPV4) {
        start = ETHERNET + (frame[ETHERNET] & 15u) * 4;
        protocol = frame[ETHERNET + 9];
    } else if (type == IPV6) {
        start = ETHERNET + 40;
        protocol = frame[ETHERNET + 6];
    } else {
        return false;
    }
    if (protocol != TCP && protocol != UDP)
        return false;
    header->flags = HEADER_NEEDS_CHECKSUM;
    header->checksum_start = (uint16_t)start;
    header->checksum_offset = protocol == TCP ? 16 : 6;
    return true;
}

/* False: the guest did not agree to frames like this. */
static bool make_header(const struct device *device, const struct net_frame *frame,
                        struct header *header) {
    uint8_t first[64];
    size_t count = frame->bytes < sizeof(first) ? frame->bytes : sizeof(first);
    *header = (struct header){0};
    if (frame->gso_type) {
        uint64_t needed = frame->gso_type == BH_NET_GSO_TCP4 ? F_GUEST_TSO4 : F_GUEST_TSO6;
        if (!virtio_has(&device->virtio, needed))
            return false;
        header->gso_type = frame->gso_type;
        header->gso_bytes = frame->gso_bytes;
    }
    if (frame->flags & BH_NET_NEEDS_CHECKSUM) {
        net_frame_read(frame, 0, first, count);
        return virtio_has(&device->virtio, F_GUEST_CSUM) && find_checksum(first, count, header);
    }
    if ((frame->flags & BH_NET_CHECKSUM_GOOD) && virtio_has(&device->virtio, F_GUEST_CSUM))
        header->flags = HEADER_DATA_VALID;
    return true;
}

/* Takes chains for `bytes`; returns how many, 0 if there are not enough. */
static unsigned take_receives(struct device *device, size_t bytes) {
    struct virtq *q = &device->virtio.queue[RECEIVE];
    unsigned max = virtio_has(&device->virtio, F_MERGEABLE) ? RECEIVE_CHAINS_MAX : 1;
    size_t got = 0;
    uint16_t count = 0;
    while (got < bytes && count < max) {
        struct virtq_chain *chain = &device->chain[count];
        enum virtq_take took = virtq_take(q, chain);
        if (took == VIRTQ_BROKEN || (took == VIRTQ_TAKEN && chain->writable_bytes == 0)) {
            virtio_break(&device->virtio);
            return 0;
        }
        if (took == VIRTQ_EMPTY)
            break;
        got += chain->writable_bytes;
        count++;
    }
    if (got >= bytes && device->chain[0].writable_bytes >= sizeof(struct header))
        return count;
    virtq_untake(q, count);
    return 0;
}

/* Fills a chain from its byte `at` on; returns how much of the frame it took. */
static uint32_t fill(const struct virtq_chain *chain, uint32_t at, const struct net_frame *frame,
                     size_t from) {
    struct virtq_segment segments[VIRTQ_CHAIN_MAX];
    uint32_t room_bytes = chain->writable_bytes - at;
    uint32_t bytes =
        frame->bytes - from < room_bytes ? (uint32_t)(frame->bytes - from) : room_bytes;
    unsigned count = virtq_slice(chain, true, at, bytes, segments);
    for (unsigned i = 0; i < count; i++) {
        net_frame_read(frame, from, segments[i].at, segments[i].bytes);
        from += segments[i].bytes;
    }
    return bytes;
}

/* A frame that finds no buffers is lost, as on any network. */
static void receive(void *context, const struct net_frame *frame) {
    struct device *device = context;
    struct header header;
    if (!virtio_is_running(&device->virtio) || !make_header(device, frame, &header))
        return;
    unsigned chains = take_receives(device, sizeof(header) + frame->bytes);
    if (chains == 0)
        return;
    struct virtq *q = &device->virtio.queue[RECEIVE];
    header.buffers = (uint16_t)chains;
    virtq_write(&device->chain[0], 0, &header, sizeof(header));
    size_t from = 0;
    for (unsigned i = 0; i < chains; i++) {
        uint32_t at = i == 0 ? sizeof(header) : 0;
        uint32_t bytes = fill(&device->chain[i], at, frame, from);
        from += bytes;
        virtq_give(q, device->chain[i].head, at + bytes);
    }
    virtio_signal(&device->virtio, RECEIVE);
}

static void notify(struct virtio *virtio, unsigned queue) {
    if (queue == TRANSMIT)
        room(virtio);
}

bool virtio_net_add(unsigned net, unsigned slot) {
    static const struct virtio_class class = {
        .type = VIRTIO_NET, .class_code = CLASS_CODE, .queues = QUEUES, .notify = notify};
    struct device *device = calloc(1, sizeof(*device));
    if (!device)
        return false;
    const struct net_handlers handlers = {receive, room, device};
    device->front = net_front_open(net, &handlers);
    if (!device->front)
        return false;
    const struct bh_net_info *info = net_front_info(device->front);
    memcpy(device->config.mac, info->mac, sizeof(info->mac));
    device->config.status = LINK_UP;
    device->config.pairs = 1;
    device->config.mtu = info->mtu;
    uint64_t features = F_MAC | F_STATUS | F_MERGEABLE | F_GUEST_CSUM | F_GUEST_TSO4 | F_GUEST_TSO6;
    if (info->mtu)
        features |= F_MTU;
    if (info->features & BH_NET_FEATURE_CHECKSUM)
        features |= F_CSUM;
    if (info->features & BH_NET_FEATURE_GSO)
        features |= F_HOST_TSO4 | F_HOST_TSO6;
    virtio_init(&device->virtio, &class, slot, features, &device->config, sizeof(device->config));
    return true;
}
