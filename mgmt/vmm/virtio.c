#include "mgmt/vmm/virtio.h"

#include <string.h>

/* 4.1.2, 4.1.4 */
#define VENDOR 0x1af4u
#define DEVICE_BASE 0x1040u
#define REVISION_MODERN 1u
#define CAPABILITY_VENDOR 0x09u
#define CAPABILITY_MSIX 0x11u
enum { CAP_COMMON = 1, CAP_NOTIFY = 2, CAP_ISR = 3, CAP_DEVICE = 4 };
enum { BAR_NOTIFY = 0, BAR_REGISTERS = 1 };
#define COMMON_AT 0x0000u
#define ISR_AT 0x1000u
#define DEVICE_AT 0x2000u
#define MSIX_AT 0x3000u
#define PENDING_AT 0x3800u
#define REGISTERS_BYTES 0x4000u
#define PART_BYTES 0x1000u
#define NOTIFY_MULTIPLIER 2u

/* Common configuration, 4.1.4.3. */
enum {
    DEVICE_FEATURE_SELECT = 0x00,
    DEVICE_FEATURE = 0x04,
    DRIVER_FEATURE_SELECT = 0x08,
    DRIVER_FEATURE = 0x0c,
    CONFIG_VECTOR = 0x10,
    QUEUES = 0x12,
    STATUS = 0x14,
    GENERATION = 0x15,
    QUEUE_SELECT = 0x16,
    QUEUE_SIZE = 0x18,
    QUEUE_VECTOR = 0x1a,
    QUEUE_ENABLE = 0x1c,
    QUEUE_NOTIFY_OFFSET = 0x1e,
    QUEUE_DESCRIPTORS = 0x20,
    QUEUE_AVAILABLE = 0x28,
    QUEUE_USED = 0x30,
    COMMON_BYTES = 0x38,
};
/* 2.1 */
#define STATUS_DRIVER_OK 4u
#define STATUS_FEATURES_OK 8u
#define STATUS_NEEDS_RESET 0x40u
#define ISR_CONFIG 2u
#define ISR_QUEUE 1u
#define NO_VECTOR 0xffffu

/* PCI 3.0, 6.8.2 */
#define MSIX_CONTROL 2u
#define MSIX_ENABLE 0x8000u
#define MSIX_MASK_ALL 0x4000u
#define MSIX_ENTRY_MASKED 1u
#define MSIX_ENTRY_BYTES 16u

/* --- MSI-X --- */

static unsigned vectors(const struct virtio *virtio) {
    return virtio->class->queues + 1u;
}

static uint16_t msix_control(const struct virtio *virtio) {
    return pci_get16(&virtio->pci, virtio->msix_at + MSIX_CONTROL);
}

static void send_vector(struct virtio *virtio, uint16_t vector) {
    uint16_t control = msix_control(virtio);
    if (vector >= vectors(virtio) || !(control & MSIX_ENABLE))
        return;
    const struct msix_entry *entry = &virtio->msix[vector];
    if ((control & MSIX_MASK_ALL) || (entry->control & MSIX_ENTRY_MASKED)) {
        virtio->pending |= 1ull << vector;
        return;
    }
    virtio->pending &= ~(1ull << vector);
    machine_send_message((uint64_t)entry->address_high << 32 | entry->address_low, entry->data);
}

/* After a mask may have gone. */
static void send_pending(struct virtio *virtio) {
    for (uint16_t i = 0; i < vectors(virtio); i++)
        if (virtio->pending >> i & 1)
            send_vector(virtio, i);
}

static void config_changed(struct pci_function *function, unsigned offset, unsigned bytes) {
    struct virtio *virtio = function->device;
    (void)offset, (void)bytes;
    send_pending(virtio);
}

static uint32_t msix_read(const struct virtio *virtio, uint32_t offset) {
    if (offset >= PENDING_AT - MSIX_AT)
        return offset == PENDING_AT - MSIX_AT ? (uint32_t)virtio->pending : 0;
    if (offset / MSIX_ENTRY_BYTES >= vectors(virtio))
        return 0;
    uint32_t words[4];
    memcpy(words, &virtio->msix[offset / MSIX_ENTRY_BYTES], sizeof(words));
    return words[offset / 4 % 4];
}

