/* The block back end, its volumes and the reading of partition tables, on disks in memory. */
#include "unit.h"

#include <stdio.h>

#include "fake_client.h"
#include "fake_platform.h"
#include "gpt_image.h"
#include "guestlib/archive.h"
#include "mgmt/block/disk.h"

#define REQUESTS_MAX 24u
#define DISK_BYTES (IMAGE_BLOCKS * SECTOR)

/* A disk whose requests wait until the test lets them go. */
struct memory_disk {
    struct disk disk;
    uint8_t contents[DISK_BYTES];
    struct disk_request *waiting[REQUESTS_MAX];
    unsigned waiting_count;
    bool holds; /* requests stay in `waiting` */
    bool fails;
    bool given_up;
    uint64_t bad_sector; /* reads of it fail */
};

/* disk 0: a good table; 1: the primary one damaged; 2: no table; 3: 4,096-byte blocks, no table. */
#define DISKS 4u
static struct memory_disk disks[DISKS];

static void execute(struct memory_disk *d, struct disk_request *r) {
    enum bh_status status = d->fails ? BH_IO_ERROR : BH_OK;
    uint64_t at = r->sector * SECTOR;
    if (r->sector <= d->bad_sector && d->bad_sector < r->sector + r->sectors)
        status = BH_IO_ERROR;
    if (r->operation == DISK_READ || r->operation == DISK_WRITE) {
        assert_true(r->sector + r->sectors <= IMAGE_BLOCKS);
        uint64_t total = 0;
        for (unsigned i = 0; i < r->segments && status == BH_OK; i++) {
            uint8_t *memory = (uint8_t *)(uintptr_t)r->segment[i].hpa.raw;
            assert_int_equal(r->segment[i].bytes % d->disk.block_bytes, 0);
            if (r->operation == DISK_READ)
                memcpy(memory, d->contents + at + total, r->segment[i].bytes);
            else
                memcpy(d->contents + at + total, memory, r->segment[i].bytes);
            total += r->segment[i].bytes;
        }
        if (status == BH_OK)
            assert_int_equal(total, r->sectors * SECTOR);
    } else if (r->operation == DISK_ID) {
        memcpy((void *)(uintptr_t)r->segment[0].hpa.raw, "memory-disk-serial\0\0", 20);
    } else if (r->operation != DISK_FLUSH) {
        assert_true(r->sectors && r->sector + r->sectors <= IMAGE_BLOCKS);
        memset(d->contents + at, 0, r->sectors * SECTOR);
    }
    r->done(r, status);
}

static void submit(struct disk *disk, struct disk_request *r) {
    struct memory_disk *d = (struct memory_disk *)(void *)disk;
    if (!d->holds) {
        execute(d, r);
        return;
    }
    assert_true(d->waiting_count < REQUESTS_MAX);
    d->waiting[d->waiting_count++] = r;
}

static void release(struct memory_disk *d, unsigned count) {
    for (unsigned i = 0; i < count && d->waiting_count; i++) {
        struct disk_request *r = d->waiting[0];
        d->waiting_count--;
        for (unsigned n = 0; n < d->waiting_count; n++)
            d->waiting[n] = d->waiting[n + 1];
        execute(d, r);
    }
}

static void give_up(struct disk *disk) {
    struct memory_disk *d = (struct memory_disk *)(void *)disk;
    d->given_up = true;
    d->fails = true;
    release(d, REQUESTS_MAX);
}

/* newc: 110 bytes of header in hexadecimal digits, the name, the contents, each padded to 4. */
static uint8_t archive[8192];
static size_t archive_bytes;

static void add_file(const char *name, const char *contents, size_t bytes) {
    char header[111];
    snprintf(header, sizeof(header), "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
             1u, 0100644u, 0u, 0u, 1u, 0u, (unsigned)bytes, 0u, 0u, 0u, 0u,
             (unsigned)strlen(name) + 1, 0u);
    memcpy(archive + archive_bytes, header, 110);
    memcpy(archive + archive_bytes + 110, name, strlen(name) + 1);
    archive_bytes = (archive_bytes + 110 + strlen(name) + 1 + 3) & ~(size_t)3;
    memcpy(archive + archive_bytes, contents, bytes);
    archive_bytes = (archive_bytes + bytes + 3) & ~(size_t)3;
}

