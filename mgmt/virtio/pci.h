/* Virtio over PCI: registers and bits that drivers (mgmt/drivers) and devices (mgmt/vmm/virtio)
 * have in common. Virtual I/O Device (VIRTIO) 1.2; sections stand beside the names. */
#pragma once

#define VIRTIO_PCI_VENDOR 0x1af4u  /* 4.1.2 */
#define VIRTIO_PCI_DEVICE 0x1040u  /* plus the device's type */
#define VIRTIO_PCI_REVISION_MIN 1u /* 4.1.2.1 */
#define VIRTIO_PCI_SUBSYSTEM 0x40u /* likewise: at least */

#define VIRTIO_TYPE_NET 1u /* 5 */
#define VIRTIO_TYPE_BLOCK 2u
#define VIRTIO_TYPE_CONSOLE 3u
#define VIRTIO_TYPE_ENTROPY 4u

/* struct virtio_pci_cap, 4.1.4: offsets from the capability's first byte */
#define VIRTIO_CAP_LENGTH 2u
#define VIRTIO_CAP_TYPE 3u
#define VIRTIO_CAP_BAR 4u
#define VIRTIO_CAP_OFFSET 8u
#define VIRTIO_CAP_BYTES 12u
#define VIRTIO_CAP_NOTIFY_MULTIPLIER 16u
#define VIRTIO_CAP_PCI_DATA 16u
#define VIRTIO_CAP_LENGTH_MIN 16u
#define VIRTIO_CAP_NOTIFY_LENGTH 20u
#define VIRTIO_CAP_PCI_LENGTH 20u

#define VIRTIO_CAP_TYPE_COMMON 1u
#define VIRTIO_CAP_TYPE_NOTIFY 2u
#define VIRTIO_CAP_TYPE_ISR 3u
#define VIRTIO_CAP_TYPE_DEVICE 4u
#define VIRTIO_CAP_TYPE_PCI 5u

/* struct virtio_pci_common_cfg, 4.1.4.3 */
#define VIRTIO_COMMON_DEVICE_FEATURE_SELECT 0x00u
#define VIRTIO_COMMON_DEVICE_FEATURE 0x04u
#define VIRTIO_COMMON_DRIVER_FEATURE_SELECT 0x08u
#define VIRTIO_COMMON_DRIVER_FEATURE 0x0cu
#define VIRTIO_COMMON_CONFIG_VECTOR 0x10u
#define VIRTIO_COMMON_QUEUES 0x12u
#define VIRTIO_COMMON_STATUS 0x14u
#define VIRTIO_COMMON_CONFIG_GENERATION 0x15u
#define VIRTIO_COMMON_QUEUE_SELECT 0x16u
#define VIRTIO_COMMON_QUEUE_SIZE 0x18u
#define VIRTIO_COMMON_QUEUE_VECTOR 0x1au
#define VIRTIO_COMMON_QUEUE_ENABLE 0x1cu
#define VIRTIO_COMMON_QUEUE_NOTIFY_OFFSET 0x1eu
#define VIRTIO_COMMON_QUEUE_DESC 0x20u
#define VIRTIO_COMMON_QUEUE_DRIVER 0x28u
#define VIRTIO_COMMON_QUEUE_DEVICE 0x30u
#define VIRTIO_COMMON_LENGTH 0x38u

#define VIRTIO_VECTOR_NONE 0xffffu /* 4.1.5.1.2 */

#define VIRTIO_ISR_QUEUE 0x1u /* 4.1.4.5 */
#define VIRTIO_ISR_CONFIG 0x2u

/* Device status, 2.1 */
#define VIRTIO_STATUS_ACKNOWLEDGE 0x01u
#define VIRTIO_STATUS_DRIVER 0x02u
#define VIRTIO_STATUS_DRIVER_OK 0x04u
#define VIRTIO_STATUS_FEATURES_OK 0x08u
#define VIRTIO_STATUS_NEEDS_RESET 0x40u
#define VIRTIO_STATUS_FAILED 0x80u

#define VIRTIO_F_INDIRECT_DESC (1ull << 28) /* 6 */
#define VIRTIO_F_EVENT_IDX (1ull << 29)
#define VIRTIO_F_VERSION_1 (1ull << 32)
#define VIRTIO_F_ACCESS_PLATFORM (1ull << 33)
