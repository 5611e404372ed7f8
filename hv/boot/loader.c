/* What both boot protocols have in common: copying what they say into bounded places. */
#include "hv/boot/boot.h"

void *physical(uint64_t address, uint64_t bytes) {
    if (address == 0 || address >= IDENTITY_LIMIT || bytes > IDENTITY_LIMIT - address)
        panic("the firmware refers to %lu bytes at %lx, outside the first 4 GiB", bytes, address);
    return (void *)address;
}

void copy_text(char *to, size_t to_bytes, const char *from, size_t from_bytes) {
    size_t i = 0;
    for (; i < to_bytes - 1 && i < from_bytes && from[i]; i++)
        to[i] = from[i];
    to[i] = 0;
}

void loader_add_module(struct loader *loader, const char *name, uint64_t base, uint64_t bytes) {
    if (loader->module_count == BH_BOOTINFO_MODULES_MAX)
        panic("more than %u boot modules", BH_BOOTINFO_MODULES_MAX);
    struct module *module = &loader->module[loader->module_count++];
    size_t word = 0;
    while (word < sizeof(module->name) && name[word] && name[word] != ' ')
        word++;
    copy_text(module->name, sizeof(module->name), name, word);
    if (base % PAGE_BYTES != 0 || bytes == 0)
        panic("boot module %s: %lu bytes at %lx; it must start on a page and not be empty",
              module->name, bytes, base);
    physical(base, align_up(bytes, PAGE_BYTES)); /* within reach? */
    module->base = base;
    module->bytes = bytes;
}
