/* What an HVM guest has beyond the PV guest that its VMM is: RAM of its own, a guest Space, Vcpus
 * with their state pages, and two files that the VMM reads as disks. All of its capabilities lie in
 * the VMM's CapTable, behind a PV guest's, where the VMM can change nothing: with the table it all
 * dies. */
#pragma once

#include "abi/definition.h"
#include "abi/statistics.h"
#include "mgmt/domain/image.h"
#include "mgmt/domain/memory.h"

#define HVM_PROGRAM "vmm.bin"
#define HVM_CHUNKS_MAX 10u
#define HVM_SLOTS 144u
#define HVM_SLOT_VIEW 152u /* the VMM's own mapped Regions; before them all of the guest's */

/* The kernel or the initrd: in the boot archive. */
struct hvm_file {
    uint64_t bytes;                  /* 0: there is none */
    uint64_t first_page, full_pages; /* that hold nothing else: these are mapped */
};

struct hvm {
    uint32_t vcpus;
    chunk ram[HVM_CHUNKS_MAX]; /* the guest's, in the order of its addresses */
    uint32_t ram_chunks;
    chunk states;  /* 0: none */
    chunk objects; /* of the guest itself; 0: none */
    bool program;  /* its VMM's text and constants are held (program.h) */
    struct hvm_file kernel, initrd;
    bool restore; /* it goes on from its checkpoint */
};

/* How many disks carry files: none for a PV guest. The index-th of them. */
uint32_t hvm_files(const struct bh_definition *definition);
void hvm_file_disk(const struct bh_definition *definition, uint32_t index,
                   struct bh_definition_disk *disk);

/* Whether its last disk is where it is saved to. */
bool hvm_has_checkpoint(const struct bh_definition *definition);

/* Pages of the VMM's RAM, of page tables its Space needs besides, and of object memory for the
 * guest's Space and Vcpus. */
uint64_t hvm_vmm_pages(const struct bh_definition *definition, const struct image *image);
uint64_t hvm_pool_pages(const struct hvm *hvm);
uint64_t hvm_object_pages(const struct hvm *hvm);

/* The guest's RAM; 0 when it is not running. */
uint64_t hvm_ram_pages(const struct hvm *hvm);

/* After the VMM itself has been built; its information page gets a bh_guest_info. */
struct domain;
enum bh_status hvm_build(struct domain *d);
/* What its VMM has counted, a copy: any numbers at all. All 0 when it is not running. */
void hvm_get_statistics(const struct domain *d, struct bh_guest_statistics *out);
