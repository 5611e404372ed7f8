/* The ACPI tables that hv itself needs: ACPI 6.5, chapter 5; VT-d 4.1 and AMD I/O Virtualization
 * 3.07 for where IOMMU registers lie. A table whose checksum is wrong ends the start; a field that
 * lies beyond its table's end reads as 0. All others are read in ring 3. */
#include "hv/boot/boot.h"

/* Offsets of fields, by table. */
enum { RSDP_REVISION = 15, RSDP_RSDT = 16, RSDP_V1_BYTES = 20, RSDP_XSDT = 24 };
enum { HEADER_LENGTH = 4, HEADER_BYTES = 36 };
enum { MADT_ENTRIES = 44, IOMMU_ENTRIES = 48 /* of DMAR and IVRS */ };
/* Values in them. */
enum { MADT_IOAPIC = 1, MADT_OVERRIDE = 2 };
enum { MPS_POLARITY = 3, MPS_POLARITY_LOW = 3, MPS_TRIGGER = 3 << 2, MPS_TRIGGER_LEVEL = 3 << 2 };
enum { DMAR_DRHD = 0, IVRS_IVHD_FIRST = 0x10, IVRS_IVHD_LAST = 0x4f };
enum { IVHD_REGISTER_BYTES = 0x80000 };

static uint64_t read_bytes(const void *from, unsigned bytes) {
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)((const uint8_t *)from)[i] << 8 * i;
    return value;
}

/* table: NULL reads as a table of no length. */
static uint64_t field(const uint8_t *table, uint64_t offset, unsigned bytes) {
    if (!table || offset + bytes > read_bytes(table + HEADER_LENGTH, 4))
        return 0;
    return read_bytes(table + offset, bytes);
}

static bool checksum_good(const uint8_t *table, uint64_t bytes) {
    uint8_t sum = 0;
    for (uint64_t i = 0; i < bytes; i++)
        sum = (uint8_t)(sum + table[i]);
    return sum == 0;
}

static const uint8_t *table_at(uint64_t address) {
    const uint8_t *table = physical(address, HEADER_BYTES);
    uint64_t bytes = read_bytes(table + HEADER_LENGTH, 4);
    if (bytes < HEADER_BYTES || !checksum_good(physical(address, bytes), bytes))
        panic("the ACPI table at %lx is damaged; update the firmware", address);
    return table;
}

/* root: RSDT or XSDT. */
static const uint8_t *find(const uint8_t *root, const char *signature) {
    unsigned pointer_bytes = root[0] == 'X' ? 8 : 4;
    uint64_t end = field(root, HEADER_LENGTH, 4);
    for (uint64_t at = HEADER_BYTES; at < end; at += pointer_bytes) {
        uint64_t address = field(root, at, pointer_bytes);
        if (address && read_bytes(physical(address, HEADER_BYTES), 4) == read_bytes(signature, 4))
            return table_at(address);
    }
    return NULL;
}

/* MADT (5.2.12): entries of type, length. */
static void read_madt(struct acpi *acpi, const uint8_t *madt) {
    uint64_t bytes;
    for (uint64_t at = MADT_ENTRIES; (bytes = field(madt, at + 1, 1)) != 0; at += bytes) {
        uint64_t type = field(madt, at, 1);
        if (type == MADT_IOAPIC) {
            uint64_t address = field(madt, at + 4, 4);
            ioapic_add((struct pa){address}, (uint32_t)field(madt, at + 8, 4));
            ranges_add(&acpi->kept, address, address + PAGE_BYTES);
        } else if (type == MADT_OVERRIDE) {
            uint64_t flags = field(madt, at + 8, 2);
            ioapic_override((uint32_t)field(madt, at + 4, 4),
                            (flags & MPS_TRIGGER) == MPS_TRIGGER_LEVEL,
                            (flags & MPS_POLARITY) == MPS_POLARITY_LOW);
        }
    }
    if (!ioapic_has(0))
        panic("the firmware's ACPI tables name no IOAPIC (MADT); update the firmware");
}

/* IOMMU register blocks, which no domain may reach whether hv uses them or not: of the entries
 * whose type is in a range. */
static void read_iommus(struct acpi *acpi, const uint8_t *table, uint64_t first, uint64_t last,
                        uint64_t register_bytes) {
    uint64_t bytes;
    acpi->iommu |= table != NULL;
    for (uint64_t at = IOMMU_ENTRIES; (bytes = field(table, at + 2, 2)) != 0; at += bytes) {
        uint64_t type = field(table, at, 1), base = field(table, at + 8, 8);
        if (type >= first && type <= last)
            ranges_add(&acpi->kept, base, base + register_bytes);
    }
}

void acpi_read(struct acpi *acpi, const uint8_t *rsdp) {
    if (!rsdp[0] || !checksum_good(rsdp, RSDP_V1_BYTES))
        panic("the firmware has no ACPI tables (RSDP); hv needs them to find the IOAPICs");
    uint64_t xsdt = rsdp[RSDP_REVISION] >= 2 ? read_bytes(rsdp + RSDP_XSDT, 8) : 0;
    acpi->root = xsdt ? xsdt : read_bytes(rsdp + RSDP_RSDT, 4);
    const uint8_t *root = table_at(acpi->root);
    read_madt(acpi, find(root, "APIC"));
    read_iommus(acpi, find(root, "DMAR"), DMAR_DRHD, DMAR_DRHD, PAGE_BYTES);
    read_iommus(acpi, find(root, "IVRS"), IVRS_IVHD_FIRST, IVRS_IVHD_LAST, IVHD_REGISTER_BYTES);
}
