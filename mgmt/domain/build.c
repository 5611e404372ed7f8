/* How a domain is put together from capabilities, and taken apart. Every slot and address is a
 * fixed function of the domain's number or its memory's place. */
#include <string.h>

#include "mgmt/domain/domain.h"
#include "mgmt/domain/program.h"
#include "mgmt/host.h"
#include "mgmt/hv.h"
#include "mgmt/layout.h"

#define READ_ONLY BH_REGION_READ
#define READ_WRITE (BH_REGION_READ | BH_REGION_WRITE)
#define READ_EXEC (BH_REGION_READ | BH_REGION_EXEC)

/* The guest's CapTable. It holds no capability of type CapTable, so the guest can change nothing in
 * it. An HVM guest's follow (hvm.h). */
#define GUEST_SLOTS 64u
#define GUEST_SLOT_SIGNAL 1u /* one for each device */
#define GUEST_SLOT_FAULT 31u /* what its Contexts' faults signal; no rights */
#define GUEST_SLOT_VIEW 32u  /* its mapped Regions */

#define LARGE_PAGE_ORDER 9u /* 2 MiB */

bh_slot domain_slot(const struct domain *d, unsigned which) {
    return MGMT_SLOT_DOMAIN + d->number * MGMT_SLOTS_PER_DOMAIN + which;
}

unsigned domain_bit(const struct domain *d, enum domain_bit which) {
    return MGMT_BIT_DOMAIN_FIRST + d->number * MGMT_BITS_PER_DOMAIN + which;
}

static bh_ref own(const struct domain *d, unsigned which) {
    return OWN(domain_slot(d, which));
}

bh_ref domain_further(const struct domain *d, unsigned which) {
    return BH_REF(domain_slot(d, DOMAIN_SLOT_FURTHER), which);
}

/* A slot of the guest's CapTable. */
static bh_ref guest(const struct domain *d, uint32_t index) {
    return BH_REF(domain_slot(d, DOMAIN_SLOT_TABLE), index);
}

static bool is_hvm(const struct domain *d) {
    return d->definition.guest_type == BH_GUEST_HVM;
}

/* Private RAM, of an HVM guest's VMM its own: the image, its stack, the heap; then the further
 * Contexts' stacks. All pages are counted from BH_IMAGE_VA on. */
static uint64_t heap_end(const struct domain *d) {
    if (is_hvm(d))
        return hvm_vmm_pages(&d->definition, &d->image);
    return (d->definition.memory_bytes + BH_PAGE_BYTES - 1) / BH_PAGE_BYTES;
}

static uint64_t ram_end(const struct domain *d) {
    return heap_end(d) + contexts_stack_pages(&d->definition);
}

/* The first page that is the domain's own: all VMMs have their text and constants in common. */
static uint64_t ram_first(const struct domain *d) {
    return is_hvm(d) ? d->image.text_pages + d->image.rodata_pages : 0;
}

/* The guest's addresses: RAM from BH_IMAGE_VA up and, behind a page that is nothing, what it
 * shares: near enough for a small guest to do with one page table. */
static uint64_t shared_va(const struct domain *d) {
    return BH_IMAGE_VA + (ram_end(d) + 1) * BH_PAGE_BYTES;
}

/* 0: none are needed. */
static uint64_t further_slots(const struct domain *d) {
    uint32_t contexts = contexts_further_slots(&d->definition);
    return contexts > 0 || d->shared.chunks > 1 ? DOMAIN_FURTHER_CONTEXT + contexts : 0;
}

static uint64_t table_slots(const struct domain *d) {
    return GUEST_SLOTS + (is_hvm(d) ? HVM_SLOTS : 0);
}

/* --- Memory ------------------------------------------------------------------------------------
 */

/* Tables of 2^shift bytes each that hold addresses from BH_IMAGE_VA to `end`. */
static uint64_t tables(uint64_t end, unsigned shift) {
    return ((end - 1) >> shift) - (BH_IMAGE_VA >> shift) + 1;
}