static void msix_write(struct virtio *virtio, uint32_t offset, uint32_t value) {
    if (offset / MSIX_ENTRY_BYTES >= vectors(virtio))
        return;
    uint8_t *entry = (uint8_t *)&virtio->msix[offset / MSIX_ENTRY_BYTES];
    memcpy(entry + offset / 4 % 4 * 4, &value, sizeof(value));
    send_pending(virtio);
}

/* --- State --- */

static void reset(struct virtio *virtio) {
    virtio->accepted = 0;
    virtio->status = virtio->isr = 0;
    virtio->config_vector = NO_VECTOR;
    virtio->pending = 0;
    memset(virtio->queue, 0, sizeof(virtio->queue));
    for (unsigned i = 0; i < virtio->class->queues; i++) {
        virtio->queue[i].size = VIRTQ_SIZE_MAX;
        virtio->queue[i].vector = NO_VECTOR;
    }
    if (virtio->class->reset)
        virtio->class->reset(virtio);
}

bool virtio_is_running(const struct virtio *virtio) {
    return (virtio->status & (STATUS_DRIVER_OK | STATUS_NEEDS_RESET)) == STATUS_DRIVER_OK;
}

void virtio_break(struct virtio *virtio) {
    virtio->status |= STATUS_NEEDS_RESET;
    virtio->isr |= ISR_CONFIG;
    send_vector(virtio, virtio->config_vector);
}

void virtio_signal(struct virtio *virtio, unsigned queue) {
    if (!virtq_wants_interrupt(&virtio->queue[queue]))
        return;
    virtio->isr |= ISR_QUEUE;
    send_vector(virtio, virtio->queue[queue].vector);
}

static void notify(struct virtio *virtio, unsigned queue) {
    if (virtio_is_running(virtio) && queue < virtio->class->queues && virtio->queue[queue].enabled)
        virtio->class->notify(virtio, queue);
}

void virtio_notify_all(struct virtio *virtio) {
    for (unsigned i = 0; i < virtio->class->queues; i++)
        notify(virtio, i);
}

static void write_status(struct virtio *virtio, uint8_t value) {
    if (value == 0) {
        reset(virtio);
        return;
    }
    bool acceptable =
        !(virtio->accepted & ~virtio->features) && (virtio->accepted & VIRTIO_F_VERSION_1);
    if (!acceptable)
        value &= (uint8_t) ~(STATUS_FEATURES_OK | STATUS_DRIVER_OK);
    bool starts = value & ~virtio->status & STATUS_DRIVER_OK;
    virtio->status |= value;
    if (starts) /* buffers may have been offered before */
        virtio_notify_all(virtio);
}

/* --- Common configuration --- */

static struct virtq *selected(struct virtio *virtio) {
    return virtio->queue_select < virtio->class->queues ? &virtio->queue[virtio->queue_select]
                                                        : NULL;
}

static uint32_t half(uint64_t value, uint64_t offset) {
    return (uint32_t)(offset & 4 ? value >> 32 : value);
}

static uint32_t read_queue(struct virtio *virtio, uint64_t offset) {
    const struct virtq *q = selected(virtio);
    if (!q)
        return 0;
    switch (offset) {
    case QUEUE_SIZE:
        return q->size;
    case QUEUE_VECTOR:
        return q->vector;
    case QUEUE_ENABLE:
        return q->enabled;
    case QUEUE_NOTIFY_OFFSET:
        return virtio->queue_select;
    case QUEUE_DESCRIPTORS:
    case QUEUE_DESCRIPTORS + 4:
        return half(q->descriptors.value, offset);
    case QUEUE_AVAILABLE:
    case QUEUE_AVAILABLE + 4:
        return half(q->available.value, offset);
    case QUEUE_USED:
    case QUEUE_USED + 4:
        return half(q->used.value, offset);
    default:
        return 0;
    }
}

