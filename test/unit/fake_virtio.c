/* A virtio-pci device. VIRTIO 1.2, 4.1.4 (registers), 2.7 (queues). */
#include "fake_virtio.h"

#include <assert.h>
#include <string.h>

#define BAR_MSIX 1u
#define BAR_REGISTERS 4u
#define AT_DEVICE 0x1000u
#define AT_NOTIFY 0x2000u
#define NOTIFY_MULTIPLIER 4u
#define QUEUE_SIZE 64u

#define F_INDIRECT (1ull << 28)
#define F_EVENT (1ull << 29)

struct desc {
    uint64_t address;
    uint32_t bytes;
    uint16_t flags, next;
};

static void put_capability(struct fake_virtio *v, uint8_t at, uint8_t next, uint8_t type,
                           uint32_t offset, uint32_t bytes) {
    uint8_t *c = v->function.config + at;
    c[0] = 0x09;
    c[1] = next;
    c[2] = type == 2 ? 20 : 16;
    c[3] = type;
    c[4] = BAR_REGISTERS;
    fake_config_set32(&v->function, at + 8u, offset);
    fake_config_set32(&v->function, at + 12u, bytes);
    if (type == 2)
        fake_config_set32(&v->function, at + 16u, NOTIFY_MULTIPLIER);
}

static uint32_t read_common(struct fake_virtio *v, uint32_t offset) {
    struct fake_queue *q = v->queue_select < FAKE_VIRTIO_QUEUES ? &v->queue[v->queue_select] : NULL;
    switch (offset) {
    case 0x04:
        return (uint32_t)(v->features >> (v->feature_select ? 32 : 0));
    case 0x10:
        return v->config_vector;
    case 0x12:
        return FAKE_VIRTIO_QUEUES;
    case 0x14:
        return v->status | (v->needs_reset ? 0x40u : 0);
    case 0x15:
        return 0;
    case 0x18:
        return q ? q->size : 0;
    case 0x1a:
        return q ? q->vector : 0xffff;
    case 0x1c:
        return q ? q->enabled : 0;
    case 0x1e:
        return v->queue_select;
    }
    assert(!"a register that the driver has no business to read");
    return 0;
}

static void reset(struct fake_virtio *v) {
    if (v->ignores_reset)
        return;
    v->status = 0;
    v->accepted = 0;
    v->needs_reset = false;
    for (unsigned i = 0; i < FAKE_VIRTIO_QUEUES; i++)
        v->queue[i] = (struct fake_queue){.size = QUEUE_SIZE, .vector = 0xffff};
}

static void write_status(struct fake_virtio *v, uint8_t status) {
    if (status == 0) {
        reset(v);
        return;
    }
    if (status & 8u && v->refuses_features)
        status &= (uint8_t)~8u;
    if (status & 8u && !(v->status & 8u))
        assert((v->accepted & ~v->features) == 0);
    if (status & 4u) /* DRIVER_OK: not without FEATURES_OK, and with DMA on */
        assert(status & 8u && fake_bus_master(&v->function));
    v->status = status;
}

static void set_half(uint64_t *value, bool high, uint32_t half) {
    *value =
        high ? (*value & 0xffffffffu) | (uint64_t)half << 32 : (*value & ~0xffffffffull) | half;
}

static void write_queue(struct fake_queue *q, uint32_t offset, uint32_t value) {
    assert(!q->enabled);
    switch (offset) {
    case 0x18:
        assert(value && value <= QUEUE_SIZE && (value & (value - 1)) == 0);
        q->size = (uint16_t)value;
        return;
    case 0x1a:
        q->vector = (uint16_t)value;
        return;
    case 0x1c:
        assert(value == 1 && q->desc % 16 == 0 && q->driver % 2 == 0 && q->device % 4 == 0);
        q->enabled = 1;
        return;
    case 0x20:
    case 0x24:
        set_half(&q->desc, offset & 4u, value);
        return;
    case 0x28:
    case 0x2c:
        set_half(&q->driver, offset & 4u, value);
        return;
    case 0x30:
    case 0x34:
        set_half(&q->device, offset & 4u, value);
        return;
    }
    assert(!"a register that the driver has no business to write");
}

