/* The fake architecture layer: see fake_arch.h. It implements hv/core/arch.h and is stricter than a
 * processor: what the core must never ask for stops the test. */
#include "test/unit/fake_arch/fake_arch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fake fake;

static _Alignas(4096) uint8_t object_memory[FAKE_OBJECT_PAGES * PAGE_BYTES];
static _Alignas(4096) uint8_t shared_memory[FAKE_SHARED_PAGES * PAGE_BYTES];

enum {
    FPU_BYTES = 512,
    DIRT = 0xa5,
    TABLE_ENTRIES = 512,
    LEVELS = 4,
};

/* A table entry: address in bits 12 to 51 (a table: the address in object memory). */
enum {
    ENTRY_RIGHTS = 0x7,
    ENTRY_PRESENT = 0x8,
    ENTRY_LARGE = 0x10,
    ENTRY_TABLE = 0x20,
    ENTRY_KIND_SHIFT = 6,
    ENTRY_DIRTY = 0x100,
};
#define ENTRY_ADDRESS 0xffffffffff000ull

_Noreturn void arch_panic(const char *reason) {
    fake.panic_reason = reason;
    if (fake.panic)
        longjmp(*fake.panic, 1);
    fprintf(stderr, "arch_panic: %s\n", reason);
    abort();
}

void fake_reset(void) {
    memset(&fake, 0, sizeof(fake));
    memset(object_memory, DIRT, sizeof(object_memory));
    memset(fake.frame_dirty, 1, sizeof(fake.frame_dirty));
    memset(fake.shared_dirty, 1, sizeof(fake.shared_dirty));
    fake.now = 1000000;
    fake.map_entries = ARCH_MAP_ENTRIES;
    fake.vectors_free = FAKE_VECTORS;
    for (uint32_t i = 0; i < FAKE_CPUS; i++) {
        fake.cpus[i].index = i;
        fake.cpus[i].run_start = fake.now;
        cpus[i] = &fake.cpus[i];
    }
    cpu_count = FAKE_CPUS;
    peek_reset();
}

void fake_count_from_zero(void) {
    fake.entries = fake.scrubbed_pages = fake.flushes = 0;
}

/* --- Memory ---------------------------------------------------------------------------------- */

void *arch_object_pointer(struct pa address) {
    if (address.raw - FAKE_SHARED_BASE < sizeof(shared_memory))
        return shared_memory + (address.raw - FAKE_SHARED_BASE);
    uint64_t offset = address.raw - FAKE_OBJECT_BASE;
    if (address.raw < FAKE_OBJECT_BASE || offset > sizeof(object_memory))
        arch_panic("fake: not object memory");
    return object_memory + offset;
}

struct pa arch_object_address(const void *object) {
    const uint8_t *at = object;
    if (at < object_memory || at >= object_memory + sizeof(object_memory))
        arch_panic("fake: no object there");
    return (struct pa){FAKE_OBJECT_BASE + (uint64_t)(at - object_memory)};
}

uint8_t *fake_frame(uint64_t pa) {
    if (pa >= FAKE_FRAME_BASE && pa < FAKE_FRAME_BASE + FAKE_FRAME_PAGES * PAGE_BYTES)
        return &fake.frame_dirty[(pa - FAKE_FRAME_BASE) / PAGE_BYTES];
    if (pa >= FAKE_SHARED_BASE && pa < FAKE_SHARED_BASE + FAKE_SHARED_PAGES * PAGE_BYTES)
        return &fake.shared_dirty[(pa - FAKE_SHARED_BASE) / PAGE_BYTES];
    return NULL;
}

void arch_scrub(struct pa address, uint32_t pages) {
    if (pages > ARCH_SCRUB_PAGES || address.raw % PAGE_BYTES)
        arch_panic("fake: scrub beyond the window");
    for (uint32_t i = 0; i < pages; i++) {
        uint8_t *frame = fake_frame(address.raw + i * PAGE_BYTES);
        if (!frame)
            arch_panic("fake: scrub of what is not RAM");
        *frame = 0;
    }
    fake.scrubbed_pages += pages;
}

/* --- Spaces ---------------------------------------------------------------------------------- */

