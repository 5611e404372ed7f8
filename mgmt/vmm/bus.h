/* Who answers at an I/O port or a guest-physical address that is not RAM. Devices register ranges;
 * where none is registered, reads give all ones and writes are lost, as on a bus without a device.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* An access to a device's register. It may end beyond the range it was found in: a device knows its
 * registers' sizes. */
struct bus_access {
    void *device;
    uint64_t offset; /* of the register */
    unsigned bytes;  /* 1, 2, 4 and in memory 8 */
    uint64_t value;  /* of a write */
};

struct bus_range {
    uint64_t base;
    uint64_t length; /* 0: switched off */
    uint64_t first;  /* the offset of what is at `base`: a device may have several ranges */
    uint64_t (*read)(const struct bus_access *access); /* NULL: as if nothing were there */
    void (*write)(const struct bus_access *access);    /* likewise */
    void *device;
    struct bus_range *next;
};

/* The range stays the caller's; base and length may be changed at any time (BARs). Those that were
 * added later win where ranges overlap. */
void bus_add_ports(struct bus_range *range);
void bus_add_memory(struct bus_range *range);

uint64_t bus_port_read(uint16_t port, unsigned bytes);
void bus_port_write(uint16_t port, unsigned bytes, uint64_t value);
uint64_t bus_memory_read(uint64_t gpa, unsigned bytes);
void bus_memory_write(uint64_t gpa, unsigned bytes, uint64_t value);
