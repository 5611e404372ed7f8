/* Page tables of Spaces, and the window for single pages. SDM 3A, 4.5: four levels, 512 entries
 * each; level 1 maps 4 KiB, level 2 may map 2 MiB, level 3 of a guest Space 1 GiB (nested paging
 * has the same format and wants the user bit: APM 2, 15.25.5).
 *
 * A large entry is only made where it fits into the mapped range, so unmapping a range never has to
 * split one. Table pages stay with their Space until it dies. */
#include "hv/x86/x86.h"

enum { LEVELS = 4, INDEX_BITS = 9, ENTRIES = 512, UPPER_HALF = ENTRIES / 2 };
enum { GPA_BITS_MAX = 47 }; /* a slot remembers the address of a mapping in so many */

/* INVLPG one by one up to here; beyond, reloading CR3 is cheaper. */
enum { INVLPG_MAX = 16 };

enum { MAX_LEVEL_RING3 = 2, MAX_LEVEL_GUEST = 3 };

/* Numbers the flushes of guest Spaces, so that none has the same one twice, nor as another. */
static uint64_t flushes;

_Alignas(PAGE_BYTES) uint64_t kernel_root[ENTRIES];
_Alignas(PAGE_BYTES) uint64_t image_table[ENTRIES];
_Alignas(PAGE_BYTES) uint64_t image_directory[2][ENTRIES];
_Alignas(PAGE_BYTES) uint64_t window_table[ENTRIES];
_Alignas(PAGE_BYTES) uint64_t object_directory[ENTRIES];
_Alignas(PAGE_BYTES) uint64_t object_tables[OBJECT_TABLES][ENTRIES];

static uint64_t pages_at(unsigned level) {
    return 1ull << INDEX_BITS * (level - 1);
}

static uint64_t *entry_of(uint64_t *table, uint64_t va, unsigned level) {
    return &table[va >> (PAGE_SHIFT + INDEX_BITS * (level - 1)) & (ENTRIES - 1)];
}

static uint64_t *table_of(uint64_t entry) {
    return arch_object_pointer((struct pa){entry & PTE_ADDRESS});
}

void *arch_object_pointer(struct pa address) {
    return (void *)(OBJECT_BASE + address.raw);
}

struct pa arch_object_address(const void *object) {
    return (struct pa){(uint64_t)object - OBJECT_BASE};
}

void arch_space_init(struct space *space) {
    uint64_t *root = space_pool_take(space);
    for (unsigned i = UPPER_HALF; i < ENTRIES && space->kind == BH_SPACE_RING3; i++)
        root[i] = kernel_root[i];
    space->arch = (struct arch_space){.root = arch_object_address(root), .flush = ++flushes};
}

/* Walks from the root towards `level` as far as there are tables: the entry where that ends, and in
 * *level its level. */
static uint64_t *walk(const struct space *space, uint64_t va, unsigned *level) {
    unsigned at = LEVELS;
    uint64_t *entry = entry_of(table_of(space->arch.root.raw), va, at);
    while (at > *level && (*entry & PTE_P) && !(*entry & PTE_PS))
        entry = entry_of(table_of(*entry), va, --at);
    *level = at;
    return entry;
}

/* The entry for a new mapping at `level`, with the tables on the way to it. Prepares first: *status
 * other than OK means that nothing was written. */
static uint64_t *make_entry(struct space *space, uint64_t va, unsigned level,
                            enum bh_status *status) {
    unsigned at = level;
    uint64_t *entry = walk(space, va, &at);
    *status = BH_OK;
    if (*entry & PTE_P)
        *status = BH_BUSY;
    else if (at - level > space->pool_pages - space->pool_used)
        *status = BH_NO_MEMORY;
    for (; *status == BH_OK && at > level; at--) {
        uint64_t *table = space_pool_take(space);
        *entry = arch_object_address(table).raw | PTE_P | PTE_W | PTE_U | PTE_A;
        entry = entry_of(table, va, at - 1);
    }
    return entry;
}

static uint64_t flags_of(uint32_t rights, enum bh_kind kind) {
    return PTE_P | PTE_U | PTE_A | PTE_D | (rights & BH_REGION_WRITE ? PTE_W : 0) |
           (rights & BH_REGION_EXEC ? 0 : PTE_XD) |
           (kind == BH_KIND_DEVICE ? PTE_PCD | PTE_PWT : 0);
}

/* The level of the largest page that may begin here: not where a table stands, even an empty one.
 */
static unsigned level_that_fits(const struct space *space, uint64_t va, struct pa address,
                                uint64_t pages) {
    unsigned end = 1, level = MAX_LEVEL_RING3;
    if (space->kind == BH_SPACE_GUEST && features.large_1gib)
        level = MAX_LEVEL_GUEST;
    while (level > 1 &&
           (pages < pages_at(level) || ((va | address.raw) & (pages_at(level) * PAGE_BYTES - 1))))
        level--;
    if (level > 1)
        walk(space, va, &end);
    return level < end ? level : end;
}