static void check_table_is_zero(const uint64_t *table) {
    for (unsigned i = 0; i < TABLE_ENTRIES; i++)
        if (table[i])
            arch_panic("fake: a table page is not zeroed");
}

static uint64_t *take_table(struct space *space) {
    uint64_t *table = space_pool_take(space);
    if (!table)
        arch_panic("fake: the pool was counted wrongly");
    check_table_is_zero(table);
    return table;
}

void arch_space_init(struct space *space) {
    space->arch.root = take_table(space);
}

static unsigned index_at(uint64_t va, unsigned level) {
    return va >> (PAGE_SHIFT + 9 * (level - 1)) & (TABLE_ENTRIES - 1);
}

static uint64_t *table_of(uint64_t entry) {
    return arch_object_pointer((struct pa){entry & ENTRY_ADDRESS});
}

/* The entry for va at the lowest level that exists, not below `lowest`; *level says which. */
static uint64_t *find_entry(const struct space *space, uint64_t va, unsigned lowest,
                            unsigned *level) {
    uint64_t *table = space->arch.root;
    for (*level = LEVELS;; --*level) {
        uint64_t *entry = &table[index_at(va, *level)];
        if (*level == lowest || !(*entry & ENTRY_TABLE))
            return entry;
        table = table_of(*entry);
    }
}

enum bh_status arch_space_map(struct space *space, uint64_t va, struct pa address, uint64_t pages,
                              uint32_t rights, enum bh_kind kind, uint64_t *done) {
    const uint64_t large_bytes = FAKE_LARGE_PAGES * PAGE_BYTES;
    if (kind == BH_KIND_OBJECT)
        arch_panic("fake: object memory must not be mapped");
    bool guest = space->kind == BH_SPACE_GUEST;
    if ((!guest && va < BH_USER_VA_MIN) ||
        va + pages * PAGE_BYTES > (guest ? FAKE_GUEST_END : BH_USER_VA_END))
        arch_panic("fake: not an address of this Space");
    *done = 0;
    for (uint32_t entries = 0; *done < pages && entries < fake.map_entries; entries++) {
        uint64_t at = va + *done * PAGE_BYTES, pa = address.raw + *done * PAGE_BYTES;
        bool large =
            at % large_bytes == 0 && pa % large_bytes == 0 && pages - *done >= FAKE_LARGE_PAGES;
        unsigned level, lowest = large ? 2 : 1;
        uint64_t *entry = find_entry(space, at, lowest, &level);
        if (level == 2 && large && *entry & ENTRY_TABLE) { /* small pages were here before */
            large = false;
            lowest = 1;
            entry = find_entry(space, at, lowest, &level);
        }
        if (*entry & ENTRY_PRESENT)
            return BH_BUSY;
        if (level - lowest > space->pool_pages - space->pool_used)
            return BH_NO_MEMORY;
        for (; level > lowest; level--) {
            uint64_t *table = take_table(space);
            *entry = arch_object_address(table).raw | ENTRY_TABLE;
            entry = &table[index_at(at, level - 1)];
        }
        *entry = pa | (rights & ENTRY_RIGHTS) | ENTRY_PRESENT | ENTRY_DIRTY |
                 (large ? ENTRY_LARGE : 0u) | (uint64_t)kind << ENTRY_KIND_SHIFT;
        *done += large ? FAKE_LARGE_PAGES : 1;
        fake.entries++;
    }
    return BH_OK;
}

uint64_t arch_space_unmap(struct space *space, uint64_t va_end, uint64_t pages, uint32_t *entries) {
    uint64_t done = 0;
    for (; done < pages && *entries; --*entries) {
        unsigned level;
        uint64_t last = va_end - (done + 1) * PAGE_BYTES;
        uint64_t *entry = find_entry(space, last, 1, &level);
        if (!(*entry & ENTRY_PRESENT))
            arch_panic("fake: unmapping what is not mapped");
        uint64_t size = *entry & ENTRY_LARGE ? FAKE_LARGE_PAGES : 1;
        if (size > pages - done || (last + PAGE_BYTES) % (size * PAGE_BYTES))
            arch_panic("fake: unmapping part of a large page");
        if (fake.stale_count == FAKE_STALE_MAX)
            arch_panic("fake: too much unmapped without a flush");
        fake.stale[fake.stale_count++] = (struct fake_stale){
            space, last + PAGE_BYTES - size * PAGE_BYTES, *entry & ENTRY_ADDRESS, size};
        *entry = 0;
        done += size;
        fake.entries++;
    }
    return done;
}

