/* How a domain is put together from capabilities, and taken apart. Every slot and address is a
 * fixed function of the domain's number or its memory's place. */
#include <string.h>

#include "mgmt/domain/domain.h"
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

/* A slot of the guest's CapTable. */
static bh_ref guest(const struct domain *d, uint32_t index) {
    return BH_REF(domain_slot(d, DOMAIN_SLOT_TABLE), index);
}

static bool is_hvm(const struct domain *d) {
    return d->definition.guest_type == BH_GUEST_HVM;
}

/* Private RAM, of an HVM guest's VMM its own: the image, its stack, the heap; then the further
 * Contexts' stacks. */
static uint64_t heap_end(const struct domain *d) {
    if (is_hvm(d))
        return hvm_vmm_pages(&d->definition, &d->image);
    return (d->definition.memory_bytes + BH_PAGE_BYTES - 1) / BH_PAGE_BYTES;
}

static uint64_t ram_pages(const struct domain *d) {
    return heap_end(d) + contexts_stack_pages(&d->definition);
}

/* The guest's addresses: RAM from BH_IMAGE_VA up and, behind a page that is nothing, the shared
 * stretch: near enough for a small guest to do with one page table. */
static uint64_t shared_va(const struct domain *d) {
    return BH_IMAGE_VA + (ram_pages(d) + 1) * BH_PAGE_BYTES;
}

static uint64_t table_slots(const struct domain *d) {
    return GUEST_SLOTS + (is_hvm(d) ? HVM_SLOTS : 0);
}

/* --- Memory ------------------------------------------------------------------------------------
 */

/* In falling powers of two: each chunk's place in RAM is then a multiple of its size, and large
 * pages fit. Fragmentation may make them smaller; the last one of all rounds up. */
static enum bh_status allocate_pages(uint64_t left, chunk *chunks, uint32_t *count) {
    unsigned order = 63u - (unsigned)__builtin_clzll(left);
    while (left > 0) {
        if (*count == DOMAIN_CHUNKS_MAX)
            return BH_NO_MEMORY;
        unsigned fits = 63u - (unsigned)__builtin_clzll(left);
        if (order > fits)
            order = fits;
        if (*count == DOMAIN_CHUNKS_MAX - 1)
            order = memory_order_for(left);
        while (memory_alloc(BH_KIND_FRAME, order, &chunks[*count])) {
            if (order == 0 || *count == DOMAIN_CHUNKS_MAX - 1)
                return BH_NO_MEMORY;
            order--;
        }
        ++*count;
        left = left > 1ull << order ? left - (1ull << order) : 0;
    }
    return BH_OK;
}

/* Tables of 2^shift bytes each that hold addresses from BH_IMAGE_VA to `end`. */
static uint64_t tables(uint64_t end, unsigned shift) {
    return ((end - 1) >> shift) - (BH_IMAGE_VA >> shift) + 1;
}

/* Page-table pages: the root, and tables for RAM and the shared stretch. Those of the lowest level
 * only where there are 4 KiB pages: where segments of the image begin and end, where chunks are
 * small, and in the shared stretch. */
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
    uint64_t bytes = (table_slots(d) + 1) * info->slot_bytes + info->space_bytes +
                     info->event_bytes + 3 * 64 + contexts_object_bytes(&d->definition);
    uint64_t hvm = is_hvm(d) ? hvm_object_pages(&d->hvm) : 0;
    return (bytes + BH_PAGE_BYTES - 1) / BH_PAGE_BYTES + pool_pages(d) + hvm;
}

static void free_all(struct domain *d) {
    if (d->objects)
        memory_free(d->objects);
    if (d->shared_chunk)
        memory_free(d->shared_chunk);
    while (d->ram_chunks > 0)
        memory_free(d->ram[--d->ram_chunks]);
    while (d->hvm.ram_chunks > 0)
        memory_free(d->hvm.ram[--d->hvm.ram_chunks]);
    if (d->hvm.states)
        memory_free(d->hvm.states);
    d->objects = d->shared_chunk = d->hvm.states = 0;
    d->built = false;
}

