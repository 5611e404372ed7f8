/* Inside mgmt/pci/ only: the command register, and reading one function's BARs and capabilities. */
#pragma once

#include "mgmt/pci/pci.h"

#define PCI_REGISTER_COMMAND 0x04u
#define PCI_COMMAND_IO 0x0001u
#define PCI_COMMAND_MEMORY 0x0002u
#define PCI_COMMAND_BUS_MASTER 0x0004u
#define PCI_COMMAND_INTX_OFF 0x0400u

void pci_command_change(struct pci_address address, uint16_t set, uint16_t clear);

/* Sizes the BARs, walks the capabilities, turns MSI and MSI-X off and memory decode on. */
void pci_function_prepare(struct pci_function *function);
