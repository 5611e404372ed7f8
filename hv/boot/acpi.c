/* The ACPI tables that hv itself needs: ACPI 6.5, chapter 5; PCI Firmware 3.3 for MCFG; VT-d 4.1
 * and AMD I/O Virtualization 3.07 for where IOMMU registers lie. Every length is checked against
 * the table's, every table against its checksum. */
#include "hv/boot/boot.h"

struct header {
    char signature[4];
    uint32_t bytes;
    uint8_t revision, checksum;
    char oem[26];
} __attribute__((packed));
_Static_assert(sizeof(struct header) == 36, "ACPI 6.5, 5.2.6");

struct rsdp {
    char signature[8];
    uint8_t checksum;
    char oem[6];
    uint8_t revision;
    uint32_t rsdt;
    uint32_t bytes; /* from revision 2 on */
    uint64_t xsdt;
    uint8_t extended_checksum, reserved[3];
} __attribute__((packed));
enum { RSDP_V1_BYTES = 20 };

struct fadt {
    struct header header;
    uint32_t facs, dsdt;
    uint8_t reserved0, profile;
    uint16_t sci;
    uint32_t smi_command;
    uint8_t acpi_enable, acpi_disable, s4bios, pstate;
    uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control;
    uint32_t other[10];
    uint32_t flags;
    struct {
        uint8_t space, bit_width, bit_offset, access;
        uint64_t address;
    } __attribute__((packed)) reset;
    uint8_t reset_value;
    uint8_t reserved1[3];
    uint64_t x_facs, x_dsdt;
} __attribute__((packed));
_Static_assert(offsetof(struct fadt, flags) == 112 && offsetof(struct fadt, x_dsdt) == 140,
               "ACPI 6.5, table 5.9");
enum { FADT_RESET_SUPPORTED = 1 << 10, ADDRESS_SPACE_IO = 1, FADT_V1_BYTES = 116 };

/* An entry of a table that is a list: MADT, DMAR, IVRS. Their fields lie unaligned. */
struct entry {
    const uint8_t *at;
    uint32_t type, bytes;
};

static uint64_t read_bytes(const void *from, unsigned bytes) {
    const uint8_t *at = from;
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << 8 * i;
    return value;
}

static bool checksum_good(const void *table, uint32_t bytes) {
    uint8_t sum = 0;
    for (uint32_t i = 0; i < bytes; i++)
        sum = (uint8_t)(sum + ((const uint8_t *)table)[i]);
    return sum == 0;
}

static const struct header *table_at(uint64_t address) {
    const struct header *table = physical(address, sizeof(*table));
    if (table->bytes < sizeof(*table) ||
        !checksum_good(physical(address, table->bytes), table->bytes))
        panic("the ACPI table at %lx is damaged; update the firmware", address);
    return table;
}

static const struct header *find(const struct header *root, unsigned pointer_bytes,
                                 const char *signature) {
    const uint8_t *pointers = (const uint8_t *)(root + 1);
    uint32_t count = (root->bytes - (uint32_t)sizeof(*root)) / pointer_bytes;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t address = read_bytes(pointers + i * pointer_bytes, pointer_bytes);
        if (address && read_bytes(physical(address, sizeof(*root)), 4) == read_bytes(signature, 4))
            return table_at(address);
    }
    return NULL;
}

/* The entry at `offset` of a list whose entries begin with a type and a length of the given width;
 * false at the end. */
static bool next_entry(const struct header *table, uint32_t offset, unsigned field_bytes,
                       struct entry *entry) {
    if (offset + 2 * field_bytes > table->bytes)
        return false;
    entry->at = (const uint8_t *)table + offset;
    entry->type = (uint32_t)read_bytes(entry->at, field_bytes);
    entry->bytes = (uint32_t)read_bytes(entry->at + field_bytes, field_bytes);
    if (entry->bytes < 2 * field_bytes || entry->bytes > table->bytes - offset)
        panic("ACPI table %c%c%c%c has a broken entry; update the firmware", table->signature[0],
              table->signature[1], table->signature[2], table->signature[3]);
    return true;
}

/* MADT: ACPI 6.5, 5.2.12. */
enum { MADT_ENTRIES = 44, MADT_IOAPIC = 1, MADT_OVERRIDE = 2 };
enum { MPS_POLARITY_LOW = 3, MPS_TRIGGER_LEVEL = 3 << 2, MPS_TRIGGER = 3 << 2, MPS_POLARITY = 3 };

static void read_madt(struct acpi *acpi, const struct header *madt) {
    struct entry entry;
    for (uint32_t at = MADT_ENTRIES; next_entry(madt, at, 1, &entry); at += entry.bytes) {
        if (entry.type == MADT_IOAPIC && entry.bytes >= 12) {
            uint64_t address = read_bytes(entry.at + 4, 4);
            ioapic_add((struct pa){address}, (uint32_t)read_bytes(entry.at + 8, 4));
            ranges_add(&acpi->kept, address, address + PAGE_BYTES);
        } else if (entry.type == MADT_OVERRIDE && entry.bytes >= 10) {
            uint64_t flags = read_bytes(entry.at + 8, 2);
            ioapic_override((uint32_t)read_bytes(entry.at + 4, 4),
                            (flags & MPS_TRIGGER) == MPS_TRIGGER_LEVEL,
                            (flags & MPS_POLARITY) == MPS_POLARITY_LOW);
        }
    }
}

/* MCFG: PCI Firmware 3.3, 4.1.2: segment 0's configuration space. */
enum { MCFG_ENTRIES = 44, MCFG_ENTRY_BYTES = 16 };

