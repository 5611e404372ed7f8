/* virtio-blk of the virtual PC, between a guest's driver and the server of a queue pair. */
#include "test/unit/unit.h"

#include "mgmt/virtio/block.h"
#include "mgmt/vmm/virtio/blk.h"
#include "test/unit/virtio_guest.h"
#include "test/unit/virtio_host.h"

#define DISK_BYTES (1024u * 1024)
#define SECTORS (DISK_BYTES / BH_SECTOR_BYTES)
#define RINGS (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX)
#define HELD_MAX 256u

static struct virtio_device *device;
static struct guest_device g;
static struct guest_queue queue[4];
static uint8_t disk[DISK_BYTES];
static enum bh_status disk_status;
static uint32_t disk_short_by;
static bool hold; /* the server answers later */
static struct bh_completion held[HELD_MAX];
static unsigned held_count, served[BH_BLOCK_ID + 1];
static unsigned direct, through_window; /* segments of reads and writes */
static uint32_t alignment = 1;          /* of the guest's buffers */

/* With io='direct' the guest's RAM goes on where the window ends. */
static uint8_t *at_offset(uint64_t offset) {
    if (offset < host_info.window_bytes)
        return host_window + offset;
    offset -= host_info.window_bytes;
    return offset < GUEST_RAM_BYTES ? guest_ram + offset : guest_high + (offset - GUEST_RAM_BYTES);
}

void host_serve(const struct bh_request *request, const struct bh_segment *segments) {
    uint64_t at = request->argument * BH_SECTOR_BYTES, bytes = 0;
    served[request->operation]++;
    for (unsigned i = 0; i < request->segments; i++) {
        uint8_t *window = at_offset(segments[i].offset);
        if (request->operation <= BH_BLOCK_WRITE)
            ++*(segments[i].offset < host_info.window_bytes ? &through_window : &direct);
        if (request->operation == BH_BLOCK_ID)
            memcpy(window, "serial-of-the-volume", 20);
        else
            assert_true(at + bytes + segments[i].bytes <= DISK_BYTES);
        if (request->operation == BH_BLOCK_READ)
            memcpy(window, disk + at + bytes, segments[i].bytes);
        else if (request->operation == BH_BLOCK_WRITE)
            memcpy(disk + at + bytes, window, segments[i].bytes);
        else if (request->operation == BH_BLOCK_WRITE_ZEROES)
            memset(disk + at + bytes, 0, segments[i].bytes);
        bytes += segments[i].bytes;
    }
    struct bh_completion c = {request->tag, (uint16_t)disk_status, 0, bytes - disk_short_by};
    if (hold)
        held[held_count++] = c;
    else
        queue_complete(&host_queue, c.tag, c.status, 0, c.value);
}

static void let_go(void) {
    hold = false;
    /* The other way round than they came. */
    while (held_count) {
        struct bh_completion c = held[--held_count];
        queue_complete(&host_queue, c.tag, c.status, 0, c.value);
    }
    host_publish();
    host_run();
}

static void drive(uint64_t features, unsigned queues) {
    assert_true(guest_negotiate(&g, features));
    for (unsigned i = 0; i < queues; i++)
        guest_queue_set(&g, &queue[i], (uint16_t)i, 128, features);
    guest_run(&g);
}

static void open_device(void) {
    device = virtio_blk_open(0, 4);
    assert_non_null(device);
    pci_add(&device->function, 1);
    guest_probe(&g);
}

static int start(void **state) {
    (void)state;
    guest_start();
    host_start(BH_CLASS_BLOCK, 512, 64, 256 * 1024);
    host_info.block = (struct bh_block_info){.sectors = SECTORS,
                                             .flags = BH_BLOCK_CAN_DISCARD,
                                             .physical_bytes = 4096,
                                             .request_bytes_max = 128 * 1024};
    for (unsigned i = 0; i < DISK_BYTES; i++)
        disk[i] = (uint8_t)(i * 7 + i / 512);
    disk_status = BH_OK;
    disk_short_by = 0;
    hold = false;
    held_count = 0;
    memset(served, 0, sizeof served);
    open_device();
    return 0;
}

static void serve_ram(uint32_t generation) {
    assert_int_equal(queue_server_open(&host_queue, (void *)host_info.server_va, 64,
                                       (void *)host_info.client_va, 512,
                                       host_info.window_bytes + GUEST_RAM_BYTES + GUEST_HIGH_BYTES,
                                       generation),
                     BH_OK);
}

