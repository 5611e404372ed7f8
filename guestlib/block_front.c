/* Block front end. */
#include "guestlib/block_front.h"

#include <assert.h>
#include <stdlib.h>

#include "guestlib/front.h"
#include "guestlib/guest.h"
#include "guestlib/tsc.h"

#define REQUESTS_MAX 64u
#define CHUNK_BYTES 4096u

struct block_front {
    struct front front;
    uint32_t bytes_max;
    struct block_io *waiting, **waiting_end;
};

static bool has_buffer(const struct block_io *io) {
    return io->operation == BH_BLOCK_READ || io->operation == BH_BLOCK_WRITE ||
           io->operation == BH_BLOCK_ID;
}

static void copy_in(struct window *window, uint32_t chain, const struct block_io *io) {
    if (io->buffer)
        window_write(window, chain, 0, io->buffer, io->bytes);
    size_t at = 0;
    for (uint32_t i = 0; !io->buffer && i < io->piece_count; i++) {
        window_write(window, chain, at, io->pieces[i].bytes, io->pieces[i].length);
        at += io->pieces[i].length;
    }
}

static void copy_out(const struct window *window, uint32_t chain, const struct block_io *io) {
    if (io->buffer)
        window_read(window, chain, 0, io->buffer, io->bytes);
    size_t at = 0;
    for (uint32_t i = 0; !io->buffer && i < io->piece_count; i++) {
        window_read(window, chain, at, io->pieces[i].bytes, io->pieces[i].length);
        at += io->pieces[i].length;
    }
}

static void completed(struct front *front, const struct front_request *request,
                      const struct bh_completion *completion) {
    struct block_io *io = request->owner;
    enum bh_status status = completion->status;
    if (status == BH_OK && io->operation == BH_BLOCK_READ && completion->value != io->bytes)
        status = BH_IO_ERROR; /* a short read would leave old data in the buffer */
    if (status == BH_OK && (io->operation == BH_BLOCK_READ || io->operation == BH_BLOCK_ID))
        copy_out(&front->window, request->chain, io);
    window_give(&front->window, request->chain);
    io->done(io, status);
}

/* False: no room now. */
static bool start(struct block_front *block, struct block_io *io) {
    struct front_request request = {
        .owner = io,
        .argument = io->sector,
        .operation = (uint8_t)io->operation,
        .chain = WINDOW_NONE,
    };
    if (has_buffer(io)) {
        request.chain = window_take(&block->front.window, io->bytes);
        if (request.chain == WINDOW_NONE)
            return false;
        if (io->operation == BH_BLOCK_WRITE)
            copy_in(&block->front.window, request.chain, io);
    } else if (io->operation != BH_BLOCK_FLUSH) {
        request.bare_bytes = io->bytes;
    }
    if (front_submit(&block->front, request))
        return true;
    window_give(&block->front.window, request.chain);
    return false;
}

static void room(struct front *front) {
    struct block_front *block = (struct block_front *)front;
    while (block->waiting) {
        struct block_io *io = block->waiting;
        bool gone = front_disconnected(front);
        if (!gone && !start(block, io))
            return;
        block->waiting = io->next;
        if (!block->waiting)
            block->waiting_end = &block->waiting;
        if (gone)
            io->done(io, BH_DISCONNECTED);
    }
}

struct block_front *block_front_open(unsigned index) {
    static const struct front_class class = {.completed = completed, .room = room};
    const struct bh_device_info *device = guest_device(BH_CLASS_BLOCK, index);
    if (!device)
        return NULL;
    struct block_front *block = calloc(1, sizeof *block);
    if (!block || !front_open(&block->front, device, &class, REQUESTS_MAX, CHUNK_BYTES)) {
        free(block);
        return NULL;
    }
    /* One request may not need more segments, chunks or queue units than there are. */
    uint32_t chunks = block->front.window.free_count;
    if (chunks > BH_QUEUE_SEGMENTS_MAX)
        chunks = BH_QUEUE_SEGMENTS_MAX;
    if (chunks > device->client_units - 1)
        chunks = device->client_units - 1;
    block->bytes_max = chunks * CHUNK_BYTES;
    if (block->bytes_max > device->block.request_bytes_max)
        block->bytes_max = device->block.request_bytes_max;
    block->waiting_end = &block->waiting;
    return block;
}

const struct bh_block_info *block_front_info(const struct block_front *block) {
    return &block->front.device->block;
}

uint32_t block_front_bytes_max(const struct block_front *block) {
    return block->bytes_max;
}

static void append(struct block_front *block, struct block_io *io) {
    assert(io->bytes <= block->bytes_max);
    io->next = NULL;
    *block->waiting_end = io;
    block->waiting_end = &io->next;
}

void block_front_submit(struct block_front *block, struct block_io *io) {
    append(block, io);
    loop_post(&block->front.work);
}

struct transfer {
    bool finished;
    enum bh_status status;
};

static void transfer_done(struct block_io *io, enum bh_status status) {
    *(struct transfer *)io->context = (struct transfer){true, status};
}

static bool is_finished(void *transfer) {
    return ((struct transfer *)transfer)->finished;
}

static enum bh_status transfer_one(struct block_front *block, struct block_io io) {
    struct transfer transfer = {0};
    io.done = transfer_done;
    io.context = &transfer;
    append(block, &io);
    while (!front_wait(&block->front, is_finished, &transfer, NS_PER_S))
        ;
    return transfer.status;
}

enum bh_status block_front_transfer(struct block_front *block, enum bh_block_operation operation,
                                    uint64_t sector, void *buffer, uint64_t bytes) {
    const uint32_t max = block->bytes_max & ~(BH_SECTOR_BYTES - 1u);
    enum bh_status status = BH_OK;
    while (!status && bytes > 0) {
        struct block_io io = {.operation = operation,
                              .sector = sector,
                              .buffer = buffer,
                              .bytes = bytes < max ? (uint32_t)bytes : max};
        status = transfer_one(block, io);
        sector += io.bytes / BH_SECTOR_BYTES;
        buffer = (uint8_t *)buffer + io.bytes;
        bytes -= io.bytes;
    }
    return status;
}

enum bh_status block_front_flush(struct block_front *block) {
    return transfer_one(block, (struct block_io){.operation = BH_BLOCK_FLUSH});
}