enum bh_status arch_space_map(struct space *space, uint64_t va, struct pa address, uint64_t pages,
                              uint32_t rights, enum bh_kind kind, uint64_t *done) {
    uint64_t flags = flags_of(rights, kind);
    *done = 0;
    for (unsigned entries = 0; entries < ARCH_MAP_ENTRIES && *done < pages; entries++) {
        uint64_t offset = *done * PAGE_BYTES;
        unsigned level =
            level_that_fits(space, va + offset, pa_add(address, offset), pages - *done);
        enum bh_status status;
        uint64_t *entry = make_entry(space, va + offset, level, &status);
        if (status != BH_OK)
            return status;
        *entry = (address.raw + offset) | flags | (level > 1 ? PTE_PS : 0);
        *done += pages_at(level);
        /* The rest of a table of small pages needs no other walk. */
        while (level == 1 && (uint64_t)++entry % PAGE_BYTES && !(*entry & PTE_P) && *done < pages &&
               ++entries < ARCH_MAP_ENTRIES)
            *entry = (address.raw + (*done)++ * PAGE_BYTES) | flags;
    }
    return BH_OK;
}

static bool is_loaded(const struct space *space) {
    return this_cpu()->arch.root.raw == space->arch.root.raw;
}

uint64_t arch_space_unmap(struct space *space, uint64_t va_end, uint64_t pages, uint32_t *entries) {
    uint64_t done = 0;
    for (unsigned i = 0; *entries && done < pages; i++, --*entries) {
        uint64_t va = va_end - (done + 1) * PAGE_BYTES;
        unsigned level = 1;
        uint64_t *entry = walk(space, va, &level);
        if (!(*entry & PTE_P) || pages_at(level) > pages - done)
            arch_panic("unmapping what is not mapped");
        *entry = 0;
        done += pages_at(level);
        if (i >= INVLPG_MAX || space->kind == BH_SPACE_GUEST)
            space->arch.stale = true;
        else if (is_loaded(space))
            invlpg(va);
    }
    return done;
}

/* New entries are dirty already, so that only what is asked for costs the processor a write. */
uint64_t arch_space_take_dirty(struct space *space, uint64_t va, uint64_t pages, uint64_t *bits) {
    unsigned level = 1;
    uint64_t *entry = walk(space, va, &level), done = 0;
    *bits = 0;
    if (va % (pages_at(level) * PAGE_BYTES))
        return 0;
    do {
        if (__atomic_fetch_and(entry, ~(uint64_t)PTE_D, __ATOMIC_RELAXED) & PTE_D)
            *bits |= 1ull << done;
        done++;
    } while (level == 1 && done < min_u64(pages, ARCH_DIRTY_PAGES) &&
             (uint64_t)++entry % PAGE_BYTES);
    space->arch.stale |= *bits != 0;
    return level == 1 ? done : pages_at(level);
}

uint64_t arch_guest_end(void) {
    return 1ull << (features.physical_bits < GPA_BITS_MAX ? features.physical_bits : GPA_BITS_MAX);
}

/* Only this processor can have it loaded; loading CR3 forgets everything that is not global. Of a
 * guest Space the next entry of each Vcpu takes notice; no guest runs now. */
void arch_space_flush(struct space *space) {
    if (space->arch.stale && space->kind == BH_SPACE_GUEST) {
        space->arch.flush = ++flushes;
    } else if (space->arch.stale && is_loaded(space)) {
        write_cr3(space->arch.root.raw);
        this_cpu()->counter[BH_COUNTER_TLB_FLUSHES]++;
    }
    space->arch.stale = false;
}

void arch_space_retire(struct space *space) {
    if (!is_loaded(space))
        return;
    struct cpu *cpu = this_cpu();
    cpu->arch.root = image_address(kernel_root);
    write_cr3(cpu->arch.root.raw);
    cpu->counter[BH_COUNTER_SPACE_SWITCHES]++;
}

static void *window_address(unsigned slot) {
    return (void *)(WINDOW_BASE + slot * PAGE_BYTES);
}

void *window_map(unsigned slot, struct pa address) {
    window_table[slot] = address.raw | DATA_FLAGS | PTE_PCD | PTE_PWT | PTE_G;
    return window_address(slot);
}

void arch_scrub(struct pa address, uint32_t pages) {
    unsigned slot = WINDOW_SCRUB + this_cpu()->index * ARCH_SCRUB_PAGES;
    uint8_t *window = window_address(slot);
    for (uint32_t i = 0; i < pages; i++)
        window_table[slot + i] = (address.raw + i * PAGE_BYTES) | DATA_FLAGS;
    __builtin_memset(window, 0, pages * PAGE_BYTES);
    for (uint32_t i = 0; i < pages; i++) {
        window_table[slot + i] = 0;
        invlpg((uint64_t)window + i * PAGE_BYTES);
    }
}

/* The last step of boot, so it cannot lie there: the identity map and hv/boot itself go. None of
 * these entries is global. */
void paging_leave_boot(void) {
    kernel_root[0] = 0;
    for (const uint8_t *page = image_start; page < boot_end; page += PAGE_BYTES)
        image_table[(image_address(page).raw - HV_LOAD) / PAGE_BYTES] = 0;
    write_cr3(this_cpu()->arch.root.raw);
    leave_to_another();
}
