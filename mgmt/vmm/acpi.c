#include "mgmt/vmm/acpi.h"

#include <string.h>

#include "mgmt/vmm/ioapic.h"
#include "mgmt/vmm/lapic.h"
#include "mgmt/vmm/pci.h"
#include "mgmt/vmm/power.h"

/* Tables lie one after the other, 16-byte aligned. */
static struct {
    uint64_t at;
    bool failed;
} build;

static struct gpa place(uint64_t bytes) {
    struct gpa here = GPA(build.at);
    build.at = (build.at + bytes + 15) & ~15ull;
    build.failed |= build.at > ACPI_END;
    return here;
}

static uint8_t sum(const void *bytes, size_t count) {
    uint8_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += ((const uint8_t *)bytes)[i];
    return total;
}

struct __attribute__((packed)) header {
    char signature[4];
    uint32_t length;
    uint8_t revision, checksum;
    char oem[6], table[8];
    uint32_t oem_revision;
    char creator[4];
    uint32_t creator_revision;
};
_Static_assert(sizeof(struct header) == 36, "5.2.6");

/* A table of header and body. */
static struct gpa add(const char *signature, uint8_t revision, const void *body,
                      uint32_t body_bytes) {
    uint8_t table[1024];
    struct header header = {
        .length = (uint32_t)sizeof(header) + body_bytes,
        .revision = revision,
        .oem = "BHLKHD",
        .table = "VMM     ",
        .oem_revision = 1,
        .creator = "BHLK",
        .creator_revision = 1,
    };
    struct gpa here = place(header.length);
    if (header.length > sizeof(table)) {
        build.failed = true;
        return here;
    }
    memcpy(header.signature, signature, sizeof(header.signature));
    memcpy(table, &header, sizeof(header));
    memcpy(table + sizeof(header), body, body_bytes);
    table[9] = (uint8_t)(0 - sum(table, header.length));
    build.failed |= !ram_write(here, table, header.length);
    return here;
}

struct __attribute__((packed)) generic_address {
    uint8_t space, bits, offset, access;
    uint64_t address;
};
enum { SPACE_IO = 1 };

/* 5.2.9, without the header. */
struct __attribute__((packed)) fadt {
    uint32_t facs, dsdt;
    uint8_t reserved, profile;
    uint16_t sci;
    uint32_t smi_command;
    uint8_t acpi_enable, acpi_disable, s4bios, pstate;
    uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm2_control, pm_timer, gpe0, gpe1;
    uint8_t pm1_event_bytes, pm1_control_bytes, pm2_bytes, timer_bytes, gpe0_bytes, gpe1_bytes,
        gpe1_base, cst;
    uint16_t c2_latency, c3_latency, flush_size, flush_stride;
    uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
    uint16_t boot_flags;
    uint8_t reserved2;
    uint32_t flags;
    struct generic_address reset;
    uint8_t reset_value;
    uint16_t arm_flags;
    uint8_t minor;
    uint64_t x_facs, x_dsdt;
    struct generic_address x[8];
};
_Static_assert(sizeof(struct fadt) == 244 - 36, "revision 5");
#define FADT_WBINVD 0x1u
#define FADT_C1 0x4u
#define FADT_NO_SLEEP_BUTTON 0x20u
#define FADT_RTC_FIXED 0x40u /* no wake by RTC in fixed registers */
#define FADT_TIMER_32 0x100u
#define FADT_RESET 0x400u
#define FADT_LATENCY_NONE 0xffffu
#define BOOT_LEGACY_DEVICES 0x1u
#define BOOT_NO_VGA 0x4u
#define RESET_PORT 0xcf9u
#define RESET_VALUE 0x6u
#define CMOS_CENTURY 0x32u

