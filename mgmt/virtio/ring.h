/* What lies in the memory of a split virtqueue. VIRTIO 1.2, 2.7. The driver writes descriptors and
 * the available ring (flags, index, entries, used_event), the device the used ring (flags, index,
 * entries, avail_event); indices are free-running. */
#pragma once

#include <stdint.h>

#define VIRTQ_DESC_NEXT 0x1u /* 2.7.5 */
#define VIRTQ_DESC_WRITE 0x2u
#define VIRTQ_DESC_INDIRECT 0x4u
#define VIRTQ_AVAIL_NO_INTERRUPT 0x1u /* 2.7.6 */
#define VIRTQ_USED_NO_NOTIFY 0x1u     /* 2.7.8 */

#define VIRTQ_DESC_ALIGN 16u /* 2.7 */
#define VIRTQ_AVAIL_ALIGN 2u
#define VIRTQ_USED_ALIGN 4u

struct virtq_desc {
    uint64_t address;
    uint32_t bytes;
    uint16_t flags;
    uint16_t next;
};

struct virtq_used_entry {
    uint32_t id;
    uint32_t bytes;
};

_Static_assert(sizeof(struct virtq_desc) == 16, "2.7.5");
_Static_assert(sizeof(struct virtq_used_entry) == 8, "2.7.8");
