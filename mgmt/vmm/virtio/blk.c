/* virtio-blk. A guest's request becomes one or more on the queue pair: as much as the window takes
 * at a time, so a request may be of any length. With io='direct' the disk reads and writes the
 * guest's buffers themselves; what is not cut at sectors, or is not payload, goes through the
 * window all the same. Chains are taken one after the other; the next one
 * only when the one before is issued wholly. Status and data
 * are written into the chain as it was checked when it was taken, whatever its descriptors say by
 * then. */
#include "mgmt/vmm/virtio/blk.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "guestlib/front.h"
#include "guestlib/guest.h"
#include "mgmt/virtio/block.h"

#define PCI_CLASS_SCSI 0x010000u /* mass storage; what drivers expect of virtio-blk */
#define QUEUE_SIZE 128u
#define REQUESTS_MAX 32u  /* of the guest, and pieces of them on the queue pair */
#define SEGMENTS_MAX 64u  /* of a request's payload */
#define CHUNK_BYTES 4096u /* of the window */
#define DISCARD_SECTORS_MAX 0x3fffffu
#define TURN_CHAINS 64u /* then others have their turn */

struct header { /* struct virtio_blk_req, 5.2.6 */
    uint32_t type, reserved;
    uint64_t sector;
};
struct range { /* struct virtio_blk_discard_write_zeroes */
    uint64_t sector;
    uint32_t sectors, flags;
};

struct request {
    uint8_t *status; /* in the guest's RAM */
    uint16_t head;
    uint8_t queue;
    uint8_t operation; /* BH_BLOCK_* */
    uint8_t result;    /* VIRTIO_BLK_S_* */
    bool busy;         /* else free */
    bool direct;       /* the disk has the guest's buffers */
    bool issued_all;
    bool flush_after;   /* a write whose driver knows no FLUSH ... */
    bool flush_due;     /* ... and that has to be flushed now */
    bool forgotten;     /* the device was reset */
    unsigned in_flight; /* on the queue pair */
    uint32_t writable_bytes;
    uint64_t sector, bytes, issued;
    unsigned pieces;
    struct piece piece[SEGMENTS_MAX];
};

struct virtio_blk {
    struct virtio_device device;
    struct front front;
    uint8_t config[VIRTIO_BLK_CONFIG_BYTES];
    uint32_t transfer_bytes_max, range_bytes_max; /* of one request on the queue pair */
    unsigned segments_max;                        /* likewise */
    unsigned busy;
    bool stalled;            /* no room on the queue pair, or for another request */
    uint32_t completed;      /* queues with completions to publish */
    struct request *issuing; /* not wholly issued yet */
    unsigned flushes_due;
    struct request request[REQUESTS_MAX];
    struct virtqueue_chain chain; /* the one being taken */
};

static struct virtio_blk *of_device(struct virtio_device *d) {
    return (struct virtio_blk *)d; /* its first member */
}

static struct virtio_blk *of_front(struct front *front) {
    return (struct virtio_blk *)(void *)((char *)front - offsetof(struct virtio_blk, front));
}

static const struct bh_block_info *info(const struct virtio_blk *b) {
    return &b->front.device->block;
}

/* --- the guest's side --- */

static void answer(struct virtio_blk *b, unsigned queue, uint16_t head, uint8_t *status,
                   uint8_t result, uint32_t written) {
    __atomic_store_n(status, result, __ATOMIC_RELAXED);
    virtqueue_complete(&b->device.queue[queue].ring, head, written);
    b->completed |= 1u << queue;
}

static void publish(struct virtio_blk *b) {
    for (; b->completed; b->completed &= b->completed - 1)
        virtio_publish(&b->device, (unsigned)__builtin_ctz(b->completed));
}

static void end_request(struct virtio_blk *b, struct request *r) {
    r->busy = false;
    b->busy--;
    if (!r->forgotten && virtio_running(&b->device, r->queue))
        answer(b, r->queue, r->head, r->status, r->result,
               r->result == VIRTIO_BLK_S_OK ? r->writable_bytes : 0);
}

