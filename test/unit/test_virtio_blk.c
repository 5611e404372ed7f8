/* virtio-blk and the transport below it, on a device model that is strict, and then on one that
 * lies. */
#include "unit.h"

#include "fake_virtio.h"
#include "mgmt/backend.h"
#include "mgmt/block/disk.h"
#include "mgmt/drivers/virtio_blk.h"
#include "mgmt/drivers/virtq.h"

#define F_SIZE_MAX (1ull << 1)
#define F_SEG_MAX (1ull << 2)
#define F_READ_ONLY (1ull << 5)
#define F_BLK_SIZE (1ull << 6)
#define F_FLUSH (1ull << 9)
#define F_DISCARD (1ull << 13)
#define F_WRITE_ZEROES (1ull << 14)
#define F_INDIRECT (1ull << 28)
#define F_EVENT (1ull << 29)
#define F_ACCESS_PLATFORM (1ull << 33)

#define SECTOR ((size_t)512)
#define SECTORS 2048u
#define DISK_BYTES (SECTORS * SECTOR)

const struct pci_driver pci_drivers[] = {{0x1af4, 0x1042, virtio_blk_probe}};
const unsigned pci_driver_count = 1;

static struct fake_virtio device;
static struct disk *disk;
static uint8_t contents[DISK_BYTES];
static unsigned requests, segments_most;
static uint32_t segment_bytes_most;

/* What a lying device does instead of completing honestly. */
static enum lie {
    HONEST,
    HANGS,
    FAILS,
    UNSUPPORTED,
    LEAVES_STATUS,
    UNKNOWN_ID,
    ID_IN_A_GROUP,
    COMPLETES_TWICE,
    TOO_MANY_BYTES,
    INDEX_JUMPS,
    INDEX_GOES_BACK,
} lie;

void disk_add(struct disk *added) {
    disk = added;
}

struct header {
    uint32_t type, reserved;
    uint64_t sector;
};

static uint32_t transfer(const struct fake_chain *c, uint64_t sector, bool to_driver) {
    uint32_t done = 0;
    for (unsigned i = 1; i + 1 < c->count; i++) {
        const struct fake_segment *s = &c->segment[i];
        assert_int_equal(s->writable, to_driver);
        assert_true(sector * SECTOR + done + s->bytes <= DISK_BYTES);
        if (s->bytes > segment_bytes_most)
            segment_bytes_most = s->bytes;
        if (to_driver)
            memcpy(s->data, contents + sector * SECTOR + done, s->bytes);
        else
            memcpy(contents + sector * SECTOR + done, s->data, s->bytes);
        done += s->bytes;
    }
    assert_int_equal(done % 512, 0);
    return done;
}

static void zero_range(const struct fake_chain *c) {
    uint64_t sector;
    uint32_t sectors;
    assert_int_equal(c->segment[1].bytes, 16);
    memcpy(&sector, c->segment[1].data, 8);
    memcpy(&sectors, c->segment[1].data + 8, 4);
    assert_true(sectors && sector + sectors <= SECTORS);
    memset(contents + sector * SECTOR, 0, sectors * SECTOR);
}

static uint32_t execute(const struct fake_chain *c) {
    struct header h;
    const struct fake_segment *status = &c->segment[c->count - 1];
    assert_true(c->count >= 2 && c->segment[0].bytes == 16 && !c->segment[0].writable);
    assert_true(status->bytes == 1 && status->writable);
    memcpy(&h, c->segment[0].data, sizeof(h));
    requests++;
    if (c->count - 2 > segments_most)
        segments_most = c->count - 2;
    uint32_t written = 1;
    switch (h.type) {
    case 0:
        written += transfer(c, h.sector, true);
        break;
    case 1:
        transfer(c, h.sector, false);
        break;
    case 4:
        assert_true(device.accepted & F_FLUSH && c->count == 2);
        break;
    case 8:
        assert_int_equal(c->segment[1].bytes, 20);
        memcpy(c->segment[1].data, "serial-number-of-20b", 20);
        written += 20;
        break;
    case 11:
    case 13:
        zero_range(c);
        break;
    default:
        fail();
    }
    if (lie != LEAVES_STATUS)
        *status->data = lie == FAILS ? 1 : lie == UNSUPPORTED ? 2 : 0;
    return written;
}

