/* ACPI 6.5, chapters 4.8 and 5; PCI Firmware 3.3 for MCFG. Nothing is interpreted: S5 is found in
 * the DSDT by its bytes (20.2). */
#include "mgmt/acpi.h"

#include <stdbool.h>
#include <stddef.h>

#include "mgmt/pci/mmio.h"
#include "mgmt/platform.h"

/* Offsets of fields, by table. */
enum { HEADER_LENGTH = 4, HEADER_BYTES = 36 };
enum { FADT_DSDT = 40, FADT_SMI_CMD = 48, FADT_ACPI_ENABLE = 52, FADT_X_DSDT = 140 };
enum { FADT_PM1A_CNT = 64, FADT_PM1B_CNT = 68 };
enum { MCFG_ENTRIES = 44, MCFG_SEGMENT = 8, MCFG_FIRST_BUS = 10, MCFG_LAST_BUS = 11 };
enum { MCFG_ENTRY_BYTES = 16 };

/* PM1 control register: 4.8.3.2.1. */
enum { SCI_EN = 1 << 0, SLP_TYP_SHIFT = 10, SLP_TYP_MASK = 7 << SLP_TYP_SHIFT, SLP_EN = 1 << 13 };
/* AML. */
enum { AML_NAME = 0x08, AML_BYTE = 0x0a, AML_ROOT = '\\', PKG_LENGTH_BYTES_SHIFT = 6 };

/* Reads of a register until it is what it was told to be, or the board is taken to refuse. */
enum { REGISTER_READS = 1000000 };

enum { PAGES_MAX = 128 }; /* of all tables that are looked at */

/* bytes 0: there is no such table. */
struct table {
    const volatile uint8_t *at;
    uint32_t bytes;
};

static struct {
    uint64_t page[PAGES_MAX]; /* mapped ones */
    unsigned pages;
    uint16_t pm1_control[2]; /* 0: none */
    uint8_t sleep_type[2];   /* SLP_TYP of S5 */
    bool can_sleep;
    uint16_t smi_command; /* where ACPI_ENABLE goes; 0: ACPI rules already */
    uint8_t acpi_enable;
} acpi;

static bool is_mapped(uint64_t page) {
    for (unsigned i = 0; i < acpi.pages; i++)
        if (acpi.page[i] == page)
            return true;
    return false;
}

/* Where `bytes` from a host-physical address on are readable, or NULL. Tables share pages, and each
 * page can be mapped once; addresses here are at a constant distance from host-physical ones. */
static const volatile uint8_t *map(uint64_t address, uint64_t bytes) {
    static uintptr_t distance;
    uint64_t end = address + bytes;
    if (end < address)
        return NULL;
    for (uint64_t page = address / BH_PAGE_BYTES; page * BH_PAGE_BYTES < end; page++) {
        volatile void *va;
        if (is_mapped(page))
            continue;
        if (acpi.pages == PAGES_MAX ||
            mmio_map((struct hpa){page * BH_PAGE_BYTES}, BH_PAGE_BYTES, &va) != BH_OK)
            return NULL;
        acpi.page[acpi.pages++] = page;
        distance = (uintptr_t)va - page * BH_PAGE_BYTES;
    }
    return (const volatile uint8_t *)(distance + address);
}

static uint64_t read_bytes(const volatile uint8_t *from, unsigned bytes) {
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)mmio_read8(from + i) << 8 * i;
    return value;
}

static uint64_t field(const struct table *table, uint64_t offset, unsigned bytes) {
    if (bytes > table->bytes || offset > table->bytes - bytes)
        return 0;
    return read_bytes(table->at + offset, bytes);
}

static struct table table_at(uint64_t address) {
    struct table table = {address ? map(address, HEADER_BYTES) : NULL, 0};
    if (!table.at)
        return table;
    uint32_t bytes = (uint32_t)read_bytes(table.at + HEADER_LENGTH, 4);
    if (bytes < HEADER_BYTES || !map(address, bytes))
        return table;
    uint8_t sum = 0;
    for (uint32_t i = 0; i < bytes; i++)
        sum = (uint8_t)(sum + mmio_read8(table.at + i));
    if (sum == 0)
        table.bytes = bytes;
    else
        log_line("acpi", "the table at %llx is damaged", (unsigned long long)address);
    return table;
}

#define SIGNATURE(a, b, c, d) ((uint64_t)(d) << 24 | (c) << 16 | (b) << 8 | (a))

