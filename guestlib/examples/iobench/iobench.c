/* Measures block reads and prints a line "bench: ID VALUE UNIT" for each figure. The figures are
 * TSC ticks from submission to completion, whoever used them: this guest, hv, mgmt, or nobody while
 * the disk worked. Under the emulator's instruction counter a tick is an instruction. A guest
 * cannot see how long the processor slept; use a disk that answers at once, or subtract hv's idle
 * counter. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "guestlib/block_front.h"
#include "guestlib/control_front.h"
#include "guestlib/guest.h"
#include "guestlib/loop.h"
#include "guestlib/tsc.h"

#define READ_BYTES 4096u
#define DEPTH_MAX 32u
#define ROUNDS 201u /* odd: the median is one of them */

struct run {
    const char *id;
    unsigned depth;
};

static const struct run runs[] = {{"blk_4k_qd1", 1}, {"blk_4k_qd32", 32}};

static struct block_front *block;
static struct block_io reads[DEPTH_MAX];
static uint8_t buffers[DEPTH_MAX][READ_BYTES];
static uint64_t ticks[ROUNDS], started;
static unsigned run, round_number, pending;

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void start_round(void) {
    started = tsc_read();
    pending = runs[run].depth;
    for (unsigned i = 0; i < runs[run].depth; i++)
        block_front_submit(block, &reads[i]);
}

/* The median round, for each of its reads. */
static void report(void) {
    qsort(ticks, ROUNDS, sizeof ticks[0], by_value);
    printf("bench: %s %" PRIu64 " ticks\n", runs[run].id, ticks[ROUNDS / 2] / runs[run].depth);
}

static void read_done(struct block_io *io, enum bh_status status) {
    if (status != BH_OK)
        guest_panic("reading sector %" PRIu64 ": status %d", io->sector, status);
    if (--pending > 0)
        return;
    ticks[round_number++] = tsc_read() - started;
    if (round_number == ROUNDS) {
        report();
        round_number = 0;
        run++;
    }
    if (run < sizeof runs / sizeof runs[0])
        start_round();
    else
        loop_stop(0);
}

int main(void) {
    block = block_front_open(0);
    if (!block || block_front_info(block)->sectors < DEPTH_MAX * READ_BYTES / BH_SECTOR_BYTES) {
        puts("iobench needs a disk of at least 128 KiB");
        return EXIT_FAILURE;
    }
    for (unsigned i = 0; i < DEPTH_MAX; i++)
        reads[i] = (struct block_io){
            .operation = BH_BLOCK_READ,
            .sector = i * (READ_BYTES / BH_SECTOR_BYTES),
            .buffer = buffers[i],
            .bytes = READ_BYTES,
            .done = read_done,
        };
    control_ready();
    start_round();
    return loop_run();
}
