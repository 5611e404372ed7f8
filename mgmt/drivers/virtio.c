/* Virtio over PCI: registers, status handshake, features, queue set-up. Structure offsets:
 * VIRTIO 1.2, 4.1.4. The device is trusted with nothing: where its registers lie is checked against
 * the BAR, every wait for it is bounded. */
#include "mgmt/drivers/virtio.h"

#include "mgmt/pci/mmio.h"

#define CONFIG_VECTOR 0u

#define RESET_READS_MAX 100000u /* an uncached read takes at least about a microsecond: 0.1 s */
#define GENERATION_TRIES 8u

static bool refuse(struct virtio_device *d, const char *why) {
    log_line("virtio", "%s: %s: not used", d->name, why);
    if (d->common)
        mmio_write8(d->common + VIRTIO_COMMON_STATUS, VIRTIO_STATUS_FAILED);
    d->broken = true;
    return false;
}

static uint8_t read_status(const struct virtio_device *d) {
    return mmio_read8(d->common + VIRTIO_COMMON_STATUS);
}

static void add_status(const struct virtio_device *d, uint8_t bits) {
    mmio_write8(d->common + VIRTIO_COMMON_STATUS, read_status(d) | bits);
}

/* 4.1.4.3.2: the reset is over when the status reads 0. */
static bool reset(const struct virtio_device *d) {
    mmio_write8(d->common + VIRTIO_COMMON_STATUS, 0);
    for (unsigned i = 0; i < RESET_READS_MAX; i++)
        if (read_status(d) == 0)
            return true;
    return false;
}

/* Where one capability says that registers lie; NULL if that is outside the BAR or too short. */
static volatile uint8_t *find_registers(struct virtio_device *d, uint8_t offset, uint32_t bytes_min,
                                        uint32_t *bytes) {
    uint8_t bar = pci_config_read8(d->pci->address, offset + VIRTIO_CAP_BAR);
    uint32_t start = pci_config_read32(d->pci->address, offset + VIRTIO_CAP_OFFSET);
    *bytes = pci_config_read32(d->pci->address, offset + VIRTIO_CAP_BYTES);
    if (bar >= PCI_BARS || *bytes < bytes_min || start % 4 != 0 ||
        (uint64_t)start + *bytes > d->pci->bar[bar].bytes)
        return NULL;
    volatile uint8_t *va = pci_map_bar(d->pci, bar);
    return va ? va + start : NULL;
}

static void take_capability(struct virtio_device *d, uint8_t offset) {
    uint32_t bytes;
    uint8_t length = pci_config_read8(d->pci->address, offset + VIRTIO_CAP_LENGTH);
    if (length < VIRTIO_CAP_LENGTH_MIN || offset + length > 256)
        return;
    switch (pci_config_read8(d->pci->address, offset + VIRTIO_CAP_TYPE)) {
    case VIRTIO_CAP_TYPE_COMMON:
        if (!d->common)
            d->common = find_registers(d, offset, VIRTIO_COMMON_LENGTH, &bytes);
        break;
    case VIRTIO_CAP_TYPE_NOTIFY:
        if (d->notify || length < VIRTIO_CAP_NOTIFY_LENGTH)
            break;
        d->notify = find_registers(d, offset, sizeof(uint16_t), &d->notify_bytes);
        d->notify_multiplier =
            pci_config_read32(d->pci->address, offset + VIRTIO_CAP_NOTIFY_MULTIPLIER);
        break;
    case VIRTIO_CAP_TYPE_DEVICE:
        if (!d->config)
            d->config = find_registers(d, offset, 1, &d->config_bytes);
        break;
    }
}

static uint64_t read_features(const struct virtio_device *d) {
    mmio_write32(d->common + VIRTIO_COMMON_DEVICE_FEATURE_SELECT, 0);
    uint64_t low = mmio_read32(d->common + VIRTIO_COMMON_DEVICE_FEATURE);
    mmio_write32(d->common + VIRTIO_COMMON_DEVICE_FEATURE_SELECT, 1);
    return low | (uint64_t)mmio_read32(d->common + VIRTIO_COMMON_DEVICE_FEATURE) << 32;
}

