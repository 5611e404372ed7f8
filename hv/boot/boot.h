/* What the files of hv/boot offer each other. All of this is unmapped once init runs.
 *
 * Nothing that comes from firmware or boot loader is trusted further than a bounds check can carry:
 * what does not fit ends in a panic that names it. */
#pragma once

#include "hv/boot/protocol.h"
#include "hv/x86/x86.h"

/* Physical memory [base, end). */
struct range {
    uint64_t base, end;
};

#define PAGE_MASK (~(PAGE_BYTES - 1))

/* Sorted, disjoint. */
#define RANGES_MAX 128u
struct ranges {
    uint32_t count;
    struct range at[RANGES_MAX];
};
void ranges_add(struct ranges *ranges, uint64_t base, uint64_t end);
void ranges_subtract(struct ranges *ranges, uint64_t base, uint64_t end); /* all pages it touches */

/* Types of the memory map: ACPI 6.5, 15.2. */
enum { MAP_RAM = 1, MAP_UNUSABLE = 5 }; /* others: the firmware's */

/* An entry of the memory map, in the form that both loaders have it in. */
struct map_entry {
    uint64_t base, bytes;
    uint32_t type, reserved;
};

struct module {
    char name[16];
    uint64_t base, bytes;
};

/* What the boot loader said. */
struct loader {
    char command_line[512];
    const struct map_entry *map; /* where the loader put it: read before any memory is used */
    uint32_t map_count;
    uint32_t module_count;
    struct module module[BH_BOOTINFO_MODULES_MAX];
    uint8_t rsdp[36]; /* ACPI 6.5, 5.2.5.3; zero if there is none */
};
void multiboot2_read(struct loader *loader, uint64_t information);
void pvh_read(struct loader *loader, uint64_t information);
void loader_add_module(struct loader *loader, const char *name, uint64_t base, uint64_t bytes);
void copy_text(char *to, size_t to_bytes, const char *from, size_t from_bytes);

/* Physical memory as boot sees it: one to one, below 4 GiB; panics beyond. */
#define IDENTITY_LIMIT (1ull << 32)
void *physical(uint64_t address, uint64_t bytes);

/* tables.c */
void tables_init(void);
void tables_map_objects(const struct range *objects);

/* acpi.c */
struct acpi {
    uint64_t root;      /* physical address of XSDT or RSDT */
    struct ranges kept; /* registers of IOAPICs and IOMMUs */
    bool iommu;         /* the board has one */
};
void acpi_read(struct acpi *acpi, const uint8_t *rsdp);

/* memory.c: the one division of memory. */
struct memory {
    struct ranges frames, devices;
    struct range objects, shared;
    uint64_t ram_bytes;
};
void memory_divide(struct memory *memory, const struct loader *loader, const struct acpi *acpi);
struct pa memory_take_frames(struct memory *memory, uint64_t pages);
void *memory_take_objects(struct memory *memory, uint64_t bytes, uint64_t alignment);

/* clock.c */
uint64_t clock_init(void); /* the TSC's frequency in Hz; sets up the LAPIC timer */

/* init_domain.c */
struct boot {
    struct loader loader;
    struct acpi acpi;
    struct memory memory;
    uint64_t tsc_hz, tsc_at_start;
};
void init_domain_start(struct boot *boot);
