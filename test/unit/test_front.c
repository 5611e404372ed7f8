/* Front ends and event loop, with the test as hypervisor and as server of every device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "abi/console.h"
#include "abi/control.h"
#include "guestlib/block_front.h"
#include "guestlib/console_front.h"
#include "guestlib/control_front.h"
#include "guestlib/guest.h"
#include "guestlib/loop.h"
#include "guestlib/net_front.h"
#include "guestlib/queue.h"
#include "test/unit/fake_hypercall/guestlib/hypercall.h"

#define CLIENT_UNITS 256u
#define SERVER_UNITS 64u
#define WINDOW_BYTES (256u * 1024)
#define DISK_BYTES (512u * 1024)
#define SIGNAL_SLOT 40u

enum device { CONTROL, CONSOLE, BLOCK, NET, DEVICES };

struct server {
    struct queue_end queue;
    bool swallow;  /* takes requests and never answers */
    bool restless; /* is a new one whenever it is signalled */
    uint8_t *window;
};

static struct bh_domain_info domain;
static struct server servers[DEVICES];
static uint8_t disk[DISK_BYTES];
static uint64_t pending; /* Event bits of the guest */
static enum bh_status disk_status;
static uint64_t disk_short_by;
static char shown[65536];
static size_t shown_bytes;
static uint64_t told; /* argument of EXIT or READY */
static uint32_t listen_tag;
static bool listening;
static bool typing_without_end, asking_without_end;
static uint8_t wire[70000]; /* the frame transmitted last */
static size_t wire_bytes;
static uint64_t wire_argument;
static struct bh_segment buffers[256]; /* receive buffers the guest has offered */
static uint32_t buffer_tags[256];
static unsigned buffer_count;

const struct bh_domain_info *guest_domain(void) {
    return &domain;
}

const struct bh_device_info *guest_device(enum bh_class class, unsigned index) {
    assert_int_equal(index, 0);
    return &domain.device[class - 1];
}

/* --- servers -------------------------------------------------------------------------------------
 */

static void open_server(enum device device, uint32_t generation) {
    const struct bh_device_info *info = &domain.device[device];
    assert_int_equal(queue_server_open(&servers[device].queue, (void *)info->server_va,
                                       info->server_units, (void *)info->client_va,
                                       info->client_units, info->window_bytes, generation),
                     BH_OK);
    servers[device].window = (uint8_t *)info->window_va;
    pending |= 1ull << info->event_bit;
}

static void serve_block(struct server *s, const struct bh_request *request,
                        const struct bh_segment *segments) {
    uint64_t at = request->argument * BH_SECTOR_BYTES, bytes = 0;
    for (unsigned i = 0; i < request->segments; i++) {
        if (request->operation == BH_BLOCK_READ)
            memcpy(s->window + segments[i].offset, disk + at + bytes, segments[i].bytes);
        else if (request->operation == BH_BLOCK_WRITE)
            memcpy(disk + at + bytes, s->window + segments[i].offset, segments[i].bytes);
        else if (request->operation == BH_BLOCK_WRITE_ZEROES)
            memset(disk + at + bytes, 0, segments[i].bytes);
        bytes += segments[i].bytes;
    }
    queue_complete(&s->queue, request->tag, disk_status, 0, bytes - disk_short_by);
}

static void serve_console(struct server *s, const struct bh_request *request,
                          const struct bh_segment *segments) {
    if (request->operation == BH_CONSOLE_READ) {
        memcpy(s->window + segments[0].offset, "typed", 5);
        queue_complete(&s->queue, request->tag, BH_OK, 0, 5);
        s->swallow = !typing_without_end; /* else nothing more is typed */
        return;
    }
    for (unsigned i = 0; i < request->segments; i++) {
        memcpy(shown + shown_bytes, s->window + segments[i].offset, segments[i].bytes);
        shown_bytes += segments[i].bytes;
    }
    queue_complete(&s->queue, request->tag, BH_OK, 0, 0);
}

static void serve_control(struct server *s, const struct bh_request *request) {
    if (request->operation == BH_CONTROL_LISTEN && asking_without_end) {
        queue_complete(&s->queue, request->tag, BH_OK, BH_CONTROL_SHUTDOWN, 0);
        return;
    }
    if (request->operation == BH_CONTROL_LISTEN) {
        assert_false(listening);
        listening = true;
        listen_tag = request->tag;
        return;
    }
    told = request->operation * 1000ull + request->argument;
    queue_complete(&s->queue, request->tag, BH_OK, 0, 77);
}