/* Page-table pages: the root, and tables for RAM and what is shared. Those of the lowest level only
 * where there are 4 KiB pages: where segments of the image begin and end, where chunks are small,
 * and in what is shared. */
static uint64_t pool_pages(const struct domain *d) {
    uint64_t end = shared_va(d) + d->shared.pages * BH_PAGE_BYTES;
    uint64_t small = d->image.stack_end, stacks = contexts_stack_pages(&d->definition);
    for (uint32_t i = 0; i < d->ram_chunks; i++)
        if (memory_order(d->ram[i]) < LARGE_PAGE_ORDER)
            small += memory_pages(d->ram[i]);
    uint64_t lowest = small / 512 + 2 + stacks / 512 + 2 + d->shared.pages / 512 + 2;
    if (lowest > tables(end, 21))
        lowest = tables(end, 21);
    return 1 + tables(end, 39) + tables(end, 30) + lowest +
           (is_hvm(d) ? hvm_pool_pages(&d->hvm) : 0);
}

static uint64_t object_pages(const struct domain *d) {
    const struct bh_bootinfo *info = host_info();
    /* A CapTable has a header as large as a slot; objects begin on cache lines. */
    uint64_t bytes = (table_slots(d) + 1 + further_slots(d) + 1) * info->slot_bytes +
                     info->space_bytes + info->event_bytes + 4 * 64 +
                     contexts_object_bytes(&d->definition);
    return (bytes + BH_PAGE_BYTES - 1) / BH_PAGE_BYTES + pool_pages(d);
}

static void free_all(struct domain *d) {
    if (d->objects)
        memory_free(d->objects);
    if (d->hvm.objects)
        memory_free(d->hvm.objects);
    while (d->shared_chunks > 0)
        memory_free(d->shared_chunk[--d->shared_chunks]);
    while (d->ram_chunks > 0)
        memory_free(d->ram[--d->ram_chunks]);
    while (d->hvm.ram_chunks > 0)
        memory_free(d->hvm.ram[--d->hvm.ram_chunks]);
    if (d->hvm.states)
        memory_free(d->hvm.states);
    if (d->hvm.program)
        program_drop();
    d->hvm.program = false;
    d->objects = d->hvm.objects = d->hvm.states = 0;
    d->built = false;
}

static enum bh_status allocate_shared(struct domain *d) {
    for (uint32_t i = 0; i < d->shared.chunks; i++) {
        unsigned order = memory_order_for(d->shared.chunk[i].pages);
        enum bh_status status = memory_alloc(BH_KIND_FRAME, order, &d->shared_chunk[i]);
        if (status)
            return status;
        d->shared_chunks++;
    }
    return BH_OK;
}

static enum bh_status allocate_hvm(struct domain *d) {
    struct hvm *hvm = &d->hvm;
    uint64_t ram = (d->definition.memory_bytes + BH_PAGE_BYTES - 1) / BH_PAGE_BYTES;
    hvm->vcpus = d->definition.vcpus;
    enum bh_status status = program_hold(d->kernel, &d->image);
    hvm->program = !status;
    if (!status)
        status = memory_alloc_pages(ram, hvm->ram, HVM_CHUNKS_MAX, &hvm->ram_chunks);
    if (!status)
        status = memory_alloc(BH_KIND_SHARED, memory_order_for(hvm->vcpus), &hvm->states);
    if (!status)
        status =
            memory_alloc(BH_KIND_OBJECT, memory_order_for(hvm_object_pages(hvm)), &hvm->objects);
    return status;
}

