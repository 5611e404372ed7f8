/* Domain information: what a PV guest is told at its start, one or more read-only pages whose
 * address is in RDI. Version 1. Everything a guest may touch is named here; all addresses are its
 * own virtual ones. Read-only for the guest, not for its host: a guest that does not trust its
 * servers takes a copy at its start, and never looks again. */
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
    uint32_t guest_info_offset; /* from this structure to a struct bh_guest_info; 0: not a VMM's */
    uint32_t reserved;
};

/* What a VMM is told besides, about its guest: at guest_info_offset, on the same page. Version 1.
 */
#define BH_GUEST_INFO_VERSION 1u
#define BH_GUEST_VCPUS_MAX 16u
#define BH_GUEST_RAM_MAX 12u
#define BH_GUEST_NO_DISK 0xffffffffu
#define BH_GUEST_WATCHDOG 0x1u /* flags: it has a watchdog */
#define BH_GUEST_CONSOLE 0x2u  /* its console is a virtio one, too: hvc0 */
#define BH_GUEST_RESTORE 0x4u  /* it goes on from its checkpoint, instead of being started */

/* A VMM has a Context for each of its guest's vCPUs, on its one Space and CapTable. All start at
 * the image's entry with the address of the domain information in RDI and their number in RSI; the
 * first one's is 0, and so it is in any other domain. Each has a stack, and an Event of 64 bits to
 * wait for; what devices signal is the first one's. */
#define BH_GUEST_KICK_BIT 63u

/* A stretch of guest-physical addresses that is RAM, and where the VMM finds it, read and write. */
struct bh_guest_ram {
    uint64_t gpa;
    uint64_t bytes;
    uint64_t va;
};

/* Whole pages of a file, from its beginning, that the VMM finds at va, read-only; 0: none. */
struct bh_guest_file {
    uint64_t va;
    uint64_t bytes;
};

struct bh_guest_vcpu {
    uint64_t state_va;  /* its state page (vcpu.h) */
    uint32_t slot;      /* of the Vcpu: VCPU_RUN, VCPU_SYNC */
    uint32_t kick_slot; /* SIGNAL this to set BH_GUEST_KICK_BIT in its Context's Event */
};

struct bh_guest_info {
    uint32_t version;
    uint32_t vcpus;
    uint32_t ram_ranges; /* ascending in gpa; the first begins at 0 */
    /* Block devices (by index) that hold the guest's kernel and initrd; the guest does not see
     * them. initrd_disk may be BH_GUEST_NO_DISK. The others, from 0 on, are the guest's. */
    uint32_t kernel_disk;
    uint32_t initrd_disk;
    uint32_t guest_disks;
    uint64_t kernel_bytes, initrd_bytes;
    /* Doorbells: an OUT of 2 bytes to port doorbell_port + 64 * d + 2 * q sets bit doorbell_bit + d
     * of this domain's Event; d: the guest's virtio devices in order, q: their queues. 0 doorbells:
     * none are set up, these OUTs are exits. */
    uint32_t doorbells;
    uint32_t doorbell_bit;
    uint32_t doorbell_port;
    uint32_t flags; /* BH_GUEST_* */
    struct bh_guest_vcpu vcpu[BH_GUEST_VCPUS_MAX];
    struct bh_guest_ram ram[BH_GUEST_RAM_MAX];
    /* What of the kernel and the initrd need not be read from the block devices. */
    struct bh_guest_file kernel, initrd;
    /* The block device that the guest is saved to and restored from, which it does not see, or
     * BH_GUEST_NO_DISK. */
    uint32_t checkpoint_disk;
    uint32_t reserved;
};

_Static_assert(sizeof(struct bh_device_info) == 120, "layout");
_Static_assert(sizeof(struct bh_domain_info) + sizeof(struct bh_guest_info) <= 4096, "one page");
_Static_assert(sizeof(struct bh_guest_ram) == 24 && sizeof(struct bh_guest_vcpu) == 16, "layout");
_Static_assert(sizeof(struct bh_guest_info) == 56 + 16 * 16 + 12 * 24 + 2 * 16 + 8, "layout");