static void serve_net(struct server *s, const struct bh_request *request,
                      const struct bh_segment *segments) {
    if (request->operation == BH_NET_RECEIVE) {
        assert_int_equal(request->segments, 1);
        buffers[buffer_count] = segments[0];
        buffer_tags[buffer_count++] = request->tag;
        return;
    }
    wire_bytes = 0;
    wire_argument = request->argument;
    for (unsigned i = 0; i < request->segments; i++) {
        memcpy(wire + wire_bytes, s->window + segments[i].offset, segments[i].bytes);
        wire_bytes += segments[i].bytes;
    }
    queue_complete(&s->queue, request->tag, BH_OK, 0, 0);
}

static void serve(enum device device) {
    struct server *s = &servers[device];
    struct bh_request request;
    struct bh_segment segments[BH_QUEUE_SEGMENTS_MAX];
    bool bad;
    while (queue_take_request(&s->queue, &request, segments, &bad) == QUEUE_TAKEN) {
        assert_false(bad);
        if (s->swallow)
            continue;
        switch (device) {
        case BLOCK:
            serve_block(s, &request, segments);
            break;
        case CONSOLE:
            serve_console(s, &request, segments);
            break;
        case CONTROL:
            serve_control(s, &request);
            break;
        default:
            serve_net(s, &request, segments);
            break;
        }
    }
    if (queue_publish(&s->queue))
        pending |= 1ull << domain.device[device].event_bit;
    queue_sleep(&s->queue);
}

/* --- the hypervisor ------------------------------------------------------------------------------
 */

enum bh_status hc_signal(bh_slot event) {
    enum device device = (enum device)(event - SIGNAL_SLOT);
    serve(device);
    if (servers[device].restless)
        open_server(device, servers[device].queue.generation + 1);
    return BH_OK;
}

/* Nobody else runs, so a guest that sleeps without a deadline has lost a wake-up. */
enum bh_status hc_wait(uint64_t mask, uint64_t deadline_tsc, uint64_t *bits, uint64_t *group) {
    *bits = pending & mask;
    *group = 0;
    pending &= ~mask;
    if (*bits)
        return BH_OK;
    assert_true(deadline_tsc != BH_DEADLINE_NEVER);
    return BH_TIMEOUT;
}

static int start(void **state) {
    (void)state;
    memset(&domain, 0, sizeof domain);
    memset(servers, 0, sizeof servers);
    domain.tsc_hz = 2000000000;
    for (unsigned i = 0; i < DEVICES; i++) {
        size_t client_bytes = BH_QUEUE_HEADER_BYTES + CLIENT_UNITS * 16;
        size_t server_bytes = BH_QUEUE_HEADER_BYTES + SERVER_UNITS * 16;
        domain.device[i] = (struct bh_device_info){
            .class = i + 1,
            .signal_slot = SIGNAL_SLOT + i,
            .event_bit = i,
            .client_va = (uintptr_t)aligned_alloc(64, client_bytes),
            .server_va = (uintptr_t)aligned_alloc(64, server_bytes),
            .client_units = CLIENT_UNITS,
            .server_units = SERVER_UNITS,
            .window_va = (uintptr_t)aligned_alloc(4096, WINDOW_BYTES),
            .window_bytes = WINDOW_BYTES,
        };
        memset((void *)domain.device[i].client_va, 0, client_bytes);
        memset((void *)domain.device[i].server_va, 0, server_bytes);
        open_server(i, 1);
    }
    domain.device[BLOCK].block.sectors = DISK_BYTES / BH_SECTOR_BYTES;
    domain.device[BLOCK].block.request_bytes_max = 128 * 1024;
    domain.device_count = DEVICES;
    disk_status = BH_OK;
    disk_short_by = 0;
    shown_bytes = wire_bytes = 0;
    buffer_count = 0;
    listening = typing_without_end = asking_without_end = false;
    for (unsigned i = 0; i < DISK_BYTES; i++)
        disk[i] = (uint8_t)(i * 7 + i / 512);
    loop_init(64, domain.tsc_hz);
    return 0;
}

