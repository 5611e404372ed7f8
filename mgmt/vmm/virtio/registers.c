/* Registers of a virtio PCI device: VIRTIO 1.2, 4.1. Reads see an image of the registers and may be
 * of any size; writes count only at a register's beginning and in its width (4.1.3.1), 64-bit ones
 * also as two halves. */
#include "mgmt/vmm/virtio/registers.h"

#include <assert.h>
#include <string.h>

/* Memory BAR */
#define MEMORY_BYTES 4096u
#define COMMON 0x000u
#define ISR 0x100u
#define CONFIG 0x200u
#define CONFIG_BYTES 0x100u
#define MSIX_TABLE 0x800u
#define MSIX_PENDING 0xf00u
_Static_assert(MSIX_TABLE + MSIX_VECTORS_MAX * MSIX_ENTRY_BYTES <= MSIX_PENDING, "fits");

#define CAPABILITY_VENDOR 0x09u /* PCI 3.0, appendix H */
#define NOTIFY_BAR_BYTES 64u
_Static_assert(VIRTIO_QUEUES_MAX *VIRTIO_NOTIFY_BYTES <= NOTIFY_BAR_BYTES, "fits");

/* --- common configuration, 4.1.4.3 --- */

static struct virtio_queue *selected(struct virtio_device *d) {
    return d->queue_select < d->queues ? &d->queue[d->queue_select] : NULL;
}

static void put(uint8_t *image, unsigned offset, uint64_t value, unsigned bytes) {
    memcpy(image + offset, &value, bytes);
}

static uint32_t half(uint64_t value, uint32_t select) {
    return select == 0 ? (uint32_t)value : select == 1 ? (uint32_t)(value >> 32) : 0;
}

static void common_image(struct virtio_device *d, uint8_t image[VIRTIO_COMMON_LENGTH]) {
    memset(image, 0, VIRTIO_COMMON_LENGTH);
    put(image, VIRTIO_COMMON_DEVICE_FEATURE_SELECT, d->device_feature_select, 4);
    put(image, VIRTIO_COMMON_DEVICE_FEATURE, half(d->offered, d->device_feature_select), 4);
    put(image, VIRTIO_COMMON_DRIVER_FEATURE_SELECT, d->driver_feature_select, 4);
    put(image, VIRTIO_COMMON_DRIVER_FEATURE, half(d->accepted, d->driver_feature_select), 4);
    put(image, VIRTIO_COMMON_CONFIG_VECTOR, d->config_vector, 2);
    put(image, VIRTIO_COMMON_QUEUES, d->queues, 2);
    put(image, VIRTIO_COMMON_STATUS, d->status, 1);
    put(image, VIRTIO_COMMON_CONFIG_GENERATION, d->generation, 1);
    put(image, VIRTIO_COMMON_QUEUE_SELECT, d->queue_select, 2);
    const struct virtio_queue *q = selected(d);
    if (!q)
        return; /* size 0: there is no such queue */
    put(image, VIRTIO_COMMON_QUEUE_SIZE, q->size, 2);
    put(image, VIRTIO_COMMON_QUEUE_VECTOR, q->vector, 2);
    put(image, VIRTIO_COMMON_QUEUE_ENABLE, q->enabled, 2);
    put(image, VIRTIO_COMMON_QUEUE_NOTIFY_OFFSET, d->queue_select, 2);
    put(image, VIRTIO_COMMON_QUEUE_DESC, q->desc, 8);
    put(image, VIRTIO_COMMON_QUEUE_DRIVER, q->avail, 8);
    put(image, VIRTIO_COMMON_QUEUE_DEVICE, q->used, 8);
}

static void write_feature(struct virtio_device *d, uint32_t value) {
    unsigned shift = d->driver_feature_select * 32;
    if (d->status & VIRTIO_STATUS_FEATURES_OK || d->driver_feature_select > 1)
        return; /* 2.2.1: settled */
    d->accepted = (d->accepted & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)value << shift;
}

static uint16_t valid_vector(const struct virtio_device *d, uint64_t value) {
    return value < d->msix.vectors ? (uint16_t)value : VIRTIO_VECTOR_NONE; /* 4.1.5.1.2 */
}

static void write_common16(struct virtio_device *d, uint64_t offset, uint16_t value) {
    struct virtio_queue *q = selected(d);
    if (offset == VIRTIO_COMMON_CONFIG_VECTOR)
        d->config_vector = valid_vector(d, value);
    else if (offset == VIRTIO_COMMON_QUEUE_SELECT)
        d->queue_select = value;
    else if (!q)
        return;
    else if (offset == VIRTIO_COMMON_QUEUE_VECTOR)
        q->vector = valid_vector(d, value);
    else if (offset == VIRTIO_COMMON_QUEUE_SIZE && !q->enabled && value <= d->class->queue_size)
        q->size = value; /* virtqueue_open looks at it */
    else if (offset == VIRTIO_COMMON_QUEUE_ENABLE && value == 1)
        virtio_enable_queue(d, q);
}

