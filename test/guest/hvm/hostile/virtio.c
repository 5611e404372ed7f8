/* PCI configuration space and virtio queues, used as no driver does. Each attack goes through all
 * virtio devices that the guest has; what no driver may do costs it that device until it resets it.
 */
#include "test/guest/hvm/hostile/hostile.h"

#include "mgmt/virtio/pci.h"
#include "mgmt/virtio/ring.h"

#define PCI_ADDRESS 0xcf8u
#define PCI_DATA 0xcfcu
#define ECAM 0xe0000000ull
#define PCI_COMMAND 0x04u
#define PCI_BAR0 0x10u
#define PCI_BAR1 0x14u
#define MSIX_TABLE 0x800u /* of BAR 1: mgmt/vmm/virtio/registers.c */
#define SIZE 8u
#define QUEUE_READ 0u
#define DEVICES 32u

static uint64_t common; /* of the device that is attacked */
static uint16_t notify;

struct rings {
    struct virtq_desc desc[SIZE];
    uint16_t avail[3 + SIZE + 1];
    _Alignas(4) uint16_t used[3 + 4 * SIZE + 1];
};
static _Alignas(4096) volatile struct rings rings;
static _Alignas(4096) uint8_t buffer[8192];

static uint32_t config_read(unsigned device, unsigned offset) {
    out32(PCI_ADDRESS, 0x80000000 | device << 11 | offset);
    return in32(PCI_DATA);
}

static void config_write(unsigned device, unsigned offset, uint32_t value) {
    out32(PCI_ADDRESS, 0x80000000 | device << 11 | offset);
    out32(PCI_DATA, value);
}

static bool is_virtio(unsigned device) {
    return (config_read(device, 0) & 0xffff) == VIRTIO_PCI_VENDOR;
}

static void find_registers(unsigned device) {
    config_write(device, PCI_COMMAND, 7);
    notify = (uint16_t)(config_read(device, PCI_BAR0) & ~3u);
    common = config_read(device, PCI_BAR1) & ~15u;
}

static uint64_t status(void) {
    return read_memory(common + VIRTIO_COMMON_STATUS, 1);
}

static bool waits_for(uint64_t bits, uint64_t wanted) {
    for (unsigned i = 0; i < 20000; i++)
        if ((status() & bits) == wanted)
            return true;
    return false;
}

static void reset(void) {
    write_memory(common + VIRTIO_COMMON_STATUS, 1, 0);
    expect(waits_for(0xff, 0));
}

static void feature(uint32_t half, uint32_t value) {
    write_memory(common + VIRTIO_COMMON_DRIVER_FEATURE_SELECT, 4, half);
    write_memory(common + VIRTIO_COMMON_DRIVER_FEATURE, 4, value);
}

static void place(uint64_t desc, uint64_t avail, uint64_t used, uint16_t size) {
    write_memory(common + VIRTIO_COMMON_QUEUE_SELECT, 2, QUEUE_READ);
    write_memory(common + VIRTIO_COMMON_QUEUE_SIZE, 2, size);
    write_memory(common + VIRTIO_COMMON_QUEUE_DESC, 8, desc);
    write_memory(common + VIRTIO_COMMON_QUEUE_DRIVER, 8, avail);
    write_memory(common + VIRTIO_COMMON_QUEUE_DEVICE, 8, used);
    write_memory(common + VIRTIO_COMMON_QUEUE_ENABLE, 2, 1);
}

static void begin(void) {
    reset();
    for (unsigned i = 0; i < sizeof(rings); i++)
        ((volatile uint8_t *)&rings)[i] = 0;
    write_memory(common + VIRTIO_COMMON_STATUS, 1, 3);
    feature(0, (uint32_t)VIRTIO_F_INDIRECT_DESC);
    feature(1, VIRTIO_F_VERSION_1 >> 32);
    write_memory(common + VIRTIO_COMMON_STATUS, 1, 11);
}

static void run(void) {
    write_memory(common + VIRTIO_COMMON_STATUS, 1, 15);
}

static void start(void) {
    begin();
    place((uint64_t)rings.desc, (uint64_t)rings.avail, (uint64_t)rings.used, SIZE);
    run();
}

static void describe(unsigned index, uint64_t address, uint32_t bytes, uint16_t flags,
                     uint16_t next) {
    rings.desc[index] = (struct virtq_desc){address, bytes, flags, next};
}

