#include "mgmt/domain/hvm.h"

#include <stdio.h>
#include <string.h>

#include "mgmt/domain/domain.h"
#include "mgmt/host.h"
#include "mgmt/hv.h"

/* Slots of the VMM's CapTable. */
enum {
    SLOT_SPACE = 64,
    SLOT_VCPU = 65,                                   /* BH_GUEST_VCPUS_MAX */
    SLOT_STATE = SLOT_VCPU + BH_GUEST_VCPUS_MAX,      /* likewise */
    SLOT_RAM = SLOT_STATE + BH_GUEST_VCPUS_MAX,       /* HVM_CHUNKS_MAX originals */
    SLOT_RAM_VMM = SLOT_RAM + HVM_CHUNKS_MAX,         /* a stretch's view in the VMM's Space */
    SLOT_RAM_GUEST = SLOT_RAM_VMM + BH_GUEST_RAM_MAX, /* and in the guest's */
    SLOT_KICK = SLOT_RAM_GUEST + BH_GUEST_RAM_MAX,    /* BH_GUEST_VCPUS_MAX */
    SLOT_KERNEL = SLOT_KICK + BH_GUEST_VCPUS_MAX,
    SLOT_INITRD,
    SLOT_END,
};
_Static_assert(SLOT_END <= HVM_SLOT_VIEW, "slots");
_Static_assert(HVM_CHUNKS_MAX + 1 <= BH_GUEST_RAM_MAX,
               "one chunk may lie on both sides of the hole");
_Static_assert(HVM_CHUNKS_MAX == DOMAIN_CHUNKS_MAX, "one allocator");
_Static_assert(HVM_CHUNKS_MAX == CHANNEL_RAM_MAX, "all of RAM can be a disk's window");

/* The VMM's addresses: guest RAM at a constant distance from its guest-physical address. */
#define VMM_VA_RAM 0x100000000000ull
#define VMM_VA_KERNEL 0x7d0000000000ull
#define VMM_VA_INITRD 0x7d0100000000ull /* no file is longer than 4 GiB */
#define VMM_VA_STATES 0x7d0200000000ull
/* The guest's: below the hole for devices, and above 4 GiB. */
#define GPA_HOLE 0xc0000000ull
#define GPA_HIGH 0x100000000ull

/* The VMM's heap, by what its devices were seen to take: 3 pages without any, 2 for a console of
 * virtio's, 10 for a disk, 6 for an interface; and a third more. */
#define VMM_HEAP_PAGES 8u
#define VMM_HEAP_PAGES_DISK 14u
#define VMM_HEAP_PAGES_NET 8u
/* Beside what a disk's are: up to 64 KiB of state, 13 of FPU registers. */
#define VMM_HEAP_PAGES_CHECKPOINT 20u
#define READ_WRITE (BH_REGION_READ | BH_REGION_WRITE)
#define ALL_ACCESS (READ_WRITE | BH_REGION_EXEC)

uint32_t hvm_files(const struct bh_definition *definition) {
    if (definition->guest_type != BH_GUEST_HVM)
        return 0;
    return definition->initrd[0] ? 2 : 1;
}

void hvm_file_disk(const struct bh_definition *definition, uint32_t index,
                   struct bh_definition_disk *disk) {
    *disk =
        (struct bh_definition_disk){.flags = BH_DISK_READ_ONLY, .line = definition->kernel_line};
    snprintf(disk->source, sizeof(disk->source), "archive:%.118s",
             index == 0 ? definition->kernel : definition->initrd);
}

bool hvm_has_checkpoint(const struct bh_definition *definition) {
    return definition->disks > 0 &&
           definition->disk[definition->disks - 1].flags & BH_DISK_CHECKPOINT;
}

uint64_t hvm_vmm_pages(const struct bh_definition *definition, const struct image *image) {
    return image->stack_end + VMM_HEAP_PAGES + definition->disks * VMM_HEAP_PAGES_DISK +
           definition->nets * VMM_HEAP_PAGES_NET +
           (hvm_has_checkpoint(definition) ? VMM_HEAP_PAGES_CHECKPOINT : 0);
}

uint64_t hvm_ram_pages(const struct hvm *hvm) {
    uint64_t pages = 0;
    for (uint32_t i = 0; i < hvm->ram_chunks; i++)
        pages += memory_pages(hvm->ram[i]);
    return pages;
}

/* Tables of `count` pages that begin at a multiple of 1 GiB: those of 2 MiB each, of 1 GiB each. */
static uint64_t table_pages(uint64_t count) {
    return (count + 511) / 512 + (count >> 18) + 1;
}