static int start_direct(void **state) {
    start(state);
    free(device);
    guest_start();
    host_info.block.flags |= BH_BLOCK_DIRECT;
    host_info.block.physical_bytes = 512;
    serve_ram(1);
    open_device();
    alignment = 512;
    direct = through_window = 0;
    return 0;
}

static int stop(void **state) {
    alignment = 1;
    (void)state;
    host_stop();
    free(device);
    return 0;
}

/* A request: header, data in so many buffers, status. */
struct io {
    uint64_t header, data, status;
    uint32_t bytes;
};

static struct io submit(struct guest_queue *q, uint32_t type, uint64_t sector, uint32_t bytes,
                        unsigned buffers) {
    struct io io = {guest_alloc(16, 1), guest_alloc(bytes + 1, alignment), guest_alloc(1, 1),
                    bytes};
    struct guest_buffer b[80] = {{io.header, 16, false}};
    memcpy(guest_at(io.header), &type, 4);
    memcpy(guest_at(io.header + 8), &sector, 8);
    *(uint8_t *)guest_at(io.status) = 0xaa;
    bool writes = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
    uint32_t each = buffers ? (bytes + buffers - 1) / buffers : 0;
    unsigned count = 1;
    for (uint32_t at = 0; at < bytes; at += each)
        b[count++] =
            (struct guest_buffer){io.data + at, bytes - at < each ? bytes - at : each, writes};
    b[count++] = (struct guest_buffer){io.status, 1, true};
    guest_add(q, b, count);
    return io;
}

static uint8_t status_of(const struct io *io) {
    return *(uint8_t *)guest_at(io->status);
}

static uint8_t run(struct guest_queue *q, struct io io) {
    guest_kick(&g, q);
    host_run();
    uint32_t id, bytes;
    assert_true(guest_take(q, &id, &bytes));
    return status_of(&io);
}

static void configuration(void **state) {
    (void)state;
    assert_int_equal(guest_read(g.config + VIRTIO_BLK_CONFIG_CAPACITY, 8), SECTORS);
    assert_int_equal(guest_read(g.config + VIRTIO_BLK_CONFIG_PHYSICAL_BLOCK_EXP, 1), 3);
    assert_int_equal(guest_read(g.config + VIRTIO_BLK_CONFIG_QUEUES, 2), 4);
    assert_int_equal(guest_read(g.config + VIRTIO_BLK_CONFIG_BYTES - 4, 8), 0);
    assert_int_equal(guest_read(g.config + 0xff, 4), 0);
}

static void reads_and_writes(void **state) {
    (void)state;
    drive(RINGS | VIRTIO_BLK_F_FLUSH, 4);
    const uint32_t sizes[] = {512, 1024, 4096, 65536, 128 * 1024, 300 * 1024};
    for (unsigned i = 0; i < 6; i++)
        for (unsigned buffers = 1; buffers <= 64; buffers = buffers * 3 + 1) {
            guest_alloc_reset();
            drive(RINGS | VIRTIO_BLK_F_FLUSH, 4);
            struct io io = submit(&queue[i % 4], VIRTIO_BLK_T_IN, 3, sizes[i], buffers);
            assert_int_equal(run(&queue[i % 4], io), VIRTIO_BLK_S_OK);
            assert_memory_equal(guest_at(io.data), disk + 1536, sizes[i]);
            io = submit(&queue[i % 4], VIRTIO_BLK_T_OUT, 700, sizes[i], buffers);
            for (uint32_t at = 0; at < sizes[i]; at++)
                guest_ram[io.data + at] = (uint8_t)(at * buffers);
            assert_int_equal(run(&queue[i % 4], io), VIRTIO_BLK_S_OK);
            assert_memory_equal(disk + 700 * 512, guest_at(io.data), sizes[i]);
        }
    assert_int_equal(served[BH_BLOCK_FLUSH], 0);
}