uint64_t arch_space_take_dirty(struct space *space, uint64_t va, uint64_t pages, uint64_t *bits) {
    uint64_t told = 0;
    *bits = 0;
    do {
        unsigned level;
        uint64_t *entry = find_entry(space, va + told * PAGE_BYTES, 1, &level);
        if (!(*entry & ENTRY_PRESENT))
            arch_panic("fake: what is not mapped is not dirty");
        if (*entry & ENTRY_LARGE && told)
            return told;
        if (*entry & ENTRY_LARGE && va % (FAKE_LARGE_PAGES * PAGE_BYTES))
            return 0;
        if (*entry & ENTRY_DIRTY)
            *bits |= 1ull << told;
        *entry &= ~(uint64_t)ENTRY_DIRTY;
        fake.clean_unseen = *bits ? space : fake.clean_unseen;
        if (*entry & ENTRY_LARGE)
            return FAKE_LARGE_PAGES;
        told++;
    } while (told < pages && told < ARCH_DIRTY_PAGES);
    return told;
}

void fake_write(const struct space *space, uint64_t va) {
    unsigned level;
    uint64_t *entry = find_entry(space, va, 1, &level);
    if (!(*entry & ENTRY_PRESENT))
        arch_panic("fake: a write to nothing");
    if (fake.clean_unseen != space) /* else a TLB has it as written */
        *entry |= ENTRY_DIRTY;
}

static void forget_stale(const struct space *space) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < fake.stale_count; i++)
        if (fake.stale[i].space != space)
            fake.stale[kept++] = fake.stale[i];
    fake.stale_count = kept;
}

void arch_space_flush(struct space *space) {
    fake.flushes++;
    forget_stale(space);
    if (fake.clean_unseen == space)
        fake.clean_unseen = NULL;
}

void arch_space_retire(struct space *space) {
    forget_stale(space);
}

static struct fake_page decode(uint64_t entry) {
    return (struct fake_page){.present = true,
                              .large = entry & ENTRY_LARGE,
                              .pa = entry & ENTRY_ADDRESS,
                              .rights = entry & ENTRY_RIGHTS,
                              .kind = entry >> ENTRY_KIND_SHIFT & 3};
}

struct fake_page fake_translate(const struct space *space, uint64_t va) {
    for (uint32_t i = 0; i < fake.stale_count; i++) {
        const struct fake_stale *stale = &fake.stale[i];
        if (stale->space == space && va >= stale->va && va < stale->va + stale->pages * PAGE_BYTES)
            return (struct fake_page){.present = true, .stale = true, .pa = stale->pa};
    }
    unsigned level;
    uint64_t entry = *find_entry(space, va, 1, &level);
    if (!(entry & ENTRY_PRESENT))
        return (struct fake_page){0};
    struct fake_page page = decode(entry);
    page.pa += va & ((page.large ? FAKE_LARGE_PAGES * PAGE_BYTES : PAGE_BYTES) - 1);
    return page;
}

typedef void walker(void *closure, uint64_t va, uint64_t pages, struct fake_page page);

static void walk_table(const uint64_t *table, unsigned level, uint64_t va, walker *each,
                       void *closure) {
    for (unsigned i = 0; i < TABLE_ENTRIES; i++) {
        uint64_t at = va | (uint64_t)i << (PAGE_SHIFT + 9 * (level - 1));
        if (table[i] & ENTRY_PRESENT)
            each(closure, at, table[i] & ENTRY_LARGE ? FAKE_LARGE_PAGES : 1, decode(table[i]));
        else if (table[i])
            walk_table(table_of(table[i]), level - 1, at, each, closure);
    }
}

void fake_walk(const struct space *space, walker *each, void *closure) {
    walk_table(space->arch.root, LEVELS, 0, each, closure);
}

/* --- Guest mode: the tests play the guest ------------------------------------------------------
 */

bool arch_guest_mode(void) {
    return fake.guest_mode;
}

uint64_t arch_guest_end(void) {
    return FAKE_GUEST_END;
}