static bool ready;

static void now_ready(void *context) {
    (void)context;
    ready = true;
}

static struct block_client *attach_to(struct fake_client *c, struct block_settings settings,
                                      struct bh_block_info *info, enum bh_status *status) {
    char error[128] = "";
    struct bh_block_info ignored;
    struct block_client *b =
        block_attach(&c->channel, &settings, info ? info : &ignored, status, error, sizeof(error));
    if (b)
        assert_true(client_open(c));
    else
        assert_int_not_equal(error[0], 0);
    return b;
}

static int setup_group(void **state) {
    (void)state;
    static const char *const names[DISKS] = {"good", "primary-damaged", "plain", "large-blocks"};
    static char text[700];
    fake_reset();
    for (unsigned i = 0; i < DISKS; i++) {
        struct memory_disk *d = &disks[i];
        for (unsigned n = 0; n < DISK_BYTES; n++)
            d->contents[n] = (uint8_t)(n / 512 + n * 5 + i);
        d->bad_sector = ~0ull;
        d->disk = (struct disk){.name = names[i],
                                .sectors = IMAGE_BLOCKS,
                                .block_bytes = i == 3 ? 4096 : 512,
                                .physical_bytes = 4096,
                                .can_discard = i == 0,
                                .can_write_zeroes = i == 0,
                                .requests_max = REQUESTS_MAX,
                                .submit = submit,
                                .give_up = give_up};
        disk_add(&d->disk);
    }
    image_make(disks[0].contents);
    image_make(disks[1].contents);
    disks[1].contents[512] ^= 1;
    uint8_t *entries = disks[1].contents + (IMAGE_BLOCKS - 33) * SECTOR;
    image_entry(entries, 0, 300, 400, "backup");
    image_entry(entries, 5, 500, 500, "twin");
    image_entry(entries, 6, 501, 501, "twin");
    image_header(disks[1].contents + (IMAGE_BLOCKS - 1) * SECTOR, IMAGE_BLOCKS - 1,
                 IMAGE_BLOCKS - 33, entries);
    memset(text, 'T', sizeof(text));
    add_file("file.bin", text, sizeof(text));
    add_file("empty", "", 0);
    add_file("TRAILER!!!", "", 0);

    /* Tables are read while everything else goes on; until then: again. */
    struct fake_client c;
    enum bh_status status;
    client_prepare(&c, "early", 1);
    disks[1].holds = true;
    block_start(archive, archive_bytes);
    block_when_ready(now_ready, NULL);
    assert_null(attach_to(&c, (struct block_settings){.source = "disk:0"}, NULL, &status));
    assert_int_equal(status, BH_AGAIN);
    assert_false(ready);
    for (unsigned i = 0; i < 3; i++) {
        assert_false(ready);
        assert_int_equal(disks[1].waiting_count, 1);
        release(&disks[1], 1);
    }
    assert_true(ready);
    disks[1].holds = false;
    return 0;
}

static int setup(void **state) {
    (void)state;
    fake_reset();
    for (unsigned i = 0; i < DISKS; i++) {
        disks[i].holds = disks[i].fails = disks[i].given_up = false;
        disks[i].bad_sector = ~0ull;
    }
    return 0;
}

static unsigned detached;

static void count_detached(void *context) {
    (void)context;
    detached++;
}

static void detach(struct block_client *b) {
    detached = 0;
    block_detach(b, count_detached, NULL);
    assert_int_equal(detached, 1);
}

static struct fake_client one, two, three;

static struct block_client *attach(struct fake_client *c, bh_slot signal, const char *source) {
    enum bh_status status;
    struct block_settings settings = {0};
    snprintf(settings.source, sizeof(settings.source), "%s", source);
    client_prepare(c, source, signal);
    struct block_client *b = attach_to(c, settings, NULL, &status);
    assert_non_null(b);
    return b;
}

