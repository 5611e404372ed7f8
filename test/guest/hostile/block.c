/* Forged block requests. Disks by index, as test_hostile.py defines them: 0 a writable disk of its
 * own, 1 a read-only file, 2 a throw-away file, and from 3 on read-only files to be disconnected
 * from. */
#include "test/guest/hostile/raw.h"

enum { RAW_DISK, FILE_DISK, THROW_AWAY_DISK, SPARE_DISK };

static struct raw *q;

static uint64_t sectors(void) {
    return q->device->block.sectors;
}

/* Segments whose place or length is wrong: each is refused alone, and the queue goes on. */
static void segments(void) {
    for (unsigned disk = RAW_DISK; disk <= THROW_AWAY_DISK; disk++) {
        expect((q = raw_open(BH_CLASS_BLOCK, disk)));
        uint64_t end = q->device->window_bytes;
        const struct {
            uint64_t offset;
            uint64_t bytes;
            enum bh_status status;
        } tries[] = {
            {end - 512, 512, BH_OK},
            {end - 511, 512, BH_BAD_ARG},
            {end, 512, BH_BAD_ARG},
            {end + 512, 512, BH_BAD_ARG},
            {~0ull, 512, BH_BAD_ARG},
            {~0ull - 511, 512, BH_BAD_ARG}, /* wraps to 0 */
            {0ull - 512, 1024, BH_BAD_ARG},
            {1ull << 63, 512, BH_BAD_ARG},
            {1ull << 32, 512, BH_BAD_ARG},
            {0, 0, BH_BAD_ARG},
            {end, 0, BH_BAD_ARG}, /* lies in the window, but moves nothing */
            {0, 1, BH_BAD_ARG},
            {0, 511, BH_BAD_ARG},
            {0, 513, BH_BAD_ARG},
            {0, 0xfffffe00, BH_BAD_ARG},
            {0, 0xffffffff, BH_BAD_ARG},
            {512, (uint32_t)end, BH_BAD_ARG},
            {0, 512 | 1ull << 32, BH_BAD_ARG}, /* reserved is not 0 */
            {0, 512 | 1ull << 63, BH_BAD_ARG},
            {0, 512, BH_OK},
        };
        for (unsigned i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
            struct bh_completion done;
            raw_request(q, BH_BLOCK_READ, 1, 0, i, 0);
            raw_unit(q, tries[i].offset, tries[i].bytes);
            raw_publish(q);
            expect(raw_take(q, &done) && done.tag == i && done.status == tries[i].status);
        }
    }
}

/* Zero-length segments between others, and as many as there may be: none reaches the device. */
static void empty_segments(void) {
    expect((q = raw_open(BH_CLASS_BLOCK, RAW_DISK)));
    for (unsigned at = 0; at < BH_QUEUE_SEGMENTS_MAX; at++) {
        struct bh_completion done;
        raw_request(q, BH_BLOCK_READ, BH_QUEUE_SEGMENTS_MAX, 0, at, 0);
        for (unsigned i = 0; i < BH_QUEUE_SEGMENTS_MAX; i++)
            raw_segment(q, i * 512, i == at ? 512 : 0);
        raw_publish(q);
        expect(raw_take(q, &done) && done.status == BH_OK && done.value == 512);
    }
}

/* 32 times the whole window is far more than one request may move. */
static void too_much(void) {
    for (unsigned disk = RAW_DISK; disk <= THROW_AWAY_DISK; disk++) {
        struct bh_completion done;
        expect((q = raw_open(BH_CLASS_BLOCK, disk)));
        raw_request(q, BH_BLOCK_READ, BH_QUEUE_SEGMENTS_MAX, 0, 0, 0);
        for (unsigned i = 0; i < BH_QUEUE_SEGMENTS_MAX; i++)
            raw_segment(q, 0, (uint32_t)q->device->window_bytes);
        raw_publish(q);
        expect(raw_take(q, &done) && done.status == BH_BAD_ARG);
    }
}

/* Sectors beyond the volume, so far that adding overflows, and operations that do not exist. */
static void ranges(void) {
    for (unsigned disk = RAW_DISK; disk <= SPARE_DISK; disk++) {
        expect((q = raw_open(BH_CLASS_BLOCK, disk)));
        const uint64_t beyond[] = {sectors(),        sectors() + 1,  1ull << 32, 1ull << 54,
                                   1ull << 55,       1ull << 63,     ~0ull,      ~0ull - 1,
                                   0ull - sectors(), ~0ull / 512 + 1};
        for (unsigned i = 0; i < sizeof(beyond) / sizeof(beyond[0]); i++) {
            expect(raw_ask(q, BH_BLOCK_READ, beyond[i], 0, 512) == BH_BAD_ARG);
            expect(raw_ask(q, BH_BLOCK_WRITE, beyond[i], 0, 512) == BH_BAD_ARG);
            expect(raw_ask(q, BH_BLOCK_DISCARD, beyond[i], 0, 512) == BH_BAD_ARG);
            expect(raw_ask(q, BH_BLOCK_WRITE_ZEROES, beyond[i], 0, 512) == BH_BAD_ARG);
        }
        expect(raw_ask(q, BH_BLOCK_READ, sectors() - 1, 0, 1024) == BH_BAD_ARG);
        expect(raw_ask(q, BH_BLOCK_READ, sectors() - 1, 0, 512) == BH_OK);
        expect(raw_ask(q, BH_BLOCK_WRITE_ZEROES, sectors() - 1, 0, 1024) == BH_BAD_ARG);
    }
}

