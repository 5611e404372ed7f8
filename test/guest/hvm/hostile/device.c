/* See device.h. */
#include "test/guest/hvm/hostile/device.h"

#define PCI_COMMAND 0x04u
#define PCI_BAR0 0x10u
#define NOTIFY_BYTES 2u   /* a queue's register: mgmt/vmm/virtio/registers.c */
#define QUEUE_TRANSMIT 1u /* VIRTIO 1.2, 5.1.2 */

uint64_t common;
uint16_t notify, queue, direction;
_Alignas(4096) volatile struct rings rings;
_Alignas(4096) uint8_t buffer[8192];

uint32_t config_read(unsigned device, unsigned offset) {
    out32(PCI_ADDRESS, 0x80000000 | device << 11 | offset);
    return in32(PCI_DATA);
}

void config_write(unsigned device, unsigned offset, uint32_t value) {
    out32(PCI_ADDRESS, 0x80000000 | device << 11 | offset);
    out32(PCI_DATA, value);
}

bool is_virtio(unsigned device) {
    return (config_read(device, 0) & 0xffff) == VIRTIO_PCI_VENDOR;
}

bool is_network(unsigned device) {
    return config_read(device, 0) >> 16 == VIRTIO_PCI_DEVICE + VIRTIO_TYPE_NET;
}

void find_registers(unsigned device) {
    config_write(device, PCI_COMMAND, 7);
    notify = (uint16_t)(config_read(device, PCI_BAR0) & ~3u);
    common = config_read(device, PCI_BAR1) & ~15u;
    queue = is_network(device) ? QUEUE_TRANSMIT : 0;
    direction = is_network(device) ? 0 : VIRTQ_DESC_WRITE;
}

static uint64_t status(void) {
    return read_memory(common + VIRTIO_COMMON_STATUS, 1);
}

bool waits_for(uint64_t bits, uint64_t wanted) {
    for (unsigned i = 0; i < 20000; i++)
        if ((status() & bits) == wanted)
            return true;
    return false;
}

void reset(void) {
    write_memory(common + VIRTIO_COMMON_STATUS, 1, 0);
    expect(waits_for(0xff, 0));
}

static uint32_t offered(void) {
    write_memory(common + VIRTIO_COMMON_DEVICE_FEATURE_SELECT, 4, 0);
    return (uint32_t)read_memory(common + VIRTIO_COMMON_DEVICE_FEATURE, 4);
}

static void feature(uint32_t half, uint32_t value) {
    write_memory(common + VIRTIO_COMMON_DRIVER_FEATURE_SELECT, 4, half);
    write_memory(common + VIRTIO_COMMON_DRIVER_FEATURE, 4, value);
}

void place(uint64_t desc, uint64_t avail, uint64_t used, uint16_t size) {
    write_memory(common + VIRTIO_COMMON_QUEUE_SELECT, 2, queue);
    write_memory(common + VIRTIO_COMMON_QUEUE_SIZE, 2, size);
    write_memory(common + VIRTIO_COMMON_QUEUE_DESC, 8, desc);
    write_memory(common + VIRTIO_COMMON_QUEUE_DRIVER, 8, avail);
    write_memory(common + VIRTIO_COMMON_QUEUE_DEVICE, 8, used);
    write_memory(common + VIRTIO_COMMON_QUEUE_ENABLE, 2, 1);
}

void begin(uint32_t features) {
    reset();
    for (unsigned i = 0; i < sizeof(rings); i++)
        ((volatile uint8_t *)&rings)[i] = 0;
    write_memory(common + VIRTIO_COMMON_STATUS, 1, 3);
    feature(0, ((uint32_t)VIRTIO_F_INDIRECT_DESC | features) & offered());
    feature(1, VIRTIO_F_VERSION_1 >> 32);
    write_memory(common + VIRTIO_COMMON_STATUS, 1, 11);
}

void run(void) {
    write_memory(common + VIRTIO_COMMON_STATUS, 1, 15);
}

void start_queue(void) {
    begin(0);
    place((uint64_t)rings.desc, (uint64_t)rings.avail, (uint64_t)rings.used, SIZE);
    run();
}

void describe(unsigned index, uint64_t address, uint32_t bytes, uint16_t flags, uint16_t next) {
    rings.desc[index] = (struct virtq_desc){address, bytes, flags, next};
}

void ring_doorbell(uint16_t of_queue) {
    out16((uint16_t)(notify + of_queue * NOTIFY_BYTES), of_queue);
}

void submit(uint16_t head, uint16_t ahead) {
    for (unsigned i = 0; i < SIZE; i++)
        rings.avail[2 + i] = head;
    rings.avail[1] = (uint16_t)(rings.avail[1] + ahead);
    __asm__ volatile("mfence" ::: "memory");
    ring_doorbell(queue);
}

void each_device(void (*attack)(void)) {
    unsigned seen = 0;
    for (unsigned device = 0; device < DEVICES; device++)
        if (is_virtio(device)) {
            find_registers(device);
            attack();
            reset();
            seen++;
        }
    expect(seen > 0);
}

void expect_broken(void) {
    expect(waits_for(VIRTIO_STATUS_NEEDS_RESET, VIRTIO_STATUS_NEEDS_RESET));
}