static void run(struct block_client *b) {
    block_service(b);
    fake_run_work(1000);
}

/* One request, to its completion. */
static struct bh_completion perform(struct fake_client *c, struct block_client *b,
                                    uint8_t operation, uint64_t argument, uint64_t offset,
                                    uint32_t bytes) {
    assert_true(client_push(c, operation, 77, argument, offset, bytes));
    run(b);
    struct bh_completion completion = client_take(c);
    assert_int_equal(completion.tag, 77);
    return completion;
}

static void requests_reach_their_partition_and_no_other_sector(void **state) {
    (void)state;
    struct block_client *b = attach(&one, 1, "partition:data");
    struct bh_completion done = perform(&one, b, BH_BLOCK_READ, 0, 0, 1024);
    assert_int_equal(done.status, BH_OK);
    assert_int_equal(done.value, 1024);
    assert_memory_equal(one.window, disks[0].contents + 100 * SECTOR, 1024);
    memset(one.window + 4096, 0x5a, 512);
    assert_int_equal(perform(&one, b, BH_BLOCK_WRITE, 99, 4096, 512).status, BH_OK);
    assert_memory_equal(one.window + 4096, disks[0].contents + 199 * SECTOR, 512);
    assert_int_equal(perform(&one, b, BH_BLOCK_FLUSH, 0, 0, 0).status, BH_OK);
    assert_int_equal(perform(&one, b, BH_BLOCK_ID, 0, 0, 20).value, 20);
    assert_string_equal((char *)one.window, "memory-disk-serial");
    static const uint8_t zero[512];
    assert_int_equal(perform(&one, b, BH_BLOCK_WRITE_ZEROES, 99, 0, 512).status, BH_OK);
    assert_memory_equal(disks[0].contents + 199 * SECTOR, zero, 512);
    assert_int_equal(perform(&one, b, BH_BLOCK_DISCARD, 0, 0, 512).status, BH_OK);
    assert_true(fake_signals(1) > 0);
    struct block_statistics statistics;
    block_get_statistics(b, &statistics);
    assert_int_equal(statistics.reads, 1);
    assert_int_equal(statistics.read_bytes, 1024);
    assert_int_equal(statistics.writes, 1);
    assert_int_equal(statistics.flushes, 1);
    assert_int_equal(statistics.errors, 0);
    detach(b);
}

static void nonsense_requests_get_a_status_and_nothing_happens(void **state) {
    (void)state;
    static const struct {
        uint8_t operation;
        uint64_t sector, offset;
        uint32_t bytes;
        enum bh_status status;
    } bad[] = {
        {BH_BLOCK_READ, 100, 0, 512, BH_BAD_ARG},
        {BH_BLOCK_READ, 99, 0, 1024, BH_BAD_ARG},
        {BH_BLOCK_READ, ~0ull, 0, 1024, BH_BAD_ARG},
        {BH_BLOCK_WRITE, ~0ull - 1, 0, 1024, BH_BAD_ARG},
        {BH_BLOCK_WRITE, 1ull << 55, 0, 512, BH_BAD_ARG}, /* times 512 is 0 */
        {BH_BLOCK_READ, 0, 0, 511, BH_BAD_ARG},
        {BH_BLOCK_READ, 0, 0, 0, BH_BAD_ARG},
        {BH_BLOCK_READ, 0, CLIENT_WINDOW_BYTES - 511, 512, BH_BAD_ARG},
        {BH_BLOCK_READ, 0, ~0ull, 512, BH_BAD_ARG},
        {BH_BLOCK_FLUSH, 0, 0, 512, BH_BAD_ARG},
        {BH_BLOCK_DISCARD, 99, 0, 1024, BH_BAD_ARG},
        {BH_BLOCK_DISCARD, 0, 512, 512, BH_BAD_ARG},
        {BH_BLOCK_WRITE_ZEROES, 0, 0, 100, BH_BAD_ARG},
        {BH_BLOCK_ID, 0, 0, 19, BH_BAD_ARG},
        {6, 0, 0, 512, BH_BAD_CALL},
        {255, 0, 0, 0, BH_BAD_CALL},
    };
    struct block_client *b = attach(&one, 1, "partition:data");
    static uint8_t before[DISK_BYTES];
    memcpy(before, disks[0].contents, DISK_BYTES);
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(
            perform(&one, b, bad[i].operation, bad[i].sector, bad[i].offset, bad[i].bytes).status,
            bad[i].status);
    struct bh_request flagged = {.operation = BH_BLOCK_FLUSH, .flags = 1};
    queue_push(&one.end, &flagged, NULL);
    queue_publish(&one.end);
    run(b);
    assert_int_equal(client_take(&one).status, BH_BAD_ARG);
    assert_memory_equal(before, disks[0].contents, DISK_BYTES);
    detach(b);
}

