#include "mgmt/vmm/loader.h"

#include <string.h>

#include "mgmt/vmm/acpi.h"
#include "mgmt/vmm/pci.h"

#define ELF_MAGIC "\177ELF"
#define MAP_RAM 1u
#define MAP_RESERVED 2u
#define COMMAND_LINE_MAX 0x1000u
#define PAGE_BYTES 4096u

uint32_t loader_memory_map(struct loader_map map[LOADER_MAP_MAX]) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < ram_ranges(); i++) {
        uint64_t bytes, base = ram_range(i, &bytes).value, end = base + bytes;
        if (base == 0) { /* the tables' place is not for use, nor is what was a screen's */
            map[count++] = (struct loader_map){0, LOADER_LOW_END, MAP_RAM, 0};
            map[count++] = (struct loader_map){ACPI_BASE, ACPI_END - ACPI_BASE, MAP_RESERVED, 0};
            base = ACPI_END;
        }
        if (base < end)
            map[count++] = (struct loader_map){base, end - base, MAP_RAM, 0};
    }
    map[count++] = (struct loader_map){PCI_ECAM_BASE, PCI_ECAM_BYTES, MAP_RESERVED, 0};
    return count;
}

const char *loader_put_initrd(const struct loader_file *initrd, uint64_t floor, uint64_t limit,
                              struct gpa *at) {
    *at = GPA(0);
    if (initrd->bytes == 0)
        return NULL;
    for (uint32_t i = ram_ranges(); i > 0; i--) {
        uint64_t bytes, base = ram_range(i - 1, &bytes).value, end = base + bytes;
        if (end > limit)
            end = limit;
        if (base < floor)
            base = floor;
        if (end <= base || end - base < initrd->bytes)
            continue;
        uint64_t address = (end - initrd->bytes) & ~(uint64_t)(PAGE_BYTES - 1);
        if (address < base)
            continue;
        *at = GPA(address);
        if (!initrd->read(initrd, 0, ram_at(*at, initrd->bytes), initrd->bytes))
            return "the initrd cannot be read";
        return NULL;
    }
    return "the initrd does not fit into the guest's memory; raise <memory>";
}

const char *loader_put_command_line(const char *command_line, uint64_t bytes_max) {
    size_t bytes = strlen(command_line) + 1;
    if (bytes > COMMAND_LINE_MAX || bytes - 1 > bytes_max)
        return "the command line is longer than the kernel takes; shorten <cmdline>";
    return ram_write(GPA(LOADER_COMMAND_LINE), command_line, bytes) ? NULL : "no memory";
}

static bool put_gdt(struct loader_entry *entry) {
    /* 64-bit code, or 32-bit code, with base 0 and no limit; data: SDM 3A, 3.4.5. */
    uint64_t gdt[] = {0, 0, entry->long_mode ? 0x00af9b000000ffff : 0x00cf9b000000ffff,
                      0x00cf93000000ffff, 0x00008b000000ffff};
    entry->gdt = GPA(LOADER_GDT);
    return ram_write(entry->gdt, gdt, sizeof(gdt));
}

/* The first 4 GiB, each address mapped to itself by pages of 2 MiB. */
static bool put_page_tables(struct loader_entry *entry) {
    enum { PRESENT_WRITE = 3, LARGE = 0x80, DIRECTORIES = 4 };
    uint64_t *tables = ram_at(GPA(LOADER_TABLES), (2 + DIRECTORIES) * PAGE_BYTES);
    if (!tables)
        return false;
    memset(tables, 0, 2 * PAGE_BYTES);
    tables[0] = (LOADER_TABLES + PAGE_BYTES) | PRESENT_WRITE;
    for (uint64_t i = 0; i < DIRECTORIES; i++)
        tables[512 + i] = (LOADER_TABLES + (2 + i) * PAGE_BYTES) | PRESENT_WRITE;
    for (uint64_t i = 0; i < DIRECTORIES * 512; i++)
        tables[1024 + i] = i << 21 | PRESENT_WRITE | LARGE;
    entry->cr3 = LOADER_TABLES;
    return true;
}

const char *loader_load(const struct loader_file *kernel, const struct loader_file *initrd,
                        const char *command_line, struct loader_entry *entry) {
    *entry = (struct loader_entry){0};
    char magic[4];
    if (!ram_at(GPA(0), ACPI_END))
        return "a guest needs more than 1 MiB of memory; raise <memory>";
    if (kernel->bytes < sizeof(magic) || !kernel->read(kernel, 0, magic, sizeof(magic)))
        return "the kernel cannot be read";
    const char *wrong = memcmp(magic, ELF_MAGIC, sizeof(magic)) == 0
                            ? pvh_load(kernel, initrd, command_line, entry)
                            : bzimage_load(kernel, initrd, command_line, entry);
    if (wrong)
        return wrong;
    if (!put_gdt(entry) || (entry->long_mode && !put_page_tables(entry)))
        return "a guest needs more than 1 MiB of memory; raise <memory>";
    return NULL;
}