static uint32_t read_common(struct virtio *virtio, uint64_t offset) {
    switch (offset) {
    case DEVICE_FEATURE_SELECT:
        return virtio->feature_select;
    case DEVICE_FEATURE:
        return virtio->feature_select < 2
                   ? (uint32_t)(virtio->features >> 32 * virtio->feature_select)
                   : 0;
    case DRIVER_FEATURE_SELECT:
        return virtio->accept_select;
    case DRIVER_FEATURE:
        return virtio->accept_select < 2
                   ? (uint32_t)(virtio->accepted >> 32 * virtio->accept_select)
                   : 0;
    case CONFIG_VECTOR:
        return virtio->config_vector;
    case QUEUES:
        return virtio->class->queues;
    case STATUS:
        return virtio->status;
    case GENERATION:
        return 0; /* the configuration never changes */
    case QUEUE_SELECT:
        return virtio->queue_select;
    default:
        return read_queue(virtio, offset);
    }
}

static void set_half(struct gpa *field, uint64_t offset, uint32_t value) {
    unsigned shift = offset & 4 ? 32 : 0;
    field->value = (field->value & ~(0xffffffffull << shift)) | (uint64_t)value << shift;
}

/* An enabled queue cannot be changed. */
static void write_queue(struct virtio *virtio, uint64_t offset, uint32_t value) {
    struct virtq *q = selected(virtio);
    if (!q || (q->enabled && offset != QUEUE_VECTOR))
        return;
    switch (offset) {
    case QUEUE_SIZE:
        q->size = (uint16_t)value;
        break;
    case QUEUE_VECTOR:
        q->vector = value < vectors(virtio) ? (uint16_t)value : NO_VECTOR;
        break;
    case QUEUE_ENABLE:
        if (value != 1)
            break;
        if (virtq_is_valid(q))
            q->enabled = true;
        else
            virtio_break(virtio);
        break;
    case QUEUE_DESCRIPTORS:
    case QUEUE_DESCRIPTORS + 4:
        set_half(&q->descriptors, offset, value);
        break;
    case QUEUE_AVAILABLE:
    case QUEUE_AVAILABLE + 4:
        set_half(&q->available, offset, value);
        break;
    case QUEUE_USED:
    case QUEUE_USED + 4:
        set_half(&q->used, offset, value);
        break;
    default:
        break;
    }
}

static void write_common(struct virtio *virtio, uint64_t offset, uint32_t value) {
    switch (offset) {
    case DEVICE_FEATURE_SELECT:
        virtio->feature_select = value;
        break;
    case DRIVER_FEATURE_SELECT:
        virtio->accept_select = value;
        break;
    case DRIVER_FEATURE:
        if (virtio->accept_select < 2 && !(virtio->status & STATUS_FEATURES_OK)) {
            unsigned shift = 32 * virtio->accept_select;
            virtio->accepted = (virtio->accepted & ~(0xffffffffull << shift)) | (uint64_t)value
                                                                                    << shift;
        }
        break;
    case CONFIG_VECTOR:
        virtio->config_vector = value < vectors(virtio) ? (uint16_t)value : NO_VECTOR;
        break;
    case STATUS:
        write_status(virtio, (uint8_t)value);
        break;
    case QUEUE_SELECT:
        virtio->queue_select = (uint16_t)value;
        break;
    default:
        write_queue(virtio, offset, value);
        break;
    }
}

/* --- BARs --- */

static uint64_t read_config(const struct virtio *virtio, uint64_t offset, unsigned bytes) {
    uint64_t value = 0;
    if (offset <= virtio->config_bytes && bytes <= virtio->config_bytes - offset)
        memcpy(&value, (const uint8_t *)virtio->config + offset, bytes);
    return value;
}

static uint64_t registers_read(void *context, uint64_t offset, unsigned bytes) {
    struct virtio *virtio = context;
    uint8_t isr;
    switch (offset / PART_BYTES * PART_BYTES) {
    case COMMON_AT:
        if (bytes == 8)
            return read_common(virtio, offset) | (uint64_t)read_common(virtio, offset + 4) << 32;
        return read_common(virtio, offset);
    case ISR_AT:
        isr = virtio->isr;
        virtio->isr = 0;
        return isr;
    case DEVICE_AT:
        return read_config(virtio, offset - DEVICE_AT, bytes);
    default:
        if (bytes == 8)
            return msix_read(virtio, (uint32_t)offset - MSIX_AT) |
                   (uint64_t)msix_read(virtio, (uint32_t)offset - MSIX_AT + 4) << 32;
        return msix_read(virtio, (uint32_t)offset - MSIX_AT);
    }
}

