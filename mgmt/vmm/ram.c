#include "mgmt/vmm/ram.h"

#include <string.h>

static struct {
    struct bh_guest_ram range[BH_GUEST_RAM_MAX];
    uint32_t count;
    const struct bh_guest_ram *end; /* range + count */
} ram;

/* Whether `next` goes on where `range` ends, in both ways of counting. */
static bool is_continued(const struct bh_guest_ram *range, const struct bh_guest_ram *next) {
    return range->gpa + range->bytes == next->gpa && range->va + range->bytes == next->va;
}

/* A guest does not know of how many pieces the host has made its memory: what crosses from one to
 * the next is still in RAM. */
void ram_init(const struct bh_guest_ram *ranges, uint32_t count) {
    ram.count = 0;
    for (uint32_t i = 0; i < count && i < BH_GUEST_RAM_MAX; i++) {
        struct bh_guest_ram *last = &ram.range[ram.count ? ram.count - 1 : 0];
        if (ram.count && is_continued(last, &ranges[i]))
            last->bytes += ranges[i].bytes;
        else
            ram.range[ram.count++] = ranges[i];
    }
    ram.end = ram.range + ram.count;
}

void *ram_at(struct gpa gpa, uint64_t bytes) {
    const struct bh_guest_ram *end = ram.end;
    for (const struct bh_guest_ram *range = ram.range; range < end; range++) {
        uint64_t offset = gpa.value - range->gpa; /* wraps below the range: larger than any range */
        uint64_t length = range->bytes;
        if (offset <= length && bytes <= length - offset)
            return (uint8_t *)range->va + offset;
    }
    return NULL;
}

uint64_t ram_before(const void *at) {
    uint64_t before = 0;
    for (const struct bh_guest_ram *range = ram.range; range < ram.end; range++) {
        uint64_t offset = (uint64_t)(uintptr_t)at - range->va;
        if (offset < range->bytes)
            return before + offset;
        before += range->bytes;
    }
    return before;
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
