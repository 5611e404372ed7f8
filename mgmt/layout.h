/* What init and mgmt must agree on: where init puts things, and which slots mgmt uses for what.
 * Numbers are fixed, so that whoever looks at a CapTable can tell what each slot is. */
#pragma once

#include "abi/bootinfo.h"
#include "abi/image.h"

/* RAM that mgmt gets: its image, bss, stack and the beginning of its heap, in which it keeps 16
 * bytes and less for each slot of its CapTable. The rest of its heap it takes from frame memory
 * when it needs it (own_memory.h). */
#define MGMT_RAM_PAGES 256u
static inline uint64_t mgmt_ram_pages(uint64_t slots) {
    return MGMT_RAM_PAGES + slots * 16 / BH_PAGE_BYTES;
}

/* Event bits of mgmt. Its Event has 4,096; one group of 64 is looked at at a time, lowest first. */
#define MGMT_BIT_IRQ_FIRST 0u /* interrupts: drivers before guests */
#define MGMT_BIT_IRQS 64u
#define MGMT_BIT_DOMAIN_FIRST 64u /* MGMT_BITS_PER_DOMAIN each, by the domain's number */
#define MGMT_BITS_PER_DOMAIN 4u
#define MGMT_DOMAINS_MAX 1000u

/* Slots of mgmt's CapTable. Below BH_INIT_FREE they are as in init's (abi/bootinfo.h), and so are
 * the modules and Untypeds, by bh_bootinfo, up to MGMT_SLOT_LOAD. */
#define MGMT_SLOT_LOAD 880u    /* a view of the RAM that is being loaded */
#define MGMT_SLOT_PROGRAM 881u /* Regions of the VMMs' common program */
#define MGMT_SLOT_HEAP 896u    /* Regions of its heap */
#define MGMT_SLOT_HEAPS 128u
#define MGMT_SLOT_IRQ 1024u    /* 2 for each interrupt: Irq, Event */
#define MGMT_SLOT_DEVICE 1280u /* Regions of device memory */
#define MGMT_SLOT_DEVICES 256u
#define MGMT_SLOT_DMA 1536u /* Regions for DMA */
#define MGMT_SLOT_DMAS 512u
#define MGMT_SLOT_DOMAIN 2048u /* MGMT_SLOTS_PER_DOMAIN each, by the domain's number */
#define MGMT_SLOTS_PER_DOMAIN 32u

/* Beyond the domains: one slot for each block of memory, free or not. */
#define MGMT_CHUNKS_PER_DOMAIN 16u /* about: leaves of the tree and what is above them */
#define MGMT_SLOT_CHUNK(domains) (MGMT_SLOT_DOMAIN + (domains)*MGMT_SLOTS_PER_DOMAIN)

/* Addresses in mgmt's Space, beside BH_BOOTINFO_VA, BH_LOG_VA and the image with its heap. RAM and
 * device memory appear, when they are mapped at all, at a constant distance from their
 * host-physical address: no two mappings can collide, and large pages fit whenever they can. */
#define MGMT_VA_ARCHIVE 0x008000000000ull /* the boot archive */
#define MGMT_VA_RAM 0x200000000000ull
#define MGMT_VA_DEVICE 0x300000000000ull
#define MGMT_PHYSICAL_END 0x100000000000ull /* addresses from here on cannot be mapped */

/* Priorities on every CPU. */
#define PRIORITY_INIT 31u
#define PRIORITY_MGMT 20u
#define PRIORITY_GUEST 8u

/* How many domains a table of `slots` has room for. */
static inline uint32_t mgmt_domains(uint64_t slots) {
    uint64_t room = slots > MGMT_SLOT_DOMAIN ? slots - MGMT_SLOT_DOMAIN : 0;
    uint64_t domains = room / (MGMT_SLOTS_PER_DOMAIN + MGMT_CHUNKS_PER_DOMAIN);
    return domains < MGMT_DOMAINS_MAX ? (uint32_t)domains : MGMT_DOMAINS_MAX;
}
