/* PCI configuration space and virtio queues, used as no driver does. Each attack goes through all
 * virtio devices that the guest has; what no driver may do costs it that device until it resets it.
 */
#include "test/guest/hvm/hostile/device.h"

#define ECAM 0xe0000000ull
#define MSIX_TABLE 0x800u /* of BAR 1: mgmt/vmm/virtio/registers.c */

static void loop_of_descriptors(void) {
    start_queue();
    for (unsigned i = 0; i < SIZE; i++)
        describe(i, (uint64_t)buffer, 16, VIRTQ_DESC_NEXT, (uint16_t)((i + 1) % SIZE));
    submit(0, 1);
    expect_broken();
    start_queue();
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
        start_queue();
        describe(0, (uint64_t)buffer, 64, direction | VIRTQ_DESC_NEXT, 1);
        describe(1, bad[i].address, bad[i].bytes, direction, 0);
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
        start_queue();
        rings.desc[0] = bad[i];
        submit(0, 1);
        expect_broken();
    }
    start_queue(); /* what the device writes comes before what it reads */
    describe(0, (uint64_t)buffer, 16, VIRTQ_DESC_WRITE | VIRTQ_DESC_NEXT, 1);
    describe(1, (uint64_t)buffer, 16, 0, 0);
    submit(0, 1);
    expect_broken();
}

static void bad_indices(void) {
    start_queue();
    submit(SIZE, 1);
    expect_broken();
    start_queue();
    submit(0xffff, 1);
    expect_broken();
    start_queue();
    submit(0, SIZE + 1);
    expect_broken();
    start_queue();
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
        begin(0);
        place(bad[i].desc, bad[i].avail, bad[i].used, bad[i].size);
        run();
        expect_broken();
    }
}

/* Registers of a queue that runs are written, resets come in between, the rings are each other. */
static void reconfigured(void) {
    for (unsigned round = 0; round < 60; round++) {
        start_queue();
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
            begin(0); /* descriptors, available and used ring in the same place */
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
            start_queue();
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

/* No attack of its own: requests as they should be, to all devices in turn, while its VMM is lied
 * to. What a device reads and writes is between guards. */
static void traffic(void) {
    for (unsigned i = 0; i < sizeof(buffer); i++)
        buffer[i] = i < 1024 ? 0 : 0xa5;
    for (unsigned round = 0; round < 30; round++) {
        start_queue();
        describe(0, (uint64_t)buffer, direction ? 16 : 512, direction ? VIRTQ_DESC_NEXT : 0, 1);
        describe(1, (uint64_t)buffer + 2048, 512, VIRTQ_DESC_WRITE | VIRTQ_DESC_NEXT, 2);
        describe(2, (uint64_t)buffer + 4096, 1, VIRTQ_DESC_WRITE, 0);
        submit(0, 1);
        uint64_t end = rdtsc() + 5 * MHZ;
        while (rings.used[1] == 0 && rdtsc() < end)
            ;
        for (unsigned i = 0; i < sizeof(buffer); i++)
            expect(i == 4096 || (i >= 2048 && i < 2560) || buffer[i] == (i < 1024 ? 0 : 0xa5));
    }
}

static void attack_traffic(void) {
    each_device(traffic);
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
    {"traffic", attack_traffic},
    {0},
};
