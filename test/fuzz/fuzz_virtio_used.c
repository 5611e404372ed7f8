/* A device that writes anything into its used ring. The driver must take each request back at most
 * once, with no more bytes than it offered, or declare the queue broken; and stay broken. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mgmt/drivers/virtq.h"
#include "mgmt/pci/mmio.h"

#define SIZE 16u
#define STEP_BYTES 4u

static void require(int holds) {
    if (!holds)
        abort();
}

enum bh_status dma_alloc(size_t bytes, struct dma_memory *out) {
    *out = (struct dma_memory){.va = calloc(1, bytes), .bytes = bytes};
    out->hpa.raw = (uintptr_t)out->va;
    return BH_OK;
}

void mmio_write16(volatile void *address, uint16_t value) {
    *(volatile uint16_t *)address = value;
}

static struct virtq q;
static bool in_flight[SIZE];
static uint32_t offered[SIZE];

static void add(unsigned count, uint32_t bytes) {
    struct virtq_segment segments[4];
    if (q.free_slots == 0)
        return;
    uint16_t slot = virtq_next_slot(&q);
    require(slot < q.slots && !in_flight[slot]);
    for (unsigned i = 0; i < count; i++)
        segments[i] = (struct virtq_segment){{0x1000}, bytes, i > 0};
    virtq_add(&q, segments, count);
    if (!q.broken) {
        in_flight[slot] = true;
        offered[slot] = (count - 1) * bytes;
    }
    virtq_publish(&q);
}

static void take(void) {
    uint16_t slot;
    uint32_t bytes;
    bool was_broken = q.broken;
    enum virtq_take result = virtq_take(&q, &slot, &bytes);
    require(!was_broken || result == VIRTQ_BROKEN);
    require((result == VIRTQ_BROKEN) == q.broken);
    if (result != VIRTQ_TAKEN)
        return;
    require(slot < q.slots && in_flight[slot] && bytes <= offered[slot]);
    in_flight[slot] = false;
}

/* One used entry and the index, as a device writes them; id and bytes are small most of the time.
 */
static void use(uint8_t id, uint8_t bytes, bool honest) {
    uint8_t *used = (uint8_t *)q.memory.va + (q.used.raw - q.memory.hpa.raw);
    uint16_t index;
    memcpy(&index, used + 2, 2);
    uint32_t entry[2] = {honest ? id % SIZE : id * 0x01010101u, bytes};
    memcpy(used + 4 + (size_t)8 * (index % q.settings.size), entry, sizeof(entry));
    index++;
    memcpy(used + 2, &index, 2);
}

/* Anything in any word that the device may write. */
static void scribble(uint8_t at, uint8_t value) {
    size_t offset = (size_t)(q.used.raw - q.memory.hpa.raw) + at;
    if (offset < q.memory.bytes)
        ((uint8_t *)q.memory.va)[offset] = value;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint16_t notify;
    if (size < 1)
        return 0;
    struct virtq_settings settings = {
        .size = SIZE, .segments_max = 4, .indirect = data[0] & 1, .event_index = data[0] & 2};
    require(virtq_create(&q, &settings) == BH_OK);
    q.notify = (volatile uint8_t *)&notify;
    memset(in_flight, 0, sizeof(in_flight));
    for (size_t i = 1; i + STEP_BYTES <= size; i += STEP_BYTES) {
        const uint8_t *step = data + i;
        switch (step[0] % 8) {
        case 0:
        case 1:
            add(step[1] % 4u + 1, step[2]);
            break;
        case 2:
        case 3:
            take();
            break;
        case 4:
        case 5:
            use(step[1], step[2], true);
            break;
        case 6:
            use(step[1], step[2], false);
            break;
        case 7:
            scribble(step[1], step[2]);
            break;
        }
        if (step[3] & 1)
            virtq_want_interrupt(&q);
        if (step[3] & 2)
            virtq_refuse_interrupt(&q);
    }
    free(q.slot);
    free(q.memory.va);
    return 0;
}
