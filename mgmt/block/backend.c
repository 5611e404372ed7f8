/* The block back end: one client for each disk of a guest, served in turn. Payload goes by DMA
 * between the guest's window (with io='direct' its RAM, of which nothing is ever read here) and the
 * disk; only files and throw-away sectors are copied. Every
 * client has a bound on requests in flight and on what it may do in one turn, so a flood is the
 * flooder's own wait. */
#include "mgmt/backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guestlib/loop.h"
#include "mgmt/block/volume.h"
#include "mgmt/rate.h"
#include "mgmt/turns.h"

#define IN_FLIGHT_MAX 16u  /* requests of one client; its completion queue may bound it further */
#define TURN_REQUESTS 8u   /* then it is the next client's turn ... */
#define TURN_BYTES 262144u /* ... or as soon as it has asked for more than this */
#define REQUEST_BYTES_MAX 1048576u
#define MEMORY_PHYSICAL_BYTES 4096u /* of volumes in memory: a chunk of the overlay */
#define BURST_PART 10u              /* a rate limit's burst: what a tenth of a second earns */
#define DETACH_NS 60000000000ull    /* no request takes longer, or its disk is given up */

struct block_request {
    struct disk_request disk;
    struct block_client *client;
    struct block_request *next_free;
    uint32_t tag;
    uint8_t operation; /* enum bh_block_operation */
    uint64_t sector;   /* of the volume */
    uint64_t bytes;    /* what a completion reports */
};

struct block_client {
    struct channel channel;
    struct queue_end queue;
    struct volume volume;
    struct rate iops, bandwidth;
    struct loop_timer rate_timer, detach_timer;
    struct block_statistics statistics;
    struct turn turn;      /* in `runnable`: has, or may have, requests */
    struct turn completed; /* in `unpublished`: completions were written */
    bool gone;             /* broke the protocol, or is being detached: takes no requests */
    bool overlay_full;     /* was logged */
    unsigned in_flight;
    struct block_request *free;
    void (*detached)(void *context);
    void *detached_context;
    struct block_request request[];
};

static struct turns runnable, unpublished;
static struct loop_work work;

static void serve(void *context);

static void run(struct block_client *c) {
    if (c->gone)
        return;
    turns_append(&runnable, &c->turn);
    work.handler = serve;
    loop_post(&work);
}

static struct block_client *of_turn(struct turn *turn) {
    return (struct block_client *)(void *)((char *)turn - offsetof(struct block_client, turn));
}

static struct block_client *of_completed(struct turn *turn) {
    return (struct block_client *)(void *)((char *)turn - offsetof(struct block_client, completed));
}

static void complete(struct block_client *c, uint32_t tag, enum bh_status status, uint64_t value) {
    queue_complete(&c->queue, tag, status, 0, value);
    turns_append(&unpublished, &c->completed);
    work.handler = serve;
    loop_post(&work); /* it publishes */
}

static void finish_detach(struct block_client *c) {
    void (*done)(void *context) = c->detached;
    void *context = c->detached_context;
    loop_timer_cancel(&c->detach_timer);
    loop_timer_cancel(&c->rate_timer);
    turns_remove(&runnable, &c->turn);
    turns_remove(&unpublished, &c->completed);
    volume_close(&c->volume);
    free(c);
    done(context);
}

/* Where a segment lies in our own mapping of the window. For volumes in memory, whose clients have
 * no more than that (block_attach). */
static uint8_t *window_at(const struct block_client *c, struct hpa hpa) {
    return c->channel.window + (hpa.raw - c->channel.window_hpa.raw);
}

/* What was read from below, overlaid with what the guest wrote. */
static void patch(const struct block_client *c, const struct block_request *r) {
    uint64_t sector = r->sector;
    for (unsigned i = 0; i < r->disk.segments; i++) {
        uint64_t sectors = r->disk.segment[i].bytes / BH_SECTOR_BYTES;
        overlay_patch(c->volume.overlay, sector, window_at(c, r->disk.segment[i].hpa), sectors);
        sector += sectors;
    }
}

static void count(struct block_statistics *s, const struct block_request *r,
                  enum bh_status status) {
    if (status != BH_OK) {
        s->errors++;
        return;
    }
    switch (r->operation) {
    case BH_BLOCK_READ:
        s->reads++;
        s->read_bytes += r->bytes;
        break;
    case BH_BLOCK_WRITE:
        s->writes++;
        s->written_bytes += r->bytes;
        break;
    case BH_BLOCK_FLUSH:
        s->flushes++;
        break;
    }
}