static void set_half(uint64_t *whole, uint64_t offset, uint32_t value) {
    unsigned shift = offset % 8 * 8;
    *whole = (*whole & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)value << shift;
}

static void write_common32(struct virtio_device *d, uint64_t offset, uint32_t value) {
    struct virtio_queue *q = selected(d);
    if (offset == VIRTIO_COMMON_DEVICE_FEATURE_SELECT)
        d->device_feature_select = value;
    else if (offset == VIRTIO_COMMON_DRIVER_FEATURE_SELECT)
        d->driver_feature_select = value;
    else if (offset == VIRTIO_COMMON_DRIVER_FEATURE)
        write_feature(d, value);
    else if (!q || q->enabled || offset % 4)
        return;
    else if (offset - VIRTIO_COMMON_QUEUE_DESC < 8)
        set_half(&q->desc, offset, value);
    else if (offset - VIRTIO_COMMON_QUEUE_DRIVER < 8)
        set_half(&q->avail, offset, value);
    else if (offset - VIRTIO_COMMON_QUEUE_DEVICE < 8)
        set_half(&q->used, offset, value);
}

static void write_common(struct virtio_device *d, uint64_t offset, unsigned bytes, uint64_t value) {
    if (bytes == 1 && offset == VIRTIO_COMMON_STATUS) {
        virtio_write_status(d, (uint8_t)value);
    } else if (d->resetting) {
        return;
    } else if (bytes == 2) {
        write_common16(d, offset, (uint16_t)value);
    } else if (bytes == 4) {
        write_common32(d, offset, (uint32_t)value);
    } else if (bytes == 8 && offset % 8 == 0 && offset >= VIRTIO_COMMON_QUEUE_DESC) {
        write_common32(d, offset, (uint32_t)value);
        write_common32(d, offset + 4, (uint32_t)(value >> 32));
    }
}

/* --- BARs --- */

/* Of `all` bytes those at offset; what lies beyond reads as zero. */
static uint64_t part(const void *from, uint64_t all, uint64_t offset, unsigned bytes) {
    uint64_t value = 0;
    if (offset < all && bytes <= sizeof(value))
        memcpy(&value, (const uint8_t *)from + offset,
               bytes < all - offset ? bytes : (size_t)(all - offset));
    return value;
}

static uint64_t memory_read(const struct bus_access *a) {
    struct virtio_device *d = a->device;
    if (a->offset >= MSIX_PENDING)
        return msix_read_pending(&d->msix, a->offset - MSIX_PENDING, a->bytes);
    if (a->offset >= MSIX_TABLE)
        return msix_read_table(&d->msix, a->offset - MSIX_TABLE, a->bytes);
    if (a->offset >= CONFIG)
        return part(d->config, d->config_bytes, a->offset - CONFIG, a->bytes);
    if (a->offset == ISR) {
        uint8_t isr = d->isr;
        d->isr = 0; /* 4.1.4.5 */
        virtio_update_intx(d);
        return isr;
    }
    uint8_t image[VIRTIO_COMMON_LENGTH];
    common_image(d, image);
    return part(image, sizeof(image), a->offset - COMMON, a->bytes);
}

static void memory_write(const struct bus_access *a) {
    struct virtio_device *d = a->device;
    if (a->offset < VIRTIO_COMMON_LENGTH)
        write_common(d, a->offset - COMMON, a->bytes, a->value);
    else if (a->offset >= MSIX_TABLE && a->offset < MSIX_PENDING)
        msix_write_table(&d->msix, a->offset - MSIX_TABLE, a->bytes, a->value);
}

/* 4.1.5.2: the value is the queue's number again; the port alone decides, as with a doorbell. */
static void notify_write(const struct bus_access *a) {
    virtio_notify(a->device, (unsigned)(a->offset / VIRTIO_NOTIFY_BYTES));
}

/* --- the window in configuration space, 4.1.4.9 --- */

/* What the driver accesses by way of configuration space at `offset`. NULL: nothing that is there.
 */
static const struct bus_range *pci_window(struct virtio_device *d, unsigned offset,
                                          struct bus_access *access) {
    const uint8_t *capability = d->function.config + d->pci_capability;
    uint8_t index = capability[VIRTIO_CAP_BAR];
    uint32_t at, bytes;
    memcpy(&at, capability + VIRTIO_CAP_OFFSET, sizeof(at));
    memcpy(&bytes, capability + VIRTIO_CAP_BYTES, sizeof(bytes));
    if (offset != d->pci_capability + VIRTIO_CAP_PCI_DATA || index > VIRTIO_BAR_MEMORY ||
        (bytes != 1 && bytes != 2 && bytes != 4) || at % bytes ||
        at >= d->function.bar[index].bytes)
        return NULL;
    *access = (struct bus_access){d, at, bytes, 0};
    return &d->function.bar[index].range;
}

