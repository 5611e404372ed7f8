/* GRUB's boot information: Multiboot2 specification 2.0, 3.6. */
#include "hv/boot/boot.h"

enum {
    TAG_END = 0,
    TAG_COMMAND_LINE = 1,
    TAG_MODULE = 3,
    TAG_MEMORY_MAP = 6,
    TAG_ACPI_OLD = 14,
    TAG_ACPI_NEW = 15,
};
enum { TAG_ALIGNMENT = 8, RSDP_V1_BYTES = 20, RSDP_V2_BYTES = 36 };

struct tag {
    uint32_t type, bytes;
};

struct tag_module {
    struct tag tag;
    uint32_t start, end;
    char text[];
};

struct tag_memory_map {
    struct tag tag;
    uint32_t entry_bytes, entry_version;
    uint8_t entries[];
};

struct memory_map_entry {
    uint64_t base, bytes;
    uint32_t type, reserved;
};

static void read_module(struct loader *loader, const struct tag_module *module) {
    char text[64];
    copy_text(text, sizeof(text), module->text, module->tag.bytes - sizeof(*module));
    if (module->end < module->start)
        panic("boot module %s ends before it starts", text);
    loader_add_module(loader, text, module->start, module->end - module->start);
}

static void read_memory_map(struct loader *loader, const struct tag_memory_map *map) {
    uint32_t step = map->entry_bytes;
    if (step < sizeof(struct memory_map_entry) || step % TAG_ALIGNMENT)
        panic("the boot loader's memory map has entries of %u bytes", step);
    for (uint32_t at = sizeof(*map); at + step <= map->tag.bytes; at += step) {
        const struct memory_map_entry *entry = (const void *)(map->entries + at - sizeof(*map));
        loader_add_map(loader, entry->base, entry->bytes, entry->type);
    }
}

/* What a tag must at least be long, by type; 0: not of interest. */
static uint32_t tag_bytes_min(uint32_t type) {
    switch (type) {
    case TAG_COMMAND_LINE:
        return sizeof(struct tag);
    case TAG_MODULE:
        return sizeof(struct tag_module);
    case TAG_MEMORY_MAP:
        return sizeof(struct tag_memory_map);
    case TAG_ACPI_OLD:
        return sizeof(struct tag) + RSDP_V1_BYTES;
    case TAG_ACPI_NEW:
        return sizeof(struct tag) + RSDP_V2_BYTES;
    default:
        return 0;
    }
}

static void read_tag(struct loader *loader, const struct tag *tag) {
    const char *contents = (const char *)(tag + 1);
    uint32_t least = tag_bytes_min(tag->type);
    if (tag->bytes < least)
        panic("the boot loader's tag %u has only %u bytes", tag->type, tag->bytes);
    if (tag->type == TAG_COMMAND_LINE)
        copy_text(loader->command_line, sizeof(loader->command_line), contents,
                  tag->bytes - sizeof(*tag));
    else if (tag->type == TAG_MODULE)
        read_module(loader, (const void *)tag);
    else if (tag->type == TAG_MEMORY_MAP)
        read_memory_map(loader, (const void *)tag);
    else if (tag->type == TAG_ACPI_NEW || (tag->type == TAG_ACPI_OLD && !loader->rsdp[0]))
        __builtin_memcpy(loader->rsdp, contents, least - sizeof(*tag));
}

void multiboot2_read(struct loader *loader, uint64_t information) {
    uint64_t bytes = *(const uint32_t *)physical(information, sizeof(uint32_t));
    const uint8_t *at = physical(information, bytes);
    for (uint64_t offset = TAG_ALIGNMENT; offset + sizeof(struct tag) <= bytes;) {
        const struct tag *tag = (const void *)(at + offset);
        if (tag->type == TAG_END)
            return;
        if (tag->bytes < sizeof(*tag) || tag->bytes > bytes - offset)
            panic("the boot loader's tag %u has %u bytes", tag->type, tag->bytes);
        read_tag(loader, tag);
        offset = align_up(offset + tag->bytes, TAG_ALIGNMENT);
    }
    panic("the boot loader's information has no end tag");
}