/* Payload of reads and writes, or the 20 bytes of an ID. */
static uint8_t set_transfer(struct virtio_blk *b, struct request *r, const struct header *h) {
    struct virtqueue_chain *c = &b->chain;
    bool write = r->operation == BH_BLOCK_WRITE;
    uint32_t at = write ? sizeof(*h) : 0;
    r->bytes = write ? c->readable_bytes - sizeof(*h) : c->writable_bytes - 1;
    if (r->operation == BH_BLOCK_ID) {
        if (r->bytes < VIRTIO_BLK_ID_BYTES)
            return VIRTIO_BLK_S_IOERR;
        r->bytes = VIRTIO_BLK_ID_BYTES;
    } else if (r->bytes == 0 || r->bytes % BH_SECTOR_BYTES || h->sector > info(b)->sectors ||
               r->bytes / BH_SECTOR_BYTES > info(b)->sectors - h->sector) {
        return VIRTIO_BLK_S_IOERR;
    }
    r->pieces = pieces_part(write ? c->piece : chain_writable(c), write ? c->readable : c->writable,
                            at, (uint32_t)r->bytes, c->piece);
    if (r->pieces > SEGMENTS_MAX)
        return VIRTIO_BLK_S_IOERR; /* more than `seg_max` */
    memcpy(r->piece, c->piece, r->pieces * sizeof(*r->piece));
    r->direct = info(b)->flags & BH_BLOCK_DIRECT && r->operation != BH_BLOCK_ID &&
                info(b)->physical_bytes <= BH_PAGE_BYTES &&
                pieces_are_multiples(r->piece, r->pieces, info(b)->physical_bytes);
    return VIRTIO_BLK_S_OK;
}

static uint8_t set_range(struct virtio_blk *b, struct request *r) {
    const struct virtqueue_chain *c = &b->chain;
    struct range range;
    uint32_t allowed = r->operation == BH_BLOCK_WRITE_ZEROES ? VIRTIO_BLK_FLAG_UNMAP : 0;
    if (c->readable_bytes != sizeof(struct header) + sizeof(range))
        return VIRTIO_BLK_S_IOERR; /* `max_discard_seg` is 1 */
    pieces_read(c->piece, c->readable, sizeof(struct header), &range, sizeof(range));
    if (range.flags & ~allowed)
        return VIRTIO_BLK_S_UNSUPPORTED;
    if (range.sectors == 0 || range.sectors > DISCARD_SECTORS_MAX ||
        range.sector > info(b)->sectors || range.sectors > info(b)->sectors - range.sector)
        return VIRTIO_BLK_S_IOERR;
    r->sector = range.sector;
    r->bytes = (uint64_t)range.sectors * BH_SECTOR_BYTES;
    return VIRTIO_BLK_S_OK;
}

/* Fills in what the driver asks for; the result if it cannot be done. */
static uint8_t understand(struct virtio_blk *b, struct request *r, const struct header *h) {
    uint64_t features = b->device.offered;
    bool no_flush = !(b->device.accepted & VIRTIO_BLK_F_FLUSH);
    r->sector = h->sector;
    switch (h->type) {
    case VIRTIO_BLK_T_IN:
        r->operation = BH_BLOCK_READ;
        return set_transfer(b, r, h);
    case VIRTIO_BLK_T_OUT:
        r->operation = BH_BLOCK_WRITE;
        r->flush_after = no_flush; /* 5.2.6.2: then nothing is cached */
        return features & VIRTIO_BLK_F_READ_ONLY ? VIRTIO_BLK_S_IOERR : set_transfer(b, r, h);
    case VIRTIO_BLK_T_FLUSH:
        r->operation = BH_BLOCK_FLUSH;
        r->sector = 0;
        return VIRTIO_BLK_S_OK;
    case VIRTIO_BLK_T_GET_ID:
        r->operation = BH_BLOCK_ID;
        r->sector = 0;
        return set_transfer(b, r, h);
    case VIRTIO_BLK_T_DISCARD:
        r->operation = BH_BLOCK_DISCARD;
        return features & VIRTIO_BLK_F_DISCARD ? set_range(b, r) : VIRTIO_BLK_S_UNSUPPORTED;
    case VIRTIO_BLK_T_WRITE_ZEROES:
        r->operation = BH_BLOCK_WRITE_ZEROES;
        r->flush_after = no_flush;
        return features & VIRTIO_BLK_F_WRITE_ZEROES ? set_range(b, r) : VIRTIO_BLK_S_UNSUPPORTED;
    default:
        return VIRTIO_BLK_S_UNSUPPORTED;
    }
}