/* io='direct': a client whose RAM is two stretches that lie apart, each between bytes of somebody
 * else's. */
#define STRANGER 0xa5
static struct {
    uint8_t before[4096], low[8192], between[4096], high[4096], behind[4096];
} host_memory;
static const uint64_t ram_offset = CLIENT_WINDOW_BYTES;

static struct block_client *attach_direct(struct fake_client *c, const char *source,
                                          enum bh_status *status) {
    struct block_settings settings = {0};
    snprintf(settings.source, sizeof(settings.source), "%s", source);
    settings.read_only = strncmp(source, "archive:", 8) == 0;
    client_prepare(c, source, 1);
    memset(&host_memory, STRANGER, sizeof(host_memory));
    c->channel.ram[0] = (struct ram_part){{(uintptr_t)host_memory.low}, sizeof(host_memory.low)};
    c->channel.ram[1] = (struct ram_part){{(uintptr_t)host_memory.high}, sizeof(host_memory.high)};
    c->channel.ram_parts = 2;
    return attach_to(c, settings, NULL, status);
}

static void assert_strangers_untouched(void) {
    for (unsigned i = 0; i < 4096; i++)
        if (host_memory.before[i] != STRANGER || host_memory.between[i] != STRANGER ||
            host_memory.behind[i] != STRANGER)
            fail_msg("byte %u of somebody else's", i);
}

static void direct_requests_reach_the_clients_ram_and_no_other(void **state) {
    (void)state;
    enum bh_status status;
    struct block_client *b = attach_direct(&one, "disk:2", &status);
    assert_non_null(b);
    const uint8_t *contents = disks[2].contents;
    assert_int_equal(perform(&one, b, BH_BLOCK_READ, 0, 0, 4096).status, BH_OK);
    assert_memory_equal(one.window, contents, 4096);
    assert_int_equal(perform(&one, b, BH_BLOCK_READ, 1, ram_offset, 512).status, BH_OK);
    assert_memory_equal(host_memory.low, contents + 512, 512);
    /* From the window into RAM, and from one stretch into the other. */
    assert_int_equal(perform(&one, b, BH_BLOCK_READ, 2, ram_offset - 512, 1024).status, BH_OK);
    assert_memory_equal(one.window + CLIENT_WINDOW_BYTES - 512, contents + 1024, 512);
    assert_memory_equal(host_memory.low, contents + 1536, 512);
    assert_int_equal(perform(&one, b, BH_BLOCK_READ, 8, ram_offset + 4096, 8192).status, BH_OK);
    assert_memory_equal(host_memory.low + 4096, contents + 4096, 4096);
    assert_memory_equal(host_memory.high, contents + 8192, 4096);
    memset(host_memory.high + 3584, 0x3c, 512);
    assert_int_equal(perform(&one, b, BH_BLOCK_WRITE, 9, ram_offset + 11776, 512).status, BH_OK);
    assert_memory_equal(contents + 9 * 512, host_memory.high + 3584, 512);
    assert_int_equal(perform(&one, b, BH_BLOCK_ID, 0, ram_offset + 100, 20).status, BH_OK);
    assert_string_equal((char *)host_memory.low + 100, "memory-disk-serial");
    assert_strangers_untouched();
    detach(b);
}

