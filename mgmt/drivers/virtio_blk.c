/* virtio-blk. VIRTIO 1.2, 5.2. Payload goes by DMA from and to wherever the request's segments
 * point; headers and status bytes are in memory of the driver's own. A request that is larger than
 * the device takes is cut into pieces. A device that breaks the rules or hangs is reset, and all
 * its requests fail. */
#include "mgmt/drivers/virtio_blk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guestlib/loop.h"
#include "mgmt/block/disk.h"
#include "mgmt/drivers/virtio.h"
#include "mgmt/virtio/block.h"

#define STATUS_UNWRITTEN 0xffu /* ours: the device has to overwrite it */

#define QUEUE_SIZE 128u
#define REQUESTS_MAX 64u /* leaves slots for pieces, and keeps one client's turn short */
#define SEGMENT_BYTES_MAX (1u << 30) /* where the device states no limit */
#define BLOCK_BYTES_MAX 65536u
#define PHYSICAL_EXP_MAX 8u
#define HANG_NS 30000000000ull /* no completion for so long: the device hangs */

/* What the device sees of one slot beside the payload. */
struct header {
    uint32_t type;
    uint32_t reserved;
    uint64_t sector;
    struct {
        uint64_t sector;
        uint32_t sectors;
        uint32_t flags;
    } range;        /* DISCARD and WRITE_ZEROES: the payload */
    uint8_t status; /* the device writes it */
    uint8_t pad[31];
};
_Static_assert(sizeof(struct header) == 64, "a cache line a slot");
#define HEADER_BYTES 16u
#define RANGE_BYTES 16u
#define SEGMENTS_BESIDE_DATA 2u /* header and status */

struct virtio_blk {
    struct virtio_device device;
    struct virtq queue;
    struct disk disk;
    struct dma_memory headers;
    struct disk_request *in_slot[VIRTQ_SIZE_MAX]; /* whose piece */
    struct disk_request *first, *last;            /* not yet wholly issued */
    uint32_t segment_bytes_max, data_segments_max;
    uint32_t discard_sectors_max, write_zeroes_sectors_max;
    struct loop_timer watchdog;
    bool progress; /* since the watchdog last looked */
    char name[24];
};

static struct virtio_blk *of_disk(struct disk *disk) {
    return (struct virtio_blk *)(void *)((char *)disk - offsetof(struct virtio_blk, disk));
}

static struct header *header_of(const struct virtio_blk *b, uint16_t slot) {
    return (struct header *)b->headers.va + slot;
}

static bool wholly_issued(const struct disk_request *r) {
    if (r->operation == DISK_FLUSH || r->operation == DISK_ID)
        return r->issued_segments != 0; /* one piece; see piece_single */
    return r->issued_sectors == r->sectors;
}

/* After its last piece. What is still first in the list has more pieces to issue. */
static void finish_if_complete(struct virtio_blk *b, struct disk_request *r) {
    if (r->pieces_in_flight == 0 && r != b->first)
        r->done(r, r->status);
}

static void take_first(struct virtio_blk *b) {
    b->first = b->first->next;
    if (!b->first)
        b->last = NULL;
}

/* Data segments of the next piece of a READ or WRITE. */
static unsigned piece_data(const struct virtio_blk *b, struct disk_request *r,
                           struct virtq_segment *segments) {
    unsigned count = 0;
    while (count < b->data_segments_max && r->issued_segments < r->segments) {
        const struct disk_segment *s = &r->segment[r->issued_segments];
        uint32_t rest_bytes = s->bytes - r->issued_bytes;
        uint32_t bytes = rest_bytes < b->segment_bytes_max ? rest_bytes : b->segment_bytes_max;
        if (bytes)
            segments[count++] = (struct virtq_segment){.hpa = {s->hpa.raw + r->issued_bytes},
                                                       .bytes = bytes,
                                                       .device_writes = r->operation == DISK_READ};
        r->issued_sectors += bytes / BH_SECTOR_BYTES;
        r->issued_bytes += bytes;
        if (r->issued_bytes == s->bytes) {
            r->issued_segments++;
            r->issued_bytes = 0;
        }
    }
    return count;
}