enum bh_status domain_allocate(struct domain *d) {
    d->objects = d->hvm.objects = d->hvm.states = 0;
    d->ram_chunks = d->shared_chunks = d->hvm.ram_chunks = d->clean = 0;
    d->hvm.program = false;
    enum bh_status status =
        memory_alloc_pages(ram_end(d) - ram_first(d), d->ram, DOMAIN_CHUNKS_MAX, &d->ram_chunks);
    if (!status && is_hvm(d))
        status = allocate_hvm(d);
    if (!status)
        status = allocate_shared(d);
    if (!status)
        status = memory_alloc(BH_KIND_OBJECT, memory_order_for(object_pages(d)), &d->objects);
    if (status)
        free_all(d);
    return status;
}

chunk domain_chunk(const struct domain *d, uint32_t index) {
    const struct {
        const chunk *chunk;
        uint32_t count;
    } parts[] = {
        {d->shared_chunk, d->shared_chunks},
        {d->ram, d->ram_chunks},
        {d->hvm.ram, d->hvm.ram_chunks},
        {&d->hvm.states, d->hvm.states ? 1 : 0},
    };
    for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (index < parts[i].count)
            return parts[i].chunk[index];
        index -= parts[i].count;
    }
    return 0;
}

/* --- Building ----------------------------------------------------------------------------------
 */

/* The Space first: its pool begins on a page, and ends on one. */
static enum bh_status make_objects(const struct domain *d) {
    const struct {
        unsigned slot;
        enum bh_type type;
        uint64_t size;
    } objects[] = {
        {DOMAIN_SLOT_SPACE, BH_TYPE_SPACE, pool_pages(d)},
        {DOMAIN_SLOT_TABLE, BH_TYPE_CAPTABLE, table_slots(d)},
        {DOMAIN_SLOT_EVENT, BH_TYPE_EVENT, 64},
        {DOMAIN_SLOT_FURTHER, BH_TYPE_CAPTABLE, further_slots(d)},
    };
    for (unsigned i = 0; i < sizeof(objects) / sizeof(objects[0]); i++) {
        if (objects[i].size == 0)
            continue;
        enum bh_status status = hv_retype(OWN(d->objects), objects[i].type, objects[i].size,
                                          own(d, objects[i].slot), 0);
        if (status)
            return status;
    }
    return contexts_make(d);
}

static uint64_t mgmt_va(chunk c) {
    return MGMT_VA_RAM + memory_base(c);
}

/* Writes the part of the image that lies in one chunk, whose first page is page `first`. */
static enum bh_status load_chunk(const struct domain *d, uint32_t index, uint64_t first) {
    if (first >= d->image.file_pages)
        return BH_OK;
    uint64_t pages = memory_pages(d->ram[index]);
    if (pages > d->image.file_pages - first)
        pages = d->image.file_pages - first;
    return program_write(d->ram[index], own(d, DOMAIN_SLOT_RAM + index),
                         d->kernel + first * BH_PAGE_BYTES, pages);
}

static enum bh_status make_ram(const struct domain *d) {
    uint64_t first = ram_first(d);
    for (uint32_t i = 0; i < d->ram_chunks; i++) {
        if (memory_base(d->ram[i]) >= MGMT_PHYSICAL_END)
            return BH_NO_MEMORY;
        enum bh_status status = hv_retype(OWN(d->ram[i]), BH_TYPE_REGION, memory_pages(d->ram[i]),
                                          own(d, DOMAIN_SLOT_RAM + i), 0);
        if (!status)
            status = load_chunk(d, i, first);
        if (status)
            return status;
        first += memory_pages(d->ram[i]);
    }
    return BH_OK;
}

/* Derives a view into the next free slot of the guest's CapTable and maps it there. */
static enum bh_status map_view(const struct domain *d, bh_ref region, uint64_t page, uint64_t pages,
                               uint64_t va, uint32_t rights, uint32_t *views) {
    bh_ref view = guest(d, (is_hvm(d) ? HVM_SLOT_VIEW : GUEST_SLOT_VIEW) + (*views)++);
    enum bh_status status = hv_copy(region, view, rights, page, pages);
    return status ? status : hv_map(view, own(d, DOMAIN_SLOT_SPACE), va, rights);
}

