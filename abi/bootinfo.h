/* What hv tells init: one read-only page, its address in RDI at init's start. Version 1. */
#pragma once

#include "abi/cap.h"

#define BH_BOOTINFO_MAGIC 0x4f464e49544f4f42ull /* "BOOTINFO" */
#define BH_BOOTINFO_VERSION 1u
#define BH_BOOTINFO_UNTYPEDS_MAX 64u
#define BH_BOOTINFO_MODULES_MAX 8u
#define BH_BOOTINFO_VA 0x200000ull /* where init finds the page */
#define BH_LOG_VA 0x210000ull      /* where init finds the log ring, read-only */

/* Slots of init's CapTable (4,096 slots); all others up to untyped[0].slot are empty. */
enum bh_init_slot {
    BH_INIT_TABLE = 1, /* its own CapTable, all rights */
    BH_INIT_SPACE = 2,
    BH_INIT_CONTEXT = 3,
    BH_INIT_EVENT = 4, /* 64 bits, bound to its Context */
    BH_INIT_SYSTEM = 5,
    BH_INIT_PORTS = 6, /* all ports */
    BH_INIT_LOG = 7,   /* Region of the log ring */
    BH_INIT_BOOTINFO = 8,
    BH_INIT_CPU0 = 16, /* one for each processor, up to BH_INIT_CPU0 + cpus - 1 */
    BH_INIT_FREE =
        512, /* first slot that hv leaves alone, but for what untyped[] and module[] name */
};

struct bh_boot_untyped {
    uint64_t base; /* host-physical; for matching device addresses and for the ledger */
    uint64_t pages;
    uint32_t slot;
    uint32_t kind; /* enum bh_kind */
};

struct bh_boot_module {
    char name[16]; /* from the boot loader's command line, NUL-terminated */
    uint64_t bytes;
    uint32_t slot; /* Region, read-only rights, frame memory outside all Untypeds */
    uint32_t reserved;
};

struct bh_bootinfo {
    uint64_t magic;
    uint32_t version;
    uint32_t abi_version;
    uint64_t tsc_hz;
    uint64_t tsc_at_start; /* when hv's first instruction ran */
    uint64_t acpi_root;    /* host-physical address of ACPI's XSDT or RSDT, in device memory */
    uint64_t reserved_ecam;
    uint32_t cpus;
    uint32_t iommu; /* 0: none; every claim that depends on it is void */
    uint32_t reserved_gsis;
    uint32_t untyped_count;
    uint32_t module_count;
    uint32_t context_bytes; /* object memory that one Context, CapTable slot, ... takes */
    uint32_t slot_bytes;
    uint32_t space_bytes;       /* beside its pool pages */
    uint32_t event_bytes;       /* 64 bits */
    uint32_t event_large_bytes; /* 4,096 bits */
    uint32_t irq_bytes;
    uint32_t log_pages;
    uint64_t ram_bytes; /* all RAM that the firmware reported */
    uint64_t hv_bytes;  /* hv's own image and tables, object memory excluded */
    char build_id[48];
    char command_line[512];
    struct bh_boot_module module[BH_BOOTINFO_MODULES_MAX];
    struct bh_boot_untyped untyped[BH_BOOTINFO_UNTYPEDS_MAX];
    uint32_t vcpu_bytes; /* 0: this processor has no guest mode that hv can use */
    uint32_t reserved;
};

/* The log ring: hv appends, init and whoever it gives the Region to read. */
#define BH_LOG_MAGIC 0x474f4c5648ull /* "HVLOG" */
struct bh_log {
    uint64_t magic;
    uint64_t written; /* bytes ever written; byte n lies at text[n % bytes] */
    uint64_t bytes;   /* of text, a power of two or not */
    char text[];
};

_Static_assert(sizeof(struct bh_bootinfo) <= 4096, "one page");
_Static_assert(sizeof(struct bh_log) == 24, "layout");
