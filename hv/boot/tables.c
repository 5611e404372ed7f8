/* hv's page tables: the upper half of every Space. Text is executable and read-only, all else is
 * not executable, and what is not needed is not there. */
#include "hv/boot/boot.h"

enum { ENTRIES = 512, PML4_SHIFT = 39, PDPT_SHIFT = 30, PD_SHIFT = 21 };
#define LARGE_PAGE_BYTES (1ull << PD_SHIFT)

extern uint64_t identity_map[ENTRIES]; /* start.S: a PDPT */

static unsigned index(uint64_t va, unsigned shift) {
    return va >> shift & (ENTRIES - 1);
}

static uint64_t table_entry(const uint64_t *table) {
    return image_address(table).raw | PTE_P | PTE_W | PTE_A;
}

/* By hv.ld's order of sections. What belongs to boot goes again, so it is not global. */
static uint64_t image_flags(const uint8_t *page) {
    const uint64_t text = PTE_P | PTE_A, rodata = text | PTE_XD, data = DATA_FLAGS;
    const struct {
        const uint8_t *end;
        uint64_t flags;
    } parts[] = {{boot_text_end, text},    {boot_rodata_end, rodata},    {boot_end, data},
                 {text_end, text | PTE_G}, {rodata_end, rodata | PTE_G}, {image_end, data | PTE_G}};
    for (unsigned i = 0; i < STACKS; i++)
        if (page == stacks[i].guard)
            return 0;
    unsigned part = 0;
    while (page >= parts[part].end)
        part++;
    return parts[part].flags;
}

void tables_init(void) {
    for (const uint8_t *page = image_start; page < image_end; page += PAGE_BYTES) {
        uint64_t flags = image_flags(page);
        uint64_t address = image_address(page).raw;
        image_table[(address - HV_LOAD) / PAGE_BYTES] = flags ? address | flags : 0;
    }
    image_directory[1][index((uint64_t)image_start, PD_SHIFT)] = table_entry(image_table);
    image_directory[1][index(WINDOW_BASE, PD_SHIFT)] = table_entry(window_table);
    image_directory[0][index(HV_BASE, PDPT_SHIFT)] = table_entry(image_directory[1]);
    kernel_root[index(HV_BASE, PML4_SHIFT)] = table_entry(image_directory[0]);
    kernel_root[index(OBJECT_BASE, PML4_SHIFT)] = table_entry(object_directory);
    kernel_root[0] = table_entry(identity_map) | PTE_XD;
    this_cpu()->arch.root = image_address(kernel_root);
    write_cr3(this_cpu()->arch.root.raw);
}

void tables_map_objects(const struct range *objects) {
    uint64_t first = objects->base >> PDPT_SHIFT;
    for (uint64_t at = objects->base; at < objects->end; at += LARGE_PAGE_BYTES) {
        uint64_t *table = object_tables[(at >> PDPT_SHIFT) - first];
        table[index(at, PD_SHIFT)] = at | DATA_FLAGS | PTE_PS | PTE_G;
        object_directory[index(at, PDPT_SHIFT)] = table_entry(table);
    }
}
