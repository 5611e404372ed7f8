/* Divides physical memory, once: objects, frames, devices, and what nobody gets. */
#include "hv/boot/boot.h"

enum { OBJECT_FRACTION = 32, SHARED_FRACTION = 1024 };
#define MIB (1ul << 20)
#define OBJECT_BYTES_MIN (8 * MIB)
#define OBJECT_BYTES_MAX (32ull << 30) /* tables.c: OBJECT_TABLES */
#define OBJECT_ALIGNMENT (2 * MIB)     /* mapped by large pages */
#define SHARED_BYTES_MAX (1ull << 30)
#define LOW_MEMORY_END (1 * MIB) /* firmware data, VGA, later the processors' start page */
#define MSI_RANGE 0xfee00000ull  /* SDM 3A, 10.11.1: a write here is an interrupt */
#define MSI_RANGE_END 0xfef00000ull

static uint64_t end_of(const struct map_entry *entry) {
    return entry->base + min_u64(entry->bytes, UINT64_MAX - entry->base);
}

/* Frames: RAM that nothing else claims. Devices: every address that is not RAM (the firmware's own
 * counts as a device: its ACPI tables are read in ring 3) and does not steer the processor's own
 * interrupts or the IOMMUs. */
static void divide_by_map(struct memory *memory, const struct loader *loader) {
    const struct map_entry *end = &loader->map[loader->map_count];
    ranges_add(&memory->devices, 0, 1ull << features.physical_bits);
    for (const struct map_entry *entry = loader->map; entry < end; entry++)
        if (entry->type == MAP_RAM) {
            memory->ram_bytes += entry->bytes;
            ranges_add(&memory->frames, align_up(entry->base, PAGE_BYTES),
                       end_of(entry) & PAGE_MASK);
        }
    for (const struct map_entry *entry = loader->map; entry < end; entry++) {
        if (entry->type != MAP_RAM)
            ranges_subtract(&memory->frames, entry->base, end_of(entry));
        if (entry->type == MAP_RAM || entry->type == MAP_UNUSABLE)
            ranges_subtract(&memory->devices, entry->base, end_of(entry));
    }
}

static void keep_registers(struct memory *memory, const struct acpi *acpi) {
    for (uint32_t i = 0; i < acpi->kept.count; i++)
        ranges_subtract(&memory->devices, acpi->kept.at[i].base, acpi->kept.at[i].end);
    ranges_subtract(&memory->devices, lapic_base, lapic_base + PAGE_BYTES);
    ranges_subtract(&memory->devices, MSI_RANGE, MSI_RANGE_END);
}

/* What follows `name` in the line, or NULL. */
static const char *find_option(const char *line, const char *name) {
    for (; *line; line++) {
        size_t i = 0;
        while (name[i] && line[i] == name[i])
            i++;
        if (!name[i])
            return line + i;
    }
    return NULL;
}

/* object_memory=NUMBER[K|M|G] on the command line; 0: not there. */
static uint64_t object_memory_option(const char *line) {
    const char *at = find_option(line, "object_memory=");
    uint64_t value = 0;
    if (!at)
        return 0;
    for (; *at >= '0' && *at <= '9' && value < OBJECT_BYTES_MAX; at++)
        value = value * 10 + (uint64_t)(*at - '0');
    unsigned shift = *at == 'K' ? 10 : *at == 'M' ? 20 : *at == 'G' ? 30 : 0;
    return value < OBJECT_BYTES_MAX >> shift ? value << shift : OBJECT_BYTES_MAX;
}

/* The highest place below `limit`, with shared memory behind it. */
static bool place_objects(struct memory *memory, uint64_t objects, uint64_t shared,
                          uint64_t limit) {
    uint64_t bytes = objects + shared;
    for (uint32_t i = memory->frames.count; i-- > 0;) {
        const struct range *range = &memory->frames.at[i];
        uint64_t end = min_u64(range->end, limit) & ~(OBJECT_ALIGNMENT - 1);
        if (end < bytes || end - bytes < range->base)
            continue;
        memory->objects = (struct range){end - bytes, end - shared};
        memory->shared = (struct range){end - shared, end};
        ranges_subtract(&memory->frames, end - bytes, end);
        return true;
    }
    return false;
}

void memory_divide(struct memory *memory, const struct loader *loader, const struct acpi *acpi) {
    divide_by_map(memory, loader);
    keep_registers(memory, acpi);
    ranges_subtract(&memory->frames, 1ull << features.physical_bits, UINT64_MAX);
    ranges_subtract(&memory->frames, 0, LOW_MEMORY_END);
    ranges_subtract(&memory->frames, HV_LOAD, image_address(image_end).raw);
    for (uint32_t i = 0; i < loader->module_count; i++) {
        const struct module *module = &loader->module[i];
        ranges_subtract(&memory->frames, module->base, module->base + module->bytes);
    }

    uint64_t bytes = object_memory_option(loader->command_line);
    if (!bytes)
        bytes = memory->ram_bytes / OBJECT_FRACTION;
    if (bytes < OBJECT_BYTES_MIN)
        bytes = OBJECT_BYTES_MIN;
    bytes = align_up(min_u64(bytes, OBJECT_BYTES_MAX), OBJECT_ALIGNMENT);
    uint64_t shared = min_u64(memory->ram_bytes / SHARED_FRACTION, SHARED_BYTES_MAX);
    shared = align_up(shared ? shared : 1, OBJECT_ALIGNMENT);
    if (!place_objects(memory, bytes, shared, IDENTITY_LIMIT) &&
        !place_objects(memory, bytes, shared, OBJECT_LIMIT))
        panic("no %lu MiB of contiguous RAM for object memory, of %lu MiB; set object_memory= on "
              "hv's command line, or add RAM",
              bytes / MIB, memory->ram_bytes / MIB);
    tables_map_objects(&(struct range){memory->objects.base, memory->shared.end});
    log_print("hv: memory: %lu MiB of RAM; object memory %lu MiB at %lx; hv %lu KiB\n",
              memory->ram_bytes / MIB, bytes / MIB, memory->objects.base,
              (uint64_t)(image_end - image_start) / 1024);
}

struct pa memory_take_frames(struct memory *memory, uint64_t pages) {
    for (uint32_t i = memory->frames.count; i-- > 0;) {
        struct range range = memory->frames.at[i];
        if ((range.end - range.base) / PAGE_BYTES < pages)
            continue;
        uint64_t base = range.end - pages * PAGE_BYTES;
        ranges_subtract(&memory->frames, base, range.end);
        return (struct pa){base};
    }
    panic("no %lu contiguous pages of RAM for init; add RAM", pages);
}

/* Zeroed. What is taken is pushed up from the start; the rest becomes init's Untyped. */
void *memory_take_objects(struct memory *memory, uint64_t bytes, uint64_t alignment) {
    uint64_t base = align_up(memory->objects.base, alignment);
    if (bytes > memory->objects.end - base)
        panic("object memory is too small for init; raise object_memory=");
    memory->objects.base = base + bytes;
    return __builtin_memset(arch_object_pointer((struct pa){base}), 0, bytes);
}