static void write_common(struct fake_virtio *v, uint32_t offset, uint32_t value) {
    switch (offset) {
    case 0x00:
        v->feature_select = value;
        return;
    case 0x08:
        v->driver_feature_select = value;
        return;
    case 0x0c:
        assert(!(v->status & 8u));
        set_half(&v->accepted, v->driver_feature_select, value);
        return;
    case 0x10:
        v->config_vector = (uint16_t)value;
        return;
    case 0x14:
        write_status(v, (uint8_t)value);
        return;
    case 0x16:
        v->queue_select = (uint16_t)value;
        return;
    }
    assert(v->queue_select < FAKE_VIRTIO_QUEUES);
    write_queue(&v->queue[v->queue_select], offset, value);
}

static uint32_t bar_read(struct fake_function *f, unsigned bar, uint32_t offset, unsigned width) {
    struct fake_virtio *v = (struct fake_virtio *)(void *)f;
    uint32_t value = 0;
    assert(bar == BAR_REGISTERS);
    if (offset < AT_DEVICE)
        return read_common(v, offset);
    offset -= AT_DEVICE;
    assert(offset + width <= FAKE_VIRTIO_CONFIG_BYTES);
    memcpy(&value, v->config + offset, width);
    return value;
}

static void bar_write(struct fake_function *f, unsigned bar, uint32_t offset, unsigned width,
                      uint32_t value) {
    struct fake_virtio *v = (struct fake_virtio *)(void *)f;
    if (bar == BAR_MSIX) {
        assert(offset + width <= sizeof(v->msix));
        memcpy(v->msix + offset, &value, width);
    } else if (offset < AT_DEVICE) {
        write_common(v, offset, value);
    } else {
        unsigned queue = (offset - AT_NOTIFY) / NOTIFY_MULTIPLIER;
        assert(queue < FAKE_VIRTIO_QUEUES && queue == value && v->status & 4u);
        v->notifications++;
        if (v->notified)
            v->notified(v, queue);
    }
}

void fake_virtio_init(struct fake_virtio *v, uint8_t slot, uint16_t device_id, uint64_t features) {
    *v = (struct fake_virtio){.features = features | 1ull << 32, .config_vector = 0xffff};
    struct fake_function *f = &v->function;
    f->device = slot;
    f->read = bar_read;
    f->write = bar_write;
    f->bar_bytes[BAR_MSIX] = 4096;
    f->bar_bytes[BAR_REGISTERS] = 16384;
    fake_config_set16(f, 0x00, 0x1af4);
    fake_config_set16(f, 0x02, device_id);
    fake_config_set16(f, 0x04, 7); /* left running by whoever was here before */
    fake_config_set16(f, 0x06, 0x10);
    fake_config_set32(f, 0x14, 0xfe000000u + slot * 0x10000u);
    fake_config_set32(f, 0x20, (0xfe008000u + slot * 0x10000u) | 0xcu); /* 64 bits, prefetchable */
    f->config[0x34] = 0x40;
    put_capability(v, 0x40, 0x54, 1, 0, 0x38);
    put_capability(v, 0x54, 0x70, 2, AT_NOTIFY, 0x1000);
    put_capability(v, 0x70, 0x84, 4, AT_DEVICE, FAKE_VIRTIO_CONFIG_BYTES);
    f->config[0x84] = 0x11;
    fake_config_set16(f, 0x86, 7); /* eight MSI-X entries */
    fake_config_set32(f, 0x88, BAR_MSIX);
    fake_config_set32(f, 0x8c, 0x800 | BAR_MSIX);
    reset(v);
    fake_add_function(f);
}

static void *memory(uint64_t address) {
    return (void *)(uintptr_t)address;
}