/* Tables for all of RAM in large pages, and in small ones where chunks are small: those are the
 * last. One for each 512 GiB, of which RAM behind the hole may need one more than it fills. */
static uint64_t ram_table_pages(const struct hvm *hvm) {
    uint64_t pages = hvm_ram_pages(hvm), small = 0;
    for (uint32_t i = 0; i < hvm->ram_chunks; i++)
        if (memory_pages(hvm->ram[i]) < 512)
            small += memory_pages(hvm->ram[i]);
    uint64_t above_hole = pages > GPA_HOLE / BH_PAGE_BYTES ? 2 : 0;
    return 1 + (pages >> 27) + 1 + (pages >> 18) + above_hole + (small ? small / 512 + 2 : 0);
}

/* Tables of one file's pages, which may not lie where large pages could be used. */
static uint64_t file_table_pages(const struct hvm_file *file) {
    return file->full_pages ? table_pages(file->full_pages) : 0;
}

/* Files and state pages are in the same 512 GiB. */
uint64_t hvm_pool_pages(const struct hvm *hvm) {
    return ram_table_pages(hvm) + 1 + table_pages(hvm->vcpus) + file_table_pages(&hvm->kernel) +
           file_table_pages(&hvm->initrd);
}

static uint64_t guest_pool_pages(const struct hvm *hvm) {
    return 1 + ram_table_pages(hvm) + 1; /* doorbells */
}

uint64_t hvm_object_pages(const struct hvm *hvm) {
    const struct bh_bootinfo *info = host_info();
    /* Vcpus begin on pages. */
    uint64_t vcpu = (info->vcpu_bytes + BH_PAGE_BYTES - 1) / BH_PAGE_BYTES;
    uint64_t space = (info->space_bytes + BH_PAGE_BYTES - 1) / BH_PAGE_BYTES;
    return hvm->vcpus * vcpu + space + guest_pool_pages(hvm);
}

static bh_ref slot(const struct domain *d, uint32_t index) {
    return BH_REF(domain_slot(d, DOMAIN_SLOT_TABLE), index);
}

static bh_ref vmm_space(const struct domain *d) {
    return OWN(domain_slot(d, DOMAIN_SLOT_SPACE));
}

/* --- RAM --- */

/* Pages [from, from + pages) of chunk `index`, at gpa, in both Spaces. */
static enum bh_status map_stretch(const struct domain *d, struct bh_guest_info *info,
                                  uint32_t index, uint64_t from, uint64_t pages, uint64_t gpa) {
    uint32_t n = info->ram_ranges++;
    bh_ref original = slot(d, SLOT_RAM + index);
    bh_ref vmm = slot(d, SLOT_RAM_VMM + n), guest = slot(d, SLOT_RAM_GUEST + n);
    info->ram[n] = (struct bh_guest_ram){gpa, pages * BH_PAGE_BYTES, VMM_VA_RAM + gpa};
    enum bh_status status = hv_copy(original, vmm, READ_WRITE, from, pages);
    if (!status)
        status = hv_map(vmm, vmm_space(d), VMM_VA_RAM + gpa, READ_WRITE);
    if (!status)
        status = hv_copy(original, guest, ALL_ACCESS, from, pages);
    return status ? status : hv_map(guest, slot(d, SLOT_SPACE), gpa, ALL_ACCESS);
}

/* Chunks follow each other; the hole may be in the middle of one. */
static enum bh_status make_ram(const struct domain *d, struct bh_guest_info *info) {
    uint64_t gpa = 0;
    for (uint32_t i = 0; i < d->hvm.ram_chunks; i++) {
        uint64_t pages = memory_pages(d->hvm.ram[i]), from = 0;
        enum bh_status status =
            hv_retype(OWN(d->hvm.ram[i]), BH_TYPE_REGION, pages, slot(d, SLOT_RAM + i), 0);
        while (!status && from < pages) {
            if (gpa == GPA_HOLE)
                gpa = GPA_HIGH;
            uint64_t piece = pages - from;
            if (gpa < GPA_HOLE && piece > (GPA_HOLE - gpa) / BH_PAGE_BYTES)
                piece = (GPA_HOLE - gpa) / BH_PAGE_BYTES;
            status = map_stretch(d, info, i, from, piece, gpa);
            from += piece;
            gpa += piece * BH_PAGE_BYTES;
        }
        if (!status)
            status = hv_narrow(slot(d, SLOT_RAM + i), 0);
        if (status)
            return status;
    }
    return BH_OK;
}

/* --- The files --- */

