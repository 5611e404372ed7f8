/* Measures block reads and prints a line "bench: ID VALUE UNIT" for each figure. A round is DEPTH
 * reads of 4 KiB at once; the figure is the median round's TSC ticks, for each of its reads.
 *
 * The ticks are from submission to completion, whoever used them: this guest, hv, mgmt, or nobody
 * while the disk worked. Under the emulator's instruction counter a tick is an instruction. A guest
 * cannot see how long the processor slept; whoever can (hv's counters) has it wait for the console
 * ("wait" on the command line) and types "DEPTH ROUNDS" when he is ready. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guestlib/block_front.h"
#include "guestlib/console_front.h"
#include "guestlib/control_front.h"
#include "guestlib/guest.h"
#include "guestlib/loop.h"
#include "guestlib/tsc.h"

#define READ_BYTES 4096u
#define DEPTH_MAX 32u
#define ROUNDS_MAX 10001u
#define ROUNDS_USUAL 201u /* odd: the median is one of them */

static struct block_front *block;
static struct block_io reads[DEPTH_MAX];
static uint8_t buffers[DEPTH_MAX][READ_BYTES];
static uint64_t ticks[ROUNDS_MAX], started;
static unsigned depth, rounds, rounds_done, pending;
static bool by_console;

static void start_round(void) {
    started = tsc_read();
    pending = depth;
    for (unsigned i = 0; i < depth; i++)
        block_front_submit(block, &reads[i]);
}

static void start(unsigned new_depth, unsigned new_rounds) {
    depth = new_depth;
    rounds = new_rounds;
    rounds_done = 0;
    start_round();
}

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void finish(void) {
    qsort(ticks, rounds, sizeof ticks[0], by_value);
    printf("bench: blk_4k_qd%u %" PRIu64 " ticks\n", depth, ticks[rounds / 2] / depth);
    rounds = 0;
    if (by_console)
        return;
    if (depth == 1)
        start(DEPTH_MAX, ROUNDS_USUAL);
    else
        loop_stop(0);
}

static void read_done(struct block_io *io, enum bh_status status) {
    if (status != BH_OK)
        guest_panic("reading sector %" PRIu64 ": status %d", io->sector, status);
    if (--pending > 0)
        return;
    ticks[rounds_done++] = tsc_read() - started;
    if (rounds_done < rounds)
        start_round();
    else
        finish();
}

static void command(const char *line) {
    unsigned new_depth, new_rounds;
    if (sscanf(line, "%u %u", &new_depth, &new_rounds) != 2 || new_depth - 1 >= DEPTH_MAX ||
        new_rounds - 1 >= ROUNDS_MAX)
        printf("DEPTH ROUNDS: 1..%u 1..%u\n", DEPTH_MAX, ROUNDS_MAX);
    else if (rounds > 0)
        puts("busy");
    else
        start(new_depth, new_rounds);
}

static size_t typed(void *context, const char *text, size_t bytes) {
    static char line[32];
    static size_t length;
    (void)context;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '\r' || text[i] == '\n') {
            line[length] = '\0';
            if (length > 0)
                command(line);
            length = 0;
        } else if (length < sizeof line - 1) {
            line[length++] = text[i];
        }
    }
    return bytes;
}

int main(int argc, char **argv) {
    block = block_front_open(0);
    if (!block || block_front_info(block)->sectors < DEPTH_MAX * READ_BYTES / BH_SECTOR_BYTES) {
        puts("iobench needs a disk of at least 128 KiB");
        return EXIT_FAILURE;
    }
    for (unsigned i = 0; i < DEPTH_MAX; i++)
        reads[i] = (struct block_io){
            .operation = BH_BLOCK_READ,
            .sector = i * (uint64_t)(READ_BYTES / BH_SECTOR_BYTES),
            .buffer = buffers[i],
            .bytes = READ_BYTES,
            .done = read_done,
        };
    by_console = argc > 1 && strcmp(argv[1], "wait") == 0;
    if (by_console && !console_on_input(typed, NULL)) {
        puts("iobench wait needs a console");
        return EXIT_FAILURE;
    }
    control_ready();
    if (!by_console)
        start(1, ROUNDS_USUAL);
    return loop_run();
}