static void other_operations(void **state) {
    (void)state;
    drive(RINGS | VIRTIO_BLK_F_FLUSH | VIRTIO_BLK_F_DISCARD | VIRTIO_BLK_F_WRITE_ZEROES, 1);
    struct io io = submit(&queue[0], VIRTIO_BLK_T_FLUSH, 0, 0, 0);
    assert_int_equal(run(&queue[0], io), VIRTIO_BLK_S_OK);
    assert_int_equal(served[BH_BLOCK_FLUSH], 1);
    io = submit(&queue[0], VIRTIO_BLK_T_GET_ID, 0, 20, 2);
    assert_int_equal(run(&queue[0], io), VIRTIO_BLK_S_OK);
    assert_memory_equal(guest_at(io.data), "serial-of-the-volume", 20);
    io = submit(&queue[0], VIRTIO_BLK_T_GET_ID, 0, 19, 1);
    assert_int_equal(run(&queue[0], io), VIRTIO_BLK_S_IOERR);
    io = submit(&queue[0], 77, 0, 0, 0);
    assert_int_equal(run(&queue[0], io), VIRTIO_BLK_S_UNSUPPORTED);
}

static uint8_t run_range(uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags,
                         uint32_t bytes) {
    struct io io = submit(&queue[0], type, 0, bytes, 1);
    uint32_t range[4] = {(uint32_t)sector, (uint32_t)(sector >> 32), sectors, flags};
    memcpy(guest_at(io.data), range, sizeof range);
    return run(&queue[0], io);
}

static void ranges(void **state) {
    (void)state;
    drive(RINGS | VIRTIO_BLK_F_FLUSH | VIRTIO_BLK_F_DISCARD | VIRTIO_BLK_F_WRITE_ZEROES, 1);
    assert_int_equal(run_range(VIRTIO_BLK_T_WRITE_ZEROES, 1, SECTORS - 1, 1, 16), VIRTIO_BLK_S_OK);
    assert_int_equal(served[BH_BLOCK_WRITE_ZEROES], 4); /* the window has 256 KiB */
    assert_int_equal(disk[511], (uint8_t)(511 * 7));
    for (unsigned i = 512; i < DISK_BYTES; i++)
        assert_int_equal(disk[i], 0);
    assert_int_equal(run_range(VIRTIO_BLK_T_DISCARD, 0, 8, 0, 16), VIRTIO_BLK_S_OK);
    assert_int_equal(run_range(VIRTIO_BLK_T_DISCARD, 0, 8, 1, 16), VIRTIO_BLK_S_UNSUPPORTED);
    assert_int_equal(run_range(VIRTIO_BLK_T_DISCARD, 0, 0, 0, 16), VIRTIO_BLK_S_IOERR);
    assert_int_equal(run_range(VIRTIO_BLK_T_DISCARD, 1, SECTORS, 0, 16), VIRTIO_BLK_S_IOERR);
    assert_int_equal(run_range(VIRTIO_BLK_T_DISCARD, ~0ull, 8, 0, 16), VIRTIO_BLK_S_IOERR);
    assert_int_equal(run_range(VIRTIO_BLK_T_DISCARD, 0, 8, 0, 32), VIRTIO_BLK_S_IOERR);
    assert_int_equal(run_range(VIRTIO_BLK_T_DISCARD, 0, 8, 0, 17), VIRTIO_BLK_S_IOERR);
}

static void outside_the_disk(void **state) {
    (void)state;
    drive(RINGS | VIRTIO_BLK_F_FLUSH, 1);
    const uint64_t sectors[] = {SECTORS, SECTORS - 1, ~0ull, 1ull << 55, (1ull << 55) - 1};
    for (unsigned i = 0; i < 5; i++) {
        struct io io = submit(&queue[0], VIRTIO_BLK_T_IN, sectors[i], 1024, 1);
        assert_int_equal(run(&queue[0], io), VIRTIO_BLK_S_IOERR);
        io = submit(&queue[0], VIRTIO_BLK_T_OUT, sectors[i], 1024, 1);
        assert_int_equal(run(&queue[0], io), VIRTIO_BLK_S_IOERR);
    }
    struct io io = submit(&queue[0], VIRTIO_BLK_T_IN, 0, 513, 1);
    assert_int_equal(run(&queue[0], io), VIRTIO_BLK_S_IOERR);
    io = submit(&queue[0], VIRTIO_BLK_T_IN, 0, 0, 0);
    assert_int_equal(run(&queue[0], io), VIRTIO_BLK_S_IOERR);
    io = submit(&queue[0], VIRTIO_BLK_T_IN, 0, 66 * 512, 66); /* more than seg_max */
    assert_int_equal(run(&queue[0], io), VIRTIO_BLK_S_IOERR);
    assert_int_equal(served[BH_BLOCK_READ], 0);
}

