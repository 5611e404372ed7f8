/* One PCI function: BARs, capabilities, MSI-X. Everything the function says is bounded here. PCI
 * Local Bus Specification 3.0, 6.2.5 (BARs), 6.7 (capabilities), 6.8.2 (MSI-X). */
#include "mgmt/pci/function.h"

#include "mgmt/pci/mmio.h"

#define REGISTER_STATUS 0x06u
#define STATUS_CAPABILITIES 0x0010u
#define REGISTER_HEADER_TYPE 0x0eu
#define REGISTER_BAR0 0x10u
#define REGISTER_CAPABILITIES 0x34u

#define BAR_IO 0x1u
#define BAR_TYPE_MASK 0x6u
#define BAR_TYPE_64 0x4u
#define BAR_FLAGS_MASK 0xfu
#define BAR_BYTES_MAX (16u << 20) /* ours: registers we drive fit; bounds page tables */

#define CAPABILITY_FIRST_OFFSET 0x40u

#define MSI_CONTROL 2u
#define MSI_ENABLE 0x0001u
#define MSIX_CONTROL 2u
#define MSIX_TABLE 4u
#define MSIX_CONTROL_ENABLE 0x8000u
#define MSIX_CONTROL_MASK_ALL 0x4000u
#define MSIX_CONTROL_SIZE_MASK 0x07ffu
#define MSIX_BAR_MASK 0x7u
#define MSIX_ENTRY_BYTES 16u
#define MSIX_ENTRY_ADDRESS_LOW 0u
#define MSIX_ENTRY_ADDRESS_HIGH 4u
#define MSIX_ENTRY_DATA 8u
#define MSIX_ENTRY_CONTROL 12u
#define MSIX_ENTRY_MASKED 0x1u

void pci_command_change(struct pci_address address, uint16_t set, uint16_t clear) {
    uint16_t command = pci_config_read16(address, PCI_REGISTER_COMMAND);
    pci_config_write16(address, PCI_REGISTER_COMMAND, (uint16_t)((command & ~clear) | set));
}

/* Writes all ones, reads back which bits stick, restores. Decode must be off. */
static uint32_t probe_bits(struct pci_address address, unsigned offset, uint32_t value) {
    pci_config_write32(address, offset, ~0u);
    uint32_t bits = pci_config_read32(address, offset);
    pci_config_write32(address, offset, value);
    return bits;
}

static bool bar_sane(uint64_t base, uint64_t bytes) {
    bool power_of_two = bytes != 0 && (bytes & (bytes - 1)) == 0;
    return power_of_two && bytes <= BAR_BYTES_MAX && base != 0 && (base & (bytes - 1)) == 0;
}

/* Returns how many BAR registers it took. */
static unsigned size_bar(struct pci_function *f, unsigned index) {
    unsigned offset = REGISTER_BAR0 + 4 * index;
    uint32_t low = pci_config_read32(f->address, offset);
    if (low & BAR_IO)
        return 1;
    bool wide = (low & BAR_TYPE_MASK) == BAR_TYPE_64 && index + 1 < PCI_BARS;
    uint64_t base = low & ~BAR_FLAGS_MASK;
    uint64_t bits = probe_bits(f->address, offset, low) & ~BAR_FLAGS_MASK;
    if (wide) {
        uint32_t high = pci_config_read32(f->address, offset + 4);
        base |= (uint64_t)high << 32;
        bits |= (uint64_t)probe_bits(f->address, offset + 4, high) << 32;
    } else if (bits) {
        bits |= 0xffffffff00000000ull;
    }
    uint64_t bytes = ~bits + 1;
    if (bar_sane(base, bytes))
        f->bar[index] = (struct pci_bar){.base = {base}, .bytes = bytes};
    return wide ? 2 : 1;
}

static void walk_capabilities(struct pci_function *f) {
    uint64_t seen = 0; /* one bit for each possible offset: a ring ends the walk */
    if (!(pci_config_read16(f->address, REGISTER_STATUS) & STATUS_CAPABILITIES))
        return;
    uint8_t offset = pci_config_read8(f->address, REGISTER_CAPABILITIES) & 0xfcu;
    while (offset >= CAPABILITY_FIRST_OFFSET && f->capabilities < PCI_CAPABILITIES_MAX) {
        if (seen & 1ull << (offset / 4))
            return;
        seen |= 1ull << (offset / 4);
        uint16_t header = pci_config_read16(f->address, offset);
        f->capability[f->capabilities++] = (struct pci_capability){(uint8_t)header, offset};
        offset = (header >> 8) & 0xfcu;
    }
}