static void config_reading(struct pci_function *function, unsigned offset) {
    struct bus_access access;
    const struct bus_range *bar = pci_window(function->device, offset, &access);
    if (bar && bar->read)
        pci_set32(function, offset, (uint32_t)bar->read(&access));
}

static void config_changed(struct pci_function *function, unsigned offset, unsigned size) {
    struct virtio_device *d = function->device;
    struct bus_access access;
    const struct bus_range *bar = pci_window(d, offset, &access);
    (void)size;
    if (bar) {
        memcpy(&access.value, function->config + offset, access.bytes);
        bar->write(&access);
    }
    msix_config_written(&d->msix);
    virtio_update_intx(d);
}

/* --- the function --- */

static unsigned add_capability(struct virtio_device *d, uint8_t type, uint8_t length, uint8_t bar,
                               uint32_t offset, uint32_t bytes) {
    unsigned at = pci_add_capability(&d->function, CAPABILITY_VENDOR, length);
    d->function.config[at + VIRTIO_CAP_LENGTH] = length;
    d->function.config[at + VIRTIO_CAP_TYPE] = type;
    d->function.config[at + VIRTIO_CAP_BAR] = bar;
    pci_set32(&d->function, at + VIRTIO_CAP_OFFSET, offset);
    pci_set32(&d->function, at + VIRTIO_CAP_BYTES, bytes);
    return at;
}

static void add_capabilities(struct virtio_device *d) {
    add_capability(d, VIRTIO_CAP_TYPE_COMMON, VIRTIO_CAP_LENGTH_MIN, VIRTIO_BAR_MEMORY, COMMON,
                   VIRTIO_COMMON_LENGTH);
    unsigned notify = add_capability(d, VIRTIO_CAP_TYPE_NOTIFY, VIRTIO_CAP_NOTIFY_LENGTH,
                                     VIRTIO_BAR_NOTIFY, 0, d->queues * VIRTIO_NOTIFY_BYTES);
    pci_set32(&d->function, notify + VIRTIO_CAP_NOTIFY_MULTIPLIER, VIRTIO_NOTIFY_BYTES);
    add_capability(d, VIRTIO_CAP_TYPE_ISR, VIRTIO_CAP_LENGTH_MIN, VIRTIO_BAR_MEMORY, ISR, 1);
    if (d->config_bytes)
        add_capability(d, VIRTIO_CAP_TYPE_DEVICE, VIRTIO_CAP_LENGTH_MIN, VIRTIO_BAR_MEMORY, CONFIG,
                       d->config_bytes);
    d->pci_capability = add_capability(d, VIRTIO_CAP_TYPE_PCI, VIRTIO_CAP_PCI_LENGTH, 0, 0, 0);
    uint8_t *writable = d->function.writable + d->pci_capability;
    writable[VIRTIO_CAP_BAR] = UINT8_MAX;
    memset(writable + VIRTIO_CAP_OFFSET, UINT8_MAX, VIRTIO_CAP_PCI_LENGTH - VIRTIO_CAP_OFFSET);
}

void virtio_add_registers(struct virtio_device *d) {
    assert(d->queues >= 1 && d->queues <= VIRTIO_QUEUES_MAX && d->config_bytes <= CONFIG_BYTES);
    struct pci_function *f = &d->function;
    pci_function_init(f, VIRTIO_PCI_VENDOR, (uint16_t)(VIRTIO_PCI_DEVICE + d->class->type),
                      d->class->pci_class, VIRTIO_PCI_REVISION_MIN);
    pci_set16(f, PCI_SUBSYSTEM_VENDOR, VIRTIO_PCI_VENDOR);
    pci_set16(f, PCI_SUBSYSTEM_VENDOR + 2, VIRTIO_PCI_SUBSYSTEM);
    pci_add_bar(f, VIRTIO_BAR_NOTIFY, true, NOTIFY_BAR_BYTES,
                &(struct bus_range){.write = notify_write, .device = d});
    pci_add_bar(f, VIRTIO_BAR_MEMORY, false, MEMORY_BYTES,
                &(struct bus_range){.read = memory_read, .write = memory_write, .device = d});
    pci_add_interrupt(f);
    add_capabilities(d);
    msix_init(&d->msix, f, d->queues + 1, VIRTIO_BAR_MEMORY, MSIX_TABLE, MSIX_PENDING);
    f->reading = config_reading;
    f->changed = config_changed;
    f->device = d;
}