static enum bh_status map_file(const struct domain *d, const struct hvm_file *file, uint32_t index,
                               uint64_t va, struct bh_guest_file *info) {
    if (file->full_pages == 0)
        return BH_OK;
    *info = (struct bh_guest_file){va, file->full_pages * BH_PAGE_BYTES};
    enum bh_status status =
        hv_copy(host_archive(), slot(d, index), BH_REGION_READ, file->first_page, file->full_pages);
    return status ? status : hv_map(slot(d, index), vmm_space(d), va, BH_REGION_READ);
}

/* --- Vcpus --- */

static enum bh_status make_vcpu(const struct domain *d, struct bh_guest_info *info,
                                uint32_t index) {
    bh_ref vcpu = slot(d, SLOT_VCPU + index), state = slot(d, SLOT_STATE + index);
    uint64_t va = VMM_VA_STATES + index * (uint64_t)BH_PAGE_BYTES;
    info->vcpu[index] = (struct bh_guest_vcpu){
        .state_va = va, .slot = SLOT_VCPU + index, .kick_slot = SLOT_KICK + index};
    enum bh_status status = hv_copy(contexts_event(d, index), slot(d, SLOT_KICK + index),
                                    BH_EVENT_SIGNAL, BH_GUEST_KICK_BIT, 0);
    if (!status)
        status = hv_retype(OWN(d->hvm.objects), BH_TYPE_VCPU, 0, vcpu, 0);
    if (!status)
        status = hv_retype(OWN(d->hvm.states), BH_TYPE_REGION, 1, state, 0);
    if (!status)
        status = hv_bind(vcpu, BH_BIND_VCPU_SPACE, slot(d, SLOT_SPACE));
    if (!status)
        status = hv_bind(vcpu, BH_BIND_VCPU_STATE, state);
    if (!status)
        status = hv_map(state, vmm_space(d), va, READ_WRITE);
    if (!status) /* or the VMM could ask where in the host's memory it lies */
        status = hv_narrow(state, 0);
    return status ? status : hv_narrow(vcpu, BH_VCPU_RUN);
}

enum bh_status hvm_build(struct domain *d) {
    struct bh_domain_info *domain = domain_info_page(d);
    struct bh_guest_info *info = (void *)(domain + 1);
    uint32_t guest_disks = d->definition.disks - hvm_has_checkpoint(&d->definition);
    domain->guest_info_offset = sizeof(*domain);
    *info = (struct bh_guest_info){
        .version = BH_GUEST_INFO_VERSION,
        .vcpus = d->hvm.vcpus,
        .kernel_disk = d->definition.disks,
        .initrd_disk = d->definition.initrd[0] ? d->definition.disks + 1 : BH_GUEST_NO_DISK,
        .guest_disks = guest_disks,
        .kernel_bytes = d->hvm.kernel.bytes,
        .initrd_bytes = d->hvm.initrd.bytes,
        .flags = (d->definition.watchdog ? BH_GUEST_WATCHDOG : 0) |
                 (d->definition.virtio_console ? BH_GUEST_CONSOLE : 0) |
                 (d->hvm.restore ? BH_GUEST_RESTORE : 0),
        .checkpoint_disk = guest_disks < d->definition.disks ? guest_disks : BH_GUEST_NO_DISK,
    };
    enum bh_status status = hv_retype(OWN(d->hvm.objects), BH_TYPE_SPACE, guest_pool_pages(&d->hvm),
                                      slot(d, SLOT_SPACE), BH_SPACE_GUEST);
    if (!status)
        status = make_ram(d, info);
    if (!status)
        status = map_file(d, &d->hvm.kernel, SLOT_KERNEL, VMM_VA_KERNEL, &info->kernel);
    if (!status)
        status = map_file(d, &d->hvm.initrd, SLOT_INITRD, VMM_VA_INITRD, &info->initrd);
    for (uint32_t i = 0; i < d->hvm.vcpus && !status; i++)
        status = make_vcpu(d, info, i);
    return status ? status : hv_narrow(slot(d, SLOT_SPACE), 0);
}

void hvm_get_statistics(const struct domain *d, struct bh_guest_statistics *out) {
    *out = (struct bh_guest_statistics){0};
    if (!d->shared_chunks)
        return;
    const volatile struct bh_guest_statistics *told =
        (const void *)domain_channel(d, SHARED_CONTROL).window;
    for (uint32_t i = 0; i < BH_GUEST_VCPUS_MAX; i++)
        for (uint32_t reason = 0; reason < BH_EXIT_COUNT; reason++)
            out->exits[i][reason] = told->exits[i][reason];
}