static void direct_requests_outside_ram_get_a_status(void **state) {
    (void)state;
    static const struct {
        uint64_t offset;
        uint32_t bytes;
    } bad[] = {
        {ram_offset + 12288, 512},
        {ram_offset + 12288 - 511, 512},
        {~0ull, 512},
        {0ull - ram_offset, 512},
        {~511ull, 1024},
        {1ull << 63, 512},
        {ram_offset + 8192 - 100, 1024}, /* cut within a sector */
        {0, CLIENT_WINDOW_BYTES + 12800},
    };
    enum bh_status status;
    struct block_client *b = attach_direct(&one, "disk:2", &status);
    assert_non_null(b);
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(perform(&one, b, BH_BLOCK_READ, 0, bad[i].offset, bad[i].bytes).status,
                         BH_BAD_ARG);
        assert_int_equal(perform(&one, b, BH_BLOCK_WRITE, 0, bad[i].offset, bad[i].bytes).status,
                         BH_BAD_ARG);
    }
    assert_int_equal(perform(&one, b, BH_BLOCK_ID, 0, ram_offset + 8182, 20).status, BH_BAD_ARG);
    for (unsigned i = 0; i < 8192; i++)
        assert_int_equal(host_memory.low[i], STRANGER);
    assert_strangers_untouched();
    /* As many segments as there may be, each in two pieces: more than the disk is given. */
    struct bh_segment segments[BH_QUEUE_SEGMENTS_MAX];
    for (unsigned i = 0; i < BH_QUEUE_SEGMENTS_MAX; i++)
        segments[i] = (struct bh_segment){.offset = ram_offset + 8192 - 512, .bytes = 1024};
    struct bh_request request = {
        .operation = BH_BLOCK_READ, .segments = BH_QUEUE_SEGMENTS_MAX, .tag = 3};
    assert_true(queue_push(&one.end, &request, segments));
    queue_publish(&one.end);
    run(b);
    assert_int_equal(client_take(&one).status, BH_BAD_ARG);
    assert_int_equal(perform(&one, b, BH_BLOCK_READ, 0, ram_offset, 512).status, BH_OK);
    detach(b);
}

/* mgmt would have to read and write the guest's RAM itself. */
static void direct_is_for_disks(void **state) {
    (void)state;
    enum bh_status status;
    assert_null(attach_direct(&one, "archive:file.bin", &status));
    assert_int_equal(status, BH_BAD_ARG);
}

static void disk_errors_are_that_requests_error(void **state) {
    (void)state;
    struct block_client *b = attach(&one, 1, "disk:2");
    disks[2].bad_sector = 7;
    assert_int_equal(perform(&one, b, BH_BLOCK_READ, 7, 0, 512).status, BH_IO_ERROR);
    assert_int_equal(perform(&one, b, BH_BLOCK_READ, 8, 0, 512).status, BH_OK);
    detach(b);
}

static void large_blocks_are_asked_for_whole(void **state) {
    (void)state;
    struct block_client *b = attach(&one, 1, "disk:3");
    assert_int_equal(perform(&one, b, BH_BLOCK_READ, 8, 0, 4096).status, BH_OK);
    assert_int_equal(perform(&one, b, BH_BLOCK_READ, 1, 0, 4096).status, BH_BAD_ARG);
    assert_int_equal(perform(&one, b, BH_BLOCK_READ, 8, 0, 512).status, BH_BAD_ARG);
    assert_int_equal(perform(&one, b, BH_BLOCK_WRITE_ZEROES, 8, 0, 4096).status, BH_BAD_CALL);
    detach(b);
}

static enum bh_status try(const char *source, bool read_only, bool throw_away,
                          struct block_client **b, struct fake_client *c) {
    enum bh_status status;
    struct block_settings settings = {.read_only = read_only, .throw_away = throw_away};
    snprintf(settings.source, sizeof(settings.source), "%s", source);
    client_prepare(c, source, 9);
    *b = attach_to(c, settings, NULL, &status);
    return status;
}