static int stop(void **state) {
    (void)state;
    for (unsigned i = 0; i < DEVICES; i++) {
        free((void *)domain.device[i].client_va);
        free((void *)domain.device[i].server_va);
        free((void *)domain.device[i].window_va);
    }
    return 0;
}

/* --- block ---------------------------------------------------------------------------------------
 */

static struct block_front *block;
static unsigned awaited; /* completions until the loop stops */
static enum bh_status last_status;

static void io_done(struct block_io *io, enum bh_status status) {
    assert_non_null(io->context); /* completed once only */
    io->context = NULL;
    last_status = status;
    if (--awaited == 0)
        loop_stop(0);
}

static struct block_io make_io(enum bh_block_operation operation, uint64_t sector, void *buffer,
                               uint32_t bytes) {
    static int marker;
    return (struct block_io){.operation = operation,
                             .sector = sector,
                             .buffer = buffer,
                             .bytes = bytes,
                             .done = io_done,
                             .context = &marker};
}

static enum bh_status run_io(struct block_io io) {
    awaited = 1;
    block_front_submit(block, &io);
    loop_run();
    return last_status;
}

static void block_reads_and_writes(void **state) {
    (void)state;
    static uint8_t data[128 * 1024], expected[sizeof data];
    block = block_front_open(0);
    assert_int_equal(block_front_bytes_max(block), sizeof data);
    for (uint32_t bytes = 512; bytes <= sizeof data; bytes = bytes * 3 & ~511u) {
        assert_int_equal(run_io(make_io(BH_BLOCK_READ, 3, data, bytes)), BH_OK);
        assert_memory_equal(data, disk + 3 * 512, bytes);
        memset(expected, (int)bytes / 512, bytes);
        assert_int_equal(run_io(make_io(BH_BLOCK_WRITE, 5, expected, bytes)), BH_OK);
        assert_memory_equal(disk + 5 * 512, expected, bytes);
    }
    assert_int_equal(run_io(make_io(BH_BLOCK_FLUSH, 0, NULL, 0)), BH_OK);
    assert_int_equal(run_io(make_io(BH_BLOCK_DISCARD, 0, NULL, 4096)), BH_OK);
}

static void block_transfers_any_length(void **state) {
    (void)state;
    static uint8_t data[3 * 128 * 1024 + 512], back[sizeof data];
    block = block_front_open(0);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i ^ i >> 9);
    assert_int_equal(block_front_transfer(block, BH_BLOCK_WRITE, 7, data, sizeof data), BH_OK);
    assert_memory_equal(disk + 7 * 512, data, sizeof data);
    assert_int_equal(block_front_transfer(block, BH_BLOCK_READ, 7, back, sizeof back), BH_OK);
    assert_memory_equal(back, data, sizeof data);
    assert_int_equal(block_front_flush(block), BH_OK);
    disk_status = BH_IO_ERROR;
    assert_int_equal(block_front_transfer(block, BH_BLOCK_READ, 7, back, sizeof back), BH_IO_ERROR);
}

static void block_passes_errors_on(void **state) {
    (void)state;
    uint8_t data[512];
    block = block_front_open(0);
    disk_status = BH_IO_ERROR;
    assert_int_equal(run_io(make_io(BH_BLOCK_READ, 0, data, sizeof data)), BH_IO_ERROR);
    disk_status = BH_OK;
    disk_short_by = 1; /* said to be good, but not all of it */
    assert_int_equal(run_io(make_io(BH_BLOCK_READ, 0, data, sizeof data)), BH_IO_ERROR);
}

#define MANY 500u
static struct block_io many[MANY];
static uint8_t many_data[MANY][4096];

static void submit_many(void) {
    awaited = MANY;
    for (unsigned i = 0; i < MANY; i++) {
        many[i] = make_io(BH_BLOCK_READ, i, many_data[i], 4096);
        block_front_submit(block, &many[i]);
    }
}

static void assert_many(void) {
    for (unsigned i = 0; i < MANY; i++)
        assert_memory_equal(many_data[i], disk + i * 512, 4096);
}

static void block_queues_what_has_no_room(void **state) {
    (void)state;
    block = block_front_open(0);
    submit_many();
    loop_run();
    assert_many();
}

static struct loop_timer takeover;