static bool negotiate(struct virtio_device *d, uint64_t (*choose)(uint64_t offered)) {
    uint64_t offered = read_features(d);
    if (!(offered & VIRTIO_F_VERSION_1))
        return refuse(d, "no modern interface (VIRTIO_F_VERSION_1)");
    d->features = offered & (choose(offered) | VIRTIO_F_VERSION_1 | VIRTIO_F_ACCESS_PLATFORM |
                             VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX);
    mmio_write32(d->common + VIRTIO_COMMON_DRIVER_FEATURE_SELECT, 0);
    mmio_write32(d->common + VIRTIO_COMMON_DRIVER_FEATURE, (uint32_t)d->features);
    mmio_write32(d->common + VIRTIO_COMMON_DRIVER_FEATURE_SELECT, 1);
    mmio_write32(d->common + VIRTIO_COMMON_DRIVER_FEATURE, (uint32_t)(d->features >> 32));
    add_status(d, VIRTIO_STATUS_FEATURES_OK);
    if (!(read_status(d) & VIRTIO_STATUS_FEATURES_OK))
        return refuse(d, "refuses the features it offered");
    return true;
}

static void config_interrupt(void *context) {
    struct virtio_device *d = context;
    if (d->broken)
        return;
    if (read_status(d) & VIRTIO_STATUS_NEEDS_RESET) {
        virtio_break(d, "needs a reset");
        d->failed(d->context);
    } else if (d->config_changed) {
        d->config_changed(d->context);
    }
}

static bool open_config_interrupt(struct virtio_device *d) {
    if (pci_msix_open(d->pci, CONFIG_VECTOR, config_interrupt, d) != BH_OK)
        return refuse(d, "no MSI-X");
    mmio_write16(d->common + VIRTIO_COMMON_CONFIG_VECTOR, CONFIG_VECTOR);
    if (mmio_read16(d->common + VIRTIO_COMMON_CONFIG_VECTOR) != CONFIG_VECTOR)
        return refuse(d, "refuses its configuration vector");
    pci_msix_enable(d->pci);
    return true;
}

bool virtio_open(struct virtio_device *d, uint64_t (*choose)(uint64_t offered)) {
    for (unsigned i = 0; i < d->pci->capabilities; i++)
        if (d->pci->capability[i].id == PCI_CAPABILITY_VENDOR)
            take_capability(d, d->pci->capability[i].offset);
    if (!d->common || !d->notify)
        return refuse(d, "no modern interface (capabilities)");
    if (!reset(d))
        return refuse(d, "does not reset");
    add_status(d, VIRTIO_STATUS_ACKNOWLEDGE);
    add_status(d, VIRTIO_STATUS_DRIVER);
    return negotiate(d, choose) && open_config_interrupt(d);
}

static void write_address(struct virtio_device *d, unsigned offset, struct hpa hpa) {
    mmio_write32(d->common + offset, (uint32_t)hpa.raw);
    mmio_write32(d->common + offset + 4, (uint32_t)(hpa.raw >> 32));
}

static bool queue_interrupt_open(struct virtio_device *d, uint16_t index,
                                 void (*handler)(void *context), void *context) {
    uint16_t vector = handler ? (uint16_t)(index + 1) : VIRTIO_VECTOR_NONE;
    if (handler && pci_msix_open(d->pci, vector, handler, context) != BH_OK)
        return refuse(d, "too few MSI-X entries");
    mmio_write16(d->common + VIRTIO_COMMON_QUEUE_VECTOR, vector);
    if (mmio_read16(d->common + VIRTIO_COMMON_QUEUE_VECTOR) != vector)
        return refuse(d, "refuses a queue's vector");
    return true;
}

