/* Loads the guest's kernel: Linux's bzImage by its 64-bit boot protocol (Documentation/arch/x86/
 * boot.rst), or an ELF file with a PVH note (Xen's docs/misc/pvh.pandoc). Files are hostile:
 * nothing in them is believed before it is checked against the file's length and the guest's RAM.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "mgmt/vmm/ram.h"

struct loader_file {
    uint64_t bytes; /* 0: there is none */
    /* Waits until it is done. at + bytes <= the file's. False: the device failed. */
    bool (*read)(const struct loader_file *file, uint64_t at, void *to, uint64_t bytes);
    void *context;
    const struct bh_guest_file *mapped; /* of file.c */
};

/* How the first vCPU starts. */
struct loader_entry {
    bool long_mode; /* else protected mode without paging */
    uint64_t rip, rsi, rbx;
    uint64_t cr3;
    struct gpa gdt; /* with a code segment at 0x10 and a data segment at 0x18 */
};

/* NULL: loaded. Else what is wrong. */
const char *loader_load(const struct loader_file *kernel, const struct loader_file *initrd,
                        const char *command_line, struct loader_entry *entry);

/* The two formats; for loader.c. Each returns NULL, or what is wrong. */
const char *bzimage_load(const struct loader_file *kernel, const struct loader_file *initrd,
                         const char *command_line, struct loader_entry *entry);
const char *pvh_load(const struct loader_file *kernel, const struct loader_file *initrd,
                     const char *command_line, struct loader_entry *entry);

/* What both need. Addresses below 1 MiB, above the first page: */
#define LOADER_GDT 0x1000ull
#define LOADER_PARAMETERS 0x2000ull /* boot_params, or hvm_start_info */
#define LOADER_COMMAND_LINE 0x4000ull
#define LOADER_TABLES 0x8000ull /* 6 pages */
#define LOADER_LOW_END 0xa0000ull

/* As hvm_start_info has it; boot_params' (LOADER_E820_BYTES) is without the last member. */
struct loader_map {
    uint64_t base, bytes;
    uint32_t type; /* 1 RAM, 2 reserved, as in ACPI 15.1 */
    uint32_t reserved;
};
#define LOADER_E820_BYTES 20u
#define LOADER_MAP_MAX 20u
/* The guest's memory map; returns its entries. */
uint32_t loader_memory_map(struct loader_map map[LOADER_MAP_MAX]);

/* Puts the initrd as high as it fits below `limit` and above `floor`. */
const char *loader_put_initrd(const struct loader_file *initrd, uint64_t floor, uint64_t limit,
                              struct gpa *at);
const char *loader_put_command_line(const char *command_line, uint64_t bytes_max);