/* Makes chain `head` available, with the index that many ahead of what was. */
static void submit(uint16_t head, uint16_t ahead) {
    for (unsigned i = 0; i < SIZE; i++)
        rings.avail[2 + i] = head;
    rings.avail[1] = (uint16_t)(rings.avail[1] + ahead);
    __asm__ volatile("mfence" ::: "memory");
    out16(notify, QUEUE_READ);
}

/* The first queue of a network card takes no chain until a frame comes. */
static bool takes_at_once(unsigned device) {
    return config_read(device, 0) >> 16 != VIRTIO_PCI_DEVICE + VIRTIO_TYPE_NET;
}

static void each_device(void (*attack)(void)) {
    unsigned seen = 0;
    for (unsigned device = 0; device < DEVICES; device++)
        if (is_virtio(device) && takes_at_once(device)) {
            find_registers(device);
            attack();
            reset();
            seen++;
        }
    expect(seen > 0);
}

static void expect_broken(void) {
    expect(waits_for(VIRTIO_STATUS_NEEDS_RESET, VIRTIO_STATUS_NEEDS_RESET));
}

static void loop_of_descriptors(void) {
    start();
    for (unsigned i = 0; i < SIZE; i++)
        describe(i, (uint64_t)buffer, 16, VIRTQ_DESC_NEXT, (uint16_t)((i + 1) % SIZE));
    submit(0, 1);
    expect_broken();
    start();
    describe(3, (uint64_t)buffer, 16, VIRTQ_DESC_NEXT, 3);
    submit(3, 1);
    expect_broken();
}

static void bad_addresses(void) {
    uint64_t top = ram_end();
    const struct {
        uint64_t address;
        uint32_t bytes;
    } bad[] = {{top, 1}, {top - 4, 8},    {NOTHING_BASE, 64}, {~0ull, 2}, {~0ull - 4095, 4096},
               {0, ~0u}, {0xfee00000, 4}, {1ull << 63, 512}};
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        start();
        describe(0, bad[i].address, bad[i].bytes, VIRTQ_DESC_WRITE, 0);
        submit(0, 1);
        expect_broken();
    }
}

static void bad_chains(void) {
    static struct virtq_desc table[300];
    uint64_t at = (uint64_t)table;
    const struct virtq_desc bad[] = {
        {(uint64_t)buffer, 16, VIRTQ_DESC_NEXT, SIZE}, /* a descriptor that is not there */
        {at, 16, VIRTQ_DESC_INDIRECT | VIRTQ_DESC_NEXT, 1},
        {at, 17, VIRTQ_DESC_INDIRECT, 0},
        {at, 0, VIRTQ_DESC_INDIRECT, 0},
        {at, sizeof(table), VIRTQ_DESC_INDIRECT, 0}, /* longer than any chain may be */
        {at, 16, VIRTQ_DESC_INDIRECT, 0},            /* to a table of tables */
        {ram_end() - 16, 32, VIRTQ_DESC_INDIRECT, 0},
    };
    for (unsigned i = 0; i < 300; i++)
        table[i] = (struct virtq_desc){at, 16, VIRTQ_DESC_INDIRECT, 0};
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        start();
        rings.desc[0] = bad[i];
        submit(0, 1);
        expect_broken();
    }
    start(); /* what the device writes comes before what it reads */
    describe(0, (uint64_t)buffer, 16, VIRTQ_DESC_WRITE | VIRTQ_DESC_NEXT, 1);
    describe(1, (uint64_t)buffer, 16, 0, 0);
    submit(0, 1);
    expect_broken();
}

static void bad_indices(void) {
    start();
    submit(SIZE, 1);
    expect_broken();
    start();
    submit(0xffff, 1);
    expect_broken();
    start();
    submit(0, SIZE + 1);
    expect_broken();
    start();
    submit(0, 0xffff); /* backwards */
    expect_broken();
}

static void bad_rings(void) {
    uint64_t desc = (uint64_t)rings.desc, avail = (uint64_t)rings.avail;
    uint64_t used = (uint64_t)rings.used, top = ram_end();
    const struct {
        uint64_t desc, avail, used;
        uint16_t size;
    } bad[] = {{desc + 8, avail, used, SIZE},
               {desc, avail + 1, used, SIZE},
               {desc, avail, used + 2, SIZE},
               {desc, avail, used, 0},
               {desc, avail, used, 3},
               {top - 64, avail, used, SIZE},
               {desc, top - 2, used, SIZE},
               {desc, avail, top, SIZE},
               {NOTHING_BASE, avail, used, SIZE},
               {desc, ~0ull - 1, used, SIZE}};
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        begin();
        place(bad[i].desc, bad[i].avail, bad[i].used, bad[i].size);
        run();
        expect_broken();
    }
}

