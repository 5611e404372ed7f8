/* PCI configuration space accesses, nothing else. PCI Express Base Specification, 7.2.2 (ECAM); PCI
 * Local Bus Specification 3.0, 3.2.2.3.2 (ports). */
#include "mgmt/pci/config.h"

#include "mgmt/pci/mmio.h"

#define BUS_BYTES 0x100000u /* ECAM: 32 devices, 8 functions, 4 KiB each */
#define BUSES 256u

#define CONFIG_ADDRESS 0xcf8u
#define CONFIG_DATA 0xcfcu
#define CONFIG_ENABLE 0x80000000u

static volatile uint8_t *ecam; /* of bus ecam_first; NULL: ports */
static unsigned ecam_first;

struct pci_buses pci_config_start(struct hpa ecam_base, unsigned first_bus, unsigned last_bus) {
    ecam = NULL;
    struct pci_buses all = {0, BUSES - 1};
    if (ecam_base.raw == 0)
        return all;
    if (first_bus > last_bus || last_bus >= BUSES) {
        log_line("pci", "ECAM of buses %u to %u is nonsense: using ports", first_bus, last_bus);
        return all;
    }
    volatile void *va;
    struct hpa base = {ecam_base.raw + (uint64_t)first_bus * BUS_BYTES};
    size_t bytes = (size_t)(last_bus - first_bus + 1) * BUS_BYTES;
    enum bh_status status = mmio_map(base, bytes, &va);
    if (status != BH_OK) {
        log_line("pci", "cannot map ECAM (status %d): using ports", (int)status);
        return all;
    }
    ecam = va;
    ecam_first = first_bus;
    return (struct pci_buses){first_bus, last_bus};
}

static volatile uint8_t *ecam_register(struct pci_address a, unsigned offset) {
    return ecam + (((size_t)(a.bus - ecam_first) << 20) | ((size_t)a.device << 15) |
                   ((size_t)a.function << 12) | offset);
}

/* Leaves the address latched; returns the port of the data. */
static uint16_t select_port(struct pci_address a, unsigned offset) {
    port_out(CONFIG_ADDRESS, 4,
             CONFIG_ENABLE | ((uint32_t)a.bus << 16) | ((uint32_t)a.device << 11) |
                 ((uint32_t)a.function << 8) | (offset & 0xfcu));
    return (uint16_t)(CONFIG_DATA + (offset & 3u));
}

uint8_t pci_config_read8(struct pci_address a, unsigned offset) {
    if (ecam)
        return mmio_read8(ecam_register(a, offset));
    return (uint8_t)port_in(select_port(a, offset), 1);
}

uint16_t pci_config_read16(struct pci_address a, unsigned offset) {
    if (ecam)
        return mmio_read16(ecam_register(a, offset));
    return (uint16_t)port_in(select_port(a, offset), 2);
}

uint32_t pci_config_read32(struct pci_address a, unsigned offset) {
    if (ecam)
        return mmio_read32(ecam_register(a, offset));
    return port_in(select_port(a, offset), 4);
}

void pci_config_write16(struct pci_address a, unsigned offset, uint16_t value) {
    if (ecam)
        mmio_write16(ecam_register(a, offset), value);
    else
        port_out(select_port(a, offset), 2, value);
}

void pci_config_write32(struct pci_address a, unsigned offset, uint32_t value) {
    if (ecam)
        mmio_write32(ecam_register(a, offset), value);
    else
        port_out(select_port(a, offset), 4, value);
}