/* The range of the next piece of a DISCARD or WRITE_ZEROES: it is the payload. */
static unsigned piece_range(const struct virtio_blk *b, struct disk_request *r,
                            struct header *header, struct hpa at, struct virtq_segment *segments) {
    uint32_t most =
        r->operation == DISK_DISCARD ? b->discard_sectors_max : b->write_zeroes_sectors_max;
    uint64_t rest = r->sectors - r->issued_sectors;
    header->range.sector = r->sector + r->issued_sectors;
    header->range.sectors = rest < most ? (uint32_t)rest : most;
    header->range.flags = 0;
    r->issued_sectors += header->range.sectors;
    segments[0] = (struct virtq_segment){.hpa = {at.raw + offsetof(struct header, range)},
                                         .bytes = RANGE_BYTES};
    return 1;
}

/* FLUSH and ID: one piece, with the segments as they are. */
static unsigned piece_single(struct disk_request *r, struct virtq_segment *segments) {
    r->issued_segments = 1;
    if (r->operation == DISK_FLUSH)
        return 0;
    segments[0] = (struct virtq_segment){
        .hpa = r->segment[0].hpa, .bytes = r->segment[0].bytes, .device_writes = true};
    return 1;
}

static uint32_t type_of(enum disk_operation operation) {
    static const uint32_t types[] = {
        [DISK_READ] = VIRTIO_BLK_T_IN,
        [DISK_WRITE] = VIRTIO_BLK_T_OUT,
        [DISK_FLUSH] = VIRTIO_BLK_T_FLUSH,
        [DISK_DISCARD] = VIRTIO_BLK_T_DISCARD,
        [DISK_WRITE_ZEROES] = VIRTIO_BLK_T_WRITE_ZEROES,
        [DISK_ID] = VIRTIO_BLK_T_GET_ID,
    };
    return types[operation];
}

static void issue_piece(struct virtio_blk *b, struct disk_request *r) {
    struct virtq_segment segments[BH_QUEUE_SEGMENTS_MAX + SEGMENTS_BESIDE_DATA];
    uint16_t slot = virtq_next_slot(&b->queue);
    struct header *header = header_of(b, slot);
    struct hpa at = {b->headers.hpa.raw + slot * sizeof(struct header)};
    bool data = r->operation == DISK_READ || r->operation == DISK_WRITE;
    bool range = r->operation == DISK_DISCARD || r->operation == DISK_WRITE_ZEROES;

    header->type = type_of(r->operation);
    header->reserved = 0;
    header->sector = data ? r->sector + r->issued_sectors : 0;
    __atomic_store_n(&header->status, STATUS_UNWRITTEN, __ATOMIC_RELAXED);
    segments[0] = (struct virtq_segment){.hpa = at, .bytes = HEADER_BYTES};
    unsigned count = 1;
    if (data)
        count += piece_data(b, r, segments + 1);
    else if (range)
        count += piece_range(b, r, header, at, segments + 1);
    else
        count += piece_single(r, segments + 1);
    segments[count++] = (struct virtq_segment){
        .hpa = {at.raw + offsetof(struct header, status)}, .bytes = 1, .device_writes = true};
    b->in_slot[slot] = r;
    r->pieces_in_flight++;
    virtq_add(&b->queue, segments, count);
}

static bool idle(const struct virtio_blk *b) {
    return b->queue.free_slots == b->queue.slots;
}

static void watch(void *context);

static void issue(struct virtio_blk *b) {
    while (b->first && b->queue.free_slots) {
        issue_piece(b, b->first);
        if (wholly_issued(b->first))
            take_first(b);
    }
    virtq_publish(&b->queue);
    if (!b->watchdog.set && !idle(b)) {
        b->progress = false;
        loop_timer_set(&b->watchdog, loop_now_ns() + HANG_NS, watch, b);
    }
}

static void drop_piece(struct virtio_blk *b, uint16_t slot) {
    struct disk_request *r = b->in_slot[slot];
    if (!r)
        return;
    b->in_slot[slot] = NULL;
    r->status = BH_IO_ERROR;
    r->pieces_in_flight--;
    finish_if_complete(b, r);
}