enum bh_status domain_allocate(struct domain *d) {
    d->objects = d->shared_chunk = 0;
    d->ram_chunks = d->clean = 0;
    d->hvm.ram_chunks = d->hvm.states = 0;
    enum bh_status status = allocate_pages(ram_pages(d), d->ram, &d->ram_chunks);
    if (!status && is_hvm(d)) {
        d->hvm.vcpus = d->definition.vcpus;
        status = allocate_pages((d->definition.memory_bytes + BH_PAGE_BYTES - 1) / BH_PAGE_BYTES,
                                d->hvm.ram, &d->hvm.ram_chunks);
    }
    if (!status && is_hvm(d))
        status = memory_alloc(BH_KIND_SHARED, memory_order_for(d->hvm.vcpus), &d->hvm.states);
    if (!status)
        status = memory_alloc(BH_KIND_FRAME, memory_order_for(d->shared.pages), &d->shared_chunk);
    if (!status)
        status = memory_alloc(BH_KIND_OBJECT, memory_order_for(object_pages(d)), &d->objects);
    if (status)
        free_all(d);
    return status;
}

chunk domain_dirty_chunk(const struct domain *d) {
    uint32_t next = d->clean;
    if (next == 0)
        return d->shared_chunk;
    if (next <= d->ram_chunks)
        return d->ram[next - 1];
    next -= d->ram_chunks + 1;
    if (next < d->hvm.ram_chunks)
        return d->hvm.ram[next];
    return next == d->hvm.ram_chunks ? d->hvm.states : 0;
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
    };
    for (unsigned i = 0; i < sizeof(objects) / sizeof(objects[0]); i++) {
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

/* Writes the part of the image that lies in one chunk, whose first page is page `first` of RAM. */
static enum bh_status load_chunk(const struct domain *d, uint32_t index, uint64_t first) {
    if (first >= d->image.file_pages)
        return BH_OK;
    uint64_t pages = memory_pages(d->ram[index]);
    if (pages > d->image.file_pages - first)
        pages = d->image.file_pages - first;
    bh_ref view = OWN(MGMT_SLOT_LOAD);
    uint64_t va = mgmt_va(d->ram[index]);
    enum bh_status status = hv_copy(own(d, DOMAIN_SLOT_RAM + index), view, READ_WRITE, 0, pages);
    if (status)
        return status;
    status = hv_map(view, OWN(BH_INIT_SPACE), va, READ_WRITE);
    if (!status)
        memcpy((void *)va, d->kernel + first * BH_PAGE_BYTES, pages * BH_PAGE_BYTES);
    hv_delete(view);
    return status;
}

static enum bh_status make_ram(const struct domain *d) {
    uint64_t first = 0;
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
    bh_ref view = guest(d, GUEST_SLOT_VIEW + (*views)++);
    enum bh_status status = hv_copy(region, view, rights, page, pages);
    return status ? status : hv_map(view, own(d, DOMAIN_SLOT_SPACE), va, rights);
}

/* Maps pages [begin, end) of RAM, which may lie in several chunks. */
static enum bh_status map_segment(const struct domain *d, uint64_t begin, uint64_t end,
                                  uint32_t rights, uint32_t *views) {
    uint64_t first = 0;
    for (uint32_t i = 0; i < d->ram_chunks; i++) {
        uint64_t after = first + memory_pages(d->ram[i]);
        uint64_t from = begin > first ? begin : first, to = end < after ? end : after;
        if (from < to) {
            enum bh_status status =
                map_view(d, own(d, DOMAIN_SLOT_RAM + i), from - first, to - from,
                         BH_IMAGE_VA + from * BH_PAGE_BYTES, rights, views);
            if (status)
                return status;
        }
        first = after;
    }
    return BH_OK;
}

/* A page of RAM is at the same distance from the start of RAM as its address from BH_IMAGE_VA; the
 * page under the guard page is left unmapped. */
static enum bh_status map_guest(const struct domain *d) {
    const struct image *image = &d->image;
    const struct {
        uint64_t end;
        uint32_t rights;
    } segments[] = {
        {image->text_pages, READ_EXEC},  {image->text_pages + image->rodata_pages, READ_ONLY},
        {image->guard_page, READ_WRITE}, {image->guard_page + 1, 0},
        {heap_end(d), READ_WRITE},
    };
    uint32_t views = 0;
    uint64_t begin = 0;
    for (unsigned i = 0; i < sizeof(segments) / sizeof(segments[0]); i++) {
        if (segments[i].rights) {
            enum bh_status status =
                map_segment(d, begin, segments[i].end, segments[i].rights, &views);
            if (status)
                return status;
        }
        begin = segments[i].end;
    }
    for (uint32_t i = 1; i < contexts_count(&d->definition); i++) {
        uint64_t stack = heap_end(d) + contexts_guard_page(i) + 1;
        enum bh_status status =
            map_segment(d, stack, stack + CONTEXT_STACK_PAGES, READ_WRITE, &views);
        if (status)
            return status;
    }
    uint64_t read_only = d->shared.read_only_pages;
    bh_ref shared = own(d, DOMAIN_SLOT_SHARED);
    enum bh_status status = map_view(d, shared, 0, read_only, shared_va(d), READ_ONLY, &views);
    if (!status)
        status = map_view(d, shared, read_only, d->shared.pages - read_only,
                          shared_va(d) + read_only * BH_PAGE_BYTES, READ_WRITE, &views);
    return status;
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
    if (memory_base(d->shared_chunk) >= MGMT_PHYSICAL_END)
        return BH_NO_MEMORY;
    enum bh_status status = hv_retype(OWN(d->shared_chunk), BH_TYPE_REGION,
                                      memory_pages(d->shared_chunk), own(d, DOMAIN_SLOT_SHARED), 0);
    return status ? status
                  : hv_map(own(d, DOMAIN_SLOT_SHARED), OWN(BH_INIT_SPACE), mgmt_va(d->shared_chunk),
                           READ_WRITE);
}

struct bh_domain_info *domain_info_page(const struct domain *d) {
    return (struct bh_domain_info *)mgmt_va(d->shared_chunk);
}

struct channel domain_channel(const struct domain *d, uint32_t index) {
    const struct shared_device *device = &d->shared.device[index];
    uint8_t *base = (uint8_t *)mgmt_va(d->shared_chunk);
    return (struct channel){
        .name = d->device[index].name,
        .own = (struct bh_queue_header *)(void *)(base + device->server_offset),
        .peer = (const struct bh_queue_header *)(void *)(base + device->client_offset),
        .own_units = device->server_units,
        .peer_units = device->client_units,
        .window = base + device->window_offset,
        .window_bytes = device->window_bytes,
        .window_hpa = {memory_base(d->shared_chunk) + device->window_offset},
        .signal = domain_slot(d, DOMAIN_SLOT_SIGNAL + index),
        .generation = 1,
    };
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
        to->window_va = shared_va(d) + from->window_offset;
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
    /* Objects first: with the Contexts gone the guest cannot run while its memory goes. */
    memory_revoke(d->objects);
    memory_revoke(d->shared_chunk);
    for (uint32_t i = 0; i < d->ram_chunks; i++)
        memory_revoke(d->ram[i]);
    for (uint32_t i = 0; i < d->hvm.ram_chunks; i++)
        memory_revoke(d->hvm.ram[i]);
    if (d->hvm.states)
        memory_revoke(d->hvm.states);
    d->built = false;
}

void domain_release(struct domain *d) {
    free_all(d);
}