static struct table find(const struct table *root, uint64_t signature) {
    unsigned pointer_bytes = field(root, 0, 4) == SIGNATURE('X', 'S', 'D', 'T') ? 8 : 4;
    for (uint64_t at = HEADER_BYTES; at < root->bytes; at += pointer_bytes) {
        uint64_t address = field(root, at, pointer_bytes);
        const volatile uint8_t *header = address ? map(address, HEADER_BYTES) : NULL;
        if (header && read_bytes(header, 4) == signature)
            return table_at(address);
    }
    return (struct table){NULL, 0};
}

static struct acpi_ecam read_mcfg(const struct table *mcfg) {
    for (uint64_t at = MCFG_ENTRIES; field(mcfg, at, 8); at += MCFG_ENTRY_BYTES)
        if (field(mcfg, at + MCFG_SEGMENT, 2) == 0)
            return (struct acpi_ecam){field(mcfg, at, 8),
                                      (unsigned)field(mcfg, at + MCFG_FIRST_BUS, 1),
                                      (unsigned)field(mcfg, at + MCFG_LAST_BUS, 1)};
    return (struct acpi_ecam){0, 0, 0};
}

/* Behind \_S5's PackageOp: its length and number of elements, then SLP_TYPa, SLP_TYPb. */
static void read_package(const struct table *dsdt, uint64_t at) {
    at += 1 + (field(dsdt, at, 1) >> PKG_LENGTH_BYTES_SHIFT);
    at += 1;
    for (unsigned i = 0; i < 2; i++) {
        if (field(dsdt, at, 1) == AML_BYTE)
            at++;
        acpi.sleep_type[i] = (uint8_t)field(dsdt, at++, 1); /* ZeroOp, OneOp: 0, 1 */
    }
    acpi.can_sleep = acpi.pm1_control[0] != 0;
}

/* Name (\_S5, Package () { ... }), "Name (" and "\" as their bytes. */
static void read_dsdt(const struct table *dsdt) {
    const uint64_t name = SIGNATURE('_', 'S', '5', '_') | 0x12ull << 32; /* and PackageOp */
    for (uint64_t at = HEADER_BYTES; at < dsdt->bytes; at++) {
        uint64_t before = field(dsdt, at - 1, 1);
        if ((before != AML_NAME && before != AML_ROOT) || field(dsdt, at, 5) != name)
            continue;
        read_package(dsdt, at + 5);
        return;
    }
}

static void read_fadt(const struct table *fadt) {
    acpi.pm1_control[0] = (uint16_t)field(fadt, FADT_PM1A_CNT, 4);
    acpi.pm1_control[1] = (uint16_t)field(fadt, FADT_PM1B_CNT, 4);
    acpi.smi_command = (uint16_t)field(fadt, FADT_SMI_CMD, 4);
    acpi.acpi_enable = (uint8_t)field(fadt, FADT_ACPI_ENABLE, 1);
    uint64_t address = field(fadt, FADT_X_DSDT, 8);
    struct table dsdt = table_at(address ? address : field(fadt, FADT_DSDT, 4));
    read_dsdt(&dsdt);
}

struct acpi_ecam acpi_start(uint64_t address) {
    acpi.can_sleep = false;
    struct table root = table_at(address);
    struct table fadt = find(&root, SIGNATURE('F', 'A', 'C', 'P'));
    struct table mcfg = find(&root, SIGNATURE('M', 'C', 'F', 'G'));
    read_fadt(&fadt);
    return read_mcfg(&mcfg);
}

static bool acpi_rules(void) {
    return port_in(acpi.pm1_control[0], 2) & SCI_EN;
}

void acpi_power_off(void) {
    if (!acpi.can_sleep)
        return;
    /* The firmware may still own power management: it hands it over first (4.8.2.3). */
    if (acpi.smi_command && !acpi_rules())
        port_out(acpi.smi_command, 1, acpi.acpi_enable);
    for (unsigned i = 0; acpi.smi_command && !acpi_rules() && i < REGISTER_READS; i++)
        ;
    for (unsigned i = 0; i < 2; i++) {
        uint16_t port = acpi.pm1_control[i];
        if (port)
            port_out(port, 2,
                     (port_in(port, 2) & ~(uint32_t)SLP_TYP_MASK) |
                         (uint32_t)acpi.sleep_type[i] << SLP_TYP_SHIFT | SLP_EN);
    }
    for (unsigned i = 0; i < REGISTER_READS; i++) /* power takes its time to go */
        port_in(acpi.pm1_control[0], 2);
}
