/* A virtio device of the virtual PC, driven as no driver does: for the programs that attack one.
 * The queue that is attacked takes chains at once: a network card's second, which transmits; of all
 * others the first. */
#pragma once

#include "mgmt/virtio/pci.h"
#include "mgmt/virtio/ring.h"
#include "test/guest/hvm/hostile/hostile.h"

#define SIZE 8u /* of its queues */
#define DEVICES 32u

#define PCI_ADDRESS 0xcf8u
#define PCI_DATA 0xcfcu
#define PCI_BAR1 0x14u

struct rings {
    struct virtq_desc desc[SIZE];
    uint16_t avail[3 + SIZE + 1];
    _Alignas(4) uint16_t used[3 + 4 * SIZE + 1];
};
extern volatile struct rings rings;
extern uint8_t buffer[8192];

/* Of the device that is attacked: */
extern uint64_t common;
extern uint16_t notify, queue;
extern uint16_t
    direction; /* VIRTQ_DESC_WRITE where its queue's chains are for the device to write */

uint32_t config_read(unsigned device, unsigned offset);
void config_write(unsigned device, unsigned offset, uint32_t value);
bool is_virtio(unsigned device);
bool is_network(unsigned device);
void find_registers(unsigned device);

bool waits_for(uint64_t bits, uint64_t wanted); /* of its status */
void expect_broken(void);                       /* it needs a reset, soon */
void reset(void);
/* Reset, with those of these features that it offers, and VERSION_1; the rings are empty. */
void begin(uint32_t features);
void place(uint64_t desc, uint64_t avail, uint64_t used, uint16_t size);
void run(void);
void start_queue(void); /* begin, with the rings where they belong, and run */
void describe(unsigned index, uint64_t address, uint32_t bytes, uint16_t flags, uint16_t next);
void ring_doorbell(uint16_t of_queue);
/* Makes chain `head` available, with the index that many ahead of what was. */
void submit(uint16_t head, uint16_t ahead);

/* attack() of every virtio device, which is reset afterwards. */
void each_device(void (*attack)(void));
