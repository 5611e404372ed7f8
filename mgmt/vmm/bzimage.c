/* Linux's bzImage: the header says where to load the rest of the file, which is entered in 64-bit
 * mode if it can be, else (i386) in protected mode. */
#include <string.h>

#include "mgmt/vmm/acpi.h"
#include "mgmt/vmm/loader.h"

#define SECTOR_BYTES 512u
#define HEADER_AT 0x1f1u
#define ENTRY_64 0x200u      /* from the entry for protected mode, which is the beginning */
#define PROTOCOL_MIN 0x020cu /* xloadflags */
#define XLF_KERNEL_64 0x1u
#define XLF_ABOVE_4G 0x2u
#define LOADER_UNKNOWN 0xffu
#define FLOOR 0x100000ull
#define ALIGNMENT_MAX 0x40000000u
#define LIMIT_32 0xffffffffull

/* boot.rst, "The real-mode kernel header"; at HEADER_AT in the file and in boot_params. */
struct __attribute__((packed)) setup_header {
    uint8_t setup_sects;
    uint16_t root_flags;
    uint32_t syssize;
    uint16_t ram_size, vid_mode, root_dev, boot_flag, jump;
    uint32_t magic;
    uint16_t version;
    uint32_t realmode_switch;
    uint16_t start_sys_seg, kernel_version;
    uint8_t type_of_loader, loadflags;
    uint16_t setup_move_size;
    uint32_t code32_start, ramdisk_image, ramdisk_size, bootsect_kludge;
    uint16_t heap_end_ptr;
    uint8_t ext_loader_ver, ext_loader_type;
    uint32_t cmd_line_ptr, initrd_addr_max, kernel_alignment;
    uint8_t relocatable_kernel, min_alignment;
    uint16_t xloadflags;
    uint32_t cmdline_size, hardware_subarch;
    uint64_t hardware_subarch_data;
    uint32_t payload_offset, payload_length;
    uint64_t setup_data, pref_address;
    uint32_t init_size, handover_offset, kernel_info_offset;
};
_Static_assert(sizeof(struct setup_header) == 0x26c - HEADER_AT, "protocol 2.15");
#define MAGIC 0x53726448u /* "HdrS" */

/* boot_params: zero-page.rst */
enum {
    PARAMETERS_BYTES = 4096,
    AT_RSDP = 0x70,
    AT_E820_ENTRIES = 0x1e8,
    AT_E820 = 0x2d0,
};

static const char *check(const struct loader_file *kernel, struct setup_header *header) {
    if (kernel->bytes < HEADER_AT + sizeof(*header) ||
        !kernel->read(kernel, HEADER_AT, header, sizeof(*header)))
        return "the kernel is shorter than a bzImage's header, or cannot be read; name the whole "
               "file in <kernel>";
    if (header->magic != MAGIC)
        return "the kernel is neither a bzImage nor an ELF file; name one in <kernel>";
    if (header->version < PROTOCOL_MIN)
        return "the kernel's boot protocol is older than 2.12; use Linux 3.8 or later";
    if (header->setup_sects == 0)
        header->setup_sects = 4;
    uint64_t setup_bytes = (header->setup_sects + 1ull) * SECTOR_BYTES;
    if (kernel->bytes <= setup_bytes + ENTRY_64 ||
        kernel->bytes - setup_bytes < header->syssize * 16ull - 15)
        return "the kernel is shorter than its header says; put the whole file into the boot "
               "archive";
    return NULL;
}

/* Where it goes: its preferred address, or above it where RAM is. */
static const char *place(const struct setup_header *header, uint64_t bytes, struct gpa *at) {
    uint64_t needed = header->init_size > bytes ? header->init_size : bytes;
    uint64_t step = header->kernel_alignment;
    *at = GPA(header->pref_address);
    if (at->value >= FLOOR && ram_at(*at, needed))
        return NULL;
    if (header->relocatable_kernel && step >= 4096 && step <= ALIGNMENT_MAX &&
        (step & (step - 1)) == 0)
        for (*at = GPA((FLOOR + step - 1) & ~(step - 1)); at->value < LIMIT_32; at->value += step)
            if (ram_at(*at, needed))
                return NULL;
    return "the kernel does not fit into the guest's memory; raise <memory>";
}

static void fill_map(uint8_t *parameters) {
    struct loader_map map[LOADER_MAP_MAX];
    uint32_t count = loader_memory_map(map);
    parameters[AT_E820_ENTRIES] = (uint8_t)count;
    for (uint32_t i = 0; i < count; i++)
        memcpy(parameters + AT_E820 + i * LOADER_E820_BYTES, &map[i], LOADER_E820_BYTES);
}

const char *bzimage_load(const struct loader_file *kernel, const struct loader_file *initrd,
                         const char *command_line, struct loader_entry *entry) {
    struct setup_header header;
    struct gpa at, initrd_at;
    const char *wrong = check(kernel, &header);
    if (wrong)
        return wrong;
    uint64_t setup_bytes = (header.setup_sects + 1ull) * SECTOR_BYTES;
    uint64_t bytes = kernel->bytes - setup_bytes;
    wrong = place(&header, bytes, &at);
    if (wrong)
        return wrong;
    if (!kernel->read(kernel, setup_bytes, ram_at(at, bytes), bytes))
        return "the kernel cannot be read";
    uint64_t needed = header.init_size > bytes ? header.init_size : bytes;
    uint64_t limit = header.xloadflags & XLF_ABOVE_4G ? ~0ull : header.initrd_addr_max + 1ull;
    wrong = loader_put_initrd(initrd, at.value + needed, limit, &initrd_at);
    if (!wrong)
        wrong = loader_put_command_line(command_line, header.cmdline_size);
    if (wrong)
        return wrong;

    header.type_of_loader = LOADER_UNKNOWN;
    header.code32_start = (uint32_t)at.value;
    header.cmd_line_ptr = LOADER_COMMAND_LINE;
    header.ramdisk_image = (uint32_t)initrd_at.value;
    header.ramdisk_size = (uint32_t)initrd->bytes;
    uint8_t *parameters = ram_at(GPA(LOADER_PARAMETERS), PARAMETERS_BYTES);
    memset(parameters, 0, PARAMETERS_BYTES);
    memcpy(parameters + HEADER_AT, &header, sizeof(header));
    uint32_t high[2] = {(uint32_t)(initrd_at.value >> 32), (uint32_t)(initrd->bytes >> 32)};
    memcpy(parameters + 0xc0, high, sizeof(high)); /* ext_ramdisk_image, ext_ramdisk_size */
    uint64_t rsdp = ACPI_BASE;
    memcpy(parameters + AT_RSDP, &rsdp, sizeof(rsdp));
    fill_map(parameters);
    bool long_mode = header.xloadflags & XLF_KERNEL_64;
    *entry = (struct loader_entry){.long_mode = long_mode,
                                   .rip = at.value + (long_mode ? ENTRY_64 : 0),
                                   .rsi = LOADER_PARAMETERS};
    return NULL;
}
