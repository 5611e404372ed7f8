/* Domain information: what a PV guest is told at its start, one or more read-only pages whose
 * address is in RDI. Version 1. Everything a guest may touch is named here; all addresses are its
 * own virtual ones. */
#pragma once

#include "abi/block.h"
#include "abi/cap.h"
#include "abi/net.h"

#define BH_DOMAIN_MAGIC 0x4e49414d4f444842ull /* "BHDOMAIN" */
#define BH_DOMAIN_VERSION 1u
#define BH_DOMAIN_DEVICES_MAX 16u
#define BH_DOMAIN_NAME_BYTES 32u

enum bh_class {
    BH_CLASS_CONTROL = 1,
    BH_CLASS_CONSOLE = 2,
    BH_CLASS_BLOCK = 3,
    BH_CLASS_NET = 4,
};

struct bh_device_info {
    uint32_t class;        /* enum bh_class */
    uint32_t index;        /* 0, 1, ... among the devices of its class, in the definition's order */
    uint32_t signal_slot;  /* SIGNAL this to wake the server */
    uint32_t event_bit;    /* bit of this domain's Event that the server sets */
    uint64_t client_va;    /* own queue (submissions), read and write */
    uint64_t server_va;    /* peer's queue (completions), read-only */
    uint32_t client_units; /* powers of two */
    uint32_t server_units;
    uint64_t window_va;
    uint64_t window_bytes;
    union {
        struct bh_block_info block;
        struct bh_net_info net;
        uint8_t bytes[64];
    };
};

struct bh_domain_info {
    uint64_t magic;
    uint32_t version;
    uint32_t abi_version;
    char name[BH_DOMAIN_NAME_BYTES]; /* NUL-terminated */
    uint8_t uuid[16];
    uint64_t tsc_hz;
    uint64_t
        wall_ns_at_tsc_0; /* UTC, ns since 1970-01-01 at TSC value 0; 0 if the host does not know */
    uint64_t ram_va;      /* first byte of RAM: the image */
    uint64_t ram_bytes;   /* RAM is contiguous in addresses, but for the stack's guard page */
    uint64_t heap_va;     /* first byte after the stack */
    uint64_t heap_bytes;
    uint64_t seed[4]; /* random numbers, different at every start */
    uint32_t device_count;
    uint32_t arguments_bytes; /* NUL excluded */
    char arguments[512];      /* from the definition, NUL-terminated */
    struct bh_device_info device[BH_DOMAIN_DEVICES_MAX];
};

_Static_assert(sizeof(struct bh_device_info) == 120, "layout");
_Static_assert(sizeof(struct bh_domain_info) <= 4096, "one page");