static void operations(void) {
    for (unsigned disk = RAW_DISK; disk <= SPARE_DISK; disk++) {
        expect((q = raw_open(BH_CLASS_BLOCK, disk)));
        for (unsigned operation = BH_BLOCK_ID + 1; operation <= 255; operation++)
            expect(raw_ask(q, operation, 0, 0, 512) == BH_BAD_CALL);
        for (unsigned bit = 0; bit < 16; bit++) {
            struct bh_completion done;
            raw_request(q, BH_BLOCK_FLUSH, 0, 1u << bit, bit, 0);
            raw_publish(q);
            expect(raw_take(q, &done) && done.status == BH_BAD_ARG);
        }
        expect(raw_ask(q, BH_BLOCK_FLUSH, 0, 0, 512) == BH_BAD_ARG);
        expect(raw_ask(q, BH_BLOCK_DISCARD, 0, 512, 512) == BH_BAD_ARG);
        expect(raw_ask(q, BH_BLOCK_DISCARD, 0, 0, 0) == BH_BAD_ARG);
        expect(raw_ask(q, BH_BLOCK_DISCARD, 0, 0, 511) == BH_BAD_ARG);
        expect(raw_ask(q, BH_BLOCK_WRITE_ZEROES, 0, 1, 512) == BH_BAD_ARG);
        expect(raw_ask(q, BH_BLOCK_ID, 0, 0, 19) == BH_BAD_ARG);
        expect(raw_ask(q, BH_BLOCK_ID, ~0ull, q->device->window_bytes - 20, 20) == BH_OK);
    }
}

static void read_only(void) {
    for (unsigned disk = FILE_DISK; disk <= SPARE_DISK; disk += SPARE_DISK - FILE_DISK) {
        expect((q = raw_open(BH_CLASS_BLOCK, disk)));
        expect(q->device->block.flags & BH_BLOCK_READ_ONLY);
        expect(raw_ask(q, BH_BLOCK_WRITE, 0, 0, 512) == BH_BAD_RIGHTS);
        expect(raw_ask(q, BH_BLOCK_DISCARD, 0, 0, 512) == BH_BAD_RIGHTS);
        expect(raw_ask(q, BH_BLOCK_WRITE_ZEROES, 0, 0, 512) == BH_BAD_RIGHTS);
    }
}

static void publish_without_signal(void) {
    __atomic_store_n(&q->own->tail, q->tail, __ATOMIC_SEQ_CST);
}

/* The same tag on everything, and segments that are rewritten before and after the server is told:
 * every request gets one answer, whatever it is. */
static void rewritten(void) {
    expect((q = raw_open(BH_CLASS_BLOCK, RAW_DISK)));
    for (unsigned round = 0; round < 50; round++) {
        uint32_t first = q->tail;
        for (unsigned i = 0; i < 8; i++) {
            raw_request(q, BH_BLOCK_READ, 2, 0, 7, i);
            raw_segment(q, 0, 512);
            raw_segment(q, 4096, 512);
        }
        publish_without_signal();
        for (unsigned when = 0; when < 2; when++) {
            for (unsigned i = 0; i < 8; i++) {
                q->tail = first + 3 * i + 1;
                raw_segment(q, random_next(), (uint32_t)random_next() & 0xfff);
                raw_unit(q, random_next() & 0xffff, random_next() & 0x1000007ff);
            }
            hc_signal(q->device->signal_slot);
        }
        for (unsigned i = 0; i < 8; i++) {
            struct bh_completion done;
            expect(raw_take(q, &done) && done.tag == 7 &&
                   (done.status == BH_OK || done.status == BH_BAD_ARG));
        }
    }
}

/* Whole queues of random bytes, until the server has had enough. */
static void scrambled(void) {
    expect((q = raw_open(BH_CLASS_BLOCK, RAW_DISK)));
    for (unsigned round = 0; round < 200 && q->peer->state == BH_QUEUE_OPEN; round++) {
        for (unsigned i = 0; i < 16; i++)
            raw_unit(q, random_next() & random_next(), random_next() >> (random_next() & 63));
        raw_publish(q);
        q->own->head = q->head = q->peer->tail;
        sleep_ms(1);
    }
}

/* What breaks the protocol costs the breaker this disk, and only this one. */
static void expect_broken(void) {
    struct bh_completion done;
    expect(raw_broken(q));
    raw_request(q, BH_BLOCK_FLUSH, 0, 0, 0, 0);
    raw_publish(q);
    expect(!raw_take(q, &done) || done.status == BH_OK);
}