static void prepare_msix(struct pci_function *f, uint8_t offset) {
    if (f->msix_entries || offset > 256 - 12)
        return;
    uint16_t control = pci_config_read16(f->address, offset + MSIX_CONTROL);
    control &= (uint16_t)~MSIX_CONTROL_ENABLE;
    pci_config_write16(f->address, offset + MSIX_CONTROL, control);
    unsigned entries = (control & MSIX_CONTROL_SIZE_MASK) + 1u;
    uint32_t table = pci_config_read32(f->address, offset + MSIX_TABLE);
    uint8_t bar = table & MSIX_BAR_MASK;
    uint32_t table_offset = table & ~MSIX_BAR_MASK;
    if (bar >= PCI_BARS ||
        (uint64_t)table_offset + (uint64_t)entries * MSIX_ENTRY_BYTES > f->bar[bar].bytes)
        return;
    f->msix_capability = offset;
    f->msix_bar = bar;
    f->msix_offset = table_offset;
    f->msix_entries = entries;
}

void pci_function_prepare(struct pci_function *f) {
    if (pci_config_read8(f->address, REGISTER_HEADER_TYPE) & 0x7fu)
        return; /* a bridge has other registers there; no driver wants one */
    for (unsigned i = 0; i < PCI_BARS;)
        i += size_bar(f, i);
    walk_capabilities(f);
    for (unsigned i = 0; i < f->capabilities; i++) {
        uint8_t offset = f->capability[i].offset;
        if (f->capability[i].id == PCI_CAPABILITY_MSIX)
            prepare_msix(f, offset);
        if (f->capability[i].id == PCI_CAPABILITY_MSI) {
            uint16_t control = pci_config_read16(f->address, offset + MSI_CONTROL);
            pci_config_write16(f->address, offset + MSI_CONTROL, control & (uint16_t)~MSI_ENABLE);
        }
    }
    pci_command_change(f->address, PCI_COMMAND_MEMORY, 0);
}

volatile uint8_t *pci_map_bar(struct pci_function *f, unsigned index) {
    if (index >= PCI_BARS || f->bar[index].bytes == 0)
        return NULL;
    struct pci_bar *bar = &f->bar[index];
    if (bar->va)
        return bar->va;
    /* A BAR below a page shares its page with who knows whom: then the platform maps the page, and
     * refuses it to the second who asks. */
    uint64_t in_page = bar->base.raw % BH_PAGE_BYTES;
    uint64_t bytes = bar->bytes < BH_PAGE_BYTES ? BH_PAGE_BYTES : bar->bytes;
    volatile void *va;
    if (mmio_map((struct hpa){bar->base.raw - in_page}, bytes, &va) != BH_OK)
        return NULL;
    bar->va = (volatile uint8_t *)va + in_page;
    return bar->va;
}

enum bh_status pci_msix_open(struct pci_function *f, unsigned entry, void (*handler)(void *context),
                             void *context) {
    if (entry >= f->msix_entries)
        return BH_BAD_ARG;
    volatile uint8_t *table = pci_map_bar(f, f->msix_bar);
    struct msi msi;
    if (!table)
        return BH_NO_MEMORY;
    enum bh_status status = msi_open(handler, context, &msi);
    if (status != BH_OK)
        return status;
    volatile uint8_t *e = table + f->msix_offset + (size_t)entry * MSIX_ENTRY_BYTES;
    mmio_write32(e + MSIX_ENTRY_CONTROL, MSIX_ENTRY_MASKED);
    mmio_write32(e + MSIX_ENTRY_ADDRESS_LOW, (uint32_t)msi.address);
    mmio_write32(e + MSIX_ENTRY_ADDRESS_HIGH, (uint32_t)(msi.address >> 32));
    mmio_write32(e + MSIX_ENTRY_DATA, msi.data);
    mmio_write32(e + MSIX_ENTRY_CONTROL, 0);
    return BH_OK;
}

void pci_msix_enable(struct pci_function *f) {
    uint16_t control = pci_config_read16(f->address, f->msix_capability + MSIX_CONTROL);
    control = (uint16_t)((control & ~MSIX_CONTROL_MASK_ALL) | MSIX_CONTROL_ENABLE);
    pci_config_write16(f->address, f->msix_capability + MSIX_CONTROL, control);
}