/* The chain that was taken becomes b->issuing, or is answered at once. False: the driver broke the
 * rules. */
static bool begin(struct virtio_blk *b, unsigned queue) {
    const struct virtqueue_chain *c = &b->chain;
    struct header h;
    if (c->writable_bytes == 0 || c->readable_bytes < sizeof(h))
        return false; /* no place for the status, or no request: not even an error can be told */
    pieces_read(c->piece, c->readable, 0, &h, sizeof(h));
    struct request *r = b->request;
    while (r->busy)
        r++;
    const struct piece *last = &chain_writable(c)[c->writable - 1];
    *r = (struct request){
        .status = last->data + last->bytes - 1,
        .head = c->head,
        .queue = (uint8_t)queue,
        .writable_bytes = c->writable_bytes,
    };
    r->result = understand(b, r, &h);
    if (r->result != VIRTIO_BLK_S_OK) {
        answer(b, queue, r->head, r->status, r->result, 0);
        return true;
    }
    r->busy = true;
    b->busy++;
    b->issuing = r;
    return true;
}

/* --- the queue pair's side --- */

static bool has_payload(const struct request *r) {
    return r->operation == BH_BLOCK_READ || r->operation == BH_BLOCK_WRITE ||
           r->operation == BH_BLOCK_ID;
}

/* The most that one request on the queue pair may be about. A range is a segment at offset 0, and
 * that has to lie in the window. */
static uint32_t part_bytes_max(const struct virtio_blk *b, const struct request *r) {
    return has_payload(r) ? b->transfer_bytes_max : b->range_bytes_max;
}

/* Segments of the guest's buffers from `at` on, up to `*bytes`, which become what they are. */
static unsigned direct_segments(const struct virtio_blk *b, const struct request *r, uint64_t at,
                                struct bh_segment *segments, uint32_t *bytes) {
    return pieces_segments(r->piece, r->pieces, (uint32_t)at, b->front.device->window_bytes,
                           segments, b->segments_max, bytes);
}

static uint32_t part_bytes(const struct virtio_blk *b, const struct request *r, uint64_t at) {
    struct bh_segment ignored[BH_QUEUE_SEGMENTS_MAX];
    uint64_t left = r->bytes - at;
    uint32_t most = r->direct ? info(b)->request_bytes_max : part_bytes_max(b, r);
    uint32_t bytes = left < most ? (uint32_t)left : most;
    if (r->direct && r->pieces > b->segments_max) /* else there is a segment for each piece */
        direct_segments(b, r, at, ignored, &bytes);
    return bytes;
}

static unsigned segments(const struct front *front, const struct front_request *request,
                         struct bh_segment *out) {
    const struct virtio_blk *b =
        (const void *)((const char *)front - offsetof(struct virtio_blk, front));
    const struct request *r = request->owner;
    uint64_t at = (request->argument - r->sector) * BH_SECTOR_BYTES;
    uint32_t bytes = part_bytes(b, r, at);
    return direct_segments(b, r, at, out, &bytes);
}

/* Puts the next part of a request on the queue pair. False: no room. */
static bool issue_part(struct virtio_blk *b, struct request *r) {
    uint32_t bytes = part_bytes(b, r, r->issued);
    struct front_request out = {
        .owner = r,
        .argument = r->sector + r->issued / BH_SECTOR_BYTES,
        .operation = r->operation,
        .chain = WINDOW_NONE,
        .bare_bytes = has_payload(r) ? 0 : bytes,
        .elsewhere = r->direct,
    };
    if (has_payload(r) && !r->direct) {
        out.chain = window_take(&b->front.window, bytes);
        if (out.chain == WINDOW_NONE)
            return false;
        if (r->operation == BH_BLOCK_WRITE)
            pieces_to_window(r->piece, r->pieces, (uint32_t)r->issued, bytes, &b->front.window,
                             out.chain);
    }
    if (!front_submit(&b->front, out)) {
        window_give(&b->front.window, out.chain);
        return false;
    }
    r->in_flight++;
    r->issued += bytes;
    return true;
}

