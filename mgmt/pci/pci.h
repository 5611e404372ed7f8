/* PCI functions, as a driver sees them. A device is an enemy: what stands in a struct pci_function
 * was copied once from configuration space and checked; a driver never reads such a register
 * itself. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "mgmt/pci/config.h"

#define PCI_BARS 6u
#define PCI_CAPABILITIES_MAX 48u /* (256 - 64) / 4: more do not fit into configuration space */

#define PCI_CAPABILITY_MSI 0x05u
#define PCI_CAPABILITY_VENDOR 0x09u
#define PCI_CAPABILITY_MSIX 0x11u

struct pci_bar {
    struct hpa base;
    uint64_t
        bytes; /* 0: not there, an I/O BAR, not assigned by the firmware, or too large to map */
    volatile uint8_t *va; /* NULL until pci_map_bar */
};

struct pci_capability {
    uint8_t id;
    uint8_t offset; /* in configuration space: at least 64, a multiple of 4 */
};

struct pci_function {
    struct pci_address address;
    uint16_t vendor, device;
    uint8_t secondary_bus, subordinate_bus; /* bridges to further buses; else 0 */
    /* From here on: only for functions that have a driver. */
    struct pci_bar bar[PCI_BARS];
    struct pci_capability capability[PCI_CAPABILITIES_MAX];
    unsigned capabilities;
    unsigned msix_entries; /* 0: no usable MSI-X */
    uint8_t msix_capability, msix_bar;
    uint32_t msix_offset;
};

/* A driver's probe is called once for each function that matches, with memory decode on and DMA
 * off. The function stays where it is for good. */
struct pci_driver {
    uint16_t vendor, device;
    void (*probe)(struct pci_function *function);
};
extern const struct pci_driver pci_drivers[]; /* mgmt/drivers/drivers.c */
extern const unsigned pci_driver_count;

/* Maps a whole memory BAR, once. NULL if there is none, or no memory. */
volatile uint8_t *pci_map_bar(struct pci_function *function, unsigned index);

/* Points MSI-X entry `entry` at handler(context) and unmasks it. OK, BAD_ARG (no such entry),
 * NO_MEMORY. */
enum bh_status pci_msix_open(struct pci_function *function, unsigned entry,
                             void (*handler)(void *context), void *context);
void pci_msix_enable(struct pci_function *function);

/* Bus mastering. On: only after the driver has reset the device, so that rings of an earlier owner
 * are forgotten; bridges above it are opened too. Off: the last resort against a device that does
 * not reset. */
void pci_dma_on(const struct pci_function *function);
void pci_dma_off(const struct pci_function *function);