static void take_over(void *unused) {
    (void)unused;
    assert_int_equal(awaited, MANY);
    servers[BLOCK].swallow = false;
    open_server(BLOCK, 2);
}

static void block_survives_its_server(void **state) {
    (void)state;
    memset(many_data, 0, sizeof many_data);
    block = block_front_open(0);
    servers[BLOCK].swallow = true;
    submit_many();
    loop_timer_set(&takeover, loop_now_ns() + 1000000, take_over, NULL);
    loop_run();
    assert_int_equal(last_status, BH_OK);
    assert_many();
}

static struct loop_timer settling;
static unsigned moments;

static void settle(void *unused) {
    (void)unused;
    if (++moments < 3) {
        loop_timer_set(&settling, loop_now_ns() + 1000000, settle, NULL);
        return;
    }
    assert_int_equal(awaited, MANY);
    assert_true(servers[BLOCK].queue.generation > 4);
    servers[BLOCK].restless = servers[BLOCK].swallow = false;
}

/* Its client asks each of them anew, does other work in between, and misses nothing. */
static void block_survives_a_server_that_is_always_new(void **state) {
    (void)state;
    memset(many_data, 0, sizeof many_data);
    moments = 0;
    block = block_front_open(0);
    servers[BLOCK].swallow = servers[BLOCK].restless = true;
    submit_many();
    loop_timer_set(&settling, loop_now_ns() + 1000000, settle, NULL);
    loop_run();
    assert_int_equal(last_status, BH_OK);
    assert_many();
}

static void tell_nonsense(void *unused) {
    (void)unused;
    queue_complete(&servers[BLOCK].queue, 12345, BH_OK, 0, 0);
    if (queue_publish(&servers[BLOCK].queue))
        pending |= 1ull << domain.device[BLOCK].event_bit;
}

static void block_gives_a_lying_server_up(void **state) {
    (void)state;
    block = block_front_open(0);
    servers[BLOCK].swallow = true;
    submit_many();
    loop_timer_set(&takeover, loop_now_ns() + 1000000, tell_nonsense, NULL);
    loop_run();
    assert_int_equal(last_status, BH_DISCONNECTED);
    uint8_t data[512];
    assert_int_equal(run_io(make_io(BH_BLOCK_READ, 0, data, sizeof data)), BH_DISCONNECTED);
}

/* --- console and control -------------------------------------------------------------------------
 */

static void console_shows_everything_in_order(void **state) {
    (void)state;
    char text[20000];
    console_open();
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('a' + i % 23);
    for (size_t at = 0; at < sizeof text; at += 500)
        console_write(text + at, 500);
    console_drain();
    assert_int_equal(shown_bytes, sizeof text);
    assert_memory_equal(shown, text, sizeof text);
}

static void console_does_not_wait_for_ever(void **state) {
    (void)state;
    static const char text[20000];
    console_open();
    servers[CONSOLE].swallow = true;
    uint64_t before = loop_now_ns();
    console_write(text, sizeof text);
    assert_in_range(loop_now_ns() - before, 900000000, 5000000000);
    before = loop_now_ns(); /* and not again */
    for (unsigned i = 0; i < 20; i++)
        console_write(text, 100);
    assert_in_range(loop_now_ns() - before, 0, 900000000);
    /* A lie ends what was waited for: the next test finds no writes in flight. */
    ((struct bh_queue_header *)domain.device[CONSOLE].server_va)->tail += SERVER_UNITS + 1;
    console_drain();
}

static size_t typed(void *context, const char *text, size_t bytes) {
    (void)context;
    assert_int_equal(bytes, 5);
    assert_memory_equal(text, "typed", 5);
    loop_stop(3);
    return bytes;
}

static void console_hears_what_is_typed(void **state) {
    (void)state;
    console_open();
    assert_true(console_on_input(typed, NULL));
    assert_int_equal(loop_run(), 3);
}

static void ask_to_shut_down(void *unused) {
    (void)unused;
    assert_true(listening);
    listening = false;
    queue_complete(&servers[CONTROL].queue, listen_tag, BH_OK, BH_CONTROL_SHUTDOWN, 0);
    if (queue_publish(&servers[CONTROL].queue))
        pending |= 1ull << domain.device[CONTROL].event_bit;
}