static void there_is_one_writer_for_each_sector(void **state) {
    (void)state;
    struct block_client *a, *b, *c;
    assert_int_equal(try("partition:data", false, false, &a, &one), BH_OK);
    assert_int_equal(try("partition:data", false, false, &b, &two), BH_BUSY);
    assert_int_equal(try("partition:data", true, false, &b, &two), BH_BUSY);
    assert_int_equal(try("partition:data", false, true, &b, &two), BH_BUSY);
    assert_int_equal(try("disk:0", false, false, &b, &two), BH_BUSY);
    assert_int_equal(try("disk:0", true, false, &b, &two), BH_BUSY);
    assert_int_equal(try("partition:log", false, false, &b, &two), BH_OK);
    detach(a);
    detach(b);
    assert_int_equal(try("disk:0", true, false, &a, &one), BH_OK);
    assert_int_equal(try("partition:data", true, false, &b, &two), BH_OK);
    assert_int_equal(try("partition:log", false, false, &c, &three), BH_BUSY);
    detach(a);
    detach(b);
}

static void names_that_mean_nothing(void **state) {
    (void)state;
    static const char *const names[] = {"",
                                        "disk",
                                        "disk:",
                                        "disk:4",
                                        "disk:-1",
                                        "disk: 1",
                                        "disk:0x",
                                        "disk:99999999999999999999",
                                        "partition:",
                                        "partition:nope",
                                        "partition:twin",
                                        "archive:nope",
                                        "archive:empty",
                                        "file:x"};
    struct block_client *b;
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_int_equal(try(names[i], true, false, &b, &one), BH_BAD_ARG);
    assert_int_equal(try("archive:file.bin", false, false, &b, &one), BH_BAD_ARG);
    enum bh_status status;
    struct block_settings endless;
    memset(&endless, 'x', sizeof(endless));
    assert_null(attach_to(&one, endless, NULL, &status));
    assert_int_equal(status, BH_BAD_ARG);
}

static void the_backup_table_serves(void **state) {
    (void)state;
    struct block_client *b = attach(&one, 1, "partition:backup");
    assert_int_equal(perform(&one, b, BH_BLOCK_READ, 0, 0, 512).status, BH_OK);
    assert_memory_equal(one.window, disks[1].contents + 300 * SECTOR, 512);
    detach(b);
}

static void files_are_read_only_and_padded_with_zeroes(void **state) {
    (void)state;
    struct block_client *b;
    struct bh_block_info info;
    enum bh_status status;
    client_prepare(&one, "file", 1);
    b = attach_to(&one, (struct block_settings){.source = "archive:file.bin", .read_only = true},
                  &info, &status);
    assert_int_equal(info.sectors, 2);
    assert_int_equal(info.flags, BH_BLOCK_READ_ONLY);
    memset(one.window, 1, 1024);
    assert_int_equal(perform(&one, b, BH_BLOCK_READ, 0, 0, 1024).value, 1024);
    assert_int_equal(one.window[699], 'T');
    for (unsigned i = 700; i < 1024; i++)
        assert_int_equal(one.window[i], 0);
    assert_int_equal(perform(&one, b, BH_BLOCK_WRITE, 0, 0, 512).status, BH_BAD_RIGHTS);
    assert_int_equal(perform(&one, b, BH_BLOCK_WRITE_ZEROES, 0, 0, 512).status, BH_BAD_RIGHTS);
    assert_int_equal(perform(&one, b, BH_BLOCK_READ, 1, 0, 1024).status, BH_BAD_ARG);
    assert_int_equal(perform(&one, b, BH_BLOCK_FLUSH, 0, 0, 0).status, BH_OK);
    assert_int_equal(perform(&one, b, BH_BLOCK_ID, 0, 0, 20).status, BH_OK);
    assert_string_equal((char *)one.window, "file.bin");
    detach(b);
}

