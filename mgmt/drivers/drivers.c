/* Which driver takes which PCI function. */
#include "mgmt/drivers/virtio.h"
#include "mgmt/drivers/virtio_blk.h"
#include "mgmt/drivers/virtio_net.h"

/* virtio 1.2, 4.1.2: 0x1040 + device type, or the transitional numbers, whose modern half is used.
 */
const struct pci_driver pci_drivers[] = {
    {VIRTIO_PCI_VENDOR, 0x1042, virtio_blk_probe},
    {VIRTIO_PCI_VENDOR, 0x1001, virtio_blk_probe},
    {VIRTIO_PCI_VENDOR, 0x1041, virtio_net_probe},
    {VIRTIO_PCI_VENDOR, 0x1000, virtio_net_probe},
};
const unsigned pci_driver_count = sizeof(pci_drivers) / sizeof(pci_drivers[0]);