static void control_ends_the_loop_when_asked(void **state) {
    (void)state;
    control_open();
    control_ready();
    loop_timer_set(&takeover, loop_now_ns() + 1000000, ask_to_shut_down, NULL);
    assert_int_equal(loop_run(), 0);
    assert_int_equal(told, BH_CONTROL_READY * 1000);
    control_exit(42);
    assert_int_equal(told, BH_CONTROL_EXIT * 1000 + 42);
    assert_true(listening); /* it listens again */
}

/* --- net -----------------------------------------------------------------------------------------
 */

static uint8_t received[70000];
static size_t received_bytes;

static void receive(void *context, const struct net_frame *frame) {
    (void)context;
    received_bytes = frame->bytes;
    net_frame_read(frame, 0, received, frame->bytes);
    assert_int_equal(frame->flags, BH_NET_CHECKSUM_GOOD);
    assert_int_equal(frame->gso_bytes, 1448);
    assert_int_equal(frame->gso_type, BH_NET_GSO_TCP4);
}

static void room(void *context) {
    (void)context;
}

/* Sends a frame to the guest in buffers of at most `piece` bytes. */
static void deliver(const uint8_t *frame, size_t bytes, size_t piece) {
    struct server *s = &servers[NET];
    unsigned count = (unsigned)((bytes + piece - 1) / piece);
    assert_true(count <= buffer_count);
    for (unsigned i = 0; i < count; i++) {
        size_t here = bytes < piece ? bytes : piece;
        memcpy(s->window + buffers[i].offset, frame, here);
        queue_complete(&s->queue, buffer_tags[i], BH_OK, BH_NET_CHECKSUM_GOOD,
                       here | 1448ull << 32 | (uint64_t)BH_NET_GSO_TCP4 << 48 |
                           (uint64_t)(count - 1 - i) << 56);
        frame += here;
        bytes -= here;
    }
    buffer_count -= count;
    memmove(buffers, buffers + count, buffer_count * sizeof buffers[0]);
    memmove(buffer_tags, buffer_tags + count, buffer_count * sizeof buffer_tags[0]);
    if (queue_publish(&s->queue))
        pending |= 1ull << domain.device[NET].event_bit;
}

static void end_loop(void *unused) {
    (void)unused;
    loop_stop(0);
}

static void run_for_a_moment(void) {
    static struct loop_timer end;
    loop_timer_set(&end, loop_now_ns() + 2000000, end_loop, NULL);
    loop_run();
}

static void net_receives_frames_of_any_length(void **state) {
    (void)state;
    static uint8_t frame[60000];
    static const size_t lengths[] = {60, 1514, 2048, 2049, 9000, 60000};
    struct net_handlers handlers = {receive, room, NULL};
    assert_non_null(net_front_open(0, &handlers));
    for (size_t i = 0; i < sizeof frame; i++)
        frame[i] = (uint8_t)(i * 31 + i / 256);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        for (size_t piece = 2048; piece >= 2000; piece -= 7) {
            run_for_a_moment();
            assert_true(buffer_count >= 32);
            deliver(frame, lengths[i], piece);
            received_bytes = 0;
            run_for_a_moment();
            assert_int_equal(received_bytes, lengths[i]);
            assert_memory_equal(received, frame, lengths[i]);
        }
    }
}

static void net_transmits_pieces_as_one_frame(void **state) {
    (void)state;
    static uint8_t data[40000];
    struct net_handlers handlers = {receive, room, NULL};
    struct net_front *net = net_front_open(0, &handlers);
    struct bh_net_offload offload = {34, 16, 1448, BH_NET_GSO_TCP4, BH_NET_NEEDS_CHECKSUM};
    uint64_t argument;
    memcpy(&argument, &offload, sizeof argument);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 13);
    for (unsigned i = 0; i < 1000; i++) {
        struct net_piece pieces[] = {
            {data, 1 + i * 7}, {data + 1 + i * 7, 0}, {data + 1 + i * 7, i}};
        wire_bytes = 0;
        assert_true(net_front_transmit(net, pieces, 3, offload));
        run_for_a_moment();
        assert_int_equal(wire_bytes, 1 + i * 8);
        assert_memory_equal(wire, data, wire_bytes);
        assert_int_equal(wire_argument, argument);
        i += 50;
    }
}

