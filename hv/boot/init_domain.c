/* Builds the first domain out of boot object memory: every capability there is starts here. */
#include "abi/image.h"
#include "hv/boot/boot.h"

enum { INIT_SLOTS = 4096, INIT_POOL_PAGES = 128, INIT_PRIORITY = BH_PRIORITIES - 1 };

struct init {
    struct boot *boot;
    struct write_held held;
    struct slot *slots; /* of its CapTable */
    struct space *space;
    struct bh_bootinfo *info;
    uint32_t next_slot;
};

/* Makes an object and puts its original capability into a slot of init's. */
static void *make_object(struct init *init, uint32_t index, enum bh_type type, uint64_t size) {
    void *memory =
        memory_take_objects(&init->boot->memory, object_bytes(type, size), object_alignment(type));
    if (type == BH_TYPE_CAPTABLE)
        init->slots = ((struct captable *)memory)->slot;
    struct slot *slot = &init->slots[index];
    object_make(slot, type, memory, size, BH_SPACE_RING3);
    slot_insert_root(slot);
    return slot->object;
}

static void bind_context(struct init *init, enum bh_binding what, uint32_t target) {
    if (bind(init->held, &init->slots[BH_INIT_CONTEXT], what, &init->slots[target]) != BH_OK)
        arch_panic("init's Context cannot be bound");
}

static void make_region(struct slot *slot, enum bh_kind kind, struct pa base, uint64_t pages,
                        uint8_t rights) {
    region_make(slot, kind, base, (uint32_t)pages);
    slot->rights = rights;
    slot_insert_root(slot);
}

static void map_region(struct init *init, struct slot *region, uint64_t va) {
    enum bh_status status;
    do
        status = region_map(init->held, region, init->space, va,
                            region->rights & (BH_REGION_READ | BH_REGION_WRITE | BH_REGION_EXEC));
    while (status == BH_AGAIN);
    if (status != BH_OK)
        panic("init's memory at %lx cannot be mapped (status %u); its image is too large", va,
              (unsigned)status);
}

/* Part of init's image, or its bss or stack: mapped by a capability that nobody can name. */
static void map_part(struct init *init, struct pa base, uint64_t pages, uint64_t va,
                     uint8_t rights) {
    if (!pages)
        return;
    struct slot *slot = memory_take_objects(&init->boot->memory, sizeof(*slot), sizeof(*slot));
    make_region(slot, BH_KIND_FRAME, base, pages, rights);
    map_region(init, slot, va);
}

static struct pa clean_frames(struct init *init, uint64_t pages) {
    struct pa base = memory_take_frames(&init->boot->memory, pages);
    for (uint64_t done = 0; done < pages; done += ARCH_SCRUB_PAGES)
        arch_scrub(pa_add(base, done * PAGE_BYTES),
                   (uint32_t)min_u64(pages - done, ARCH_SCRUB_PAGES));
    return base;
}

/* What is too large for memory or for the Space is refused where it is taken and mapped. */
static void check_image(const struct bh_image_header *header, const struct module *module) {
    uint64_t file_pages = (uint64_t)header->text_pages + header->rodata_pages + header->data_pages;
    uint64_t entry_end = BH_IMAGE_VA + header->text_pages * PAGE_BYTES;
    if (header->magic != BH_IMAGE_MAGIC || header->version != BH_IMAGE_VERSION ||
        !header->text_pages || !header->stack_pages ||
        file_pages != align_up(module->bytes, PAGE_BYTES) / PAGE_BYTES ||
        header->entry < BH_IMAGE_VA || header->entry >= entry_end)
        panic("the first module, init (%lu bytes), is no flat image of version %u; build it again",
              module->bytes, BH_IMAGE_VERSION);
}

