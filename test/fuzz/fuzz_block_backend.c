/* A client of the block back end that writes anything into its queue and window, on a disk that
 * fails now and then. No request may reach a sector outside the client's volume, or memory that is
 * not its own (a window, with io='direct' RAM in two stretches besides), whatever stands in the
 * queue. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/fake_client.h"
#include "../unit/fake_platform.h"
#include "../unit/gpt_image.h"
#include "mgmt/block/disk.h"

#define REQUESTS_MAX 8u
#define STEP_BYTES 8u
#define FIRST_SECTOR 100u /* of the partition "data" */
#define LAST_SECTOR 199u

static struct disk_request *waiting[REQUESTS_MAX];
static unsigned waiting_count;
static bool booting = true;
static uint8_t image[IMAGE_BLOCKS * 512];
static struct fake_client client;
static uint8_t low[8192], high[4096]; /* the client's RAM */

static void require(bool holds) {
    if (!holds)
        abort();
}

static bool is_in(const struct disk_segment *s, uint64_t base, uint64_t bytes) {
    uint64_t offset = s->hpa.raw - base;
    return offset <= bytes && s->bytes <= bytes - offset;
}

static void check_memory(const struct disk_request *r) {
    require(r->segments <= DISK_SEGMENTS_MAX);
    for (unsigned i = 0; i < r->segments; i++) {
        const struct disk_segment *s = &r->segment[i];
        bool good = is_in(s, (uintptr_t)client.window, CLIENT_WINDOW_BYTES);
        for (uint32_t n = 0; n < client.channel.ram_parts; n++)
            good |= is_in(s, client.channel.ram[n].hpa.raw, client.channel.ram[n].bytes);
        require(good && (r->operation == DISK_ID || s->bytes % 512 == 0));
    }
}

static void submit(struct disk *disk, struct disk_request *r) {
    (void)disk;
    if (booting) {
        memcpy((void *)(uintptr_t)r->segment[0].hpa.raw, image + r->sector * 512, r->sectors * 512);
        r->done(r, BH_OK);
        return;
    }
    if (r->operation != DISK_FLUSH && r->operation != DISK_ID)
        require(r->sector >= FIRST_SECTOR && r->sectors && r->sector <= LAST_SECTOR &&
                r->sectors <= LAST_SECTOR - r->sector + 1);
    if (r->operation != DISK_DISCARD && r->operation != DISK_WRITE_ZEROES)
        check_memory(r);
    require(waiting_count < REQUESTS_MAX);
    waiting[waiting_count++] = r;
}

static void release(unsigned index, bool fails) {
    if (waiting_count == 0)
        return;
    index %= waiting_count;
    struct disk_request *r = waiting[index];
    waiting_count--;
    waiting[index] = waiting[waiting_count];
    r->done(r, fails ? BH_IO_ERROR : BH_OK);
}

static void give_up(struct disk *disk) {
    (void)disk;
    abort(); /* the model always answers */
}

static void ignore(void *context) {
    *(bool *)context = true;
}

static void boot(void) {
    static struct disk disk = {.name = "disk",
                               .sectors = IMAGE_BLOCKS,
                               .block_bytes = 512,
                               .physical_bytes = 512,
                               .can_discard = true,
                               .can_write_zeroes = true,
                               .requests_max = REQUESTS_MAX,
                               .submit = submit,
                               .give_up = give_up};
    fake_reset();
    image_make(image);
    disk_add(&disk);
    block_start(NULL, 0);
    booting = false;
}

/* One request of the client's own making, mostly sensible. */
static void push(const uint8_t *step) {
    struct bh_segment segments[BH_QUEUE_SEGMENTS_MAX];
    struct bh_request request = {.operation = step[0] % 7,
                                 .segments = step[1] % 5,
                                 .flags = step[2] == 255,
                                 .tag = step[3],
                                 .argument = step[4] == 255 ? ~0ull - step[5] : step[4]};
    /* With RAM, to its end and beyond. */
    uint64_t unit = client.channel.ram_parts ? 640 : 512;
    if (request.operation >= 3)
        unit = 0;
    for (unsigned i = 0; i < request.segments; i++)
        segments[i] = (struct bh_segment){.offset = step[6] == 255 ? ~0ull - i : step[6] * unit,
                                          .bytes = step[7] % 16 * 512u + (step[7] == 255)};
    if (queue_push(&client.end, &request, segments))
        queue_publish(&client.end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct block_settings settings = {.source = "partition:data"};
    struct bh_block_info info;
    enum bh_status status;
    char error[64];
    if (booting)
        boot();
    if (size < 1)
        return 0;
    settings.throw_away = data[0] & 1;
    settings.iops_limit = data[0] & 2 ? 100 : 0;
    client_prepare(&client, "fuzz", 1);
    if (data[0] & 4 && !settings.throw_away) {
        client.channel.ram[0] = (struct ram_part){{(uintptr_t)low}, sizeof(low)};
        client.channel.ram[1] = (struct ram_part){{(uintptr_t)high}, sizeof(high)};
        client.channel.ram_parts = 2;
    }
    struct block_client *b =
        block_attach(&client.channel, &settings, &info, &status, error, sizeof(error));
    require(b && client_open(&client));
    for (size_t i = 1; i + 1 + STEP_BYTES <= size; i += 1 + STEP_BYTES) {
        const uint8_t *step = data + i + 1;
        struct bh_completion completion;
        switch (data[i] % 8) {
        case 0: /* anywhere in the queue, whatever it means */
            client.submissions[(step[0] | step[1] << 8) % sizeof(client.submissions)] = step[2];
            break;
        case 1:
            queue_take_completion(&client.end, &completion);
            break;
        case 2:
            release(step[0], step[1] & 1);
            break;
        case 3:
            fake_advance_ns(step[0] * 1000000ull);
            break;
        default:
            push(step);
        }
        block_service(b);
        fake_run_work(20);
    }
    bool done = false;
    block_detach(b, ignore, &done);
    while (waiting_count)
        release(0, false);
    require(done);
    fake_run_work(20);
    return 0;
}