static void errors_are_passed_on(void **state) {
    (void)state;
    drive(RINGS | VIRTIO_BLK_F_FLUSH, 1);
    disk_status = BH_IO_ERROR;
    struct io io = submit(&queue[0], VIRTIO_BLK_T_IN, 0, 300 * 1024, 4);
    assert_int_equal(run(&queue[0], io), VIRTIO_BLK_S_IOERR);
    assert_int_equal(*(uint8_t *)guest_at(io.data), 0);
    disk_status = BH_BAD_CALL;
    io = submit(&queue[0], VIRTIO_BLK_T_FLUSH, 0, 0, 0);
    assert_int_equal(run(&queue[0], io), VIRTIO_BLK_S_UNSUPPORTED);
    disk_status = BH_OK;
    disk_short_by = 512;
    io = submit(&queue[0], VIRTIO_BLK_T_IN, 0, 4096, 1);
    assert_int_equal(run(&queue[0], io), VIRTIO_BLK_S_IOERR);
}

static void read_only_disk(void **state) {
    (void)state;
    free(device);
    guest_start();
    host_info.block.flags = BH_BLOCK_READ_ONLY;
    open_device();
    drive(RINGS, 1); /* without F_RO: it stays read-only */
    struct io io = submit(&queue[0], VIRTIO_BLK_T_IN, 0, 512, 1);
    assert_int_equal(run(&queue[0], io), VIRTIO_BLK_S_OK);
    io = submit(&queue[0], VIRTIO_BLK_T_OUT, 0, 512, 1);
    assert_int_equal(run(&queue[0], io), VIRTIO_BLK_S_IOERR);
    assert_int_equal(run_range(VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0, 16), VIRTIO_BLK_S_UNSUPPORTED);
    assert_int_equal(served[BH_BLOCK_WRITE] + served[BH_BLOCK_WRITE_ZEROES], 0);
}

static void writes_through_without_flush(void **state) {
    (void)state;
    drive(RINGS, 1);
    hold = true;
    struct io io[20];
    for (unsigned i = 0; i < 20; i++)
        io[i] = submit(&queue[0], VIRTIO_BLK_T_OUT, i, 512, 1);
    guest_kick(&g, &queue[0]);
    host_run();
    hold = false;
    let_go();
    assert_int_equal(served[BH_BLOCK_FLUSH], 20);
    assert_int_equal(guest_used(&queue[0])[1], 20);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(status_of(&io[i]), VIRTIO_BLK_S_OK);
}

static void many_at_a_time(void **state) {
    (void)state;
    drive(RINGS | VIRTIO_BLK_F_FLUSH, 4);
    struct io io[4][100];
    hold = true;
    for (unsigned i = 0; i < 100; i++)
        for (unsigned n = 0; n < 4; n++)
            io[n][i] = submit(&queue[n], VIRTIO_BLK_T_IN, i * 4 + n, 1024, 2);
    for (unsigned n = 0; n < 4; n++)
        guest_kick(&g, &queue[n]);
    host_run();
    assert_true(held_count > 8 && held_count <= 64);
    let_go();
    for (unsigned n = 0; n < 4; n++) {
        assert_int_equal(guest_used(&queue[n])[1], 100);
        for (unsigned i = 0; i < 100; i++) {
            assert_int_equal(status_of(&io[n][i]), VIRTIO_BLK_S_OK);
            assert_memory_equal(guest_at(io[n][i].data), disk + (i * 4 + n) * 512, 1024);
        }
    }
    assert_true(guest_messages[1] && guest_messages[2] && guest_messages[3] && guest_messages[4]);
}

