/* Capabilities: object types, rights, and how a slot is named. Version 1. Append only. */
#pragma once

#include <stdint.h>

/* Types of objects (design, section 2). The value is part of the ABI: BH_HC_RETYPE and
 * BH_HC_CAP_INFO carry it. */
enum bh_type {
    BH_TYPE_NONE = 0,
    BH_TYPE_UNTYPED = 1,
    BH_TYPE_REGION = 2,
    BH_TYPE_SPACE = 3,
    BH_TYPE_CAPTABLE = 4,
    BH_TYPE_CONTEXT = 5,
    BH_TYPE_EVENT = 6,
    BH_TYPE_IRQ = 7,
    BH_TYPE_PORTS = 8,
    BH_TYPE_CPU = 9,
    BH_TYPE_SYSTEM = 10,
    BH_TYPE_VCPU = 11,   /* guest-mode state: vcpu.h */
    BH_TYPE_DEVICE = 12, /* reserved: IOMMU */
};

/* Kinds of memory, decided at boot; a child Untyped or Region keeps its parent's kind. */
enum bh_kind {
    BH_KIND_OBJECT = 0, /* kernel objects; always mapped in hv, never outside */
    BH_KIND_FRAME = 1,  /* RAM for domains; never mapped in hv except while it is scrubbed */
    BH_KIND_SHARED = 2, /* frames that hv and one domain share: boot information, the log,
                           Vcpus' state pages */
    BH_KIND_DEVICE = 3, /* device memory: never an object, never scrubbed, never write-back */
};

/* Kinds of Space. */
enum bh_space_kind {
    BH_SPACE_RING3 = 0, /* 4-level page map of a PV domain */
    BH_SPACE_GUEST = 1, /* guest-physical (NPT, EPT) */
    BH_SPACE_DEVICE = 2 /* reserved: device (VT-d, AMD-Vi) */
};

/* Rights. Their meaning depends on the type; the bits of one type never exceed BH_RIGHTS_ALL. */
#define BH_RIGHTS_ALL 0xffu

#define BH_UNTYPED_RETYPE 0x01u /* make objects of it, scrub it */

#define BH_REGION_READ 0x01u  /* map readable */
#define BH_REGION_WRITE 0x02u /* map writable */
#define BH_REGION_EXEC 0x04u  /* map executable (together with writable only in a guest Space) */
#define BH_REGION_ADDR 0x08u  /* learn the host-physical address (drivers without an IOMMU) */
#define BH_REGION_DIRTY 0x10u /* learn what has been written through its mapping */

#define BH_SPACE_MAP 0x01u  /* map Regions into it */
#define BH_SPACE_BIND 0x02u /* let Contexts, or Vcpus, run on it */

#define BH_CAPTABLE_MANAGE 0x01u /* change structure: name slots of it in a bh_ref */
#define BH_CAPTABLE_BIND 0x02u   /* let Contexts use it */

#define BH_CONTEXT_CONTROL 0x01u /* resume, suspend, schedule */
#define BH_CONTEXT_READ 0x02u    /* read registers, fault and CPU time */
#define BH_CONTEXT_WRITE 0x04u   /* write registers */
#define BH_CONTEXT_BIND 0x08u    /* bind Space, CapTable, Events */
#define BH_CONTEXT_TIME 0x10u    /* read the CPU time only */

#define BH_EVENT_SIGNAL 0x01u  /* set the bit that is the badge */
#define BH_EVENT_RECEIVE 0x02u /* bind a Context that waits for it */

#define BH_IRQ_ACK 0x01u  /* acknowledge */
#define BH_IRQ_BIND 0x02u /* attach to a source, bind to an Event */

#define BH_PORTS_IN 0x01u
#define BH_PORTS_OUT 0x02u

#define BH_CPU_SCHEDULE 0x01u /* place Contexts there; the badge is the highest priority */

#define BH_VCPU_RUN 0x01u  /* run it, fetch its state */
#define BH_VCPU_BIND 0x02u /* bind Space and state page */

#define BH_SYSTEM_RESET 0x01u /* reset */
#define BH_SYSTEM_LOG 0x02u   /* write to hv's log */
#define BH_SYSTEM_IRQ 0x04u   /* attach Irqs to interrupt sources */
#define BH_SYSTEM_INFO 0x08u  /* read hv's counters */

/* A slot of the caller's own CapTable. Slot 0 is always empty. */
typedef uint32_t bh_slot;

/* A slot named in full: the CapTable capability it lies in (a slot of the caller's own CapTable,
 * BH_CAPTABLE_MANAGE needed) and the index there. Table 0 means the caller's own CapTable without
 * BH_CAPTABLE_MANAGE: enough for calls that do not change structure. */
typedef uint64_t bh_ref;

#define BH_REF(table, index) (((bh_ref)(uint32_t)(table) << 32) | (uint32_t)(index))
#define BH_OWN(index) BH_REF(0, index)

/* Bounds. */
#define BH_PAGE_BYTES 4096u
#define BH_DEPTH_MAX 64u /* derivation tree */
#define BH_CAPTABLE_SLOTS_MAX 65536u
#define BH_SPACE_POOL_MAX 65536u  /* page-table pages of one Space */
#define BH_DOORBELLS_MAX 64u      /* of one guest Space */
#define BH_PRIORITIES 32u         /* 0 lowest, 31 highest */
#define BH_USER_VA_MIN 0x10000ull /* lowest and first-above-highest mappable address of ring 3 */
#define BH_USER_VA_END 0x7fffffff0000ull

_Static_assert(BH_TYPE_DEVICE == 12, "types are append-only");
