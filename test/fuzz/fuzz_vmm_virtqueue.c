/* A driver that writes anything into the rings, the descriptors and indirect tables of its queue,
 * also between a check and what follows. The device must hand out only pieces of the guest's RAM,
 * no more than a chain may have, or declare the queue broken; and stay broken. */
#include <stdlib.h>
#include <string.h>

#include "mgmt/virtio/ring.h"
#include "mgmt/vmm/virtio/virtqueue.h"

#define RAM_BYTES 4096u
#define SIZE 16u
#define DESC 0u
#define AVAIL 0x100u
#define USED 0x140u
#define STEP_BYTES 6u

/* Allocated for each input, so that a byte beyond it is found. */
static uint8_t *ram;
static struct virtqueue q;
static struct virtqueue_chain chain;

static void require(int holds) {
    if (!holds)
        abort();
}

void *ram_at(struct gpa gpa, uint64_t bytes) {
    return gpa.value <= RAM_BYTES && bytes <= RAM_BYTES - gpa.value ? ram + gpa.value : NULL;
}

uint64_t ram_before(const void *at) {
    return (uint64_t)((const uint8_t *)at - ram);
}

static void take(void) {
    bool was_broken = q.broken;
    enum virtqueue_take result = virtqueue_take(&q, &chain);
    require(!was_broken || result == VIRTQUEUE_BROKEN);
    require((result == VIRTQUEUE_BROKEN) == q.broken);
    if (result != VIRTQUEUE_TAKEN)
        return;
    uint64_t readable = 0, writable = 0;
    require(chain.head < SIZE && chain.readable + chain.writable > 0 &&
            chain.readable + chain.writable <= (int)VIRTQUEUE_SIZE_MAX);
    for (unsigned i = 0; i < chain.readable + chain.writable; i++) {
        const struct piece *p = &chain.piece[i];
        require(p->bytes > 0 && p->data >= ram && p->data + p->bytes <= ram + RAM_BYTES);
        *(i < chain.readable ? &readable : &writable) += p->bytes;
    }
    require(readable == chain.readable_bytes && writable == chain.writable_bytes);
}

static void put_desc(uint8_t where, uint8_t address, uint8_t bytes, uint8_t flags, uint8_t next) {
    struct virtq_desc d = {.address = address * 17u, .bytes = bytes, .flags = flags % 8, next};
    if (flags & VIRTQ_DESC_INDIRECT)
        d.bytes = bytes * 16u; /* now and then in order */
    memcpy(ram + (where * 16u) % RAM_BYTES, &d, sizeof(d));
}

static void offer(uint8_t head) {
    uint16_t index;
    memcpy(&index, ram + AVAIL + 2, 2);
    ram[AVAIL + 4 + 2 * (index % SIZE)] = head;
    ram[AVAIL + 5 + 2 * (index % SIZE)] = 0;
    index++;
    memcpy(ram + AVAIL + 2, &index, 2);
}

static void step(const uint8_t *s) {
    switch (s[0] % 8) {
    case 0:
    case 1:
        put_desc(s[1], s[2], s[3], s[4], s[5]);
        break;
    case 2:
        offer(s[1] % (SIZE + 1));
        break;
    case 3:
    case 4:
        take();
        break;
    case 5:
        virtqueue_complete(&q, s[1], s[2]);
        break;
    case 6:
        ram[(s[1] | s[2] << 8) % RAM_BYTES] = s[3];
        break;
    case 7:
        if (s[1] & 1)
            virtqueue_publish(&q);
        if (s[1] & 2)
            virtqueue_want_notification(&q);
        if (s[1] & 4)
            virtqueue_refuse_notification(&q);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1)
        return 0;
    ram = aligned_alloc(64, RAM_BYTES);
    require(ram != NULL);
    memset(ram, 0, RAM_BYTES);
    require(virtqueue_open(&q, &(struct virtqueue_settings){.size = SIZE,
                                                            .indirect = data[0] & 1,
                                                            .event_index = data[0] & 2,
                                                            .desc = {DESC},
                                                            .avail = {AVAIL},
                                                            .used = {USED}}));
    for (size_t i = 1; i + STEP_BYTES <= size; i += STEP_BYTES)
        step(data + i);
    free(ram);
    return 0;
}