static void reset_waits_for_the_server(void **state) {
    (void)state;
    drive(RINGS | VIRTIO_BLK_F_FLUSH, 1);
    hold = true;
    struct io read = submit(&queue[0], VIRTIO_BLK_T_IN, 0, 200 * 1024, 1);
    struct io large = submit(&queue[0], VIRTIO_BLK_T_IN, 0, 500 * 1024, 1); /* no room for all */
    guest_kick(&g, &queue[0]);
    host_run();
    guest_write(g.common + VIRTIO_COMMON_STATUS, 1, 0);
    assert_int_not_equal(guest_status(&g), 0);
    guest_write(g.common + VIRTIO_COMMON_STATUS, 1, 1); /* does not count */
    let_go();
    assert_int_equal(guest_status(&g), 0);
    assert_int_equal(status_of(&read), 0xaa); /* nothing was touched */
    assert_int_equal(status_of(&large), 0xaa);
    assert_int_equal(*(uint8_t *)guest_at(read.data + 1), 0);
    drive(RINGS | VIRTIO_BLK_F_FLUSH, 1);
    struct io io = submit(&queue[0], VIRTIO_BLK_T_IN, 0, 4096, 1);
    assert_int_equal(run(&queue[0], io), VIRTIO_BLK_S_OK);
}

static void survives_a_new_server(void **state) {
    (void)state;
    drive(RINGS, 1);
    hold = true;
    struct io io = submit(&queue[0], VIRTIO_BLK_T_IN, 1, 4096, 1);
    guest_kick(&g, &queue[0]);
    host_run();
    hold = false;
    held_count = 0;
    assert_int_equal(queue_server_open(&host_queue, (void *)host_info.server_va, 64,
                                       (void *)host_info.client_va, 512, host_info.window_bytes, 2),
                     BH_OK);
    host_wake();
    host_run();
    assert_int_equal(status_of(&io), VIRTIO_BLK_S_OK);
    assert_memory_equal(guest_at(io.data), disk + 512, 4096);
}

static void a_broken_server_costs_the_disk(void **state) {
    (void)state;
    drive(RINGS, 1);
    hold = true;
    struct io io = submit(&queue[0], VIRTIO_BLK_T_IN, 1, 200 * 1024, 1);
    struct io next = submit(&queue[0], VIRTIO_BLK_T_IN, 1, 200 * 1024, 1);
    guest_kick(&g, &queue[0]);
    host_run();
    ((struct bh_queue_header *)host_info.server_va)->tail = 1000;
    host_wake();
    host_run();
    assert_int_equal(status_of(&io), VIRTIO_BLK_S_IOERR);
    assert_int_equal(status_of(&next), VIRTIO_BLK_S_IOERR);
    guest_write(g.common + VIRTIO_COMMON_STATUS, 1, 0);
    assert_int_equal(guest_status(&g), 0);
}

/* --- io='direct' --- */

static void direct_and_through_the_window(void **state) {
    reads_and_writes(state);
    assert_true(direct > 100);
    assert_true(through_window > 100); /* where sectors are in two buffers */
}

static void sectors_anywhere_else_go_through_the_window(void **state) {
    (void)state;
    drive(RINGS | VIRTIO_BLK_F_FLUSH, 1);
    alignment = 512;
    guest_alloc(511, 512);
    alignment = 1;
    struct io io = submit(&queue[0], VIRTIO_BLK_T_IN, 3, 8192, 2);
    assert_int_not_equal(io.data % 512, 0);
    assert_int_equal(run(&queue[0], io), VIRTIO_BLK_S_OK);
    assert_memory_equal(guest_at(io.data), disk + 1536, 8192);
    assert_int_equal(direct, 0);
}

/* What crosses from RAM below the hole into none is refused before anything is asked for; RAM above
 * it follows in the window at once. */
static void direct_where_ram_ends(void **state) {
    (void)state;
    const uint64_t good[] = {GUEST_RAM_BYTES - 1024, GUEST_HIGH_BASE,
                             GUEST_HIGH_BASE + GUEST_HIGH_BYTES - 1024};
    for (unsigned i = 0; i < 3; i++) {
        drive(VIRTIO_F_VERSION_1 | VIRTIO_BLK_F_FLUSH, 1);
        struct io io = submit(&queue[0], VIRTIO_BLK_T_IN, i, 1024, 1);
        guest_desc(&queue[0], 1)->address = good[i];
        assert_int_equal(run(&queue[0], io), VIRTIO_BLK_S_OK);
        assert_memory_equal(guest_at(good[i]), disk + i * 512, 1024);
    }
    assert_int_equal(direct, 3);
    const uint64_t bad[] = {GUEST_RAM_BYTES - 512, GUEST_RAM_BYTES, GUEST_HIGH_BASE - 512,
                            GUEST_HIGH_BASE + GUEST_HIGH_BYTES - 512, ~511ull};
    for (unsigned i = 0; i < 5; i++) {
        drive(VIRTIO_F_VERSION_1 | VIRTIO_BLK_F_FLUSH, 1);
        submit(&queue[0], VIRTIO_BLK_T_IN, 0, 1024, 1);
        guest_desc(&queue[0], 1)->address = bad[i];
        guest_kick(&g, &queue[0]);
        host_run();
        assert_true(guest_status(&g) & VIRTIO_STATUS_NEEDS_RESET);
    }
    assert_int_equal(direct, 3);
}