static void net_says_when_there_is_no_room(void **state) {
    (void)state;
    static uint8_t data[65536];
    struct net_handlers handlers = {receive, room, NULL};
    struct net_front *net = net_front_open(0, &handlers);
    struct net_piece piece = {data, net_front_frame_bytes_max(net)};
    servers[NET].swallow = true;
    unsigned sent = 0;
    while (sent < 1000 && net_front_transmit(net, &piece, 1, (struct bh_net_offload){0}))
        sent++;
    assert_in_range(sent, 1, 999);
    run_for_a_moment();
    assert_true(!servers[NET].queue.broken);
}

/* --- a hostile server ----------------------------------------------------------------------------
 */

/* Writes a completion into the server's ring, whatever the two ends agreed on. */
static void forge(enum device device, struct bh_completion completion) {
    const struct bh_device_info *info = &domain.device[device];
    struct bh_queue_header *header = (void *)info->server_va;
    struct bh_completion *ring = (void *)(info->server_va + BH_QUEUE_HEADER_BYTES);
    ring[header->tail++ % SERVER_UNITS] = completion;
    pending |= 1ull << info->event_bit;
}

static struct bh_queue_header *forged_header(enum device device) {
    pending |= 1ull << domain.device[device].event_bit;
    return (void *)domain.device[device].server_va;
}

static void complete_twice(void) {
    forge(BLOCK, (struct bh_completion){.tag = 0, .status = BH_OK, .value = 4096});
    forge(BLOCK, (struct bh_completion){.tag = 0, .status = BH_OK, .value = 4096});
}
static void complete_first_tag_beyond(void) {
    forge(BLOCK, (struct bh_completion){.tag = SERVER_UNITS, .status = BH_OK});
}
static void complete_last_tag(void) {
    forge(BLOCK, (struct bh_completion){.tag = UINT32_MAX, .status = BH_OK});
}
static void complete_too_many(void) {
    forged_header(BLOCK)->tail += SERVER_UNITS + 1;
}
static void uncomplete(void) {
    forged_header(BLOCK)->tail--;
}
static void claim_unpublished(void) {
    forged_header(BLOCK)->head += CLIENT_UNITS + 1;
    forge(BLOCK, (struct bh_completion){.tag = 0, .status = BH_OK, .value = 4096});
}
static void unread(void) {
    forged_header(BLOCK)->head -= CLIENT_UNITS + 1;
    forge(BLOCK, (struct bh_completion){.tag = 0, .status = BH_OK, .value = 4096});
}

static void lie(void *told_lie) {
    (*(void (*const *)(void))told_lie)();
}

/* Each costs the guest that device: every request ends, once, and none is taken any more. */
static void block_gives_up_who_breaks_the_protocol(void **state) {
    static void (*const lies[])(void) = {complete_twice,
                                         complete_first_tag_beyond,
                                         complete_last_tag,
                                         complete_too_many,
                                         uncomplete,
                                         claim_unpublished,
                                         unread};
    for (unsigned i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        block = block_front_open(0);
        servers[BLOCK].swallow = true;
        submit_many();
        loop_timer_set(&takeover, loop_now_ns() + 1000000, lie, (void *)&lies[i]);
        loop_run();
        assert_int_equal(awaited, 0);
        assert_int_equal(last_status, BH_DISCONNECTED);
        stop(state);
        start(state);
    }
}

static uint64_t random_state;

