#include "mgmt/vmm/bus.h"

#include <stddef.h>

static struct bus_range *ports, *memory;

static void add(struct bus_range **list, struct bus_range *range) {
    range->next = *list;
    *list = range;
}

void bus_add_ports(struct bus_range *range) {
    add(&ports, range);
}

void bus_add_memory(struct bus_range *range) {
    add(&memory, range);
}

static struct bus_range *find(struct bus_range **list, uint64_t address) {
    for (struct bus_range **link = list; *link; link = &(*link)->next) {
        struct bus_range *range = *link;
        if (address - range->base < range->length)
            return range;
    }
    return NULL;
}

static uint64_t read(struct bus_range **list, uint64_t address, unsigned bytes) {
    struct bus_range *range = find(list, address);
    uint64_t ones = bytes == 8 ? ~0ull : (1ull << bytes * 8) - 1;
    if (!range || !range->read)
        return ones;
    uint64_t offset = range->first + (address - range->base);
    return range->read(&(struct bus_access){range->device, offset, bytes, 0}) & ones;
}

static void write(struct bus_range **list, uint64_t address, unsigned bytes, uint64_t value) {
    struct bus_range *range = find(list, address);
    if (!range || !range->write)
        return;
    uint64_t offset = range->first + (address - range->base);
    range->write(&(struct bus_access){range->device, offset, bytes, value});
}

uint64_t bus_port_read(uint16_t port, unsigned bytes) {
    return read(&ports, port, bytes);
}

void bus_port_write(uint16_t port, unsigned bytes, uint64_t value) {
    write(&ports, port, bytes, value);
}

uint64_t bus_memory_read(uint64_t gpa, unsigned bytes) {
    return read(&memory, gpa, bytes);
}

void bus_memory_write(uint64_t gpa, unsigned bytes, uint64_t value) {
    write(&memory, gpa, bytes, value);
}
