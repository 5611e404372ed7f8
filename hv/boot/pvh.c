/* The PVH start information: Xen's public/arch-x86/hvm/start_info.h. One module (QEMU's -initrd) is
 * init's image, padded to pages, with the boot archive behind it. */
#include "abi/image.h"
#include "hv/boot/boot.h"

struct start_info {
    uint32_t magic, version, flags, module_count;
    uint64_t modules, command_line, rsdp;
    uint64_t memory_map; /* from version 1 on */
    uint32_t memory_map_entries, reserved;
};

struct start_module {
    uint64_t base, bytes, command_line, reserved;
};

static void read_module(struct loader *loader, const struct start_module *module) {
    const struct bh_image_header *init = physical(module->base, sizeof(*init));
    uint64_t init_bytes =
        ((uint64_t)init->text_pages + init->rodata_pages + init->data_pages) * PAGE_BYTES;
    if (module->bytes < sizeof(*init) || init->magic != BH_IMAGE_MAGIC ||
        init_bytes >= module->bytes) {
        loader_add_module(loader, "init", module->base, module->bytes);
        return;
    }
    loader_add_module(loader, "init", module->base, init_bytes);
    loader_add_module(loader, "boot", module->base + init_bytes, module->bytes - init_bytes);
}

void pvh_read(struct loader *loader, uint64_t information) {
    const struct start_info *info = physical(information, sizeof(*info));
    if (info->magic != PVH_MAGIC || info->version == 0)
        panic("the PVH start information is of version %u; hv needs 1", info->version);
    if (info->command_line)
        copy_text(loader->command_line, sizeof(loader->command_line),
                  physical(info->command_line, sizeof(loader->command_line)),
                  sizeof(loader->command_line));
    loader->map_count = info->memory_map_entries;
    loader->map = physical(info->memory_map, loader->map_count * sizeof(*loader->map));
    if (info->module_count > 0)
        read_module(loader, physical(info->modules, sizeof(struct start_module)));
    if (info->rsdp)
        __builtin_memcpy(loader->rsdp, physical(info->rsdp, sizeof(loader->rsdp)),
                         sizeof(loader->rsdp));
}
