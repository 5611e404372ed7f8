/* PCI configuration space of segment 0: by ECAM, or by the ports 0xCF8/0xCFC where there is none.
 */
#pragma once

#include <stdint.h>

#include "mgmt/platform.h"

struct pci_address {
    uint8_t bus, device, function;
};

/* Range of buses that pci_config_start made reachable. */
struct pci_buses {
    unsigned first, last;
};

/* Once. ecam_base: host-physical address of bus 0's configuration space, 0 if there is none. */
struct pci_buses pci_config_start(struct hpa ecam_base, unsigned first_bus, unsigned last_bus);

/* offset: naturally aligned, below 256. Functions that are not there read as all ones. */
uint8_t pci_config_read8(struct pci_address address, unsigned offset);
uint16_t pci_config_read16(struct pci_address address, unsigned offset);
uint32_t pci_config_read32(struct pci_address address, unsigned offset);
void pci_config_write16(struct pci_address address, unsigned offset, uint16_t value);
void pci_config_write32(struct pci_address address, unsigned offset, uint32_t value);