static void throw_away_writes_are_seen_by_their_writer_only(void **state) {
    (void)state;
    struct block_client *a, *b;
    static uint8_t before[DISK_BYTES];
    memcpy(before, disks[0].contents, DISK_BYTES);
    assert_int_equal(try("disk:0", false, true, &a, &one), BH_OK);
    assert_int_equal(try("disk:0", false, true, &b, &two), BH_OK);
    memset(one.window, 0x77, 1024);
    assert_int_equal(perform(&one, a, BH_BLOCK_WRITE, 1500, 0, 1024).status, BH_OK);
    assert_int_equal(perform(&one, a, BH_BLOCK_WRITE_ZEROES, 1501, 0, 512).status, BH_OK);
    assert_int_equal(perform(&one, a, BH_BLOCK_DISCARD, 1501, 0, 512).status, BH_BAD_CALL);
    assert_int_equal(perform(&one, a, BH_BLOCK_READ, 1499, 4096, 2048).status, BH_OK);
    assert_memory_equal(one.window + 4096, before + 1499 * SECTOR, 512);
    assert_int_equal(one.window[4096 + 512], 0x77);
    assert_int_equal(one.window[4096 + 1024], 0);
    assert_memory_equal(one.window + 4096 + 1536, before + 1502 * SECTOR, 512);
    assert_int_equal(perform(&two, b, BH_BLOCK_READ, 1500, 0, 1024).status, BH_OK);
    assert_memory_equal(two.window, before + 1500 * SECTOR, 1024);
    assert_memory_equal(disks[0].contents, before, DISK_BYTES);
    detach(a);
    detach(b);
}

static void a_broken_queue_is_disconnected_alone_and_logged_once(void **state) {
    (void)state;
    struct block_client *a = attach(&one, 1, "partition:data");
    struct block_client *b = attach(&two, 2, "partition:log");
    unsigned lines = fake_log_lines();
    ((struct bh_queue_header *)(void *)one.submissions)->tail = 1000;
    for (unsigned i = 0; i < 5; i++)
        run(a);
    assert_int_equal(fake_log_lines(), lines + 1);
    assert_int_equal(((struct bh_queue_header *)(void *)one.completions)->state, BH_QUEUE_BROKEN);
    assert_int_equal(perform(&two, b, BH_BLOCK_READ, 0, 0, 512).status, BH_OK);
    detach(a);
    detach(b);
}

static void a_flood_leaves_the_others_their_share(void **state) {
    (void)state;
    struct block_client *a = attach(&one, 1, "partition:data");
    struct block_client *b = attach(&two, 2, "partition:log");
    disks[0].holds = true;
    uint32_t tag = 0, served = 0, asked = 0;
    for (unsigned round = 0; round < 200; round++) {
        while (client_push(&one, BH_BLOCK_READ, tag++, 0, 0, 512))
            ;
        block_service(a);
        if (asked == served && client_push(&two, BH_BLOCK_READ, 1, 0, 0, 512)) {
            asked++;
            block_service(b);
        }
        fake_run_work(1);
        assert_true(disks[0].waiting_count <= REQUESTS_MAX);
        release(&disks[0], 2);
        fake_run_work(1);
        while (client_take(&one).status == BH_OK)
            ;
        served += client_take(&two).status == BH_OK;
    }
    /* Two requests end in a round; the flooder has up to 16 before each of the other's. */
    assert_true(served >= 200 / 10);
    disks[0].holds = false;
    release(&disks[0], REQUESTS_MAX);
    fake_run_work(1000);
    detach(a);
    detach(b);
}

