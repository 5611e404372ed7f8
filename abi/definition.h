/* A domain's definition: what the XML of docs/definitions.md is compiled into. Flat, of fixed size,
 * without pointers; whoever reads it has no parser. Version 1. */
#pragma once

#include "abi/domain.h"

#define BH_DEFINITION_VERSION 1u
#define BH_DEFINITION_DISKS_MAX 8u
#define BH_DEFINITION_NETS_MAX 4u
#define BH_DEFINITION_TEXT_BYTES 128u

enum bh_action {
    BH_ACTION_DESTROY = 0,  /* give everything back */
    BH_ACTION_RESTART = 1,  /* give everything back, start anew */
    BH_ACTION_PRESERVE = 2, /* keep it stopped, for a person to look at */
};

#define BH_DISK_READ_ONLY 0x1u
#define BH_DISK_THROW_AWAY 0x2u /* writes are lost when the domain ends */
#define BH_DISK_DIRECT 0x4u     /* HVM: the disk reads and writes the guest's RAM itself */
#define BH_DISK_CHECKPOINT 0x8u /* HVM, the last one: where it is saved to; not the guest's */

struct bh_definition_disk {
    char source[BH_DEFINITION_TEXT_BYTES]; /* "disk:N", "partition:NAME", "archive:FILE" */
    char target[16];                       /* "vda": for messages; the order decides */
    uint32_t flags;
    uint32_t line;       /* in the XML, for messages */
    uint64_t iops_limit; /* a second; 0: none */
    uint64_t bytes_limit;
};

struct bh_definition_net {
    uint8_t mac[6];
    uint16_t vlan; /* 0: untagged */
    uint32_t line;
    uint32_t ipv4_address; /* network byte order; 0: none */
    uint32_t ipv4_gateway;
    uint8_t ipv4_prefix;
    uint8_t ipv6_prefix;
    uint8_t reserved[6];
    uint8_t ipv6_address[16]; /* all zero: none */
    uint64_t bytes_limit;     /* transmitted, a second; 0: none */
    uint64_t burst_bytes;
};

#define BH_DEFINITION_AUTOSTART 0x1u    /* started with the host */
#define BH_DEFINITION_CRASH_REPORT 0x2u /* its registers may be read after a fault */
#define BH_DEFINITION_HAS_UUID 0x4u

enum bh_guest_type {
    BH_GUEST_PV = 0,
    BH_GUEST_HVM = 1, /* an unmodified system, in guest mode, with a VMM of its own */
};

struct bh_definition {
    uint32_t version;
    uint32_t flags;
    char name[BH_DOMAIN_NAME_BYTES];
    uint8_t uuid[16];
    uint64_t memory_bytes;
    uint32_t weight;   /* share of the processor, 1..10,000; 1,024 is usual */
    uint32_t quota_us; /* at most this much time in each period; 0: no cap */
    uint32_t period_us;
    uint8_t on_poweroff; /* enum bh_action */
    uint8_t on_reboot;
    uint8_t on_crash;
    uint8_t consoles; /* 0 or 1 */
    uint32_t disks;
    uint32_t nets;
    uint32_t name_line; /* lines in the XML, for messages */
    uint32_t memory_line;
    uint32_t kernel_line;
    uint16_t guest_type;                   /* enum bh_guest_type */
    uint16_t vcpus;                        /* 1 and up; PV: 1 */
    char kernel[BH_DEFINITION_TEXT_BYTES]; /* a file of the boot archive */
    char arguments[512];
    struct bh_definition_disk disk[BH_DEFINITION_DISKS_MAX];
    struct bh_definition_net net[BH_DEFINITION_NETS_MAX];
    char initrd[BH_DEFINITION_TEXT_BYTES]; /* HVM; empty: none */
    uint8_t watchdog;                      /* HVM; 1: it has one */
    uint8_t on_watchdog;                   /* enum bh_action */
    uint8_t virtio_console;                /* HVM; 1: its console is a virtio one, too */
    uint8_t reserved[5];
};

_Static_assert(sizeof(struct bh_definition_disk) == 168, "layout");
_Static_assert(sizeof(struct bh_definition_net) == 64, "layout");
_Static_assert(sizeof(struct bh_definition) == 744 + 8 * 168 + 4 * 64 + 128 + 8, "layout");
/* control, console, an HVM guest's kernel and initrd, and everything that can be defined fit into
 * bh_domain_info */
_Static_assert(4 + BH_DEFINITION_DISKS_MAX + BH_DEFINITION_NETS_MAX <= BH_DOMAIN_DEVICES_MAX,
               "devices");
