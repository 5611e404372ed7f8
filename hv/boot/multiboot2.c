/* GRUB's boot information: Multiboot2 specification 2.0, 3.6: a list of tags. */
#include "hv/boot/boot.h"

enum { TAG_END = 0, TAG_COMMAND_LINE = 1, TAG_MODULE = 3, TAG_MEMORY_MAP = 6, TAG_ALIGNMENT = 8 };
enum { TAG_ACPI_OLD = 14, TAG_ACPI_NEW = 15 };

struct tag {
    uint32_t type, bytes;
};

/* What follows, for the tags of interest. It is copied before use, and what the tag is too short
 * for is 0. */
union body {
    char command_line[512];
    struct {
        uint32_t start, end;
        char text[64];
    } module;
    struct {
        uint32_t entry_bytes, entry_version;
    } map;
    uint8_t rsdp[36];
};

static void read_memory_map(struct loader *loader, const union body *body, const uint8_t *at,
                            uint32_t bytes) {
    if (body->map.entry_bytes != sizeof(struct map_entry))
        panic("the boot loader's memory map has entries of %u bytes", body->map.entry_bytes);
    loader->map = (const void *)(at + sizeof(body->map));
    loader->map_count = bytes / sizeof(struct map_entry); /* the 8 bytes before are less than one */
}

static void read_tag(struct loader *loader, uint32_t type, const uint8_t *at, uint32_t bytes) {
    union body body = {0};
    __builtin_memcpy(&body, at, min_u64(bytes, sizeof(body)));
    if (type == TAG_COMMAND_LINE)
        copy_text(loader->command_line, sizeof(loader->command_line), body.command_line,
                  sizeof(body.command_line));
    else if (type == TAG_MODULE)
        loader_add_module(loader, body.module.text, body.module.start,
                          (uint64_t)body.module.end - body.module.start);
    else if (type == TAG_MEMORY_MAP)
        read_memory_map(loader, &body, at, bytes);
    else if (type == TAG_ACPI_NEW || (type == TAG_ACPI_OLD && !loader->rsdp[0]))
        __builtin_memcpy(loader->rsdp, body.rsdp, sizeof(loader->rsdp));
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
        read_tag(loader, tag->type, (const uint8_t *)(tag + 1), tag->bytes - sizeof(*tag));
        offset = align_up(offset + tag->bytes, TAG_ALIGNMENT);
    }
    panic("the boot loader's information has no end tag");
}
