/* Block devices. Requests are asynchronous: submit, go back to the loop, `done` is called from
 * there. Data goes through bounce buffers in the window, so that the host sees nothing else of the
 * guest's memory. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "abi/block.h"
#include "abi/status.h"

struct block_front;

/* Part of a buffer that is scattered. */
struct block_piece {
    void *bytes;
    uint32_t length;
};

/* The caller's memory, from submission until done() is called. */
struct block_io {
    enum bh_block_operation operation;
    uint64_t sector; /* READ, WRITE, DISCARD, WRITE_ZEROES */
    void *buffer;    /* READ, WRITE, ID (at least 20 bytes) */
    uint32_t
        bytes; /* multiple of BH_SECTOR_BYTES (ID: of the buffer), at most block_front_bytes_max */
    /* status: OK, or as abi/block.h says; DISCONNECTED: the device is gone for good. May submit. */
    void (*done)(struct block_io *io, enum bh_status status);
    void *context;         /* the caller's */
    struct block_io *next; /* while it waits for room */
    /* Instead of the buffer, when it is NULL; their lengths make up `bytes`. A reader that no
     * longer wants its data sets piece_count to 0. */
    const struct block_piece *pieces;
    uint32_t piece_count;
};

/* Opens the index-th block device. NULL: there is none, or no memory. Open each device once. */
struct block_front *block_front_open(unsigned index);

/* Sectors, flags and alignment. */
const struct bh_block_info *block_front_info(const struct block_front *block);

/* The most that one request may transfer. */
uint32_t block_front_bytes_max(const struct block_front *block);

/* Never fails and never blocks; what there is no room for waits its turn. Completions may come in
 * any order: who needs one before another waits for its done(). Arguments are checked by the host.
 */
void block_front_submit(struct block_front *block, struct block_io *io);

/* READ or WRITE of any length: as many requests as it takes, one after the other. Waits for them:
 * nothing else of the program runs meanwhile, neither events nor timers nor posted work. The first
 * that fails is the last. */
enum bh_status block_front_transfer(struct block_front *block, enum bh_block_operation operation,
                                    uint64_t sector, void *buffer, uint64_t bytes);
/* FLUSH, likewise. */
enum bh_status block_front_flush(struct block_front *block);