static void add_segment(struct fake_chain *chain, const struct desc *d) {
    assert(chain->count < FAKE_VIRTIO_SEGMENTS);
    bool writable = d->flags & 2u;
    /* Readable ones first (2.7.4.2). */
    assert(writable || chain->count == 0 || !chain->segment[chain->count - 1].writable);
    chain->segment[chain->count++] = (struct fake_segment){memory(d->address), d->bytes, writable};
}

static void walk(const struct desc *table, unsigned entries, uint16_t at,
                 struct fake_chain *chain) {
    for (unsigned i = 0;; i++) {
        assert(i < entries && at < entries);
        const struct desc *d = &table[at];
        assert(!(d->flags & 4u)); /* indirect: only as the first, see fake_virtio_take */
        add_segment(chain, d);
        if (!(d->flags & 1u))
            return;
        at = d->next;
    }
}

bool fake_virtio_take(struct fake_virtio *v, unsigned queue, struct fake_chain *chain) {
    struct fake_queue *q = &v->queue[queue];
    assert(fake_bus_master(&v->function) && q->enabled);
    const uint16_t *avail = memory(q->driver);
    if (avail[1] == q->avail_seen)
        return false;
    assert((uint16_t)(avail[1] - q->avail_seen) <= q->size);
    chain->head = avail[2 + q->avail_seen++ % q->size];
    chain->count = 0;
    const struct desc *table = memory(q->desc);
    assert(chain->head < q->size);
    if (table[chain->head].flags & 4u) {
        const struct desc *d = &table[chain->head];
        assert(v->accepted & F_INDIRECT && d->flags == 4u && d->bytes % 16 == 0 &&
               d->bytes / 16 <= q->size);
        walk(memory(d->address), d->bytes / 16, 0, chain);
    } else {
        walk(table, q->size, chain->head, chain);
    }
    if (v->accepted & F_EVENT) { /* notify again at the next one */
        uint16_t *used = memory(q->device);
        memcpy(used + 2 + (size_t)4 * q->size, &q->avail_seen, sizeof(uint16_t));
    }
    return true;
}

void fake_virtio_set_used_index(struct fake_virtio *v, unsigned queue, uint16_t index) {
    uint16_t *used = memory(v->queue[queue].device);
    __atomic_store_n(&used[1], index, __ATOMIC_RELEASE);
}

void fake_virtio_use(struct fake_virtio *v, unsigned queue, uint32_t id, uint32_t bytes) {
    struct fake_queue *q = &v->queue[queue];
    uint8_t *entry = (uint8_t *)memory(q->device) + 4 + (size_t)8 * (q->used_made % q->size);
    memcpy(entry, &id, sizeof(id));
    memcpy(entry + 4, &bytes, sizeof(bytes));
    fake_virtio_set_used_index(v, queue, ++q->used_made);
}

static void send_msi(const struct fake_virtio *v, uint16_t vector) {
    uint32_t data, control;
    uint16_t msix_control;
    assert(vector < 8);
    memcpy(&msix_control, v->function.config + 0x86, sizeof(msix_control));
    memcpy(&data, v->msix + (size_t)16 * vector + 8, sizeof(data));
    memcpy(&control, v->msix + (size_t)16 * vector + 12, sizeof(control));
    assert(msix_control & 0x8000 && !(msix_control & 0x4000) && !(control & 1));
    fake_interrupt(data);
}

void fake_virtio_interrupt(struct fake_virtio *v, unsigned queue, bool force) {
    const struct fake_queue *q = &v->queue[queue];
    if (!q->enabled)
        return;
    const uint16_t *avail = memory(q->driver);
    bool wanted = v->accepted & F_EVENT
                      ? (uint16_t)(q->used_made - avail[2 + q->size] - 1) < q->size
                      : !(avail[0] & 1u);
    if (q->vector != 0xffff && (wanted || force))
        send_msi(v, q->vector);
}

void fake_virtio_config_changed(struct fake_virtio *v) {
    send_msi(v, v->config_vector);
}

/* Drivers keep what they allocated for a device: there is no unplugging. That is not a leak. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "detect_leaks=0";
}