/* The end of every request that was started. */
static void finish(struct block_request *r, enum bh_status status) {
    struct block_client *c = r->client;
    if (status == BH_OK && r->operation == BH_BLOCK_READ && c->volume.overlay)
        patch(c, r);
    count(&c->statistics, r, status);
    complete(c, r->tag, status, status == BH_OK ? r->bytes : 0);
    bool waited = !c->free; /* for this one's place */
    r->next_free = c->free;
    c->free = r;
    c->in_flight--;
    if (c->detached && c->in_flight == 0)
        finish_detach(c);
    else if (waited)
        run(c);
}

static void disk_done(struct disk_request *request, enum bh_status status) {
    struct block_request *r =
        (struct block_request *)(void *)((char *)request - offsetof(struct block_request, disk));
    r->client->volume.disk->in_flight--;
    finish(r, status);
}

/* Volumes in memory. */

static void memory_read(struct block_client *c, const struct block_request *r) {
    const struct volume *v = &c->volume;
    uint64_t from = r->sector * BH_SECTOR_BYTES;
    for (unsigned i = 0; i < r->disk.segments; i++) {
        uint8_t *to = window_at(c, r->disk.segment[i].hpa);
        uint64_t bytes = r->disk.segment[i].bytes;
        uint64_t rest = v->memory_bytes > from ? v->memory_bytes - from : 0;
        uint64_t there = bytes < rest ? bytes : rest;
        memcpy(to, v->memory + (v->memory_bytes - rest), there);
        memset(to + there, 0, bytes - there); /* the last sector, beyond the file's end */
        from += bytes;
    }
}

static bool overlay_store(struct block_client *c, const struct block_request *r) {
    uint64_t sector = r->sector;
    for (unsigned i = 0; i < r->disk.segments; i++) {
        uint64_t sectors = r->disk.segment[i].bytes / BH_SECTOR_BYTES;
        if (!overlay_write(c->volume.overlay, sector, window_at(c, r->disk.segment[i].hpa),
                           sectors))
            return false;
        sector += sectors;
    }
    return true;
}

static enum bh_status overlay_status(struct block_client *c, bool stored) {
    if (stored)
        return BH_OK;
    if (!c->overlay_full)
        log_line("block", "%s: wrote more than its throw-away volume holds (%u MiB): writes fail",
                 c->channel.name, OVERLAY_BYTES_MAX >> 20);
    c->overlay_full = true;
    return BH_IO_ERROR;
}

static void memory_id(struct block_client *c, const struct block_request *r) {
    memcpy(window_at(c, r->disk.segment[0].hpa), c->volume.id, DISK_ID_BYTES);
}

/* What needs no disk. False: it does. */
static bool start_in_memory(struct block_client *c, struct block_request *r) {
    const struct volume *v = &c->volume;
    enum bh_status status = BH_OK;
    if (v->overlay && r->operation == BH_BLOCK_WRITE)
        status = overlay_status(c, overlay_store(c, r));
    else if (v->overlay && r->operation == BH_BLOCK_WRITE_ZEROES)
        status = overlay_status(c, overlay_write(v->overlay, r->sector, NULL, r->disk.sectors));
    else if (r->operation == BH_BLOCK_FLUSH && (v->overlay || !v->disk))
        status = BH_OK;
    else if (!v->disk && r->operation == BH_BLOCK_READ)
        memory_read(c, r);
    else if (!v->disk && r->operation == BH_BLOCK_ID)
        memory_id(c, r);
    else
        return false;
    finish(r, status);
    return true;
}

/* Checks: all of them on the private copy of the request, before anything happens. */

static bool range_valid(const struct volume *v, uint64_t sector, uint64_t bytes) {
    uint64_t sectors = bytes / BH_SECTOR_BYTES;
    uint32_t block_sectors = v->disk ? v->disk->block_bytes / BH_SECTOR_BYTES : 1;
    return bytes != 0 && bytes % BH_SECTOR_BYTES == 0 && sector <= v->sectors &&
           sectors <= v->sectors - sector && sector % block_sectors == 0 &&
           sectors % block_sectors == 0;
}

