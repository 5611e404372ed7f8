/* A guest's access to a register of one of the virtual PC's devices, past the bus. */
#pragma once

#include "mgmt/vmm/bus.h"

static inline uint32_t read_register(uint64_t (*read)(const struct bus_access *access),
                                     void *device, uint64_t offset) {
    return (uint32_t)read(&(struct bus_access){device, offset, 1, 0});
}

static inline void write_register(void (*write)(const struct bus_access *access), void *device,
                                  uint64_t offset, uint32_t value) {
    write(&(struct bus_access){device, offset, 1, value});
}