uint64_t arch_vcpu_bytes(void) {
    return PAGE_BYTES + align_up(sizeof(struct vcpu), 64);
}

void arch_vcpu_init(struct vcpu *vcpu) {
    check_table_is_zero((const uint64_t *)((uintptr_t)vcpu - PAGE_BYTES));
}

void arch_vcpu_retire(struct vcpu *vcpu) {
    vcpu->arch.retired++;
}

bool arch_vcpu_load(struct vcpu *vcpu, uint32_t groups) {
    vcpu->arch.loaded = groups;
    return vcpu->page->cr0 != FAKE_BAD_CR0;
}

void arch_vcpu_store(struct vcpu *vcpu, uint32_t groups) {
    vcpu->arch.stored = groups;
}

void arch_vcpu_store_exit(struct vcpu *vcpu, enum bh_exit exit) {
    vcpu->page->exit = exit;
    vcpu->arch.exits++;
}

/* --- Contexts -------------------------------------------------------------------------------- */

uint64_t arch_context_bytes(void) {
    return align_up(sizeof(struct context), 64) + FPU_BYTES;
}

void arch_context_init(struct context *context) {
    context->arch.reg[BH_REG_RFLAGS] = 0x202;
}

void arch_context_retire(struct context *context) {
    context->arch.retired++;
}

uint64_t arch_argument(const struct context *context, unsigned index) {
    return context->arch.argument[index];
}

void arch_set_result(struct context *context, uint64_t status, uint64_t value0, uint64_t value1) {
    context->arch.status = status;
    context->arch.value[0] = value0;
    context->arch.value[1] = value1;
}

uint64_t arch_get_register(const struct context *context, uint32_t reg) {
    if (reg > BH_REG_GS_BASE)
        arch_panic("fake: no such register");
    return context->arch.reg[reg];
}

enum bh_status arch_set_register(struct context *context, uint32_t reg, uint64_t value) {
    if (reg > BH_REG_GS_BASE)
        arch_panic("fake: no such register");
    if (reg >= BH_REG_RIP && reg != BH_REG_RFLAGS && value >= BH_USER_VA_END)
        return BH_BAD_ARG;
    context->arch.reg[reg] = value;
    return BH_OK;
}

/* --- Time, interrupts, ports, board ---------------------------------------------------------- */

uint64_t arch_now(void) {
    return fake.now;
}

void arch_timer_set(uint64_t deadline) {
    fake.cpus[fake.cpu].arch.timer = deadline;
}

enum bh_status arch_irq_attach(struct irq *irq, uint64_t source, uint64_t *address,
                               uint64_t *data) {
    if (source != BH_IRQ_SOURCE_MSI && (source & ~BH_IRQ_GSI_LEVEL) >= FAKE_GSIS)
        return BH_BAD_ARG;
    if (!fake.vectors_free)
        return BH_NO_MEMORY;
    fake.vectors_free--;
    irq->arch.source = source;
    if (source == BH_IRQ_SOURCE_MSI) {
        *address = 0xfee00000;
        *data = 0x40 + fake.vectors_free;
    }
    return BH_OK;
}

void arch_irq_detach(struct irq *irq) {
    (void)irq;
    fake.vectors_free++;
    fake.detached++;
}

void arch_irq_unmask(struct irq *irq) {
    (void)irq;
    fake.unmasked++;
}

uint32_t arch_port_in(uint16_t port, unsigned width_bytes) {
    fake.port = port;
    fake.port_width = width_bytes;
    fake.ports_done++;
    return fake.port_value;
}

void arch_port_out(uint16_t port, unsigned width_bytes, uint32_t value) {
    fake.port = port;
    fake.port_width = width_bytes;
    fake.port_value = value;
    fake.ports_done++;
}

enum bh_status arch_reset(void) {
    return BH_NOT_READY;
}

void arch_log(const char *text, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        fake.log[fake.log_length++ % sizeof(fake.log)] = text[i];
}

struct cpu *this_cpu(void) {
    return &fake.cpus[fake.cpu];
}

/* On one CPU nobody would ever end the wait. */
void arch_relax(void) {
    arch_panic("fake: the lock is held already");
}

uint64_t arch_bounds_mask(uint64_t index, uint64_t bound) {
    return index < bound ? ~0ull : 0;
}
