#include "mgmt/own_memory.h"

#include <stdbool.h>
#include <stddef.h>

#include "guestlib/heap.h"
#include "mgmt/domain/memory.h"
#include "mgmt/hv.h"
#include "mgmt/layout.h"

/* A stretch takes a slot, so they become larger the more there are: 32 of 256 KiB, 32 of 512 KiB ..
 * make 120 MiB. */
#define FIRST_ORDER 6u
#define DOUBLE_AFTER 32u

static struct {
    bool may_grow;
    chunk stretch[MGMT_SLOT_HEAPS]; /* 0: none; its Region is in the slot of this number */
    uint32_t count;
    uint64_t pages;
} own;

static void *address_of(chunk c) {
    return (void *)(MGMT_VA_RAM + memory_base(c));
}

void own_memory_start(void) {
    own.may_grow = true;
}

uint64_t own_memory_bytes(void) {
    uint64_t slots, unused;
    if (hv_cap_info(OWN(BH_INIT_TABLE), 1, &slots, &unused))
        return 0;
    return (mgmt_ram_pages(slots) + own.pages) * BH_PAGE_BYTES;
}

static enum bh_status map_stretch(chunk c, bh_ref region) {
    const uint32_t rights = BH_REGION_READ | BH_REGION_WRITE;
    if (memory_base(c) >= MGMT_PHYSICAL_END)
        return BH_NO_MEMORY;
    memory_scrub(c);
    enum bh_status status = hv_retype(OWN(c), BH_TYPE_REGION, memory_pages(c), region, 0);
    return status ? status : hv_map(region, OWN(BH_INIT_SPACE), (uint64_t)address_of(c), rights);
}

/* Nothing in here may allocate: the heap is waiting. */
void *heap_more(size_t *bytes) {
    if (!own.may_grow || own.count == MGMT_SLOT_HEAPS)
        return NULL;
    unsigned order = memory_order_for((*bytes + BH_PAGE_BYTES - 1) / BH_PAGE_BYTES);
    unsigned usual = FIRST_ORDER + own.count / DOUBLE_AFTER;
    uint32_t i = 0;
    while (own.stretch[i])
        i++;
    chunk c;
    if (memory_alloc(BH_KIND_FRAME, order > usual ? order : usual, &c) &&
        memory_alloc(BH_KIND_FRAME, order, &c))
        return NULL;
    if (map_stretch(c, OWN(MGMT_SLOT_HEAP + i))) {
        memory_free(c);
        return NULL;
    }
    own.stretch[i] = c;
    own.count++;
    own.pages += memory_pages(c);
    *bytes = memory_pages(c) * BH_PAGE_BYTES;
    return address_of(c);
}

void heap_less(void *memory, size_t bytes) {
    (void)bytes;
    for (uint32_t i = 0; i < MGMT_SLOT_HEAPS; i++) {
        chunk c = own.stretch[i];
        if (!c || address_of(c) != memory)
            continue;
        own.stretch[i] = 0;
        own.count--;
        own.pages -= memory_pages(c);
        memory_revoke(c);
        memory_scrub(c);
        memory_free(c);
        return;
    }
}