static void read_mcfg(struct acpi *acpi, const struct header *mcfg) {
    for (uint32_t at = MCFG_ENTRIES; at + MCFG_ENTRY_BYTES <= mcfg->bytes; at += MCFG_ENTRY_BYTES) {
        const uint8_t *entry = (const uint8_t *)mcfg + at;
        if (read_bytes(entry + 8, 2) != 0)
            continue;
        acpi->ecam_base = read_bytes(entry, 8);
        acpi->ecam_first_bus = entry[10];
        acpi->ecam_last_bus = entry[11];
        return;
    }
}

/* IOMMU register blocks, which no domain may reach whether hv uses them or not. */
enum {
    DMAR_ENTRIES = 48,
    DMAR_DRHD = 0,
    IVRS_ENTRIES = 48,
    IVRS_IVHD = 0x10,
    IVRS_IVHD_LAST = 0x4f
};
#define IVHD_REGISTER_BYTES 0x80000u

static void read_iommus(struct acpi *acpi, const struct header *dmar, const struct header *ivrs) {
    struct entry entry;
    acpi->iommu = dmar || ivrs;
    for (uint32_t at = DMAR_ENTRIES; dmar && next_entry(dmar, at, 2, &entry); at += entry.bytes)
        if (entry.type == DMAR_DRHD && entry.bytes >= 16) {
            uint64_t base = read_bytes(entry.at + 8, 8);
            ranges_add(&acpi->kept, base, base + PAGE_BYTES);
        }
    /* An IVRS block has type, flags, length. */
    for (uint32_t at = IVRS_ENTRIES; ivrs && at + 16 <= ivrs->bytes;) {
        const uint8_t *block = (const uint8_t *)ivrs + at;
        uint64_t base = read_bytes(block + 8, 8), bytes = read_bytes(block + 2, 2);
        if (block[0] >= IVRS_IVHD && block[0] <= IVRS_IVHD_LAST)
            ranges_add(&acpi->kept, base, base + IVHD_REGISTER_BYTES);
        at += bytes ? (uint32_t)bytes : ivrs->bytes;
    }
}

/* AML of a small integer (ACPI 6.5, 20.2.3): its value, and one past it. */
enum { AML_NAME = 0x08, AML_BYTE = 0x0a, S5_BYTES_MIN = 9 };

static uint8_t small_integer(const uint8_t **aml) {
    if (**aml == AML_BYTE)
        ++*aml;
    return *(*aml)++; /* ZeroOp and OneOp are their own values */
}

/* Name (\_S5, Package () { SLP_TYPa, SLP_TYPb, ... }): found by its bytes, without interpreting. */
static void read_s5(const struct header *dsdt) {
    const uint8_t *aml = (const uint8_t *)(dsdt + 1), *end = (const uint8_t *)dsdt + dsdt->bytes;
    for (; aml + S5_BYTES_MIN <= end; aml++) {
        if (read_bytes(aml, 5) != read_bytes("_S5_\x12", 5) ||
            (aml[-1] != AML_NAME && aml[-1] != '\\'))
            continue;
        const uint8_t *package = aml + 5;
        package += 1 + (package[0] >> 6); /* PkgLength: 20.2.4 */
        package += 1;                     /* NumElements */
        board.sleep_type[0] = small_integer(&package);
        board.sleep_type[1] = small_integer(&package);
        board.can_sleep = board.pm1_control[0] != 0;
        return;
    }
}

static void read_fadt(const struct fadt *fadt) {
    if (fadt->header.bytes < FADT_V1_BYTES)
        return;
    board.pm1_control[0] = (uint16_t)fadt->pm1a_control;
    board.pm1_control[1] = (uint16_t)fadt->pm1b_control;
    board.smi_command = (uint16_t)fadt->smi_command;
    board.acpi_enable = fadt->acpi_enable;
    uint64_t dsdt = fadt->dsdt;
    if (fadt->header.bytes >= sizeof(*fadt)) {
        if ((fadt->flags & FADT_RESET_SUPPORTED) && fadt->reset.space == ADDRESS_SPACE_IO) {
            board.reset_port = (uint16_t)fadt->reset.address;
            board.reset_value = fadt->reset_value;
        }
        dsdt = fadt->x_dsdt ? fadt->x_dsdt : dsdt;
    }
    if (dsdt)
        read_s5(table_at(dsdt));
}

void acpi_read(struct acpi *acpi, const void *at) {
    const struct rsdp *rsdp = at;
    if (!rsdp->signature[0] || !checksum_good(rsdp, RSDP_V1_BYTES))
        panic("the firmware has no ACPI tables (RSDP); hv needs them to find the IOAPICs");
    bool extended = rsdp->revision >= 2 && rsdp->xsdt;
    const struct header *root = table_at(extended ? rsdp->xsdt : rsdp->rsdt);
    unsigned pointer_bytes = extended ? 8 : 4;
    const struct header *madt = find(root, pointer_bytes, "APIC");
    const struct header *mcfg = find(root, pointer_bytes, "MCFG");
    const struct header *fadt = find(root, pointer_bytes, "FACP");
    if (!madt)
        panic("the firmware has no ACPI table of interrupt controllers (MADT)");
    read_madt(acpi, madt);
    if (mcfg)
        read_mcfg(acpi, mcfg);
    if (fadt)
        read_fadt((const void *)fadt);
    read_iommus(acpi, find(root, pointer_bytes, "DMAR"), find(root, pointer_bytes, "IVRS"));
}