static void breaks(void) {
    unsigned disk = SPARE_DISK;

    expect((q = raw_open(BH_CLASS_BLOCK, disk++))); /* more units than the queue has */
    raw_tail(q, q->device->client_units + 1);
    expect_broken();

    expect((q = raw_open(BH_CLASS_BLOCK, disk++))); /* backwards */
    expect(raw_ask(q, BH_BLOCK_READ, 0, 0, 512) == BH_OK);
    raw_tail(q, q->tail - 1);
    expect_broken();

    expect((q = raw_open(BH_CLASS_BLOCK, disk++))); /* 255 segments */
    raw_request(q, BH_BLOCK_READ, 255, 0, 0, 0);
    for (unsigned i = 0; i < 255; i++)
        raw_segment(q, 0, 512);
    raw_publish(q);
    expect_broken();

    expect((q = raw_open(BH_CLASS_BLOCK, disk++))); /* more segments than are published */
    raw_request(q, BH_BLOCK_READ, 2, 0, 0, 0);
    raw_segment(q, 0, 512);
    raw_publish(q);
    expect_broken();

    expect((q = raw_open(BH_CLASS_BLOCK, disk++))); /* completions that were never taken */
    for (unsigned i = 0; i <= q->device->server_units; i++)
        raw_request(q, BH_BLOCK_FLUSH, 0, 0, i, 0);
    raw_publish(q);
    expect_broken();

    expect((q = raw_open(BH_CLASS_BLOCK, FILE_DISK)));
    expect(raw_ask(q, BH_BLOCK_READ, 0, 0, 512) == BH_OK);
}

/* Claims to have taken completions that were never given. */
static void head_nonsense(void) {
    expect((q = raw_open(BH_CLASS_BLOCK, FILE_DISK)));
    expect(raw_ask(q, BH_BLOCK_READ, 0, 0, 512) == BH_OK);
    q->own->head = 0x80000000u;
    raw_request(q, BH_BLOCK_FLUSH, 0, 0, 0, 0);
    raw_publish(q);
    expect(raw_broken(q));
}

/* While the generations differ nobody takes anything; then all goes on. */
static void generation(void) {
    struct bh_completion done;
    expect((q = raw_open(BH_CLASS_BLOCK, RAW_DISK)));
    uint32_t right = q->own->generation;
    q->own->generation = right + 1;
    raw_tail(q, 0x12345678);
    expect(!raw_take(q, &done) && q->peer->state == BH_QUEUE_OPEN);
    q->own->tail = q->tail;
    q->own->state = 77;
    __atomic_store_n(&q->own->generation, right, __ATOMIC_RELEASE);
    expect(raw_ask(q, BH_BLOCK_READ, 0, 0, 512) == BH_OK);
}

/* All that a throw-away volume holds, and then some. */
static void overlay(void) {
    expect((q = raw_open(BH_CLASS_BLOCK, THROW_AWAY_DISK)));
    unsigned refused = 0;
    uint32_t step = (uint32_t)q->device->window_bytes;
    for (uint64_t sector = 0; sector + step / 512 <= sectors(); sector += step / 512)
        refused += raw_ask(q, BH_BLOCK_WRITE, sector, 0, step) == BH_IO_ERROR;
    say_number("writes refused: ", refused);
    expect(raw_ask(q, BH_BLOCK_READ, 0, 0, 512) == BH_OK);
}

/* As many requests as fit, again and again, for three seconds. */
static void flood(void) {
    struct bh_completion done;
    expect((q = raw_open(BH_CLASS_BLOCK, RAW_DISK)));
    uint64_t end = tsc_read() + 3 * domain->tsc_hz;
    while (tsc_read() < end) {
        for (unsigned i = 0; i < 60; i++) {
            raw_request(q, BH_BLOCK_READ, 1, 0, i, i);
            raw_segment(q, 0, (uint32_t)q->device->window_bytes);
        }
        raw_publish(q);
        for (unsigned i = 0; i < 60; i++)
            expect(raw_take(q, &done));
    }
}

/* Ends by a fault with sixteen writes under way. */
static void die_in_write(void) {
    expect((q = raw_open(BH_CLASS_BLOCK, RAW_DISK)));
    uint64_t *window = (uint64_t *)q->device->window_va;
    for (uint64_t i = 0; i < q->device->window_bytes / 8; i++)
        window[i] = 0x6576697461676f6eull; /* to be found nowhere afterwards */
    for (unsigned i = 0; i < 60; i++) {
        raw_request(q, BH_BLOCK_WRITE, 1, 0, i, i * 512);
        raw_segment(q, 0, (uint32_t)q->device->window_bytes);
    }
    say("writing");
    raw_publish(q);
    __builtin_trap();
}

const struct attempt attempts[] = {
    {"segments", segments},
    {"empty-segments", empty_segments},
    {"too-much", too_much},
    {"ranges", ranges},
    {"operations", operations},
    {"read-only", read_only},
    {"rewritten", rewritten},
    {"scrambled", scrambled},
    {"breaks", breaks},
    {"head-nonsense", head_nonsense},
    {"generation", generation},
    {"overlay", overlay},
    {"flood", flood},
    {"die-in-write", die_in_write},
    {0},
};
