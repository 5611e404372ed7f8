/* See virtio_guest.h. */
#include "test/unit/virtio_guest.h"

#include <stdlib.h>
#include <string.h>

#include "mgmt/vmm/bus.c" /* NOLINT: a bus that forgets its devices */
#include "mgmt/vmm/pci.h"
#include "mgmt/vmm/ram.h"

#define SLOT 1u
#define MESSAGE_ADDRESS 0xfee00000u
#define VECTORS 18u

uint8_t guest_ram[GUEST_RAM_BYTES] __attribute__((aligned(4096)));
uint8_t guest_high[GUEST_HIGH_BYTES] __attribute__((aligned(4096)));
unsigned guest_messages[64];
bool guest_wire;
static uint64_t next;

static void require(bool holds) {
    if (!holds)
        abort();
}

void *ram_at(struct gpa gpa, uint64_t bytes) {
    if (gpa.value <= GUEST_RAM_BYTES && bytes <= GUEST_RAM_BYTES - gpa.value)
        return guest_ram + gpa.value;
    uint64_t offset = gpa.value - GUEST_HIGH_BASE;
    if (offset <= GUEST_HIGH_BYTES && bytes <= GUEST_HIGH_BYTES - offset)
        return guest_high + offset;
    return NULL;
}

uint64_t ram_before(const void *at) {
    const uint8_t *byte = at;
    return byte >= guest_high && byte < guest_high + GUEST_HIGH_BYTES
               ? GUEST_RAM_BYTES + (uint64_t)(byte - guest_high)
               : (uint64_t)(byte - guest_ram);
}

static void message(uint64_t address, uint32_t data) {
    if (address == MESSAGE_ADDRESS && data < 64)
        guest_messages[data]++;
}

static void set_wire(bool level) {
    guest_wire = level;
}

void guest_start(void) {
    memset(guest_ram, 0, sizeof guest_ram);
    memset(guest_high, 0, sizeof guest_high);
    memset(guest_messages, 0, sizeof guest_messages);
    guest_wire = false;
    next = 4096;
    ports = memory = NULL;
    pci_init(set_wire, message);
}

uint64_t guest_alloc(uint32_t bytes, uint32_t align) {
    next = (next + align - 1) & ~(uint64_t)(align - 1);
    uint64_t gpa = next;
    next += bytes;
    require(next <= GUEST_RAM_BYTES);
    return gpa;
}

void guest_alloc_reset(void) {
    memset(guest_ram, 0, sizeof guest_ram);
    next = 4096;
}

void *guest_at(uint64_t gpa) {
    void *at = ram_at(GPA(gpa), 1);
    require(at);
    return at;
}

uint64_t guest_read(uint64_t gpa, unsigned bytes) {
    return bus_memory_read(gpa, bytes);
}

void guest_write(uint64_t gpa, unsigned bytes, uint64_t value) {
    bus_memory_write(gpa, bytes, value);
}

static uint64_t ecam(unsigned offset) {
    return PCI_ECAM_BASE + (SLOT << 15) + offset;
}

uint32_t guest_config_read(unsigned offset, unsigned bytes) {
    return (uint32_t)bus_memory_read(ecam(offset), bytes);
}

void guest_config_write(unsigned offset, unsigned bytes, uint32_t value) {
    bus_memory_write(ecam(offset), bytes, value);
}

static uint64_t bar(unsigned index) {
    return guest_config_read(PCI_BAR0 + 4 * index, 4) & ~(index == 0 ? 3u : 15u);
}

void guest_probe(struct guest_device *g) {
    memset(g, 0, sizeof *g);
    guest_config_write(PCI_COMMAND, 2, 7);
    for (unsigned at = guest_config_read(PCI_CAPABILITIES, 1); at;
         at = guest_config_read(at + 1, 1)) {
        if (guest_config_read(at, 1) == 0x11) {
            g->msix_capability = (uint8_t)at;
            uint32_t table = guest_config_read(at + 4, 4), pending = guest_config_read(at + 8, 4);
            g->msix_table = bar(table & 7) + (table & ~7u);
            g->msix_pending = bar(pending & 7) + (pending & ~7u);
            continue;
        }
        uint64_t base = bar(guest_config_read(at + VIRTIO_CAP_BAR, 1)) +
                        guest_config_read(at + VIRTIO_CAP_OFFSET, 4);
        switch (guest_config_read(at + VIRTIO_CAP_TYPE, 1)) {
        case VIRTIO_CAP_TYPE_COMMON:
            g->common = base;
            break;
        case VIRTIO_CAP_TYPE_NOTIFY:
            g->notify_port = (uint16_t)base;
            g->notify_multiplier = guest_config_read(at + VIRTIO_CAP_NOTIFY_MULTIPLIER, 4);
            break;
        case VIRTIO_CAP_TYPE_ISR:
            g->isr = base;
            break;
        case VIRTIO_CAP_TYPE_DEVICE:
            g->config = base;
            break;
        case VIRTIO_CAP_TYPE_PCI:
            g->pci_capability = (uint8_t)at;
            break;
        }
    }
    require(g->common && g->notify_port && g->isr && g->msix_table && g->pci_capability);
}

uint8_t guest_status(const struct guest_device *g) {
    return (uint8_t)guest_read(g->common + VIRTIO_COMMON_STATUS, 1);
}

static void add_status(struct guest_device *g, uint8_t bits) {
    guest_write(g->common + VIRTIO_COMMON_STATUS, 1, guest_status(g) | bits);
}

