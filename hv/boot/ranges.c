/* Sorted lists of disjoint address ranges. */
#include "hv/boot/boot.h"

static void append(struct ranges *ranges, struct range range) {
    if (ranges->count == RANGES_MAX)
        panic("memory is in more than %u pieces", RANGES_MAX);
    ranges->at[ranges->count++] = range;
}

/* What touches or overlaps becomes one. */
void ranges_add(struct ranges *ranges, uint64_t base, uint64_t end) {
    const struct ranges before = *ranges;
    uint32_t i = 0;
    if (base >= end)
        return;
    ranges->count = 0;
    for (; i < before.count && before.at[i].end < base; i++)
        append(ranges, before.at[i]);
    for (; i < before.count && before.at[i].base <= end; i++) {
        base = min_u64(base, before.at[i].base);
        end = before.at[i].end > end ? before.at[i].end : end;
    }
    append(ranges, (struct range){base, end});
    for (; i < before.count; i++)
        append(ranges, before.at[i]);
}

void ranges_subtract(struct ranges *ranges, uint64_t base, uint64_t end) {
    const struct ranges before = *ranges;
    base &= PAGE_MASK;
    end = align_up(min_u64(end, PAGE_MASK), PAGE_BYTES);
    ranges->count = 0;
    for (uint32_t i = 0; i < before.count; i++) {
        struct range range = before.at[i];
        ranges_add(ranges, range.base, min_u64(range.end, base));
        ranges_add(ranges, range.base > end ? range.base : end, range.end);
    }
}
