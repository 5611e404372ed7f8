/* mgmt's view of ACPI: the ECAM, and how the machine goes off; on tables as firmware writes them,
 * and on broken ones. Physical memory is an array, and a read of what is not mapped stops the test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mgmt/acpi.h"
#include "mgmt/pci/mmio.h"
#include "mgmt/platform.h"

enum { BASE = 0x7ffe0000, PAGES = 8, BYTES = PAGES * BH_PAGE_BYTES };
enum { ROOT = 0x100, FADT = 0x400, MCFG = 0x600, DSDT = 0xff0, PM1A = 0x604, PM1B = 0x704 };
enum { SMI = 0xb2, ENABLE = 0xa0 };

static uint8_t memory[BYTES];
static bool mapped[PAGES]; /* for good */
static uint16_t pm1[2];
static bool board_obeys;
static unsigned smi_writes, logged;

enum bh_status mmio_map(struct hpa base, size_t bytes, volatile void **va) {
    uint64_t page = (base.raw - BASE) / BH_PAGE_BYTES;
    assert_int_equal(bytes, BH_PAGE_BYTES);
    assert_int_equal(base.raw % BH_PAGE_BYTES, 0);
    if (base.raw < BASE || page >= PAGES || mapped[page])
        return BH_BAD_ARG;
    mapped[page] = true;
    *va = memory + page * BH_PAGE_BYTES;
    return BH_OK;
}

uint8_t mmio_read8(const volatile void *address) {
    size_t offset = (size_t)((const volatile uint8_t *)address - memory);
    assert_true(offset < BYTES && mapped[offset / BH_PAGE_BYTES]);
    return memory[offset];
}

static uint16_t *register_at(uint16_t port) {
    assert_true(port == PM1A || port == PM1B);
    return &pm1[port == PM1B];
}

uint32_t port_in(uint16_t port, unsigned width_bytes) {
    assert_int_equal(width_bytes, 2);
    return *register_at(port);
}

void port_out(uint16_t port, unsigned width_bytes, uint32_t value) {
    if (port == SMI) {
        assert_int_equal(value, ENABLE);
        smi_writes++;
        pm1[0] |= board_obeys ? 1 : 0;
        return;
    }
    assert_int_equal(width_bytes, 2);
    *register_at(port) = (uint16_t)value;
}

void log_line(const char *part, const char *format, ...) {
    (void)part;
    (void)format;
    logged++;
}

static void put(uint32_t at, uint64_t value, unsigned bytes) {
    for (unsigned i = 0; i < bytes; i++)
        memory[at + i] = (uint8_t)(value >> 8 * i);
}

static void seal(uint32_t at) {
    uint32_t bytes;
    memcpy(&bytes, memory + at + 4, sizeof(bytes));
    memory[at + 9] = 0;
    uint8_t sum = 0;
    for (uint32_t i = 0; i < bytes && at + i < BYTES; i++)
        sum = (uint8_t)(sum + memory[at + i]);
    memory[at + 9] = (uint8_t)-sum;
}

static void begin(uint32_t at, const char *signature, uint32_t bytes) {
    memcpy(memory + at, signature, 4);
    put(at + 4, bytes, 4);
}