static void set_up_msix(struct guest_device *g) {
    guest_config_write(g->msix_capability + 2u, 2, 0x8000);
    unsigned vectors = (guest_config_read(g->msix_capability + 2u, 2) & 0x7ff) + 1;
    for (unsigned i = 0; i < vectors; i++) {
        guest_write(g->msix_table + 16 * i, 8, MESSAGE_ADDRESS);
        guest_write(g->msix_table + 16 * i + 8, 4, i);
        guest_write(g->msix_table + 16 * i + 12, 4, 0);
    }
}

bool guest_negotiate(struct guest_device *g, uint64_t features) {
    guest_write(g->common + VIRTIO_COMMON_STATUS, 1, 0);
    require(guest_status(g) == 0);
    add_status(g, VIRTIO_STATUS_ACKNOWLEDGE);
    add_status(g, VIRTIO_STATUS_DRIVER);
    for (unsigned i = 0; i < 2; i++) {
        guest_write(g->common + VIRTIO_COMMON_DRIVER_FEATURE_SELECT, 4, i);
        guest_write(g->common + VIRTIO_COMMON_DRIVER_FEATURE, 4, (uint32_t)(features >> 32 * i));
    }
    add_status(g, VIRTIO_STATUS_FEATURES_OK);
    set_up_msix(g);
    guest_write(g->common + VIRTIO_COMMON_CONFIG_VECTOR, 2, 0);
    return guest_status(g) & VIRTIO_STATUS_FEATURES_OK;
}

void guest_queue_set(struct guest_device *g, struct guest_queue *q, uint16_t index, uint16_t size,
                     uint64_t features) {
    *q = (struct guest_queue){
        .size = size,
        .index = index,
        .desc = guest_alloc(size * 16u, 16),
        .avail = guest_alloc(6 + size * 2u, 2),
        .used = guest_alloc(6 + size * 8u, 4),
        .event_index = features & VIRTIO_F_EVENT_IDX,
        .indirect = features & VIRTIO_F_INDIRECT_DESC,
    };
    guest_write(g->common + VIRTIO_COMMON_QUEUE_SELECT, 2, index);
    require(guest_read(g->common + VIRTIO_COMMON_QUEUE_SIZE, 2) >= size);
    guest_write(g->common + VIRTIO_COMMON_QUEUE_SIZE, 2, size);
    guest_write(g->common + VIRTIO_COMMON_QUEUE_VECTOR, 2, index + 1u);
    guest_write(g->common + VIRTIO_COMMON_QUEUE_DESC, 4, (uint32_t)q->desc);
    guest_write(g->common + VIRTIO_COMMON_QUEUE_DESC + 4, 4, 0);
    guest_write(g->common + VIRTIO_COMMON_QUEUE_DRIVER, 8, q->avail);
    guest_write(g->common + VIRTIO_COMMON_QUEUE_DEVICE, 8, q->used);
    guest_write(g->common + VIRTIO_COMMON_QUEUE_ENABLE, 2, 1);
}

void guest_run(struct guest_device *g) {
    add_status(g, VIRTIO_STATUS_DRIVER_OK);
}

struct virtq_desc *guest_desc(const struct guest_queue *q, unsigned index) {
    return (struct virtq_desc *)guest_at(q->desc) + index;
}

uint16_t *guest_avail(const struct guest_queue *q) {
    return guest_at(q->avail);
}

uint16_t *guest_used(const struct guest_queue *q) {
    return guest_at(q->used);
}

uint16_t guest_add(struct guest_queue *q, const struct guest_buffer *buffers, unsigned count) {
    uint16_t head = q->next_desc;
    uint64_t table = q->indirect && count > 1 ? guest_alloc(count * 16, 4) : 0;
    for (unsigned i = 0; i < count; i++) {
        unsigned index = table ? i : (head + i) % q->size;
        unsigned following = table ? i + 1 : (index + 1) % q->size;
        struct virtq_desc d = {
            .address = buffers[i].gpa,
            .bytes = buffers[i].bytes,
            .flags = (uint16_t)((buffers[i].device_writes ? VIRTQ_DESC_WRITE : 0) |
                                (i + 1 < count ? VIRTQ_DESC_NEXT : 0)),
            .next = (uint16_t)following,
        };
        memcpy(table ? (struct virtq_desc *)guest_at(table + i * 16) : guest_desc(q, index), &d,
               sizeof d);
    }
    if (table)
        *guest_desc(q, head) = (struct virtq_desc){table, count * 16, VIRTQ_DESC_INDIRECT, 0};
    q->next_desc = (uint16_t)((head + (table ? 1 : count)) % q->size);
    guest_avail(q)[2 + q->avail_next++ % q->size] = head;
    return head;
}

bool guest_kick(struct guest_device *g, struct guest_queue *q) {
    uint16_t old = guest_avail(q)[1];
    guest_avail(q)[1] = q->avail_next;
    bool wanted = q->event_index ? (uint16_t)(q->avail_next - guest_used(q)[2 + 4 * q->size] - 1) <
                                       (uint16_t)(q->avail_next - old)
                                 : !(guest_used(q)[0] & VIRTQ_USED_NO_NOTIFY);
    if (wanted)
        bus_port_write((uint16_t)(g->notify_port + q->index * g->notify_multiplier), 2, q->index);
    return wanted;
}

bool guest_take(struct guest_queue *q, uint32_t *id, uint32_t *bytes) {
    if (guest_used(q)[1] == q->used_next)
        return false;
    const uint16_t *entry = guest_used(q) + 2 + 4 * (q->used_next++ % q->size);
    memcpy(id, entry, 4);
    memcpy(bytes, entry + 2, 4);
    if (q->event_index)
        guest_avail(q)[2 + q->size] = q->used_next;
    return true;
}