static enum bh_status check_transfer(const struct volume *v, const struct bh_request *request,
                                     const struct bh_segment *segments, uint64_t *bytes) {
    uint32_t granularity = v->disk ? v->disk->block_bytes : BH_SECTOR_BYTES;
    *bytes = 0;
    for (unsigned i = 0; i < request->segments; i++) {
        if (segments[i].bytes % granularity)
            return BH_BAD_ARG;
        *bytes += segments[i].bytes;
    }
    if (*bytes > REQUEST_BYTES_MAX || !range_valid(v, request->argument, *bytes))
        return BH_BAD_ARG;
    return request->operation == BH_BLOCK_WRITE && !v->writable ? BH_BAD_RIGHTS : BH_OK;
}

static enum bh_status check_range(const struct volume *v, const struct bh_request *request,
                                  const struct bh_segment *segments, uint64_t *bytes) {
    if (request->segments != 1 || segments[0].offset != 0 ||
        !range_valid(v, request->argument, segments[0].bytes))
        return BH_BAD_ARG;
    *bytes = segments[0].bytes;
    if (!v->writable)
        return BH_BAD_RIGHTS;
    bool zeroes = request->operation == BH_BLOCK_WRITE_ZEROES;
    if (v->overlay) /* it is memory that is written: bounded as a write is */
        return !zeroes ? BH_BAD_CALL : *bytes <= REQUEST_BYTES_MAX ? BH_OK : BH_BAD_ARG;
    return (zeroes ? v->disk->can_write_zeroes : v->disk->can_discard) ? BH_OK : BH_BAD_CALL;
}

static enum bh_status check(const struct volume *v, const struct bh_request *request,
                            const struct bh_segment *segments, uint64_t *bytes) {
    *bytes = 0;
    if (request->flags)
        return BH_BAD_ARG;
    switch (request->operation) {
    case BH_BLOCK_READ:
    case BH_BLOCK_WRITE:
        return check_transfer(v, request, segments, bytes);
    case BH_BLOCK_FLUSH:
        return request->segments == 0 ? BH_OK : BH_BAD_ARG;
    case BH_BLOCK_DISCARD:
    case BH_BLOCK_WRITE_ZEROES:
        return check_range(v, request, segments, bytes);
    case BH_BLOCK_ID:
        *bytes = DISK_ID_BYTES;
        return request->segments == 1 && segments[0].bytes >= DISK_ID_BYTES ? BH_OK : BH_BAD_ARG;
    }
    return BH_BAD_CALL;
}

static enum disk_operation disk_operation_of(uint8_t operation) {
    static const enum disk_operation operations[] = {
        [BH_BLOCK_READ] = DISK_READ,
        [BH_BLOCK_WRITE] = DISK_WRITE,
        [BH_BLOCK_FLUSH] = DISK_FLUSH,
        [BH_BLOCK_DISCARD] = DISK_DISCARD,
        [BH_BLOCK_WRITE_ZEROES] = DISK_WRITE_ZEROES,
        [BH_BLOCK_ID] = DISK_ID,
    };
    return operations[operation];
}

/* The beginning of [offset, offset + bytes) of the client's memory, as much as is contiguous there.
 * The range lies in it: queue_take_request has looked. */
static struct disk_segment contiguous(const struct channel *channel, uint64_t offset,
                                      uint32_t bytes) {
    struct hpa hpa = channel->window_hpa;
    uint64_t rest = channel->window_bytes;
    for (uint32_t i = 0; offset >= rest && i < channel->ram_parts; i++) {
        offset -= rest;
        rest = channel->ram[i].bytes;
        hpa = channel->ram[i].hpa;
    }
    rest -= offset;
    return (struct disk_segment){{hpa.raw + offset}, bytes < rest ? bytes : (uint32_t)rest};
}

/* Where the payload is. BAD_ARG: in too many pieces, or cut where no sector of the disk ends. */
static enum bh_status place(const struct block_client *c, const struct bh_request *request,
                            const struct bh_segment *segments, struct disk_request *out) {
    uint32_t granularity = c->volume.disk ? c->volume.disk->block_bytes : BH_SECTOR_BYTES;
    out->segments = 0;
    if (request->operation == BH_BLOCK_ID) {
        out->segment[out->segments++] = contiguous(&c->channel, segments[0].offset, DISK_ID_BYTES);
        return out->segment[0].bytes == DISK_ID_BYTES ? BH_OK : BH_BAD_ARG;
    }
    if (request->operation != BH_BLOCK_READ && request->operation != BH_BLOCK_WRITE)
        return BH_OK;
    for (unsigned i = 0; i < request->segments; i++) {
        for (uint32_t done = 0; done < segments[i].bytes;) {
            struct disk_segment next =
                contiguous(&c->channel, segments[i].offset + done, segments[i].bytes - done);
            if (out->segments == DISK_SEGMENTS_MAX || next.bytes % granularity)
                return BH_BAD_ARG;
            out->segment[out->segments++] = next;
            done += next.bytes;
        }
    }
    return BH_OK;
}

