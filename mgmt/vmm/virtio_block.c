#include "mgmt/vmm/virtio_block.h"

#include <stdlib.h>
#include <string.h>

#include "guestlib/block_front.h"
#include "mgmt/vmm/virtio.h"

#define CLASS_CODE 0x010000u /* SCSI storage, as virtio devices say */
#define REQUESTS_MAX 32u     /* in flight; more wait in the queue */

/* 5.2.3 */
#define F_SIZE_MAX (1ull << 1)
#define F_SEG_MAX (1ull << 2)
#define F_READ_ONLY (1ull << 5)
#define F_BLK_SIZE (1ull << 6)
#define F_FLUSH (1ull << 9)
#define F_DISCARD (1ull << 13)
#define F_WRITE_ZEROES (1ull << 14)

enum {
    TYPE_IN = 0,
    TYPE_OUT = 1,
    TYPE_FLUSH = 4,
    TYPE_ID = 8,
    TYPE_DISCARD = 11,
    TYPE_ZEROES = 13
};
enum { STATUS_OK = 0, STATUS_ERROR = 1, STATUS_UNSUPPORTED = 2 };
#define ID_BYTES 20u

struct header {
    uint32_t type, reserved;
    uint64_t sector;
};

struct range { /* of discard and write-zeroes */
    uint64_t sector;
    uint32_t sectors, flags;
};

struct __attribute__((packed)) config {
    uint64_t capacity;
    uint32_t size_max, seg_max;
    uint16_t cylinders;
    uint8_t heads, sectors;
    uint32_t block_bytes;
    uint8_t physical_exponent, alignment;
    uint16_t io_min;
    uint32_t io_optimal;
    uint8_t writeback, unused;
    uint16_t queues;
    uint32_t discard_sectors_max, discard_segments_max, discard_alignment;
    uint32_t zeroes_sectors_max, zeroes_segments_max;
    uint8_t zeroes_may_unmap, unused2[3];
};
_Static_assert(sizeof(struct config) == 60, "5.2.4");

struct request {
    struct block_io io;
    struct device *device;
    struct virtq_chain chain;
    struct block_piece piece[VIRTQ_CHAIN_MAX];
    uint8_t id[ID_BYTES];
    struct request *next; /* unused ones */
};

struct device {
    struct virtio virtio;
    struct block_front *front;
    struct config config;
    uint32_t bytes_max;
    struct request requests[REQUESTS_MAX];
    struct request *unused;
};

static void take_requests(struct device *device);

static uint8_t status_byte(enum bh_status status) {
    return status == BH_OK ? STATUS_OK : status == BH_BAD_CALL ? STATUS_UNSUPPORTED : STATUS_ERROR;
}

/* The status is the last byte that the device may write; everything before it is data. */
static void finish(struct device *device, struct request *request, uint8_t status) {
    const struct virtq_chain *chain = &request->chain;
    virtq_write(chain, chain->writable_bytes - 1, &status, 1);
    virtq_give(&device->virtio.queue[0], chain->head, status ? 1 : chain->writable_bytes);
    request->io.done = NULL; /* no longer in flight */
    request->next = device->unused;
    device->unused = request;
}

static void done(struct block_io *io, enum bh_status status) {
    struct request *request = io->context;
    struct device *device = request->device;
    if (io->operation == BH_BLOCK_ID && status == BH_OK)
        virtq_write(&request->chain, 0, request->id, ID_BYTES);
    finish(device, request, status_byte(status));
    if (virtio_is_running(&device->virtio))
        take_requests(device);
    virtio_signal(&device->virtio, 0);
}

static void given_up(struct block_io *io, enum bh_status status) {
    (void)status;
    struct request *request = io->context;
    struct device *device = request->device;
    request->next = device->unused;
    device->unused = request;
    if (virtio_is_running(&device->virtio))
        take_requests(device);
}

/* Payload between byte `at` of the chain's part and the disk. */
static bool prepare_transfer(struct request *request, bool input, uint32_t at, uint32_t bytes) {
    struct virtq_segment segments[VIRTQ_CHAIN_MAX];
    if (bytes == 0 || bytes % BH_SECTOR_BYTES || bytes > request->device->bytes_max)
        return false;
    unsigned count = virtq_slice(&request->chain, input, at, bytes, segments);
    for (unsigned i = 0; i < count; i++)
        request->piece[i] = (struct block_piece){segments[i].at, segments[i].bytes};
    request->io.operation = input ? BH_BLOCK_READ : BH_BLOCK_WRITE;
    request->io.pieces = request->piece;
    request->io.piece_count = count;
    request->io.bytes = bytes;
    return true;
}

static bool prepare_range(struct request *request, enum bh_block_operation operation) {
    struct range range;
    if (!virtq_read(&request->chain, sizeof(struct header), &range, sizeof(range)) ||
        range.sectors == 0 || range.sectors > request->device->bytes_max / BH_SECTOR_BYTES)
        return false;
    request->io.operation = operation;
    request->io.sector = range.sector;
    request->io.bytes = range.sectors * BH_SECTOR_BYTES;
    return true;
}

