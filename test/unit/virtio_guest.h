/* A small guest: RAM, a PCI bus, and the driver's side of virtio, honest unless a test writes into
 * its RAM by itself. Addresses are guest-physical. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "mgmt/virtio/pci.h"
#include "mgmt/virtio/ring.h"

#define GUEST_RAM_BYTES 0x200000u
#define GUEST_HIGH_BASE 0x100000000ull /* a second range, beyond 4 GiB */
#define GUEST_HIGH_BYTES 0x10000u
#define GUEST_QUEUE_MAX 256u

extern uint8_t guest_ram[GUEST_RAM_BYTES], guest_high[GUEST_HIGH_BYTES];
extern unsigned guest_messages[64]; /* interrupt messages by their data */
extern bool guest_wire;             /* the level of PCI_IRQ */

/* Empty RAM, no devices, no messages. */
void guest_start(void);
uint64_t guest_alloc(uint32_t bytes, uint32_t align);
void guest_alloc_reset(void); /* all of it is free again */
void *guest_at(uint64_t gpa);

struct guest_queue {
    uint16_t size, index;
    uint64_t desc, avail, used;
    uint16_t next_desc, avail_next, used_next;
    bool event_index, indirect;
};

/* The function in slot 1: where its registers lie, as found by way of configuration space. */
struct guest_device {
    uint64_t common, isr, config, msix_table, msix_pending;
    uint16_t notify_port;
    uint32_t notify_multiplier;
    uint8_t msix_capability, pci_capability;
};

uint32_t guest_config_read(unsigned offset, unsigned bytes);
void guest_config_write(unsigned offset, unsigned bytes, uint32_t value);

void guest_probe(struct guest_device *g);
/* Up to FEATURES_OK, with MSI-X: vector n sends data n. False: refused. */
bool guest_negotiate(struct guest_device *g, uint64_t features);
void guest_queue_set(struct guest_device *g, struct guest_queue *q, uint16_t index, uint16_t size,
                     uint64_t features);
void guest_run(struct guest_device *g);
uint8_t guest_status(const struct guest_device *g);

uint64_t guest_read(uint64_t gpa, unsigned bytes); /* registers */
void guest_write(uint64_t gpa, unsigned bytes, uint64_t value);

/* One buffer of a request. */
struct guest_buffer {
    uint64_t gpa;
    uint32_t bytes;
    bool device_writes;
};

/* Adds a chain, not yet visible; returns its head. */
uint16_t guest_add(struct guest_queue *q, const struct guest_buffer *buffers, unsigned count);
/* Makes chains visible and notifies, if the device wants that. Returns whether it did. */
bool guest_kick(struct guest_device *g, struct guest_queue *q);
/* Takes a used entry. False: there is none. */
bool guest_take(struct guest_queue *q, uint32_t *id, uint32_t *bytes);

struct virtq_desc *guest_desc(const struct guest_queue *q, unsigned index);
uint16_t *guest_avail(const struct guest_queue *q); /* flags, index, entries, used_event */
uint16_t *guest_used(const struct guest_queue *q);