/* The request was checked, and its payload placed. */
static void start(struct block_client *c, const struct bh_request *request, uint64_t bytes) {
    struct block_request *r = c->free;
    c->free = r->next_free;
    c->in_flight++;
    r->tag = request->tag;
    r->operation = request->operation;
    r->sector = request->argument;
    r->bytes = bytes;
    r->disk.operation = disk_operation_of(request->operation);
    r->disk.sector = c->volume.first_sector + request->argument;
    r->disk.sectors = bytes / BH_SECTOR_BYTES;
    r->disk.done = disk_done;
    if (start_in_memory(c, r))
        return;
    c->volume.disk->in_flight++;
    c->volume.disk->submit(c->volume.disk, &r->disk);
}

/* Turns. */

static void rate_timer_ran(void *context) {
    run(context);
}

/* False, and a timer is set: not now. */
static bool rates_allow(struct block_client *c) {
    if (!c->iops.per_s && !c->bandwidth.per_s)
        return true;
    uint64_t now = loop_now_ns();
    bool iops = rate_allows(&c->iops, now);
    bool bandwidth = rate_allows(&c->bandwidth, now);
    if (iops && bandwidth)
        return true;
    uint64_t iops_ns = rate_ready_ns(&c->iops);
    uint64_t bandwidth_ns = rate_ready_ns(&c->bandwidth);
    loop_timer_set(&c->rate_timer, iops_ns > bandwidth_ns ? iops_ns : bandwidth_ns, rate_timer_ran,
                   c);
    return false;
}

enum turn_end {
    TURN_IDLE,  /* something wakes it: the client, a completion, a timer */
    TURN_MORE,  /* has more to do, but had its turn */
    TURN_WAITS, /* for the disk, which is full */
};

static enum turn_end take_one(struct block_client *c, uint64_t *bytes) {
    struct bh_request request;
    struct bh_segment segments[BH_QUEUE_SEGMENTS_MAX];
    bool bad;
    *bytes = 0;
    switch (queue_take_request(&c->queue, &request, segments, &bad)) {
    case QUEUE_BROKEN:
        log_line("block", "%s: broke the queue's protocol: disconnected", c->channel.name);
        c->gone = true;
        return TURN_IDLE;
    case QUEUE_EMPTY:
        return queue_sleep(&c->queue) ? TURN_IDLE : TURN_MORE;
    case QUEUE_TAKEN:
        break;
    }
    rate_use(&c->iops, 1);
    enum bh_status status = bad ? BH_BAD_ARG : check(&c->volume, &request, segments, bytes);
    if (status == BH_OK)
        status = place(c, &request, segments, &c->free->disk);
    if (status != BH_OK) {
        *bytes = 0;
        c->statistics.errors++;
        complete(c, request.tag, status, 0);
        return TURN_MORE;
    }
    rate_use(&c->bandwidth, *bytes);
    start(c, &request, *bytes);
    return TURN_MORE;
}

static enum turn_end serve_client(struct block_client *c) {
    const struct disk *disk = c->volume.disk;
    uint64_t turn_bytes = 0;
    for (unsigned i = 0; i < TURN_REQUESTS && turn_bytes < TURN_BYTES; i++) {
        if (!c->free || !rates_allow(c))
            return TURN_IDLE;
        if (disk && disk->in_flight >= disk->requests_max)
            return TURN_WAITS;
        uint64_t bytes;
        if (take_one(c, &bytes) == TURN_IDLE)
            return TURN_IDLE;
        turn_bytes += bytes;
    }
    return TURN_MORE;
}

static void publish_all(void) {
    struct turn *turn;
    while ((turn = turns_take(&unpublished))) {
        struct block_client *c = of_completed(turn);
        if (queue_publish(&c->queue))
            event_signal(c->channel.signal);
    }
}

/* One turn for every client that is runnable now. Those that wait for a full disk keep their order,
 * in front of those that had their turn: so its places are shared fairly. A completion brings us
 * back for them. */