static struct gpa add_fadt(struct gpa dsdt) {
    struct fadt fadt = {
        .dsdt = (uint32_t)dsdt.value,
        .sci = POWER_SCI,
        .pm1a_event = POWER_PM1_EVENT,
        .pm1a_control = POWER_PM1_CONTROL,
        .pm_timer = POWER_TIMER,
        .pm1_event_bytes = 4,
        .pm1_control_bytes = 2,
        .timer_bytes = 4,
        .c2_latency = FADT_LATENCY_NONE,
        .c3_latency = FADT_LATENCY_NONE,
        .century = CMOS_CENTURY,
        .boot_flags = BOOT_LEGACY_DEVICES | BOOT_NO_VGA,
        .flags = FADT_WBINVD | FADT_C1 | FADT_NO_SLEEP_BUTTON | FADT_RTC_FIXED | FADT_TIMER_32 |
                 FADT_RESET,
        .reset = {SPACE_IO, 8, 0, 1, RESET_PORT},
        .reset_value = RESET_VALUE,
        .x_dsdt = dsdt.value,
        .x = {{SPACE_IO, 32, 0, 2, POWER_PM1_EVENT},
              {0},
              {SPACE_IO, 16, 0, 2, POWER_PM1_CONTROL},
              {0},
              {0},
              {SPACE_IO, 32, 0, 3, POWER_TIMER}},
    };
    return add("FACP", 5, &fadt, sizeof(fadt));
}

/* 5.2.12 */
#define MADT_PCAT 0x1u
#define MADT_ENABLED 0x1u
#define IRQ_LEVEL_HIGH 0x000du

static struct gpa add_madt(uint32_t vcpus) {
    struct __attribute__((packed)) madt {
        uint32_t lapic, flags;
        struct __attribute__((packed)) {
            uint8_t type, length, id, reserved;
            uint32_t address, gsi_base;
        } ioapic;
        struct __attribute__((packed)) override {
            uint8_t type, length, bus, irq;
            uint32_t gsi;
            uint16_t flags;
        } timer, sci;
        struct __attribute__((packed)) {
            uint8_t type, length, processor;
            uint16_t flags;
            uint8_t lint;
        } nmi;
        struct __attribute__((packed)) {
            uint8_t type, length, processor, id;
            uint32_t flags;
        } processor[BH_GUEST_VCPUS_MAX];
    } madt = {
        .lapic = (uint32_t)LAPIC_BASE,
        .flags = MADT_PCAT,
        .ioapic = {1, 12, 0, 0, (uint32_t)IOAPIC_BASE, 0},
        .timer = {2, 10, 0, 0, 2, 0},
        .sci = {2, 10, 0, POWER_SCI, POWER_SCI, IRQ_LEVEL_HIGH},
        .nmi = {4, 6, 0xff, 0, 1},
    };
    for (uint32_t i = 0; i < vcpus; i++) {
        madt.processor[i].length = sizeof(madt.processor[i]);
        madt.processor[i].processor = madt.processor[i].id = (uint8_t)i;
        madt.processor[i].flags = MADT_ENABLED;
    }
    uint32_t unused = (uint32_t)(BH_GUEST_VCPUS_MAX - vcpus) * (uint32_t)sizeof(madt.processor[0]);
    return add("APIC", 4, &madt, (uint32_t)sizeof(madt) - unused);
}

static struct gpa add_mcfg(void) {
    struct __attribute__((packed)) {
        uint64_t reserved, base;
        uint16_t segment;
        uint8_t first_bus, last_bus;
        uint32_t reserved2;
    } mcfg = {.base = PCI_ECAM_BASE, .last_bus = 255};
    return add("MCFG", 1, &mcfg, sizeof(mcfg));
}

bool acpi_build(uint32_t vcpus) {
    build.at = ACPI_BASE;
    build.failed = false;
    /* 5.2.5.3 */
    struct __attribute__((packed)) {
        char signature[8];
        uint8_t checksum;
        char oem[6];
        uint8_t revision;
        uint32_t rsdt, length;
        uint64_t xsdt;
        uint8_t checksum_all, reserved[3];
    } rsdp = {.oem = "BHLKHD", .revision = 2, .length = sizeof(rsdp)};
    memcpy(rsdp.signature, "RSD PTR ", sizeof(rsdp.signature));
    struct gpa first = place(sizeof(rsdp));
    uint64_t tables[3];
    tables[0] = add_fadt(add("DSDT", 2, dsdt_body, dsdt_body_bytes)).value;
    tables[1] = add_madt(vcpus).value;
    tables[2] = add_mcfg().value;
    rsdp.xsdt = add("XSDT", 1, tables, sizeof(tables)).value;
    rsdp.checksum = (uint8_t)(0 - sum(&rsdp, 20));
    rsdp.checksum_all = (uint8_t)(0 - sum(&rsdp, sizeof(rsdp)));
    return ram_write(first, &rsdp, sizeof(rsdp)) && !build.failed;
}
