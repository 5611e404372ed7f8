#include "mgmt/vmm/ram.h"

#include <string.h>

static struct {
    const struct bh_guest_ram *range;
    uint32_t count;
} ram;

void ram_init(const struct bh_guest_ram *ranges, uint32_t count) {
    ram.range = ranges;
    ram.count = count;
}

void *ram_at(struct gpa gpa, uint64_t bytes) {
    for (uint32_t i = 0; i < ram.count; i++) {
        const struct bh_guest_ram *range = &ram.range[i];
        uint64_t offset = gpa.value - range->gpa; /* wraps below the range: larger than any range */
        if (offset <= range->bytes && bytes <= range->bytes - offset)
            return (uint8_t *)range->va + offset;
    }
    return NULL;
}

bool ram_read(struct gpa gpa, void *to, size_t bytes) {
    const void *from = ram_at(gpa, bytes);
    if (from)
        memcpy(to, from, bytes);
    return from != NULL;
}

bool ram_write(struct gpa gpa, const void *from, size_t bytes) {
    void *to = ram_at(gpa, bytes);
    if (to)
        memcpy(to, from, bytes);
    return to != NULL;
}

uint32_t ram_ranges(void) {
    return ram.count;
}

struct gpa ram_range(uint32_t index, uint64_t *bytes) {
    *bytes = ram.range[index].bytes;
    return GPA(ram.range[index].gpa);
}