static void notified(struct fake_virtio *v, unsigned queue) {
    struct fake_chain c;
    if (lie == HANGS)
        return;
    while (fake_virtio_take(v, queue, &c)) {
        uint32_t written = execute(&c);
        switch (lie) {
        case UNKNOWN_ID:
            fake_virtio_use(v, queue, c.head + 0x10000u, written);
            break;
        case ID_IN_A_GROUP:
            fake_virtio_use(v, queue, c.head + 1u, written);
            break;
        case COMPLETES_TWICE:
            fake_virtio_use(v, queue, c.head, written);
            fake_virtio_use(v, queue, c.head, written);
            break;
        case TOO_MANY_BYTES:
            fake_virtio_use(v, queue, c.head, 100000000);
            break;
        case INDEX_JUMPS:
            fake_virtio_set_used_index(v, queue, 1000);
            break;
        case INDEX_GOES_BACK:
            fake_virtio_set_used_index(v, queue, 0xffff);
            break;
        default:
            fake_virtio_use(v, queue, c.head, written);
        }
    }
}

static void set32(unsigned offset, uint32_t value) {
    memcpy(device.config + offset, &value, 4);
}

/* Starts pci on one device; `disk` is NULL if the driver refused it. */
static void begin(uint64_t features) {
    fake_virtio_init(&device, 3, 0x1042, features);
    device.notified = notified;
    set32(0, SECTORS);
    set32(8, 4096);
    set32(12, 30);
    set32(20, 512);
    set32(36, 64);
    set32(48, 128);
}

static void start(void) {
    disk = NULL;
    pci_start(FAKE_ECAM, 0, FAKE_ECAM_LAST_BUS);
}

#define USUAL (F_SEG_MAX | F_BLK_SIZE | F_FLUSH | F_DISCARD | F_WRITE_ZEROES | F_INDIRECT | F_EVENT)

static int setup(void **state) {
    (void)state;
    fake_reset();
    lie = HONEST;
    requests = segments_most = segment_bytes_most = 0;
    for (unsigned i = 0; i < DISK_BYTES; i++)
        contents[i] = (uint8_t)(i / 512 * 7 + i);
    return 0;
}

static unsigned done_count;
static enum bh_status done_status;

static void done(struct disk_request *request, enum bh_status status) {
    (void)request;
    done_count++;
    done_status = status;
}

static uint8_t window[65536];

static void prepare(struct disk_request *r, enum disk_operation operation, uint64_t sector,
                    unsigned segments, uint32_t segment_bytes) {
    *r = (struct disk_request){.operation = operation,
                               .sector = sector,
                               .sectors = (uint64_t)segments * segment_bytes / 512,
                               .segments = segments,
                               .done = done};
    for (unsigned i = 0; i < segments; i++)
        r->segment[i] = (struct disk_segment){{(uintptr_t)window + (uintptr_t)i * segment_bytes},
                                              segment_bytes};
}

static void settle(void) {
    for (unsigned i = 0; i < 100; i++)
        fake_virtio_interrupt(&device, 0, false);
}

/* One request from beginning to end. */
static enum bh_status perform(enum disk_operation operation, uint64_t sector, unsigned segments,
                              uint32_t segment_bytes) {
    struct disk_request r;
    done_count = 0;
    prepare(&r, operation, sector, segments, segment_bytes);
    disk->submit(disk, &r);
    settle();
    assert_int_equal(done_count, 1);
    return done_status;
}