static void a_new_server_is_told_the_same_buffers(void **state) {
    (void)state;
    drive(RINGS | VIRTIO_BLK_F_FLUSH, 1);
    hold = true;
    struct io io = submit(&queue[0], VIRTIO_BLK_T_IN, 1, 300 * 1024, 50);
    guest_kick(&g, &queue[0]);
    host_run();
    hold = false;
    held_count = 0;
    unsigned asked = direct;
    memset(guest_at(io.data), 0, io.bytes);
    serve_ram(2);
    host_wake();
    host_run();
    assert_int_equal(status_of(&io), VIRTIO_BLK_S_OK);
    assert_true(asked > 0 && direct == 2 * asked);
    assert_memory_equal(guest_at(io.data), disk + 512, io.bytes);
}

/* --- hostile --- */

static void a_chain_without_a_status(void **state) {
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        guest_alloc_reset();
        drive(RINGS, 1);
        hold = true;
        struct io in_flight = submit(&queue[0], VIRTIO_BLK_T_IN, 0, 512, 1);
        uint64_t at = guest_alloc(64, 1);
        struct guest_buffer all_out = {at, 64, false}, all_in = {at, 64, true},
                            short_header[] = {{at, 15, false}, {at + 32, 1, true}};
        guest_add(&queue[0], i == 0 ? &all_out : i == 1 ? &all_in : short_header, i == 2 ? 2 : 1);
        guest_kick(&g, &queue[0]);
        host_run();
        assert_true(guest_status(&g) & VIRTIO_STATUS_NEEDS_RESET);
        let_go();
        assert_int_equal(status_of(&in_flight), 0xaa);
        assert_int_equal(guest_used(&queue[0])[1], 0);
    }
}

static void ram_changes_meanwhile(void **state) {
    (void)state;
    drive(VIRTIO_F_VERSION_1 | VIRTIO_BLK_F_FLUSH, 1);
    hold = true;
    struct io io = submit(&queue[0], VIRTIO_BLK_T_IN, 1, 4096, 1);
    guest_kick(&g, &queue[0]);
    host_run();
    for (unsigned i = 0; i < 128; i++)
        *guest_desc(&queue[0], i) = (struct virtq_desc){~0ull, ~0u, 0xffff, 0xffff};
    memset(guest_at(io.header), 0xff, 16);
    let_go();
    assert_memory_equal(guest_at(io.data), disk + 512, 4096);
    assert_int_equal(status_of(&io), VIRTIO_BLK_S_OK);
}

static void no_such_device(void **state) {
    (void)state;
    assert_null(virtio_blk_open(1, 1));
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)
#define DIRECT(f) cmocka_unit_test_setup_teardown(f, start_direct, stop)
    const struct CMUnitTest tests[] = {
        TEST(configuration),
        TEST(reads_and_writes),
        TEST(other_operations),
        TEST(ranges),
        TEST(outside_the_disk),
        TEST(errors_are_passed_on),
        TEST(read_only_disk),
        TEST(writes_through_without_flush),
        TEST(many_at_a_time),
        TEST(reset_waits_for_the_server),
        TEST(survives_a_new_server),
        TEST(a_broken_server_costs_the_disk),
        DIRECT(direct_and_through_the_window),
        DIRECT(sectors_anywhere_else_go_through_the_window),
        DIRECT(direct_where_ram_ends),
        DIRECT(a_new_server_is_told_the_same_buffers),
        DIRECT(other_operations),
        DIRECT(ranges),
        DIRECT(outside_the_disk),
        DIRECT(writes_through_without_flush),
        DIRECT(many_at_a_time),
        DIRECT(a_broken_server_costs_the_disk),
        DIRECT(ram_changes_meanwhile),
        TEST(a_chain_without_a_status),
        TEST(ram_changes_meanwhile),
        TEST(no_such_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