/* Maps the image where it lies; returns RSP. */
static uint64_t map_image(struct init *init, const struct bh_image_header *header,
                          const struct module *module) {
    struct pa base = {module->base};
    uint64_t va = BH_IMAGE_VA;
    const struct {
        uint32_t pages;
        uint8_t rights;
    } parts[] = {{header->text_pages, BH_REGION_READ | BH_REGION_EXEC},
                 {header->rodata_pages, BH_REGION_READ},
                 {header->data_pages, BH_REGION_READ | BH_REGION_WRITE}};
    for (unsigned i = 0; i < COUNT(parts); i++) {
        map_part(init, base, parts[i].pages, va, parts[i].rights);
        base = pa_add(base, parts[i].pages * PAGE_BYTES);
        va += parts[i].pages * PAGE_BYTES;
    }
    uint8_t data = BH_REGION_READ | BH_REGION_WRITE;
    if (header->bss_pages)
        map_part(init, clean_frames(init, header->bss_pages), header->bss_pages, va, data);
    va += (header->bss_pages + 1) * PAGE_BYTES; /* the guard page */
    map_part(init, clean_frames(init, header->stack_pages), header->stack_pages, va, data);
    return va + header->stack_pages * PAGE_BYTES - sizeof(uint64_t);
}

/* What no object memory is needed for. */
static struct slot *make_root(struct init *init, uint32_t index, enum bh_type type) {
    struct slot *slot = &init->slots[index];
    *slot = (struct slot){.type = (uint8_t)type, .rights = BH_RIGHTS_ALL, .flags = SLOT_ORIGINAL};
    slot_insert_root(slot);
    return slot;
}

static void make_objects(struct init *init) {
    make_object(init, BH_INIT_TABLE, BH_TYPE_CAPTABLE, INIT_SLOTS);
    init->space = make_object(init, BH_INIT_SPACE, BH_TYPE_SPACE, INIT_POOL_PAGES);
    make_object(init, BH_INIT_CONTEXT, BH_TYPE_CONTEXT, 0);
    make_object(init, BH_INIT_EVENT, BH_TYPE_EVENT, 64);
    bind_context(init, BH_BIND_CTX_SPACE, BH_INIT_SPACE);
    bind_context(init, BH_BIND_CTX_TABLE, BH_INIT_TABLE);
    bind_context(init, BH_BIND_CTX_EVENT, BH_INIT_EVENT);

    make_root(init, BH_INIT_SYSTEM, BH_TYPE_SYSTEM);
    make_root(init, BH_INIT_PORTS, BH_TYPE_PORTS)->ports.count = 1 << 16;
    struct slot *cpu = make_root(init, BH_INIT_CPU0, BH_TYPE_CPU);
    cpu->object = this_cpu();
    cpu->ref.badge = BH_PRIORITIES - 1;

    make_region(&init->slots[BH_INIT_LOG], BH_KIND_SHARED, image_address(log_frames), LOG_PAGES,
                BH_REGION_READ);
    make_region(&init->slots[BH_INIT_BOOTINFO], BH_KIND_SHARED, image_address(bootinfo_frame), 1,
                BH_REGION_READ);
    map_region(init, &init->slots[BH_INIT_LOG], BH_LOG_VA);
    map_region(init, &init->slots[BH_INIT_BOOTINFO], BH_BOOTINFO_VA);
}

/* What lies behind a module's last byte in its last page is nobody's: it is zeroed. */
static void give_modules(struct init *init) {
    const struct loader *loader = &init->boot->loader;
    for (uint32_t i = 0; i < loader->module_count; i++) {
        const struct module *module = &loader->module[i];
        struct bh_boot_module *told = &init->info->module[i];
        *told = (struct bh_boot_module){.bytes = module->bytes, .slot = init->next_slot++};
        copy_text(told->name, sizeof(told->name), module->name, sizeof(module->name));
        uint8_t *end = physical(module->base + module->bytes, 0);
        __builtin_memset(end, 0, align_up(module->bytes, PAGE_BYTES) - module->bytes);
        make_region(&init->slots[told->slot], BH_KIND_FRAME, (struct pa){module->base},
                    align_up(module->bytes, PAGE_BYTES) / PAGE_BYTES, BH_REGION_READ);
    }
    init->info->module_count = loader->module_count;
}

