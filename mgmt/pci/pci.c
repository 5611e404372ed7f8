/* Finds every function of segment 0, silences it, and hands those that have a driver to it. It
 * looks at all buses instead of following bridges: what a bridge says of the buses behind it
 * decides nothing but where bus mastering has to be opened. PCI Local Bus Specification 3.0,
 * chapter 6; PCI-to-PCI Bridge Architecture Specification 1.2, 3.2. */
#include "mgmt/pci/pci.h"

#include "mgmt/backend.h"
#include "mgmt/pci/function.h"

#define REGISTER_VENDOR 0x00u
#define REGISTER_DEVICE 0x02u
#define REGISTER_CLASS 0x08u /* and revision, in the low byte */
#define REGISTER_HEADER_TYPE 0x0eu
#define REGISTER_SECONDARY_BUS 0x19u
#define REGISTER_SUBORDINATE_BUS 0x1au

#define VENDOR_NONE 0xffffu
#define HEADER_TYPE_BRIDGE 0x01u
#define HEADER_TYPE_MASK 0x7fu
#define HEADER_MULTI_FUNCTION 0x80u
#define CLASS_BRIDGE 0x06u

#define DEVICES 32u
#define FUNCTIONS 8u
#define FUNCTIONS_MAX 256u /* recorded; those beyond are silenced all the same */

static struct pci_function functions[FUNCTIONS_MAX];
static unsigned function_count;
static unsigned overflow_count;

/* No DMA, no interrupts; no decode either, but for bridges, which other functions lie behind. */
static void silence(struct pci_address address, bool bridge) {
    uint16_t command = pci_config_read16(address, PCI_REGISTER_COMMAND);
    command &= (uint16_t)~PCI_COMMAND_BUS_MASTER;
    command |= PCI_COMMAND_INTX_OFF;
    if (!bridge)
        command &= (uint16_t) ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
    pci_config_write16(address, PCI_REGISTER_COMMAND, command);
}

static void record(struct pci_address address, uint16_t vendor, uint8_t header_type) {
    if (function_count == FUNCTIONS_MAX) {
        overflow_count++;
        return;
    }
    struct pci_function *f = &functions[function_count++];
    *f = (struct pci_function){.address = address, .vendor = vendor};
    f->device = pci_config_read16(address, REGISTER_DEVICE);
    if ((header_type & HEADER_TYPE_MASK) == HEADER_TYPE_BRIDGE) {
        f->secondary_bus = pci_config_read8(address, REGISTER_SECONDARY_BUS);
        f->subordinate_bus = pci_config_read8(address, REGISTER_SUBORDINATE_BUS);
    }
}

/* False if there is no such function. */
static bool scan_function(struct pci_address address, uint8_t *header_type) {
    uint16_t vendor = pci_config_read16(address, REGISTER_VENDOR);
    if (vendor == VENDOR_NONE)
        return false;
    *header_type = pci_config_read8(address, REGISTER_HEADER_TYPE);
    uint32_t class_code = pci_config_read32(address, REGISTER_CLASS) >> 24;
    silence(address, class_code == CLASS_BRIDGE);
    record(address, vendor, *header_type);
    return true;
}

static void scan_bus(uint8_t bus) {
    for (unsigned device = 0; device < DEVICES; device++) {
        uint8_t header_type, ignored;
        struct pci_address address = {bus, (uint8_t)device, 0};
        if (!scan_function(address, &header_type) || !(header_type & HEADER_MULTI_FUNCTION))
            continue;
        for (uint8_t function = 1; function < FUNCTIONS; function++) {
            address.function = function;
            scan_function(address, &ignored);
        }
    }
}

static void probe(struct pci_function *f) {
    for (unsigned i = 0; i < pci_driver_count; i++) {
        const struct pci_driver *driver = &pci_drivers[i];
        if (driver->vendor != f->vendor || driver->device != f->device)
            continue;
        pci_function_prepare(f);
        driver->probe(f);
        return;
    }
}

void pci_start(uint64_t ecam_base, unsigned first_bus, unsigned last_bus) {
    function_count = 0;
    overflow_count = 0;
    struct pci_buses buses = pci_config_start((struct hpa){ecam_base}, first_bus, last_bus);
    for (unsigned bus = buses.first; bus <= buses.last; bus++)
        scan_bus((uint8_t)bus);
    if (overflow_count)
        log_line("pci", "%u functions too many: not used", overflow_count);
    for (unsigned i = 0; i < function_count; i++)
        probe(&functions[i]);
}

void pci_dma_on(const struct pci_function *function) {
    uint8_t bus = function->address.bus;
    for (unsigned i = 0; i < function_count; i++) {
        const struct pci_function *f = &functions[i];
        bool above = f->secondary_bus != 0 && f->secondary_bus <= bus && bus <= f->subordinate_bus;
        if (above || f == function)
            pci_command_change(f->address, PCI_COMMAND_BUS_MASTER, 0);
    }
}

void pci_dma_off(const struct pci_function *function) {
    pci_command_change(function->address, 0, PCI_COMMAND_BUS_MASTER);
}