static uint16_t power_of_two_below(uint16_t value) {
    uint16_t power = 1;
    while (power <= value / 2)
        power = (uint16_t)(power * 2);
    return power;
}

bool virtio_queue_open(struct virtio_device *d, struct virtq *q, uint16_t index, uint16_t size_max,
                       uint16_t segments_max, void (*handler)(void *context), void *context) {
    mmio_write16(d->common + VIRTIO_COMMON_QUEUE_SELECT, index);
    uint16_t size = mmio_read16(d->common + VIRTIO_COMMON_QUEUE_SIZE);
    uint16_t notify_offset = mmio_read16(d->common + VIRTIO_COMMON_QUEUE_NOTIFY_OFFSET);
    uint64_t notify_at = (uint64_t)notify_offset * d->notify_multiplier;
    if (size == 0)
        return refuse(d, "lacks a queue");
    if (notify_at + sizeof(uint16_t) > d->notify_bytes || notify_at % sizeof(uint16_t))
        return refuse(d, "has a notification register outside its BAR");
    struct virtq_settings settings = {
        .size = power_of_two_below(size < size_max ? size : size_max),
        .segments_max = segments_max,
        .indirect = d->features & VIRTIO_F_INDIRECT_DESC,
        .event_index = d->features & VIRTIO_F_EVENT_IDX,
    };
    if (virtq_create(q, &settings) != BH_OK)
        return refuse(d, "has too short a queue, or there is no memory for it");
    q->notify = d->notify + notify_at;
    q->index = index;
    mmio_write16(d->common + VIRTIO_COMMON_QUEUE_SIZE, settings.size);
    write_address(d, VIRTIO_COMMON_QUEUE_DESC, q->memory.hpa);
    write_address(d, VIRTIO_COMMON_QUEUE_DRIVER, q->avail);
    write_address(d, VIRTIO_COMMON_QUEUE_DEVICE, q->used);
    if (!queue_interrupt_open(d, index, handler, context))
        return false;
    mmio_write16(d->common + VIRTIO_COMMON_QUEUE_ENABLE, 1);
    return true;
}

bool virtio_run(struct virtio_device *d) {
    pci_dma_on(d->pci);
    add_status(d, VIRTIO_STATUS_DRIVER_OK);
    if (!(read_status(d) & VIRTIO_STATUS_DRIVER_OK)) {
        pci_dma_off(d->pci);
        return refuse(d, "does not start");
    }
    return true;
}

uint8_t virtio_config_read8(const struct virtio_device *d, uint32_t offset) {
    return offset + 1 <= d->config_bytes ? mmio_read8(d->config + offset) : 0;
}

uint16_t virtio_config_read16(const struct virtio_device *d, uint32_t offset) {
    return offset + 2 <= d->config_bytes ? mmio_read16(d->config + offset) : 0;
}

uint32_t virtio_config_read32(const struct virtio_device *d, uint32_t offset) {
    return offset + 4 <= d->config_bytes ? mmio_read32(d->config + offset) : 0;
}

uint64_t virtio_config_read64(const struct virtio_device *d, uint32_t offset) {
    uint64_t value = 0;
    for (unsigned i = 0; i < GENERATION_TRIES; i++) {
        uint8_t before = mmio_read8(d->common + VIRTIO_COMMON_CONFIG_GENERATION);
        value = virtio_config_read32(d, offset);
        value |= (uint64_t)virtio_config_read32(d, offset + 4) << 32;
        if (mmio_read8(d->common + VIRTIO_COMMON_CONFIG_GENERATION) == before)
            break;
    }
    return value; /* a device that never holds still gets its last word; all values are bounded
                     anyway */
}

void virtio_break(struct virtio_device *d, const char *why) {
    if (d->broken)
        return;
    d->broken = true;
    log_line("virtio", "%s: %s: reset, not used any more", d->name, why);
    if (!reset(d))
        log_line("virtio", "%s: does not reset: its DMA is shut off", d->name);
    pci_dma_off(d->pci);
}