/* The device owns nothing any more: everything that was asked of it fails. */
static void fail_all(void *context) {
    struct virtio_blk *b = context;
    loop_timer_cancel(&b->watchdog);
    for (uint16_t slot = 0; slot < b->queue.slots; slot++)
        drop_piece(b, slot);
    while (b->first) {
        struct disk_request *r = b->first;
        take_first(b);
        r->done(r, BH_IO_ERROR);
    }
}

static void give_up(struct virtio_blk *b, const char *why) {
    virtio_break(&b->device, why);
    fail_all(b);
}

static void watch(void *context) {
    struct virtio_blk *b = context;
    if (idle(b))
        return;
    if (!b->progress) {
        give_up(b, "hangs");
        return;
    }
    b->progress = false;
    loop_timer_set(&b->watchdog, loop_now_ns() + HANG_NS, watch, b);
}

static enum bh_status status_of(uint8_t status) {
    if (status == VIRTIO_BLK_S_OK)
        return BH_OK;
    return status == VIRTIO_BLK_S_UNSUPPORTED ? BH_BAD_CALL : BH_IO_ERROR;
}

static void finish_piece(struct virtio_blk *b, uint16_t slot) {
    struct disk_request *r = b->in_slot[slot];
    b->in_slot[slot] = NULL;
    b->progress = true;
    r->pieces_in_flight--;
    enum bh_status status =
        status_of(__atomic_load_n(&header_of(b, slot)->status, __ATOMIC_RELAXED));
    if (status != BH_OK) {
        r->status = status;
        if (r == b->first) /* pieces of it are not issued yet; they need not be any more */
            take_first(b);
    }
    finish_if_complete(b, r);
}

static void interrupt(void *context) {
    struct virtio_blk *b = context;
    if (b->device.broken)
        return;
    do {
        uint16_t slot;
        uint32_t ignored_bytes; /* bounded by virtq_take; the status byte says whether it worked */
        enum virtq_take take;
        while ((take = virtq_take(&b->queue, &slot, &ignored_bytes)) == VIRTQ_TAKEN)
            finish_piece(b, slot);
        if (take == VIRTQ_BROKEN) {
            give_up(b, "completes requests that it was not given");
            return;
        }
    } while (!virtq_want_interrupt(&b->queue));
    issue(b);
}

static void submit(struct disk *disk, struct disk_request *r) {
    struct virtio_blk *b = of_disk(disk);
    r->next = NULL;
    r->issued_sectors = 0;
    r->issued_segments = 0;
    r->issued_bytes = 0;
    r->pieces_in_flight = 0;
    r->status = BH_OK;
    /* Without the feature the device has no cache that loses anything (5.2.6.2). */
    bool nothing_to_do = r->operation == DISK_FLUSH && !(b->device.features & VIRTIO_BLK_F_FLUSH);
    if (b->device.broken || nothing_to_do) {
        r->done(r, b->device.broken ? BH_IO_ERROR : BH_OK);
        return;
    }
    if (b->last)
        b->last->next = r;
    else
        b->first = r;
    b->last = r;
    issue(b);
}

static void give_up_disk(struct disk *disk) {
    give_up(of_disk(disk), "was waited for in vain");
}

/* A limit that the device states, if it has the feature; 0 means none or nonsense. */
static uint32_t limit(const struct virtio_device *d, uint64_t feature, uint32_t offset,
                      uint32_t without) {
    return (d->features & feature) ? virtio_config_read32(d, offset) : without;
}