static void give_untyped(struct init *init, enum bh_kind kind, const struct range *range) {
    struct bh_bootinfo *info = init->info;
    uint64_t pages = (range->end - range->base) / PAGE_BYTES;
    if (info->untyped_count == BH_BOOTINFO_UNTYPEDS_MAX) {
        log_print("hv: %lu pages at %lx are left unused: memory is in too many pieces\n", pages,
                  range->base);
        return;
    }
    uint32_t index = init->next_slot++;
    untyped_make(&init->slots[index], kind, (struct pa){range->base},
                 min_u64(pages, UNTYPED_PAGES_MAX), 0);
    slot_insert_root(&init->slots[index]);
    info->untyped[info->untyped_count++] =
        (struct bh_boot_untyped){.base = range->base, .pages = pages, .slot = index, .kind = kind};
}

/* Everything that is left; after this nothing can be taken for init itself. */
static void give_memory(struct init *init) {
    struct memory *memory = &init->boot->memory;
    memory->objects.base = align_up(memory->objects.base, PAGE_BYTES);
    give_untyped(init, BH_KIND_OBJECT, &memory->objects);
    give_untyped(init, BH_KIND_SHARED, &memory->shared);
    for (uint32_t i = 0; i < memory->frames.count; i++)
        give_untyped(init, BH_KIND_FRAME, &memory->frames.at[i]);
    for (uint32_t i = 0; i < memory->devices.count; i++)
        give_untyped(init, BH_KIND_DEVICE, &memory->devices.at[i]);
}

static void fill_bootinfo(struct bh_bootinfo *info, const struct boot *boot) {
    info->magic = BH_BOOTINFO_MAGIC;
    info->version = BH_BOOTINFO_VERSION;
    info->abi_version = BH_ABI_VERSION;
    info->tsc_hz = boot->tsc_hz;
    info->tsc_at_start = boot->tsc_at_start;
    info->acpi_root = boot->acpi.root;
    info->cpus = cpu_count;
    info->context_bytes = (uint32_t)object_bytes(BH_TYPE_CONTEXT, 0);
    info->slot_bytes = sizeof(struct slot);
    info->space_bytes = (uint32_t)(object_bytes(BH_TYPE_SPACE, 1) - PAGE_BYTES);
    info->event_bytes = (uint32_t)object_bytes(BH_TYPE_EVENT, 64);
    info->event_large_bytes = (uint32_t)object_bytes(BH_TYPE_EVENT, 4096);
    info->irq_bytes = (uint32_t)object_bytes(BH_TYPE_IRQ, 0);
    info->vcpu_bytes = arch_guest_mode() ? (uint32_t)object_bytes(BH_TYPE_VCPU, 0) : 0;
    info->log_pages = LOG_PAGES;
    info->ram_bytes = boot->memory.ram_bytes;
    info->hv_bytes = (uint64_t)(image_end - image_start);
    copy_text(info->build_id, sizeof(info->build_id), build_text, sizeof(build_text));
    copy_text(info->command_line, sizeof(info->command_line), boot->loader.command_line,
              sizeof(boot->loader.command_line));
}

void init_domain_start(struct boot *boot) {
    struct init init = {.boot = boot,
                        .held = lock_write(this_cpu()),
                        .info = (void *)bootinfo_frame,
                        .next_slot = BH_INIT_FREE};
    const struct module *module = &boot->loader.module[0];
    if (!boot->loader.module_count)
        panic("the boot loader has loaded no module; add `module2 /bulkhead/init.bin init`");
    const struct bh_image_header *header = physical(module->base, module->bytes);
    check_image(header, module);

    make_objects(&init);
    uint64_t rsp = map_image(&init, header, module);
    give_modules(&init);
    give_memory(&init);
    fill_bootinfo(init.info, boot);

    struct context *context = init.slots[BH_INIT_CONTEXT].object;
    arch_set_register(context, BH_REG_RIP, header->entry);
    arch_set_register(context, BH_REG_RSP, rsp);
    arch_set_register(context, BH_REG_RDI, BH_BOOTINFO_VA);
    context->priority = INIT_PRIORITY;
    sched_place(context, this_cpu());
    context_unblock(context, BLOCK_STOPPED);
    unlock_write(init.held);
}
