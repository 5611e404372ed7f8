/* virtio-net: what its driver and its device have in common. VIRTIO 1.2, 5.1. */
#pragma once

#include <stdint.h>

#define VIRTIO_NET_F_CSUM (1ull << 0) /* 5.1.3 */
#define VIRTIO_NET_F_GUEST_CSUM (1ull << 1)
#define VIRTIO_NET_F_MTU (1ull << 3)
#define VIRTIO_NET_F_MAC (1ull << 5)
#define VIRTIO_NET_F_GUEST_TSO4 (1ull << 7)
#define VIRTIO_NET_F_GUEST_TSO6 (1ull << 8)
#define VIRTIO_NET_F_HOST_TSO4 (1ull << 11)
#define VIRTIO_NET_F_HOST_TSO6 (1ull << 12)
#define VIRTIO_NET_F_MRG_RXBUF (1ull << 15)
#define VIRTIO_NET_F_STATUS (1ull << 16)
#define VIRTIO_NET_F_CTRL_VQ (1ull << 17)
#define VIRTIO_NET_F_CTRL_RX (1ull << 18)
#define VIRTIO_NET_F_MQ (1ull << 22)

/* struct virtio_net_config, 5.1.4 */
#define VIRTIO_NET_CONFIG_MAC 0u
#define VIRTIO_NET_CONFIG_STATUS 6u
#define VIRTIO_NET_CONFIG_PAIRS_MAX 8u
#define VIRTIO_NET_CONFIG_MTU 10u
#define VIRTIO_NET_CONFIG_BYTES 12u
#define VIRTIO_NET_STATUS_LINK_UP 0x1u

#define VIRTIO_NET_HDR_NEEDS_CSUM 0x1u /* 5.1.6; GSO types are those of abi/net.h */
#define VIRTIO_NET_HDR_DATA_VALID 0x2u

struct virtio_net_header {
    uint8_t flags;
    uint8_t gso_type;
    uint16_t header_bytes;
    uint16_t gso_bytes;
    uint16_t checksum_start;
    uint16_t checksum_offset;
    uint16_t buffers;
};
_Static_assert(sizeof(struct virtio_net_header) == 12, "5.1.6");

#define VIRTIO_NET_CTRL_RX 0u /* 5.1.6.5.1 */
#define VIRTIO_NET_CTRL_RX_PROMISC 0u
#define VIRTIO_NET_CTRL_MQ 4u /* 5.1.6.5.5 */
#define VIRTIO_NET_CTRL_MQ_PAIRS_SET 0u
#define VIRTIO_NET_CTRL_OK 0u
#define VIRTIO_NET_CTRL_ERROR 1u