/* Issues what is left of b->issuing. False: no room for all of it. */
static bool issue(struct virtio_blk *b) {
    struct request *r = b->issuing;
    do {
        if (front_disconnected(&b->front) || r->forgotten || r->result != VIRTIO_BLK_S_OK) {
            if (!r->forgotten && r->result == VIRTIO_BLK_S_OK)
                r->result = VIRTIO_BLK_S_IOERR;
            break; /* the rest is not worth asking for */
        }
        if (!issue_part(b, r))
            return false;
    } while (r->issued < r->bytes);
    r->issued_all = true;
    b->issuing = NULL;
    if (r->in_flight == 0)
        end_request(b, r);
    return true;
}

static uint8_t result_of(const struct request *r, const struct bh_completion *completion,
                         uint32_t bytes) {
    if (completion->status == BH_BAD_CALL)
        return VIRTIO_BLK_S_UNSUPPORTED;
    if (completion->status != BH_OK)
        return VIRTIO_BLK_S_IOERR;
    /* A short read would leave old data of the window's in the guest's buffer. */
    return r->operation == BH_BLOCK_READ && completion->value != bytes ? VIRTIO_BLK_S_IOERR
                                                                       : VIRTIO_BLK_S_OK;
}

static void take_data(struct virtio_blk *b, struct request *r, const struct front_request *done,
                      uint32_t at, uint32_t bytes) {
    if (!r->direct && (r->operation == BH_BLOCK_READ || r->operation == BH_BLOCK_ID))
        pieces_from_window(r->piece, r->pieces, at, bytes, &b->front.window, done->chain);
}

/* A write has ended whose driver knows no FLUSH: it ends when a flush has. */
static bool wants_flush(struct virtio_blk *b, struct request *r) {
    if (!r->flush_after || r->forgotten || r->result != VIRTIO_BLK_S_OK)
        return false;
    r->flush_due = true;
    b->flushes_due++;
    return true;
}

/* The next of these becomes b->issuing. */
static void begin_flush(struct virtio_blk *b) {
    struct request *r = b->request;
    while (!r->flush_due)
        r++;
    r->flush_after = r->flush_due = r->issued_all = r->direct = false;
    r->operation = BH_BLOCK_FLUSH;
    r->sector = r->bytes = r->issued = 0;
    b->flushes_due--;
    b->issuing = r;
}

/* False: no room. */
static bool issue_all(struct virtio_blk *b) {
    while (b->issuing || b->flushes_due) {
        if (!b->issuing)
            begin_flush(b);
        if (!issue(b))
            return false;
    }
    return true;
}

static void completed(struct front *front, const struct front_request *done,
                      const struct bh_completion *completion) {
    struct virtio_blk *b = of_front(front);
    struct request *r = done->owner;
    uint64_t at = (done->argument - r->sector) * BH_SECTOR_BYTES;
    uint32_t bytes = part_bytes(b, r, at);
    if (!r->forgotten) {
        uint8_t result = result_of(r, completion, bytes);
        if (result == VIRTIO_BLK_S_OK)
            take_data(b, r, done, (uint32_t)at, bytes);
        else
            r->result = result;
    }
    window_give(&front->window, done->chain);
    if (--r->in_flight == 0 && r->issued_all && !wants_flush(b, r))
        end_request(b, r);
}

/* --- turns --- */

/* Takes chains of one queue. True: there are more. */
static bool serve(struct virtio_device *d, unsigned queue) {
    struct virtio_blk *b = of_device(d);
    bool more = true;
    for (unsigned i = 0; i < TURN_CHAINS; i++) {
        b->stalled = !issue_all(b) || b->busy == REQUESTS_MAX;
        if (b->stalled)
            break;
        if (!virtio_take(d, queue, &b->chain)) {
            more = virtio_idle(d, queue);
            if (!more)
                break;
        } else if (!begin(b, queue)) {
            virtio_break(d);
            more = false;
            break;
        }
    }
    publish(b);
    return more && !b->stalled;
}

static void room(struct front *front) {
    struct virtio_blk *b = of_front(front);
    publish(b);
    if (b->device.resetting && b->busy == 0)
        virtio_reset_done(&b->device);
    if (!b->stalled && !b->issuing && !b->flushes_due)
        return;
    b->stalled = false;
    for (unsigned i = 0; i < b->device.queues; i++)
        virtio_serve_later(&b->device, i);
}

/* Requests in flight keep their place until the server has answered. */
static bool reset(struct virtio_device *d) {
    struct virtio_blk *b = of_device(d);
    for (unsigned i = 0; i < REQUESTS_MAX; i++)
        b->request[i].forgotten = true;
    issue_all(b); /* to forget it */
    b->completed = 0;
    b->stalled = false;
    return b->busy == 0;
}