static const uint8_t s5[] = {0x08, '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x0a, 5, 0x01, 0, 0};
enum { S5_AT = DSDT + 50 };

/* XSDT, FADT, MCFG, and a DSDT that crosses a page. */
static int firmware(void **state) {
    (void)state;
    memset(memory, 0, sizeof(memory));
    pm1[0] = 1;
    pm1[1] = smi_writes = logged = 0;
    board_obeys = true;
    begin(ROOT, "XSDT", 36 + 3 * 8);
    put(ROOT + 36, BASE + FADT, 8);
    put(ROOT + 44, 0, 8);
    put(ROOT + 52, BASE + MCFG, 8);
    begin(FADT, "FACP", 244);
    put(FADT + 40, 1, 4);
    put(FADT + 140, BASE + DSDT, 8);
    put(FADT + 48, SMI, 4);
    put(FADT + 52, ENABLE, 1);
    put(FADT + 64, PM1A, 4);
    put(FADT + 68, PM1B, 4);
    begin(MCFG, "MCFG", 44 + 2 * 16);
    put(MCFG + 44, 0xc0000000, 8);
    put(MCFG + 44 + 8, 1, 2);
    put(MCFG + 60, 0xb0000000, 8);
    put(MCFG + 60 + 10, 2, 1);
    put(MCFG + 60 + 11, 200, 1);
    begin(DSDT, "DSDT", 0x1200);
    memcpy(memory + S5_AT, s5, sizeof(s5));
    seal(ROOT);
    seal(FADT);
    seal(MCFG);
    seal(DSDT);
    return 0;
}

static void assert_goes_off(uint16_t a, uint16_t b) {
    acpi_power_off();
    assert_int_equal(pm1[0], a);
    assert_int_equal(pm1[1], b);
}

static void finds_the_ecam(void **state) {
    (void)state;
    struct acpi_ecam ecam = acpi_start(BASE + ROOT);
    assert_int_equal(ecam.base, 0xb0000000);
    assert_int_equal(ecam.first_bus, 2);
    assert_int_equal(ecam.last_bus, 200);
    assert_int_equal(logged, 0);
}

static void goes_off(void **state) {
    (void)state;
    acpi_start(BASE + ROOT);
    pm1[0] = 0x1c01; /* an old SLP_TYP is replaced */
    assert_goes_off(1 | 5 << 10 | 1 << 13, 1 << 10 | 1 << 13);
    assert_int_equal(smi_writes, 0);
}

static void takes_over_from_the_firmware(void **state) {
    (void)state;
    acpi_start(BASE + ROOT);
    pm1[0] = 0;
    assert_goes_off(1 | 5 << 10 | 1 << 13, 1 << 10 | 1 << 13);
    assert_int_equal(smi_writes, 1);
    pm1[0] = 0;
    board_obeys = false; /* it is tried all the same */
    assert_goes_off(5 << 10 | 1 << 13, 1 << 10 | 1 << 13);
}

/* RSDT and 32-bit pointers; S5 by its full name, in a longer package, with ZeroOp and no PM1b. */
static void old_firmware(void **state) {
    (void)state;
    static const uint8_t other[] = {0x08, '\\', '_', 'S', '5', '_', 0x12, 0x47, 0x00, 0x04, 0, 0};
    begin(ROOT, "RSDT", 36 + 2 * 4);
    put(ROOT + 36, BASE + FADT, 4);
    put(ROOT + 40, BASE + MCFG, 4);
    put(FADT + 140, 0, 8);
    put(FADT + 40, BASE + DSDT, 4);
    put(FADT + 68, 0, 4);
    memset(memory + S5_AT, 0, sizeof(s5));
    memcpy(memory + DSDT + 0x1000, other, sizeof(other));
    seal(ROOT);
    seal(FADT);
    seal(DSDT);
    assert_int_equal(acpi_start(BASE + ROOT).base, 0xb0000000);
    pm1[0] = 1;
    assert_goes_off(1 | 1 << 13, 0);
}

static void assert_stays_on(void) {
    uint16_t before = pm1[0];
    acpi_power_off();
    assert_int_equal(pm1[0], before);
}

static void without_tables(void **state) {
    (void)state;
    assert_int_equal(acpi_start(0).base, 0);
    assert_stays_on();
    assert_int_equal(acpi_start(0x1000).base, 0); /* not device memory */
    assert_int_equal(acpi_start(UINT64_MAX - 3).base, 0);
    assert_stays_on();
}

static void damaged_tables_do_not_count(void **state) {
    (void)state;
    memory[MCFG + 60] ^= 1;
    memory[DSDT + 0x800] ^= 1;
    assert_int_equal(acpi_start(BASE + ROOT).base, 0);
    assert_stays_on();
    assert_int_equal(logged, 2);
}

static void a_length_beyond_memory(void **state) {
    (void)state;
    static const uint32_t lengths[] = {0, 35, BYTES + 1, UINT32_MAX};
    for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        firmware(state);
        put(DSDT + 4, lengths[i], 4);
        put(MCFG + 4, lengths[i], 4);
        assert_int_equal(acpi_start(BASE + ROOT).base, 0);
        assert_stays_on();
    }
}

/* S5 cut off by the table's end reads as zeroes; without a PM1a block there is no way off. */
static void cut_off(void **state) {
    (void)state;
    put(DSDT + 4, S5_AT - DSDT + 6, 4);
    seal(DSDT);
    acpi_start(BASE + ROOT);
    pm1[0] = 1;
    assert_goes_off(1 | 1 << 13, 1 << 13);
    firmware(state);
    put(FADT + 64, 0, 4);
    seal(FADT);
    acpi_start(BASE + ROOT);
    assert_stays_on();
}

/* Any bytes anywhere: what matters is that nothing is read that is not mapped. */
static void nonsense(void **state) {
    srand(1);
    for (unsigned round = 0; round < 2000; round++) {
        firmware(state);
        for (unsigned i = 0; i < 8; i++)
            memory[rand() % 0x1100] = (uint8_t)rand();
        static const uint32_t tables[] = {ROOT, FADT, MCFG, DSDT};
        for (unsigned i = 0; i < 4; i++)
            seal(tables[i]);
        acpi_start(BASE + ROOT);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(finds_the_ecam, firmware),
        cmocka_unit_test_setup(goes_off, firmware),
        cmocka_unit_test_setup(takes_over_from_the_firmware, firmware),
        cmocka_unit_test_setup(old_firmware, firmware),
        cmocka_unit_test_setup(without_tables, firmware),
        cmocka_unit_test_setup(damaged_tables_do_not_count, firmware),
        cmocka_unit_test_setup(a_length_beyond_memory, firmware),
        cmocka_unit_test_setup(cut_off, firmware),
        cmocka_unit_test_setup(nonsense, firmware),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