static void reads_and_writes_with(uint64_t features) {
    begin(features);
    start();
    assert_non_null(disk);
    assert_int_equal(disk->sectors, SECTORS);
    memset(window, 0, sizeof(window));
    assert_int_equal(perform(DISK_READ, 5, 16, 1024), BH_OK);
    assert_memory_equal(window, contents + 5 * SECTOR, 16384);
    for (unsigned i = 0; i < sizeof(window); i++)
        window[i] = (uint8_t)(i * 3);
    assert_int_equal(perform(DISK_WRITE, 100, 32, 2048), BH_OK);
    assert_memory_equal(window, contents + 100 * SECTOR, sizeof(window));
    /* Many more than the ring holds, so that everything wraps. */
    for (unsigned i = 0; i < 300; i++) {
        assert_int_equal(perform(DISK_READ, i, 1, 512), BH_OK);
        assert_memory_equal(window, contents + i * SECTOR, 512);
    }
}

static void reads_and_writes(void **state) {
    (void)state;
    reads_and_writes_with(USUAL);
    setup(NULL);
    reads_and_writes_with(USUAL & ~F_INDIRECT);
    setup(NULL);
    reads_and_writes_with(USUAL & ~F_EVENT);
    setup(NULL);
    reads_and_writes_with(USUAL | F_ACCESS_PLATFORM);
    assert_true(device.accepted & F_ACCESS_PLATFORM);
    setup(NULL);
    reads_and_writes_with(0);
    assert_int_equal(segments_most, 1); /* nothing said of more */
}

static void the_devices_limits_are_kept(void **state) {
    (void)state;
    begin(USUAL | F_SIZE_MAX);
    set32(8, 1536 + 100); /* not a multiple of a sector */
    set32(12, 3);
    start();
    assert_int_equal(perform(DISK_READ, 0, 8, 4096), BH_OK);
    assert_memory_equal(window, contents, 32768);
    assert_int_equal(segments_most, 3);
    assert_int_equal(segment_bytes_most, 1536);
    assert_true(requests >= 8);
}

static void many_at_once_finish_each_once(void **state) {
    (void)state;
    static struct disk_request r[64];
    begin(USUAL);
    start();
    assert_true(disk->requests_max <= 64);
    done_count = 0;
    lie = HANGS;
    for (unsigned i = 0; i < disk->requests_max; i++) {
        prepare(&r[i], DISK_READ, i, 1, 512);
        disk->submit(disk, &r[i]);
    }
    assert_int_equal(done_count, 0);
    lie = HONEST;
    notified(&device, 0);
    settle();
    assert_int_equal(done_count, disk->requests_max);
    assert_int_equal(done_status, BH_OK);
}

static void flush_discard_zeroes_and_id(void **state) {
    (void)state;
    begin(USUAL);
    start();
    assert_true(disk->can_discard && disk->can_write_zeroes);
    assert_int_equal(perform(DISK_FLUSH, 0, 0, 0), BH_OK);
    assert_int_equal(requests, 1);
    assert_int_equal(perform(DISK_ID, 0, 1, 20), BH_OK);
    assert_memory_equal(window, "serial-number-of-20b", 20);
    static const uint8_t zero[300 * SECTOR];
    struct disk_request r = {
        .operation = DISK_WRITE_ZEROES, .sector = 10, .sectors = 300, .done = done};
    requests = done_count = 0;
    disk->submit(disk, &r);
    settle();
    assert_int_equal(done_count, 1);
    assert_int_equal(requests, 3); /* 128 sectors at a time */
    assert_memory_equal(contents + 10 * SECTOR, zero, sizeof(zero));
    assert_int_not_equal(contents[310 * SECTOR + 1], 0);
    r.operation = DISK_DISCARD;
    r.sector = 400;
    requests = 0;
    disk->submit(disk, &r);
    settle();
    assert_int_equal(requests, 5);
}

static void without_the_feature_a_flush_asks_nobody(void **state) {
    (void)state;
    begin(USUAL & ~(F_FLUSH | F_DISCARD));
    start();
    assert_false(disk->can_discard);
    assert_int_equal(perform(DISK_FLUSH, 0, 0, 0), BH_OK);
    assert_int_equal(requests, 0);
}