static bool is_busy(const struct virtio_device *d) {
    return ((const struct virtio_blk *)d)->busy != 0;
}

/* --- start --- */

static void put(struct virtio_blk *b, unsigned offset, uint64_t value, unsigned bytes) {
    memcpy(b->config + offset, &value, bytes);
}

static void make_config(struct virtio_blk *b, unsigned queues) {
    uint32_t per_block = info(b)->physical_bytes / BH_SECTOR_BYTES;
    unsigned exponent = per_block ? 31u - (unsigned)__builtin_clz(per_block) : 0;
    put(b, VIRTIO_BLK_CONFIG_CAPACITY, info(b)->sectors, 8);
    put(b, VIRTIO_BLK_CONFIG_SEG_MAX, SEGMENTS_MAX, 4);
    put(b, VIRTIO_BLK_CONFIG_BLK_SIZE, BH_SECTOR_BYTES, 4);
    put(b, VIRTIO_BLK_CONFIG_PHYSICAL_BLOCK_EXP, exponent, 1);
    put(b, VIRTIO_BLK_CONFIG_QUEUES, queues, 2);
    put(b, VIRTIO_BLK_CONFIG_MAX_DISCARD_SECTORS, DISCARD_SECTORS_MAX, 4);
    put(b, VIRTIO_BLK_CONFIG_MAX_DISCARD_SEGMENTS, 1, 4);
    put(b, VIRTIO_BLK_CONFIG_DISCARD_ALIGNMENT, 1u << exponent, 4);
    put(b, VIRTIO_BLK_CONFIG_MAX_WRITE_ZEROES_SECTORS, DISCARD_SECTORS_MAX, 4);
    put(b, VIRTIO_BLK_CONFIG_MAX_WRITE_ZEROES_SEGMENTS, 1, 4);
}

static uint64_t features(const struct virtio_blk *b) {
    uint64_t all = VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_BLK_SIZE | VIRTIO_BLK_F_FLUSH |
                   VIRTIO_BLK_F_TOPOLOGY | VIRTIO_BLK_F_MQ;
    if (info(b)->flags & BH_BLOCK_READ_ONLY)
        return all | VIRTIO_BLK_F_READ_ONLY;
    if (info(b)->flags & BH_BLOCK_CAN_DISCARD)
        all |= VIRTIO_BLK_F_DISCARD;
    return all | VIRTIO_BLK_F_WRITE_ZEROES;
}

static uint32_t min(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

/* What one request on the queue pair may carry. */
static uint32_t transfer_bytes_max(const struct front *front) {
    uint32_t chunks = min(front->window.free_count, BH_QUEUE_SEGMENTS_MAX);
    chunks = min(chunks, front->device->client_units - 1);
    uint32_t bytes = min(chunks * CHUNK_BYTES, front->device->block.request_bytes_max);
    return bytes & ~(BH_SECTOR_BYTES - 1);
}

struct virtio_device *virtio_blk_open(unsigned index, unsigned queues) {
    static const struct front_class front_class = {
        .completed = completed, .segments = segments, .room = room};
    static const struct virtio_class class = {.type = VIRTIO_TYPE_BLOCK,
                                              .pci_class = PCI_CLASS_SCSI,
                                              .queue_size = QUEUE_SIZE,
                                              .serve = serve,
                                              .reset = reset,
                                              .is_busy = is_busy};
    const struct bh_device_info *device = guest_device(BH_CLASS_BLOCK, index);
    if (!device)
        return NULL;
    struct virtio_blk *b = calloc(1, sizeof(*b));
    if (!b || !front_open(&b->front, device, &front_class, REQUESTS_MAX, CHUNK_BYTES)) {
        free(b);
        return NULL;
    }
    b->transfer_bytes_max = transfer_bytes_max(&b->front);
    b->segments_max = min(BH_QUEUE_SEGMENTS_MAX, device->client_units - 1);
    b->range_bytes_max = (uint32_t)device->window_bytes & ~(BH_SECTOR_BYTES - 1);
    make_config(b, queues);
    b->device.class = &class;
    b->device.queues = queues;
    b->device.offered = features(b);
    b->device.config = b->config;
    b->device.config_bytes = sizeof(b->config);
    virtio_init(&b->device);
    return &b->device;
}
