/* Uses its devices as any guest does, for some seconds, while its server lies about those of one
 * class (liar.c): its argument. Whatever it is told, nothing of its own memory changes but what it
 * asked for, each request ends at most once, and its other devices go on. Says so on its console
 * and by its exit status. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guestlib/block_front.h"
#include "guestlib/console_front.h"
#include "guestlib/control_front.h"
#include "guestlib/guest.h"
#include "guestlib/loop.h"
#include "guestlib/net_front.h"

#define RUN_NS 2000000000ull
#define PATIENCE_NS 20000000000ull /* for its other devices, on a busy machine */
#define BLOCKS_GOOD 20u
#define TICK_NS 2000000u
#define SLOTS 8u
#define BUFFER_BYTES 4096u
#define GUARD_BYTES 256u
#define GUARD 0xa5
#define PIECES 16u

/* A buffer that is read into, between guards. */
struct slot {
    uint8_t before[GUARD_BYTES];
    uint8_t buffer[BUFFER_BYTES];
    uint8_t after[GUARD_BYTES];
    struct block_io io;
    bool in_flight;
    uint64_t digest; /* of the buffer, as it was when its request ended */
};

static struct slot slots[SLOTS];
static uint8_t *pieces[PIECES]; /* of the heap */
static struct block_front *block;
static struct net_front *net;
static unsigned failed_line, ticks, typed_depth;
static unsigned blocks_good, blocks_refused, blocks_disconnected;
static bool asked_time, lied_about_blocks;
static uint64_t begin_ns;

#define expect(condition) expect_at(condition, __LINE__)
static void expect_at(bool condition, int line) {
    if (!condition && !failed_line)
        failed_line = (unsigned)line;
}

static uint64_t random_next(void) {
    static uint64_t state = 88172645463325252ull; /* xorshift */
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static bool is_filled(const uint8_t *bytes, size_t count, uint8_t value) {
    for (size_t i = 0; i < count; i++)
        if (bytes[i] != value)
            return false;
    return true;
}

static uint64_t digest(const uint8_t *bytes, size_t count) {
    uint64_t sum = 14695981039346656037ull; /* FNV-1a */
    for (size_t i = 0; i < count; i++)
        sum = (sum ^ bytes[i]) * 1099511628211ull;
    return sum;
}

/* --- Its devices -------------------------------------------------------------------------------
 */

static void io_done(struct block_io *io, enum bh_status status) {
    struct slot *slot = io->context;
    expect(slot->in_flight);
    slot->in_flight = false;
    slot->digest = digest(slot->buffer, BUFFER_BYTES);
    blocks_good += status == BH_OK;
    blocks_disconnected += status == BH_DISCONNECTED;
    blocks_refused += status != BH_OK && status != BH_DISCONNECTED;
}

static void check_slot(const struct slot *slot) {
    expect(is_filled(slot->before, GUARD_BYTES, GUARD));
    expect(is_filled(slot->after, GUARD_BYTES, GUARD));
    expect(slot->in_flight || slot->digest == digest(slot->buffer, BUFFER_BYTES));
}

static void start_io(struct slot *slot) {
    uint64_t r = random_next();
    slot->io = (struct block_io){
        .operation = r & 3 ? BH_BLOCK_READ : BH_BLOCK_WRITE,
        .sector = r >> 8 & 63,
        .buffer = slot->buffer,
        .bytes = BH_SECTOR_BYTES * (1 + (uint32_t)(r >> 20) % (BUFFER_BYTES / BH_SECTOR_BYTES)),
        .done = io_done,
        .context = slot,
    };
    slot->in_flight = true;
    block_front_submit(block, &slot->io);
}

static void receive(void *context, const struct net_frame *frame) {
    static uint8_t bytes[2048];
    (void)context;
    for (size_t at = 0; at < frame->bytes; at += sizeof bytes) {
        size_t here = frame->bytes - at < sizeof bytes ? frame->bytes - at : sizeof bytes;
        net_frame_read(frame, at, bytes, here);
    }
}

static void room(void *context) {
    (void)context;
}

static void transmit(void) {
    static uint8_t frame[1514];
    struct net_piece piece = {frame, 60 + random_next() % 1400};
    memset(frame, 0xff, 6);
    net_front_transmit(net, &piece, 1, (struct bh_net_offload){0});
}

/* It answers what is typed, as a shell does. What is typed meanwhile comes afterwards. */
static size_t typed(void *context, const char *text, size_t bytes) {
    (void)context;
    expect(++typed_depth == 1);
    for (unsigned i = 0; i < 4; i++)
        printf("%.*s\n", bytes < 20 ? (int)bytes : 20, text);
    typed_depth--;
    return bytes;
}

static void told_time(void *context, uint64_t wall_ns) {
    (void)context, (void)wall_ns;
    expect(asked_time);
    asked_time = false;
}

/* --- The heap ----------------------------------------------------------------------------------
 */

static size_t piece_bytes(unsigned i) {
    return 16 + 40 * (size_t)i;
}

static void use_heap(void) {
    unsigned i = random_next() % PIECES;
    if (pieces[i])
        expect(is_filled(pieces[i], piece_bytes(i), (uint8_t)i));
    free(pieces[i]);
    pieces[i] = malloc(piece_bytes(i));
    expect(pieces[i] != NULL);
    if (pieces[i])
        memset(pieces[i], (int)i, piece_bytes(i));
}

/* --- The program -------------------------------------------------------------------------------
 */

static void shutdown(void *context) { /* whoever asks for it: it goes on until it is done */
    (void)context;
}

static bool is_over(void) {
    uint64_t ran_ns = loop_now_ns() - begin_ns;
    return ran_ns > PATIENCE_NS ||
           (ran_ns > RUN_NS && (lied_about_blocks || blocks_good >= BLOCKS_GOOD));
}

static void tick(void *timer) {
    struct slot *slot = &slots[ticks++ % SLOTS];
    check_slot(slot);
    if (!slot->in_flight)
        start_io(slot);
    use_heap();
    transmit();
    if (!asked_time)
        asked_time = control_ask_time(told_time, NULL);
    if (random_next() % 64 == 0)
        printf("working\n");
    if (is_over())
        loop_stop(0);
    else
        loop_timer_set(timer, loop_now_ns() + TICK_NS, tick, timer);
}

int main(int argc, char **argv) {
    static struct loop_timer timer;
    static const struct net_handlers handlers = {receive, room, NULL};
    lied_about_blocks = argc > 1 && strcmp(argv[1], "block") == 0;
    for (unsigned i = 0; i < SLOTS; i++) {
        memset(slots[i].before, GUARD, GUARD_BYTES);
        memset(slots[i].after, GUARD, GUARD_BYTES);
        slots[i].digest = digest(slots[i].buffer, BUFFER_BYTES);
    }
    block = block_front_open(0);
    net = net_front_open(0, &handlers);
    if (!block || !net)
        guest_panic("no device");
    console_on_input(typed, NULL);
    control_on_shutdown(shutdown, NULL);
    control_ready();
    begin_ns = loop_now_ns();
    loop_timer_set(&timer, loop_now_ns() + TICK_NS, tick, &timer);
    loop_run();
    expect(lied_about_blocks || blocks_good >= BLOCKS_GOOD);
    printf("requests: good %u, refused %u, disconnected %u\n", blocks_good, blocks_refused,
           blocks_disconnected);
    if (failed_line)
        printf("victim FAILED, line %u\n", failed_line);
    else
        printf("victim ok\n");
    return failed_line ? EXIT_FAILURE : EXIT_SUCCESS;
}
