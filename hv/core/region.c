/* Mappings: a Region capability is mapped at most once, in one Space; each Space threads a list
 * through the slots mapped in it. Map and unmap keep their progress in the slot. */
#include "hv/core/call.h"

/* Puts a Region whose successor is set into its Space's list, where `link` is the pointer to it. */
static void space_enter(struct slot *region, struct slot **link) {
    struct slot *next = region->region.space_next;
    *link = region;
    region->region.space_link = link;
    if (next)
        next->region.space_link = &region->region.space_next;
}

void region_forget(struct slot *region) {
    region->region.space = NULL;
    region->region.space_link = NULL;
    region->region.space_next = NULL;
    region->region.va_page = region->region.mapped = 0;
}

static void space_leave(struct slot *region) {
    struct slot *next = region->region.space_next;
    *region->region.space_link = next;
    if (next)
        next->region.space_link = region->region.space_link;
    region_forget(region);
}

/* The slot has a new address: its neighbours in the Space's list follow. */
void region_moved(struct slot *region) {
    if (region->region.space)
        space_enter(region, region->region.space_link);
}

/* What is writable and executable at once, a guest's own kernel sorts out. */
/*@ requires \valid_read(space);
  @ assigns \nothing; */
static bool rights_valid(const struct space *space, uint32_t rights) {
    const uint32_t both = BH_REGION_WRITE | BH_REGION_EXEC;
    return (rights & ~both) == BH_REGION_READ &&
           (space->kind == BH_SPACE_GUEST || (rights & both) != both);
}

/*@ requires \valid_read(space);
  @ assigns \nothing;
  @ ensures \result && space->kind != BH_SPACE_GUEST ==>
  @   BH_USER_VA_MIN <= va && va + pages * 4096 <= BH_USER_VA_END;
  @ ensures \result && space->kind == BH_SPACE_GUEST ==> va + pages * 4096 <= 0x1000000000000;
  @ ensures \result ==> va % 4096 == 0; */
static bool range_valid(const struct space *space, uint64_t va, uint64_t pages) {
    bool guest = space->kind == BH_SPACE_GUEST;
    uint64_t first = guest ? 0 : BH_USER_VA_MIN, end = guest ? arch_guest_end() : BH_USER_VA_END;
    return va % PAGE_BYTES == 0 && va >= first && va < end && pages <= (end - va) / PAGE_BYTES;
}

enum bh_status region_map(struct write_held held, struct slot *region, struct space *space,
                          uint64_t va, uint32_t rights) {
    (void)held;
    if (!rights_valid(space, rights) || !range_valid(space, va, region->pages))
        return BH_BAD_ARG;
    if (rights & ~region->rights)
        return BH_BAD_RIGHTS;
    uint64_t mapped = region->region.mapped;
    if (region->region.space &&
        (region->region.space != space || region->region.va_page != va >> PAGE_SHIFT ||
         mapped == region->pages))
        return BH_BUSY;

    uint64_t done = 0;
    enum bh_status status =
        arch_space_map(space, va + mapped * PAGE_BYTES, pa_add(region->base, mapped * PAGE_BYTES),
                       region->pages - mapped, rights, (enum bh_kind)region->region.kind, &done);
    if (done && !region->region.space) {
        region->region.space = space;
        region->region.space_next = space->mapped;
        space_enter(region, &space->mapped);
        region->region.va_page = (va >> PAGE_SHIFT) & ((1ull << 35) - 1);
    }
    region->region.mapped = (mapped + done) & REGION_PAGES_MAX;
    if (status != BH_OK)
        return status;
    return mapped + done == region->pages ? BH_OK : BH_AGAIN;
}

bool region_unmap(struct write_held held, struct slot *region, uint32_t *work) {
    (void)held;
    struct space *space = region->region.space;
    if (!space)
        return true;
    uint64_t mapped = region->region.mapped;
    uint64_t va_end = ((uint64_t)region->region.va_page + mapped) << PAGE_SHIFT;
    mapped -= arch_space_unmap(space, va_end, mapped, work);
    region->region.mapped = mapped & REGION_PAGES_MAX;
    arch_space_flush(space);
    if (mapped)
        return false;
    space_leave(region);
    return true;
}

struct result act_region_dirty(const struct call *call) {
    const struct slot *region = call->slot[0];
    struct space *space = region->region.space;
    uint64_t page = call->value[1], bits;
    if (page >= region->region.mapped)
        return answer(BH_BAD_ARG);
    uint64_t va = (region->region.va_page + page) << PAGE_SHIFT;
    uint64_t pages = arch_space_take_dirty(space, va, region->region.mapped - page, &bits);
    arch_space_flush(space);
    return (struct result){pages ? BH_OK : BH_BAD_ARG, bits, pages};
}

/* The table pages die with the Space, but between two steps it can still be bound and run on: what
 * a Region no longer knows of must not be in the tables either. */
bool space_clear(struct write_held held, struct space *space, uint32_t *work) {
    while (space->mapped)
        if (!region_unmap(held, space->mapped, work))
            return false;
    return doorbells_remove(held, space, work);
}

void *space_pool_take(struct space *space) {
    if (space->pool_used == space->pool_pages)
        return NULL;
    uint8_t *pool = (uint8_t *)space - space->pool_pages * PAGE_BYTES;
    return pool + space->pool_used++ * PAGE_BYTES;
}