static void errors_are_the_requests_own(void **state) {
    (void)state;
    begin(USUAL | F_SIZE_MAX);
    set32(12, 1);
    start();
    lie = FAILS;
    assert_int_equal(perform(DISK_READ, 0, 8, 4096), BH_IO_ERROR); /* in pieces: one answer */
    lie = UNSUPPORTED;
    assert_int_equal(perform(DISK_READ, 0, 1, 512), BH_BAD_CALL);
    lie = LEAVES_STATUS;
    assert_int_equal(perform(DISK_READ, 0, 1, 512), BH_IO_ERROR);
    lie = HONEST;
    assert_int_equal(perform(DISK_READ, 0, 1, 512), BH_OK);
}

static void liars_are_reset_and_everything_fails(void **state) {
    (void)state;
    static const enum lie lies[] = {UNKNOWN_ID,  COMPLETES_TWICE, TOO_MANY_BYTES,
                                    INDEX_JUMPS, INDEX_GOES_BACK, ID_IN_A_GROUP};
    for (unsigned i = 0; i < 2 * sizeof(lies) / sizeof(lies[0]); i++) {
        static struct disk_request r[8];
        setup(NULL);
        begin(i % 2 ? USUAL : USUAL & ~F_INDIRECT);
        start();
        done_count = 0;
        lie = HANGS;
        for (unsigned n = 0; n < 7; n++) {
            prepare(&r[n], DISK_WRITE, n, n % 3 + 1, 512);
            disk->submit(disk, &r[n]);
        }
        lie = lies[i / 2];
        prepare(&r[7], DISK_READ, 7, 1, 512);
        disk->submit(disk, &r[7]);
        notified(&device, 0);
        fake_virtio_interrupt(&device, 0, true);
        assert_int_equal(done_count, 8);
        assert_int_equal(done_status, BH_IO_ERROR);
        assert_int_equal(device.status, 0);
        assert_false(fake_bus_master(&device.function));
        /* Interrupts that are still under way, and further requests, do no harm. */
        fake_virtio_config_changed(&device);
        done_count = 0;
        disk->submit(disk, &r[0]);
        assert_int_equal(done_count, 1);
        assert_int_equal(done_status, BH_IO_ERROR);
    }
}

static void a_hang_is_noticed(void **state) {
    (void)state;
    struct disk_request r;
    begin(USUAL);
    start();
    lie = HANGS;
    done_count = 0;
    prepare(&r, DISK_READ, 0, 1, 512);
    disk->submit(disk, &r);
    fake_advance_ns(29000000000ull);
    assert_int_equal(done_count, 0);
    fake_advance_ns(2000000000ull);
    assert_int_equal(done_count, 1);
    assert_int_equal(done_status, BH_IO_ERROR);
    assert_false(fake_bus_master(&device.function));
}

static void a_device_that_does_not_reset_loses_dma(void **state) {
    (void)state;
    begin(USUAL);
    start();
    device.ignores_reset = true;
    disk->give_up(disk);
    assert_int_not_equal(device.status, 0);
    assert_false(fake_bus_master(&device.function));
}

static void needs_reset_ends_it(void **state) {
    (void)state;
    struct disk_request r;
    begin(USUAL);
    start();
    lie = HANGS;
    done_count = 0;
    prepare(&r, DISK_READ, 0, 1, 512);
    disk->submit(disk, &r);
    device.needs_reset = true;
    fake_virtio_config_changed(&device);
    assert_int_equal(done_count, 1);
    assert_false(fake_bus_master(&device.function));
}

static void refused(void) {
    start();
    assert_null(disk);
    assert_false(fake_bus_master(&device.function));
    assert_int_not_equal(fake_log_lines(), 0);
    setup(NULL);
}