static void registers_write(void *context, uint64_t offset, unsigned bytes, uint64_t value) {
    struct virtio *virtio = context;
    switch (offset / PART_BYTES * PART_BYTES) {
    case COMMON_AT:
        write_common(virtio, offset, (uint32_t)value);
        if (bytes == 8)
            write_common(virtio, offset + 4, (uint32_t)(value >> 32));
        break;
    case MSIX_AT:
        msix_write(virtio, (uint32_t)offset - MSIX_AT, (uint32_t)value);
        if (bytes == 8)
            msix_write(virtio, (uint32_t)offset - MSIX_AT + 4, (uint32_t)(value >> 32));
        break;
    default: /* ISR and device configuration are read-only */
        break;
    }
}

static void notify_write(void *context, uint64_t offset, unsigned bytes, uint64_t value) {
    (void)bytes, (void)value; /* the port says which queue */
    notify(context, (unsigned)offset / NOTIFY_MULTIPLIER);
}

static uint64_t notify_read(void *context, uint64_t offset, unsigned bytes) {
    (void)context, (void)offset, (void)bytes;
    return 0;
}

static unsigned add_part(struct pci_function *pci, uint8_t type, uint8_t bar, uint32_t offset,
                         uint32_t bytes, unsigned extra) {
    unsigned length = 16 + extra;
    unsigned at = pci_add_capability(pci, CAPABILITY_VENDOR, length);
    pci->config[at + 2] = (uint8_t)length;
    pci->config[at + 3] = type;
    pci->config[at + 4] = bar;
    pci_set32(pci, at + 8, offset);
    pci_set32(pci, at + 12, bytes);
    return at;
}

void virtio_init(struct virtio *virtio, const struct virtio_class *class, unsigned slot,
                 uint64_t features, const void *config, uint32_t config_bytes) {
    *virtio = (struct virtio){.class = class,
                              .features = features | VIRTIO_F_VERSION_1,
                              .config = config,
                              .config_bytes = config_bytes};
    struct pci_function *pci = &virtio->pci;
    pci_function_init(pci, VENDOR, (uint16_t)(DEVICE_BASE + class->type), class->class_code,
                      REVISION_MODERN);
    pci->device = virtio;
    pci->changed = config_changed;
    pci_set16(pci, PCI_SUBSYSTEM_VENDOR, VENDOR);
    pci_set16(pci, PCI_SUBSYSTEM_VENDOR + 2, (uint16_t) class->type);
    pci_add_bar(pci, BAR_NOTIFY, true, VIRTIO_NOTIFY_BYTES,
                &(struct bus_range){.read = notify_read, .write = notify_write, .device = virtio});
    pci_add_bar(
        pci, BAR_REGISTERS, false, REGISTERS_BYTES,
        &(struct bus_range){.read = registers_read, .write = registers_write, .device = virtio});
    add_part(pci, CAP_COMMON, BAR_REGISTERS, COMMON_AT, COMMON_BYTES, 0);
    unsigned at = add_part(pci, CAP_NOTIFY, BAR_NOTIFY, 0, VIRTIO_NOTIFY_BYTES, 4);
    pci_set32(pci, at + 16, NOTIFY_MULTIPLIER);
    add_part(pci, CAP_ISR, BAR_REGISTERS, ISR_AT, 1, 0);
    add_part(pci, CAP_DEVICE, BAR_REGISTERS, DEVICE_AT, config_bytes ? config_bytes : 4, 0);
    virtio->msix_at = (uint8_t)pci_add_capability(pci, CAPABILITY_MSIX, 12);
    pci_set16(pci, virtio->msix_at + MSIX_CONTROL, (uint16_t)(vectors(virtio) - 1));
    pci->writable[virtio->msix_at + MSIX_CONTROL + 1] = (MSIX_ENABLE | MSIX_MASK_ALL) >> 8;
    pci_set32(pci, virtio->msix_at + 4, MSIX_AT | BAR_REGISTERS);
    pci_set32(pci, virtio->msix_at + 8, PENDING_AT | BAR_REGISTERS);
    for (unsigned i = 0; i < vectors(virtio); i++)
        virtio->msix[i].control = MSIX_ENTRY_MASKED;
    reset(virtio);
    pci_add(pci, slot);
}