static void serve(void *context) {
    (void)context;
    struct turns waiting = {0}, again = {0};
    struct turn *turn;
    size_t clients = runnable.count;
    while (clients-- && (turn = turns_take(&runnable))) {
        enum turn_end end = serve_client(of_turn(turn));
        if (end == TURN_WAITS)
            turns_append(&waiting, turn);
        if (end == TURN_MORE)
            turns_append(&again, turn);
    }
    if (again.count)
        loop_post(&work);
    while ((turn = turns_take(&runnable))) /* made runnable meanwhile */
        turns_append(&again, turn);
    while ((turn = turns_take(&waiting)))
        turns_append(&runnable, turn);
    while ((turn = turns_take(&again)))
        turns_append(&runnable, turn);
    publish_all();
}

/* Life cycle. */

static void fill_info(const struct block_client *c, struct bh_block_info *info) {
    const struct volume *v = &c->volume;
    bool discard = v->disk && v->disk->can_discard && v->writable && !v->overlay;
    *info = (struct bh_block_info){
        .sectors = v->sectors,
        .flags = (v->writable ? 0 : BH_BLOCK_READ_ONLY) | (discard ? BH_BLOCK_CAN_DISCARD : 0) |
                 (c->channel.ram_parts ? BH_BLOCK_DIRECT : 0),
        .physical_bytes = v->disk ? v->disk->physical_bytes : MEMORY_PHYSICAL_BYTES,
        .request_bytes_max = REQUEST_BYTES_MAX,
    };
}

/* More could not be outstanding. */
static unsigned requests_max(const struct channel *channel) {
    return channel->own_units < IN_FLIGHT_MAX ? channel->own_units : IN_FLIGHT_MAX;
}

static void prepare(struct block_client *c, const struct channel *channel,
                    const struct block_settings *settings) {
    c->channel = *channel;
    for (unsigned i = 0; i < requests_max(channel); i++) {
        c->request[i].client = c;
        c->request[i].next_free = c->free;
        c->free = &c->request[i];
    }
    uint64_t now = loop_now_ns();
    rate_start(&c->iops, settings->iops_limit, settings->iops_limit / BURST_PART, now);
    rate_start(&c->bandwidth, settings->bytes_per_s_limit, settings->bytes_per_s_limit / BURST_PART,
               now);
}

/* All that the client's offsets reach. */
static uint64_t memory_bytes(const struct channel *channel) {
    uint64_t bytes = channel->window_bytes;
    for (uint32_t i = 0; i < channel->ram_parts; i++)
        bytes += channel->ram[i].bytes;
    return bytes;
}

struct block_client *block_attach(const struct channel *channel,
                                  const struct block_settings *settings, struct bh_block_info *info,
                                  enum bh_status *status, char *error, size_t error_bytes) {
    struct block_client *c = calloc(1, sizeof(*c) + requests_max(channel) * sizeof(c->request[0]));
    if (!c) {
        *status = BH_NO_MEMORY;
        snprintf(error, error_bytes, "no memory for a disk");
        return NULL;
    }
    prepare(c, channel, settings);
    *status = volume_open(&c->volume, settings, error, error_bytes);
    if (*status != BH_OK) {
        free(c);
        return NULL;
    }
    bool in_memory = !c->volume.disk || c->volume.overlay;
    *status =
        channel->ram_parts && in_memory
            ? BH_BAD_ARG
            : queue_server_open(&c->queue, channel->own, channel->own_units, channel->peer,
                                channel->peer_units, memory_bytes(channel), channel->generation);
    if (*status != BH_OK) {
        snprintf(error, error_bytes, "it is in memory, or its queue's size is out of bounds");
        volume_close(&c->volume);
        free(c);
        return NULL;
    }
    fill_info(c, info);
    event_signal(channel->signal); /* a client of an earlier server opens its end again */
    run(c);                        /* the client may have been there first */
    return c;
}

void block_service(struct block_client *client) {
    if (!queue_sleep(&client->queue)) /* a guest's disks share a bit: it may be another's */
        run(client);
}

static void detach_timer_ran(void *context) {
    struct block_client *c = context;
    c->volume.disk->give_up(c->volume.disk);
}

void block_detach(struct block_client *c, void (*done)(void *context), void *context) {
    c->gone = true;
    c->detached = done;
    c->detached_context = context;
    turns_remove(&runnable, &c->turn);
    loop_timer_cancel(&c->rate_timer);
    if (c->in_flight == 0)
        finish_detach(c);
    else
        loop_timer_set(&c->detach_timer, loop_now_ns() + DETACH_NS, detach_timer_ran, c);
}

void block_get_statistics(const struct block_client *client, struct block_statistics *out) {
    *out = client->statistics;
}