static void limits_hold_over_time(void **state) {
    (void)state;
    enum bh_status status;
    client_prepare(&one, "limited", 1);
    struct block_client *b = attach_to(
        &one, (struct block_settings){.source = "disk:2", .iops_limit = 100}, NULL, &status);
    unsigned done = 0;
    for (unsigned ms = 0; ms < 1000; ms += 5) {
        while (client_push(&one, BH_BLOCK_READ, 1, 0, 0, 512))
            ;
        block_service(b);
        fake_advance_ns(5000000);
        while (client_take(&one).status == BH_OK)
            done++;
    }
    assert_in_range(done, 100, 112); /* and a tenth of a second's burst */
    detach(b);
    client_prepare(&one, "limited", 1);
    b = attach_to(&one, (struct block_settings){.source = "disk:2", .bytes_per_s_limit = 1 << 20},
                  NULL, &status);
    uint64_t bytes = 0;
    for (unsigned ms = 0; ms < 1000; ms += 5) {
        while (client_push(&one, BH_BLOCK_READ, 1, 0, 0, 65536))
            ;
        block_service(b);
        fake_advance_ns(5000000);
        struct bh_completion completion;
        while ((completion = client_take(&one)).status == BH_OK)
            bytes += completion.value;
    }
    assert_in_range(bytes, 1 << 20, (1 << 20) + (1 << 20) / 10 + 65536);
    detach(b);
}

static void detach_waits_for_the_disk_but_not_forever(void **state) {
    (void)state;
    for (unsigned hangs = 0; hangs < 2; hangs++) {
        struct block_client *b = attach(&one, 1, "disk:2");
        disks[2].holds = true;
        client_push(&one, BH_BLOCK_READ, 1, 0, 0, 512);
        client_push(&one, BH_BLOCK_READ, 2, 0, 0, 512);
        run(b);
        detached = 0;
        block_detach(b, count_detached, NULL);
        assert_int_equal(detached, 0);
        if (hangs) {
            fake_advance_ns(61000000000ull);
            assert_true(disks[2].given_up);
        } else {
            release(&disks[2], 1);
            assert_int_equal(detached, 0);
            release(&disks[2], 1);
        }
        assert_int_equal(detached, 1);
        fake_run_work(10);
        disks[2].holds = false;
    }
}

static void a_disk_that_fails_at_once_does_not_hold_up_the_loop(void **state) {
    (void)state;
    struct block_client *b = attach(&one, 1, "disk:2");
    disks[2].fails = true;
    while (client_push(&one, BH_BLOCK_READ, 1, 0, 0, 512))
        ;
    block_service(b);
    fake_run_work(1);
    assert_int_equal(client_take(&one).status, BH_IO_ERROR);
    unsigned taken = 1;
    while (client_take(&one).status == BH_IO_ERROR)
        taken++;
    assert_true(taken <= 8); /* one turn */
    fake_run_work(1000);
    detach(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(requests_reach_their_partition_and_no_other_sector, setup),
        cmocka_unit_test_setup(nonsense_requests_get_a_status_and_nothing_happens, setup),
        cmocka_unit_test_setup(direct_requests_reach_the_clients_ram_and_no_other, setup),
        cmocka_unit_test_setup(direct_requests_outside_ram_get_a_status, setup),
        cmocka_unit_test_setup(direct_is_for_disks, setup),
        cmocka_unit_test_setup(disk_errors_are_that_requests_error, setup),
        cmocka_unit_test_setup(large_blocks_are_asked_for_whole, setup),
        cmocka_unit_test_setup(there_is_one_writer_for_each_sector, setup),
        cmocka_unit_test_setup(names_that_mean_nothing, setup),
        cmocka_unit_test_setup(the_backup_table_serves, setup),
        cmocka_unit_test_setup(files_are_read_only_and_padded_with_zeroes, setup),
        cmocka_unit_test_setup(throw_away_writes_are_seen_by_their_writer_only, setup),
        cmocka_unit_test_setup(a_broken_queue_is_disconnected_alone_and_logged_once, setup),
        cmocka_unit_test_setup(a_flood_leaves_the_others_their_share, setup),
        cmocka_unit_test_setup(limits_hold_over_time, setup),
        cmocka_unit_test_setup(detach_waits_for_the_disk_but_not_forever, setup),
        cmocka_unit_test_setup(a_disk_that_fails_at_once_does_not_hold_up_the_loop, setup),
    };
    return cmocka_run_group_tests(tests, setup_group, NULL);
}
