/* The PCI bus 0 of segment 0: configuration space by ports CF8/CFC and by ECAM. Functions are
 * single (function 0 alone of each device). Reference: PCI 3.0, PCI Express 3.0, 7.2; MSI-X:
 * PCI 3.0, 6.8.2.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "mgmt/vmm/bus.h"
#include "mgmt/vmm/state.h"

#define PCI_DEVICES 32u
#define PCI_BARS 6u
#define PCI_ECAM_BASE 0xe0000000ull
#define PCI_ECAM_BYTES 0x10000000ull
/* What the VMM gives to BARs, and what the DSDT names as the bridge's window. */
#define PCI_MEMORY_BASE 0xc0000000ull
#define PCI_IO_BASE 0x1000u

/* Configuration space header. */
#define PCI_VENDOR 0x00u
#define PCI_COMMAND 0x04u
#define PCI_STATUS 0x06u
#define PCI_REVISION 0x08u
#define PCI_BAR0 0x10u
#define PCI_SUBSYSTEM_VENDOR 0x2cu
#define PCI_CAPABILITIES 0x34u
#define PCI_INTERRUPT_LINE 0x3cu
#define PCI_INTERRUPT_PIN 0x3du
#define PCI_COMMAND_IO 0x1u
#define PCI_COMMAND_MEMORY 0x2u
#define PCI_COMMAND_MASTER 0x4u
#define PCI_COMMAND_NO_INTX 0x400u
#define PCI_STATUS_INTERRUPT 0x08u
#define PCI_STATUS_CAPABILITIES 0x10u
#define PCI_BAR_IO 0x1u

struct pci_function {
    uint8_t config[256];
    uint8_t writable[256]; /* bits that the guest may change */
    struct pci_bar {
        uint32_t bytes; /* a power of two; 0: no such BAR */
        bool io;
        struct bus_range range;
    } bar[PCI_BARS];
    bool interrupting;        /* its INTA# is asserted, unless the command register forbids it */
    uint8_t capabilities_end; /* where the next capability goes */
    uint8_t capability_last;
    /* After the guest has changed bytes that are writable. May be NULL. */
    void (*changed)(struct pci_function *function, unsigned offset, unsigned bytes);
    /* Before the guest reads config[offset...]: to bring it up to date. May be NULL. */
    void (*reading)(struct pci_function *function, unsigned offset);
    void *device;
};

/* What every function's INTA# is wired to, as the DSDT says: an ISA interrupt, level-triggered. */
#define PCI_IRQ 11u

/* set_irq: the level of PCI_IRQ goes there; message: so do messages to the local APICs. */
void pci_init(void (*set_irq)(bool level), void (*message)(uint64_t address, uint32_t data));
/* Of all functions; their own models come after it. */
void pci_state(struct state *s);

void pci_set16(struct pci_function *function, unsigned offset, uint16_t value);
void pci_set32(struct pci_function *function, unsigned offset, uint32_t value);
uint16_t pci_get16(const struct pci_function *function, unsigned offset);

/* Identity and class; afterwards BARs and capabilities; then pci_add. class_code: base class,
 * subclass, interface from the highest byte down. */
void pci_function_init(struct pci_function *function, uint16_t vendor, uint16_t device,
                       uint32_t class_code, uint8_t revision);
void pci_add_bar(struct pci_function *function, unsigned index, bool io, uint32_t bytes,
                 const struct bus_range *handlers);
/* Room for a capability of `bytes` (the two first of which are filled in): its offset. */
unsigned pci_add_capability(struct pci_function *function, uint8_t id, unsigned bytes);
/* Gives it INTA#, which is not asserted yet. */
void pci_add_interrupt(struct pci_function *function);
void pci_interrupt(struct pci_function *function, bool assert);
/* Sends an interrupt message. */
void pci_message(uint64_t address, uint32_t data);
/* Puts it into a slot and gives its BARs addresses. */
void pci_add(struct pci_function *function, unsigned slot);
