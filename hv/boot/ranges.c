/* Sorted lists of disjoint address ranges. */
#include "hv/boot/boot.h"

static void insert(struct ranges *ranges, uint32_t at, struct range range) {
    if (ranges->count == RANGES_MAX)
        panic("memory is in more than %u pieces", RANGES_MAX);
    for (uint32_t i = ranges->count++; i > at; i--)
        ranges->at[i] = ranges->at[i - 1];
    ranges->at[at] = range;
}

static void delete (struct ranges *ranges, uint32_t at) {
    ranges->count--;
    for (uint32_t i = at; i < ranges->count; i++)
        ranges->at[i] = ranges->at[i + 1];
}

void ranges_subtract(struct ranges *ranges, uint64_t base, uint64_t end) {
    base &= PAGE_MASK;
    end = align_up(min_u64(end, PAGE_MASK), PAGE_BYTES);
    for (uint32_t i = 0; i < ranges->count;) {
        struct range *range = &ranges->at[i];
        uint64_t range_end = range->end;
        if (end <= range->base || base >= range_end) {
            i++;
            continue;
        }
        if (base > range->base) {
            range->end = base;
            i++;
        } else {
            delete (ranges, i);
        }
        if (end < range_end)
            insert(ranges, i++, (struct range){end, range_end});
    }
}

/* What touches or overlaps becomes one. */
void ranges_add(struct ranges *ranges, uint64_t base, uint64_t end) {
    uint32_t at = 0;
    if (base >= end)
        return;
    while (at < ranges->count && ranges->at[at].end < base)
        at++;
    while (at < ranges->count && ranges->at[at].base <= end) {
        base = min_u64(base, ranges->at[at].base);
        end = ranges->at[at].end > end ? ranges->at[at].end : end;
        delete (ranges, at);
    }
    insert(ranges, at, (struct range){base, end});
}