static uint64_t random_next(void) { /* xorshift64 */
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* Believable lies and wild ones in everything that a server writes; `tags` are in use, mostly. */
static void scribble(enum device device, uint32_t tags) {
    struct bh_queue_header *header = forged_header(device);
    uint64_t r = random_next();
    switch (r & 15) {
    case 0:
        header->tail = (uint32_t)random_next();
        break;
    case 1:
        header->head += (uint32_t)(r >> 8 & 7) - 3;
        break;
    case 2:
        header->generation += (uint32_t)(r >> 8 & 1);
        break;
    case 3:
        header->wake = (uint32_t)random_next();
        break;
    default:
        forge(device,
              (struct bh_completion){.tag = (uint32_t)(r >> 8) % (tags + 1),
                                     .status = r >> 20 & 7 ? BH_OK : (uint8_t)(r >> 24),
                                     .flags = (uint8_t)(r >> 32),
                                     .value = r >> 40 & 7 ? r >> 44 & 2047 : random_next()});
    }
}

static uint64_t net_frames;

/* A frame is never longer than all buffers, and all of it can be read. */
static void receive_any(void *context, const struct net_frame *frame) {
    (void)context;
    static uint8_t all[WINDOW_BYTES];
    assert_in_range(frame->bytes, 1, sizeof all);
    net_frame_read(frame, 0, all, frame->bytes);
    net_frames++;
}

static void net_believes_no_completion(void **state) {
    static uint8_t data[3000];
    struct net_handlers handlers = {receive_any, room, NULL};
    random_state = 1;
    net_frames = 0;
    for (unsigned round = 0; round < 100; round++) {
        struct net_front *net = net_front_open(0, &handlers);
        struct net_piece piece = {data, sizeof data};
        servers[NET].swallow = true;
        for (unsigned turn = 0; turn < 8; turn++) {
            net_front_transmit(net, &piece, 1, (struct bh_net_offload){0});
            run_for_a_moment();
            for (unsigned i = random_next() % 4; i > 0; i--)
                scribble(NET, SERVER_UNITS);
        }
        run_for_a_moment();
        stop(state);
        start(state);
    }
    assert_true(net_frames > 0);
}

static void ignore(void *unused) {
    (void)unused;
}

static unsigned times_asked, times_heard;

static void hear_time(void *context, uint64_t wall_ns) {
    (void)context, (void)wall_ns;
    assert_true(times_heard++ < times_asked);
}

static unsigned input_events;

/* Never more than was asked for, and all of it can be read. */
static size_t hear_any(void *context, const char *text, size_t bytes) {
    (void)context;
    static char all[256];
    assert_in_range(bytes, 0, sizeof all);
    memcpy(all, text, bytes);
    input_events++;
    return bytes;
}

static void console_and_control_believe_no_completion(void **state) {
    random_state = 1;
    input_events = times_asked = times_heard = 0;
    for (unsigned round = 0; round < 100; round++) {
        console_open();
        control_open();
        console_on_input(hear_any, NULL);
        control_on_shutdown(ignore, NULL);
        servers[CONSOLE].swallow = servers[CONTROL].swallow = true;
        for (unsigned turn = 0; turn < 8; turn++) {
            times_asked += control_ask_time(hear_time, NULL);
            control_ready();
            if (turn < 4) /* more would be waited for */
                console_write("some words", 10);
            for (unsigned i = random_next() % 4; i > 0; i--)
                if (random_next() & 1)
                    scribble(CONSOLE, 4);
                else
                    scribble(CONTROL, 3);
            run_for_a_moment();
        }
        forged_header(CONTROL)->tail += SERVER_UNITS + 1; /* then what was asked ends */
        forged_header(CONSOLE)->tail += SERVER_UNITS + 1;
        run_for_a_moment();
        stop(state);
        start(state);
    }
    assert_true(input_events > 0 && times_heard > 0);
}

static unsigned input_depth;

static size_t answer(void *context, const char *text, size_t bytes) {
    (void)context;
    assert_int_equal(++input_depth, 1);
    input_events++;
    console_write(text, bytes);
    input_depth--;
    return bytes;
}

/* Who answers on the console what is typed there is not called from within, and comes to his other
 * business. */
static void console_is_not_drowned_in_input(void **state) {
    (void)state;
    input_events = input_depth = 0;
    typing_without_end = true;
    console_open();
    assert_true(console_on_input(answer, NULL));
    run_for_a_moment();
    assert_true(input_events > 1);
    typing_without_end = false; /* what is posted comes to its end */
    run_for_a_moment();
}

static char heard[64];
static size_t heard_bytes;

static size_t take_two(void *context, const char *text, size_t bytes) {
    (void)context;
    size_t here = bytes < 2 ? bytes : 2;
    memcpy(heard + heard_bytes, text, here);
    heard_bytes += here;
    console_write("x", 1);
    return here;
}

/* What is not taken is kept, and nothing more asked for, whatever else the console is used for. */
static void console_keeps_what_is_not_taken(void **state) {
    (void)state;
    heard_bytes = 0;
    typing_without_end = true;
    console_open();
    console_input_again(); /* nothing is there */
    assert_true(console_on_input(take_two, NULL));
    for (unsigned i = 1; i <= 20; i++) {
        run_for_a_moment();
        assert_int_equal(heard_bytes, (i - 1) / 2 * 5 + (i % 2 ? 2 : 4));
        console_input_again();
    }
    assert_memory_equal(heard, "typedtypedtypedtypedtypedtyped", 30);
    typing_without_end = false; /* what is posted comes to its end */
    run_for_a_moment();
}

static unsigned asked_to_end;

static void count_request(void *unused) {
    (void)unused;
    asked_to_end++;
}

static void control_is_not_drowned_in_requests(void **state) {
    (void)state;
    asked_to_end = 0;
    asking_without_end = true;
    control_open();
    control_on_shutdown(count_request, NULL);
    run_for_a_moment();
    assert_true(asked_to_end > 1);
    asking_without_end = false; /* what is posted comes to its end */
    run_for_a_moment();
    control_on_shutdown(NULL, NULL);
}

/* --- the loop ------------------------------------------------------------------------------------
 */

static unsigned order[16], order_count;

static void note(void *context) {
    order[order_count++] = (unsigned)(uintptr_t)context;
    if (order_count == 4)
        loop_stop(0);
}

static struct loop_timer timers[5];

static void note_and_set_again(void *context) {
    note(context);
    loop_timer_set(&timers[0], 0, note, (void *)9); /* long past: still only the next turn */
}

static void timers_run_in_order(void **state) {
    (void)state;
    order_count = 0;
    uint64_t now =
        loop_now_ns(); /* far enough apart for a busy machine: each in a turn of its own */
    loop_timer_set(&timers[2], now + 400000000, note, (void *)3);
    loop_timer_set(&timers[0], now + 1000000, note_and_set_again, (void *)1);
    loop_timer_set(&timers[1], now + 9000000000, note, (void *)7);
    loop_timer_set(&timers[3], now + 2000, note, (void *)8);
    loop_timer_set(&timers[1], now + 300000000, note, (void *)2); /* moves */
    loop_timer_cancel(&timers[3]);
    loop_timer_cancel(&timers[3]);
    loop_timer_cancel(&timers[4]);
    loop_run();
    assert_int_equal(order[0], 1);
    assert_int_equal(order[1], 9);
    assert_int_equal(order[2], 2);
    assert_int_equal(order[3], 3);
}

static unsigned events;

static void on_event(void *context) {
    events++;
    if (context)
        loop_stop(0);
}

static void muted_bits_stay_pending(void **state) {
    (void)state;
    events = 0;
    loop_on_event(20, on_event, NULL);
    loop_on_event(21, on_event, (void *)1);
    loop_mute(20, true);
    pending |= 3ull << 20 | 1ull << 22; /* 22 has no handler */
    loop_run();
    assert_int_equal(events, 1);
    assert_int_equal(pending & 7ull << 20, 1ull << 20 | 1ull << 22);
    loop_mute(20, false);
    pending |= 1ull << 21;
    loop_run();
    assert_int_equal(events, 3);
    loop_on_event(20, NULL, NULL);
    pending |= 3ull << 20;
    loop_run();
    assert_int_equal(events, 4);
    pending = 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(block_reads_and_writes),
        TEST(block_transfers_any_length),
        TEST(block_passes_errors_on),
        TEST(block_queues_what_has_no_room),
        TEST(block_survives_its_server),
        TEST(block_survives_a_server_that_is_always_new),
        TEST(block_gives_a_lying_server_up),
        TEST(console_shows_everything_in_order),
        TEST(console_does_not_wait_for_ever),
        TEST(console_hears_what_is_typed),
        TEST(console_keeps_what_is_not_taken),
        TEST(control_ends_the_loop_when_asked),
        TEST(net_receives_frames_of_any_length),
        TEST(net_transmits_pieces_as_one_frame),
        TEST(net_says_when_there_is_no_room),
        TEST(block_gives_up_who_breaks_the_protocol),
        TEST(net_believes_no_completion),
        TEST(console_and_control_believe_no_completion),
        TEST(console_is_not_drowned_in_input),
        TEST(control_is_not_drowned_in_requests),
        TEST(timers_run_in_order),
        TEST(muted_bits_stay_pending),
    };
    return cmocka_run_group_tests_name("front", tests, NULL, NULL);
}