/* STATUS_OK: submitted; else what to answer at once. */
static uint8_t prepare(struct request *request, const struct header *header) {
    const struct virtq_chain *chain = &request->chain;
    request->io = (struct block_io){.sector = header->sector, .done = done, .context = request};
    bool good;
    switch (header->type) {
    case TYPE_IN:
        good = prepare_transfer(request, true, 0, chain->writable_bytes - 1);
        break;
    case TYPE_OUT:
        good = prepare_transfer(request, false, sizeof(*header),
                                chain->readable_bytes - (uint32_t)sizeof(*header));
        break;
    case TYPE_FLUSH:
        request->io.operation = BH_BLOCK_FLUSH;
        good = true;
        break;
    case TYPE_ID:
        request->io.operation = BH_BLOCK_ID;
        request->io.buffer = request->id;
        request->io.bytes = ID_BYTES;
        good = chain->writable_bytes > ID_BYTES;
        break;
    case TYPE_DISCARD:
        good = prepare_range(request, BH_BLOCK_DISCARD);
        break;
    case TYPE_ZEROES:
        good = prepare_range(request, BH_BLOCK_WRITE_ZEROES);
        break;
    default:
        return STATUS_UNSUPPORTED;
    }
    return good ? STATUS_OK : STATUS_ERROR;
}

static void take_requests(struct device *device) {
    struct virtq *q = &device->virtio.queue[0];
    while (device->unused) {
        struct request *request = device->unused;
        enum virtq_take took = virtq_take(q, &request->chain);
        if (took == VIRTQ_EMPTY)
            return;
        struct header header;
        if (took == VIRTQ_BROKEN || request->chain.writable_bytes == 0 ||
            !virtq_read(&request->chain, 0, &header, sizeof(header))) {
            virtio_break(&device->virtio);
            return;
        }
        device->unused = request->next;
        uint8_t status = prepare(request, &header);
        if (status == STATUS_OK)
            block_front_submit(device->front, &request->io);
        else
            finish(device, request, status);
    }
}

static void notify(struct virtio *virtio, unsigned queue) {
    struct device *device = (struct device *)virtio;
    take_requests(device);
    virtio_signal(virtio, queue);
}

/* What is in flight with the host comes back some time, and must not touch the guest's memory then.
 */
static void reset(struct virtio *virtio) {
    struct device *device = (struct device *)virtio;
    for (unsigned i = 0; i < REQUESTS_MAX; i++) {
        struct request *request = &device->requests[i];
        if (request->io.done != done)
            continue;
        request->io.done = given_up;
        request->io.piece_count = 0;
    }
}

bool virtio_block_add(unsigned disk, unsigned slot) {
    static const struct virtio_class class = {.type = VIRTIO_BLOCK,
                                              .class_code = CLASS_CODE,
                                              .queues = 1,
                                              .notify = notify,
                                              .reset = reset};
    struct device *device = calloc(1, sizeof(*device));
    if (!device)
        return false;
    device->front = block_front_open(disk);
    if (!device->front)
        return false;
    const struct bh_block_info *info = block_front_info(device->front);
    device->bytes_max = block_front_bytes_max(device->front) / BH_SECTOR_BYTES * BH_SECTOR_BYTES;
    for (unsigned i = 0; i < REQUESTS_MAX; i++) {
        device->requests[i].device = device;
        device->requests[i].next = device->unused;
        device->unused = &device->requests[i];
    }
    /* Segments of a page, and as many as make the largest request whatever their alignment. */
    uint32_t segments = device->bytes_max / BH_PAGE_BYTES;
    if (segments > VIRTQ_CHAIN_MAX - 2)
        segments = VIRTQ_CHAIN_MAX - 2;
    device->config = (struct config){
        .capacity = info->sectors,
        .size_max = BH_PAGE_BYTES,
        .seg_max = segments,
        .block_bytes =
            info->physical_bytes > BH_SECTOR_BYTES ? info->physical_bytes : BH_SECTOR_BYTES,
        .queues = 1,
        .discard_sectors_max = device->bytes_max / BH_SECTOR_BYTES,
        .discard_segments_max = 1,
        .discard_alignment = 1,
        .zeroes_sectors_max = device->bytes_max / BH_SECTOR_BYTES,
        .zeroes_segments_max = 1,
    };
    uint64_t features = F_SIZE_MAX | F_SEG_MAX | F_BLK_SIZE | F_FLUSH;
    if (info->flags & BH_BLOCK_READ_ONLY)
        features |= F_READ_ONLY;
    if (info->flags & BH_BLOCK_CAN_DISCARD)
        features |= F_DISCARD | F_WRITE_ZEROES;
    virtio_init(&device->virtio, &class, slot, features, &device->config, sizeof(device->config));
    return true;
}