/* Maps what of pages [begin, end) lies in the stretch, which may be in several of its Regions. */
static enum bh_status map_part(const struct domain *d, const struct stretch *s, uint64_t begin,
                               uint64_t end, uint32_t rights, uint32_t *views) {
    uint64_t first = s->first;
    for (uint32_t i = 0; i < s->chunks; i++) {
        uint64_t after = first + memory_pages(s->chunk[i]);
        uint64_t from = begin > first ? begin : first, to = end < after ? end : after;
        if (from < to) {
            enum bh_status status = map_view(d, OWN(s->region + i), from - first, to - from,
                                             BH_IMAGE_VA + from * BH_PAGE_BYTES, rights, views);
            if (status)
                return status;
        }
        first = after;
    }
    return BH_OK;
}

static struct stretch private_ram(const struct domain *d) {
    return (struct stretch){ram_first(d), d->ram, domain_slot(d, DOMAIN_SLOT_RAM), d->ram_chunks};
}

/* Text and constants: shared with all other VMMs, or in RAM. */
static enum bh_status map_constants(const struct domain *d, uint32_t *views) {
    struct stretch from = is_hvm(d) ? program_stretch() : private_ram(d);
    uint64_t text = d->image.text_pages;
    enum bh_status status = map_part(d, &from, 0, text, READ_EXEC, views);
    return status ? status
                  : map_part(d, &from, text, text + d->image.rodata_pages, READ_ONLY, views);
}

/* Data, bss, the stack, the heap, but for the page under the guard page; the further stacks. */
static enum bh_status map_ram(const struct domain *d, uint32_t *views) {
    const struct image *image = &d->image;
    struct stretch ram = private_ram(d);
    uint64_t data = image->text_pages + image->rodata_pages;
    enum bh_status status = map_part(d, &ram, data, image->guard_page, READ_WRITE, views);
    if (!status)
        status = map_part(d, &ram, image->guard_page + 1, heap_end(d), READ_WRITE, views);
    for (uint32_t i = 1; i < contexts_count(&d->definition) && !status; i++) {
        uint64_t stack = heap_end(d) + contexts_guard_page(i) + 1;
        status = map_part(d, &ram, stack, stack + CONTEXT_STACK_PAGES, READ_WRITE, views);
    }
    return status;
}

/* The Region of a chunk that mgmt and the guest share. */
static bh_ref shared_region(const struct domain *d, uint32_t index) {
    return index == 0 ? own(d, DOMAIN_SLOT_SHARED)
                      : domain_further(d, DOMAIN_FURTHER_SHARED + index);
}

/* The guest's address of one. */
static uint64_t shared_chunk_va(const struct domain *d, uint32_t index) {
    return shared_va(d) + d->shared.chunk[index].first * BH_PAGE_BYTES;
}

static enum bh_status map_shared(const struct domain *d, uint32_t *views) {
    uint64_t read_only = d->shared.read_only_pages;
    enum bh_status status =
        map_view(d, shared_region(d, 0), 0, read_only, shared_va(d), READ_ONLY, views);
    for (uint32_t i = 0; i < d->shared.chunks && !status; i++) {
        uint64_t skip = i == 0 ? read_only : 0;
        status = map_view(d, shared_region(d, i), skip, d->shared.chunk[i].pages - skip,
                          shared_chunk_va(d, i) + skip * BH_PAGE_BYTES, READ_WRITE, views);
    }
    return status;
}

static enum bh_status map_guest(const struct domain *d) {
    uint32_t views = 0;
    enum bh_status status = map_constants(d, &views);
    if (!status)
        status = map_ram(d, &views);
    return status ? status : map_shared(d, &views);
}