static void nonsense_devices_are_refused(void **state) {
    (void)state;
    begin(USUAL);
    device.features &= ~(1ull << 32); /* VERSION_1 */
    refused();
    begin(USUAL);
    device.refuses_features = true;
    refused();
    begin(USUAL);
    device.ignores_reset = true;
    device.status = 15;
    refused();
    begin(USUAL);
    set32(0, 0); /* no capacity */
    refused();
    begin(USUAL);
    set32(4, 0xffffffff); /* more bytes than 64 bits count */
    refused();
    for (uint32_t block = 0; block < 4; block++) {
        static const uint32_t blocks[] = {0, 513, 256, 1u << 20};
        begin(USUAL);
        set32(20, blocks[block]);
        refused();
    }
    begin(USUAL | F_SIZE_MAX);
    set32(8, 511);
    refused();
    begin(USUAL);
    fake_limit_dma(0);
    refused();
    begin(USUAL);
    fake_limit_dma(1);
    refused();
}

static void nonsense_capabilities_are_refused(void **state) {
    (void)state;
    begin(USUAL);
    device.function.config[0x44] = 6; /* no such BAR */
    refused();
    begin(USUAL);
    device.function.config[0x44] = 2; /* not there */
    refused();
    begin(USUAL);
    fake_config_set32(&device.function, 0x48, 16384 - 16); /* ends beyond the BAR */
    refused();
    begin(USUAL);
    fake_config_set32(&device.function, 0x4c, 0x20); /* too short */
    refused();
    begin(USUAL);
    fake_config_set32(&device.function, 0x48, 0xfffffff0); /* end overflows 32 bits */
    refused();
    begin(USUAL);
    device.function.config[0x42] = 8; /* capability too short */
    refused();
    begin(USUAL);
    device.function.config[0x56] = 16; /* no multiplier */
    refused();
    begin(USUAL);
    device.function.config[0x86] = 0; /* one MSI-X entry */
    refused();
    begin(USUAL);
    fake_config_set32(&device.function, 0x60, 1); /* notification area shorter than a register */
    refused();
    begin(USUAL);
    device.function.config[0x84] = 0; /* no MSI-X */
    refused();
}

static void read_only_disks_say_so(void **state) {
    (void)state;
    begin(USUAL | F_READ_ONLY);
    start();
    assert_true(disk->read_only && !disk->can_discard && !disk->can_write_zeroes);
}

/* A completion that comes between the last look and the wish for an interrupt raises none. */
static void the_driver_looks_again_before_it_sleeps(void **state) {
    (void)state;
    for (unsigned event_index = 0; event_index < 2; event_index++) {
        struct virtq q;
        struct virtq_settings settings = {.size = 4, .segments_max = 1, .event_index = event_index};
        struct virtq_segment segment = {{(uintptr_t)window}, 1, true};
        uint16_t slot;
        uint32_t bytes;
        assert_int_equal(virtq_create(&q, &settings), BH_OK);
        virtq_add(&q, &segment, 1);
        assert_true(virtq_want_interrupt(&q));
        uint16_t *used = (uint16_t *)(uintptr_t)q.used.raw;
        used[1] = 1; /* entry 0: descriptor 0, no bytes */
        assert_false(virtq_want_interrupt(&q));
        assert_int_equal(virtq_take(&q, &slot, &bytes), VIRTQ_TAKEN);
        assert_true(virtq_want_interrupt(&q));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(reads_and_writes, setup),
        cmocka_unit_test_setup(the_devices_limits_are_kept, setup),
        cmocka_unit_test_setup(many_at_once_finish_each_once, setup),
        cmocka_unit_test_setup(flush_discard_zeroes_and_id, setup),
        cmocka_unit_test_setup(without_the_feature_a_flush_asks_nobody, setup),
        cmocka_unit_test_setup(errors_are_the_requests_own, setup),
        cmocka_unit_test_setup(liars_are_reset_and_everything_fails, setup),
        cmocka_unit_test_setup(a_hang_is_noticed, setup),
        cmocka_unit_test_setup(a_device_that_does_not_reset_loses_dma, setup),
        cmocka_unit_test_setup(needs_reset_ends_it, setup),
        cmocka_unit_test_setup(nonsense_devices_are_refused, setup),
        cmocka_unit_test_setup(nonsense_capabilities_are_refused, setup),
        cmocka_unit_test_setup(read_only_disks_say_so, setup),
        cmocka_unit_test_setup(the_driver_looks_again_before_it_sleeps, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