static bool read_geometry(struct virtio_blk *b) {
    const struct virtio_device *d = &b->device;
    struct disk *disk = &b->disk;
    uint32_t block = limit(d, VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_CONFIG_BLK_SIZE, BH_SECTOR_BYTES);
    if (block < BH_SECTOR_BYTES || block > BLOCK_BYTES_MAX || (block & (block - 1)))
        return false;
    uint32_t size_max =
        limit(d, VIRTIO_BLK_F_SIZE_MAX, VIRTIO_BLK_CONFIG_SIZE_MAX, SEGMENT_BYTES_MAX);
    b->segment_bytes_max =
        (size_max < SEGMENT_BYTES_MAX ? size_max : SEGMENT_BYTES_MAX) & ~(block - 1);
    uint32_t seg_max = limit(d, VIRTIO_BLK_F_SEG_MAX, VIRTIO_BLK_CONFIG_SEG_MAX, 1);
    if (seg_max == 0)
        seg_max = 1;
    b->data_segments_max = seg_max < BH_QUEUE_SEGMENTS_MAX ? seg_max : BH_QUEUE_SEGMENTS_MAX;
    /* Ranges stay multiples of the block, too. */
    b->discard_sectors_max =
        limit(d, VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_CONFIG_MAX_DISCARD_SECTORS, 0) &
        ~(block / BH_SECTOR_BYTES - 1);
    b->write_zeroes_sectors_max =
        limit(d, VIRTIO_BLK_F_WRITE_ZEROES, VIRTIO_BLK_CONFIG_MAX_WRITE_ZEROES_SECTORS, 0) &
        ~(block / BH_SECTOR_BYTES - 1);

    uint8_t exp = (d->features & VIRTIO_BLK_F_TOPOLOGY)
                      ? virtio_config_read8(d, VIRTIO_BLK_CONFIG_PHYSICAL_BLOCK_EXP)
                      : 0;
    disk->block_bytes = block;
    disk->physical_bytes = block << (exp <= PHYSICAL_EXP_MAX ? exp : 0);
    disk->sectors = virtio_config_read64(d, VIRTIO_BLK_CONFIG_CAPACITY) &
                    ~(uint64_t)(block / BH_SECTOR_BYTES - 1);
    disk->read_only = d->features & VIRTIO_BLK_F_READ_ONLY;
    disk->can_discard = b->discard_sectors_max && !disk->read_only;
    disk->can_write_zeroes = b->write_zeroes_sectors_max && !disk->read_only;
    return b->segment_bytes_max && disk->sectors && disk->sectors <= DISK_SECTORS_MAX;
}

static uint64_t choose_features(uint64_t offered) {
    return offered & (VIRTIO_BLK_F_SIZE_MAX | VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_READ_ONLY |
                      VIRTIO_BLK_F_BLK_SIZE | VIRTIO_BLK_F_FLUSH | VIRTIO_BLK_F_TOPOLOGY |
                      VIRTIO_BLK_F_DISCARD | VIRTIO_BLK_F_WRITE_ZEROES);
}

static bool start(struct virtio_blk *b) {
    if (!virtio_open(&b->device, choose_features))
        return false;
    if (!read_geometry(b)) {
        virtio_break(&b->device, "has an impossible geometry");
        return false;
    }
    uint16_t segments_max = (uint16_t)(b->data_segments_max + SEGMENTS_BESIDE_DATA);
    if (!virtio_queue_open(&b->device, &b->queue, 0, QUEUE_SIZE, segments_max, interrupt, b))
        return false;
    if (dma_alloc(b->queue.slots * sizeof(struct header), &b->headers) != BH_OK) {
        virtio_break(&b->device, "there is no memory for it");
        return false;
    }
    virtq_want_interrupt(&b->queue);
    return virtio_run(&b->device);
}

/* A device that fails to start keeps its few pages: it was reset or never ran, and there is no
 * second try. */
void virtio_blk_probe(struct pci_function *function) {
    struct virtio_blk *b = calloc(1, sizeof(*b));
    if (!b) {
        log_line("virtio-blk", "no memory");
        return;
    }
    snprintf(b->name, sizeof(b->name), "virtio-blk %02x:%02x.%x", function->address.bus,
             function->address.device, function->address.function);
    b->device =
        (struct virtio_device){.name = b->name, .pci = function, .failed = fail_all, .context = b};
    if (!start(b))
        return;
    b->disk.name = b->name;
    b->disk.requests_max = REQUESTS_MAX;
    b->disk.submit = submit;
    b->disk.give_up = give_up_disk;
    disk_add(&b->disk);
}