static enum domain_bit bit_of_class(enum bh_class class) {
    switch (class) {
    case BH_CLASS_BLOCK:
        return DOMAIN_BIT_BLOCK;
    case BH_CLASS_NET:
        return DOMAIN_BIT_NET;
    default:
        return DOMAIN_BIT_CONSOLE;
    }
}

/* For each device: the guest may set the class's bit of mgmt's Event, mgmt the device's bit of the
 * guest's. */
static enum bh_status make_signals(const struct domain *d) {
    enum bh_status status = hv_copy(OWN(BH_INIT_EVENT), guest(d, GUEST_SLOT_FAULT), BH_EVENT_SIGNAL,
                                    domain_bit(d, DOMAIN_BIT_FAULT), 0);
    for (uint32_t i = 0; i < d->shared.devices && !status; i++) {
        unsigned bit = domain_bit(d, bit_of_class(d->shared.device[i].class));
        status =
            hv_copy(OWN(BH_INIT_EVENT), guest(d, GUEST_SLOT_SIGNAL + i), BH_EVENT_SIGNAL, bit, 0);
        if (!status)
            status = hv_copy(own(d, DOMAIN_SLOT_EVENT), own(d, DOMAIN_SLOT_SIGNAL + i),
                             BH_EVENT_SIGNAL, i, 0);
    }
    return status;
}

static enum bh_status make_shared(const struct domain *d) {
    enum bh_status status = BH_OK;
    for (uint32_t i = 0; i < d->shared_chunks && !status; i++) {
        chunk c = d->shared_chunk[i];
        if (memory_base(c) >= MGMT_PHYSICAL_END)
            return BH_NO_MEMORY;
        bh_ref region = shared_region(d, i);
        status = hv_retype(OWN(c), BH_TYPE_REGION, memory_pages(c), region, 0);
        if (!status)
            status = hv_map(region, OWN(BH_INIT_SPACE), mgmt_va(c), READ_WRITE);
    }
    return status;
}

struct bh_domain_info *domain_info_page(const struct domain *d) {
    return (struct bh_domain_info *)mgmt_va(d->shared_chunk[0]);
}

struct channel domain_channel(const struct domain *d, uint32_t index) {
    const struct shared_device *device = &d->shared.device[index];
    uint8_t *base = (uint8_t *)mgmt_va(d->shared_chunk[0]);
    chunk window = d->shared_chunk[device->window_chunk];
    return (struct channel){
        .name = d->device[index].name,
        .own = (struct bh_queue_header *)(void *)(base + device->server_offset),
        .peer = (const struct bh_queue_header *)(void *)(base + device->client_offset),
        .own_units = device->server_units,
        .peer_units = device->client_units,
        .window = (uint8_t *)mgmt_va(window) + device->window_offset,
        .window_bytes = device->window_bytes,
        .window_hpa = {memory_base(window) + device->window_offset},
        .signal = domain_slot(d, DOMAIN_SLOT_SIGNAL + index),
        .generation = 1,
    };
}

void domain_add_ram(const struct domain *d, struct channel *channel) {
    for (uint32_t i = 0; i < d->hvm.ram_chunks; i++)
        channel->ram[channel->ram_parts++] = (struct ram_part){
            {memory_base(d->hvm.ram[i])}, memory_pages(d->hvm.ram[i]) * BH_PAGE_BYTES};
}