/* Registers of a queue that runs are written, resets come in between, the rings are each other. */
static void reconfigured(void) {
    for (unsigned round = 0; round < 60; round++) {
        start();
        for (unsigned i = 0; i < SIZE; i++)
            describe(i, (uint64_t)buffer + 512 * i, 512, VIRTQ_DESC_WRITE, 0);
        submit((uint16_t)(round % SIZE), 1 + round % SIZE);
        place(random_next(), random_next(), random_next(), (uint16_t)random_next());
        for (unsigned i = 0; i < 40; i++) {
            uint64_t r = random_next(), offset = r % VIRTIO_COMMON_LENGTH;
            if (offset != VIRTIO_COMMON_STATUS || r >> 63)
                write_memory(common + offset, 1u << (r >> 32 & 3), r >> 8);
            out16((uint16_t)(notify + (r >> 40 & 62)), (uint16_t)r);
            describe(r >> 50 & 7, r >> 20, (uint32_t)r, (uint16_t)(r >> 56 & 7), r >> 60 & 7);
        }
        if (round % 3 == 0) {
            begin(); /* descriptors, available and used ring in the same place */
            place((uint64_t)&rings, (uint64_t)&rings, (uint64_t)&rings, SIZE);
            run();
            submit(0, 1);
        }
    }
}

static void messages(void) {
    for (unsigned i = 0; i < 2000; i++) {
        uint64_t r = random_next();
        if (i % 100 == 0)
            start();
        write_memory(common + MSIX_TABLE + r % 64, 1u << (r >> 8 & 3), random_next());
        write_memory(common + VIRTIO_COMMON_QUEUE_VECTOR, 2, r >> 16 & 3);
        describe(0, (uint64_t)buffer, 64, VIRTQ_DESC_WRITE, 0);
        submit(0, 1);
    }
}

static void attack_loops(void) {
    each_device(loop_of_descriptors);
}
static void attack_addresses(void) {
    each_device(bad_addresses);
}
static void attack_chains(void) {
    each_device(bad_chains);
}
static void attack_indices(void) {
    each_device(bad_indices);
}
static void attack_rings(void) {
    each_device(bad_rings);
}
static void attack_reconfigured(void) {
    each_device(reconfigured);
}
static void attack_messages(void) {
    each_device(messages);
}

/* Configuration space by ports and by memory, at any width; BARs over RAM, over the interrupt
 * controllers and over each other. RAM stays RAM. */
static void configuration(void) {
    static const uint64_t places[] = {0x100000, 0xfee00000, 0xfec00000, 0xe0000000, 0xc0000000, 0};
    uint32_t identity[DEVICES];
    buffer[0] = 0x5a;
    for (unsigned device = 0; device < DEVICES; device++)
        identity[device] = config_read(device, 0);
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t r = random_next();
        unsigned device = r % DEVICES, offset = r >> 8 & 0xfff, bytes = 1u << (r >> 20 & 3);
        if (offset + bytes > 0xfff || (offset & 0xff) < 0x10)
            continue; /* the command register stays: devices answer */
        if (r >> 24 & 1) {
            write_memory(ECAM + device * 0x8000ull + offset, bytes, random_next());
        } else {
            out32(PCI_ADDRESS, 0x80000000 | (uint32_t)(r >> 32 & 0xffffff));
            out32((uint16_t)(PCI_DATA + (r >> 60 & 3)), (uint32_t)r);
        }
        read_memory(ECAM + device * 0x8000ull + offset, bytes);
        if (i % 10 == 0)
            config_write(device, PCI_BAR1, (uint32_t)places[r >> 40 & 3]);
    }
    for (unsigned device = 0; device < DEVICES; device++)
        expect(config_read(device, 0) == identity[device]);
    expect(buffer[0] == 0x5a);
}

const struct attack attacks[] = {
    {"loops-of-descriptors", attack_loops},
    {"bad-addresses", attack_addresses},
    {"bad-chains", attack_chains},
    {"bad-indices", attack_indices},
    {"bad-rings", attack_rings},
    {"reconfigured", attack_reconfigured},
    {"messages", attack_messages},
    {"configuration", configuration},
    {0},
};