static void fill_info(const struct domain *d) {
    const struct bh_definition *definition = &d->definition;
    struct bh_domain_info *info = domain_info_page(d);
    uint64_t heap_page = d->image.stack_end;
    *info = (struct bh_domain_info){
        .magic = BH_DOMAIN_MAGIC,
        .version = BH_DOMAIN_VERSION,
        .abi_version = BH_ABI_VERSION,
        .tsc_hz = host_info()->tsc_hz,
        .wall_ns_at_tsc_0 = host_wall_ns_at_tsc_0(),
        .ram_va = BH_IMAGE_VA,
        .ram_bytes = heap_end(d) * BH_PAGE_BYTES,
        .heap_va = BH_IMAGE_VA + heap_page * BH_PAGE_BYTES,
        .heap_bytes = (heap_end(d) - heap_page) * BH_PAGE_BYTES,
        .device_count = d->shared.devices,
        .arguments_bytes = (uint32_t)strlen(definition->arguments),
    };
    memcpy(info->name, definition->name, sizeof(info->name));
    memcpy(info->uuid, definition->uuid, sizeof(info->uuid));
    memcpy(info->arguments, definition->arguments, sizeof(info->arguments));
    host_random(info->seed, sizeof(info->seed));
    if (!(definition->flags & BH_DEFINITION_HAS_UUID)) {
        host_random(info->uuid, sizeof(info->uuid));
        info->uuid[6] = (info->uuid[6] & 0x0f) | 0x40; /* RFC 4122, 4.4: random */
        info->uuid[8] = (info->uuid[8] & 0x3f) | 0x80;
    }
    for (uint32_t i = 0; i < d->shared.devices; i++) {
        const struct shared_device *from = &d->shared.device[i];
        struct bh_device_info *to = &info->device[i];
        to->class = from->class;
        to->index = from->index;
        to->signal_slot = GUEST_SLOT_SIGNAL + i;
        to->event_bit = i;
        to->client_va = shared_va(d) + from->client_offset;
        to->server_va = shared_va(d) + from->server_offset;
        to->client_units = from->client_units;
        to->server_units = from->server_units;
        to->window_va = shared_chunk_va(d, from->window_chunk) + from->window_offset;
        to->window_bytes = from->window_bytes;
    }
}

/* The references to mgmt's Event are made by its copy in the guest's table, which then has no
 * rights and goes with the table. */
static enum bh_status start_contexts(const struct domain *d) {
    bh_ref fault = guest(d, GUEST_SLOT_FAULT);
    enum bh_status status =
        contexts_start(d, fault, shared_va(d), BH_IMAGE_VA + heap_end(d) * BH_PAGE_BYTES);
    return status ? status : hv_narrow(fault, 0);
}

enum bh_status domain_build(struct domain *d) {
    enum bh_status status = make_objects(d);
    d->built = true;
    if (!status)
        status = make_ram(d);
    if (!status)
        status = make_shared(d);
    if (!status)
        status = map_guest(d);
    if (!status)
        status = make_signals(d);
    if (!status)
        status = start_contexts(d);
    if (!status)
        fill_info(d);
    if (!status && is_hvm(d))
        status = hvm_build(d);
    return status;
}

enum bh_status domain_seal(struct domain *d) {
    /* What stays are handles: to stop the guest and read its times, to signal it, to take all back.
     */
    uint32_t context = BH_CONTEXT_CONTROL | BH_CONTEXT_TIME;
    if (d->definition.flags & BH_DEFINITION_CRASH_REPORT)
        context |= BH_CONTEXT_READ;
    enum bh_status status = hv_narrow(own(d, DOMAIN_SLOT_TABLE), 0);
    if (!status)
        status = hv_narrow(own(d, DOMAIN_SLOT_SPACE), 0);
    if (!status)
        status = contexts_narrow(d, context);
    for (uint32_t i = 0; i < d->ram_chunks && !status; i++)
        status = hv_narrow(own(d, DOMAIN_SLOT_RAM + i), 0);
    /* The Untypeds keep RETYPE, which gives nothing while the Region above has taken all of them.
     */
    return status ? status : contexts_resume(d);
}

void domain_revoke(struct domain *d) {
    chunk c;
    /* Objects first: with the Contexts gone the guest cannot run while its memory goes. */
    memory_revoke(d->objects);
    if (d->hvm.objects)
        memory_revoke(d->hvm.objects);
    for (uint32_t i = 0; (c = domain_chunk(d, i)); i++)
        memory_revoke(c);
    d->built = false;
}

void domain_release(struct domain *d) {
    free_all(d);
}
