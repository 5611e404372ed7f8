/* PCI: silencing, enumeration behind bridges, BARs, capabilities and MSI-X of hostile functions. */
#include "unit.h"

#include "fake_platform.h"
#include "mgmt/backend.h"
#include "mgmt/pci/pci.h"

#define VENDOR 0x1234u
#define DEVICE 0x5678u

static struct pci_function *probed[8];
static unsigned probes;

static void probe(struct pci_function *function) {
    assert_true(probes < 8);
    probed[probes++] = function;
}

const struct pci_driver pci_drivers[] = {{VENDOR, DEVICE, probe}};
const unsigned pci_driver_count = 1;

static uint32_t last_written[4];

static uint32_t no_read(struct fake_function *f, unsigned bar, uint32_t offset, unsigned width) {
    (void)f, (void)bar, (void)offset, (void)width;
    return 0;
}

static void note_write(struct fake_function *f, unsigned bar, uint32_t offset, unsigned width,
                       uint32_t value) {
    (void)f, (void)bar;
    assert_int_equal(width, 4);
    last_written[offset / 4 % 4] = value;
}

static void make(struct fake_function *f, uint8_t bus, uint8_t device, uint8_t function) {
    *f = (struct fake_function){
        .bus = bus, .device = device, .function = function, .read = no_read, .write = note_write};
    fake_config_set16(f, 0x00, VENDOR);
    fake_config_set16(f, 0x02, DEVICE);
    fake_config_set16(f, 0x04, 7);
    fake_add_function(f);
}

static void make_bridge(struct fake_function *f, uint8_t device, uint8_t secondary, uint8_t last) {
    make(f, 0, device, 0);
    fake_config_set16(f, 0x02, 1);
    fake_config_set32(f, 0x08, 0x06040000);
    f->config[0x0e] = 1;
    f->config[0x19] = secondary;
    f->config[0x1a] = last;
}

static int setup(void **state) {
    (void)state;
    fake_reset();
    probes = 0;
    return 0;
}

static void start(bool ecam) {
    pci_start(ecam ? FAKE_ECAM : 0, 0, FAKE_ECAM_LAST_BUS);
}

static void everything_is_silenced_and_nothing_else_is_opened(void **state) {
    (void)state;
    for (int ecam = 0; ecam < 2; ecam++) {
        struct fake_function plain, other, bridge, behind;
        setup(NULL);
        make(&plain, 0, 1, 0);
        make(&other, 0, 2, 0);
        fake_config_set16(&other, 0x02, 9);
        make_bridge(&bridge, 3, 1, 2);
        make(&behind, 2, 31, 0);
        start(ecam);
        assert_int_equal(probes, 2);
        assert_int_equal(fake_command(&plain), 0x402);
        assert_int_equal(fake_command(&other), 0x400);  /* no driver: no decode */
        assert_int_equal(fake_command(&bridge), 0x403); /* passes on accesses, not DMA */
        assert_int_equal(fake_command(&behind), 0x402);
    }
}

static void functions_beyond_0_only_if_multi_function(void **state) {
    (void)state;
    struct fake_function single, hidden, multi, second;
    make(&single, 0, 1, 0);
    make(&hidden, 0, 1, 3);
    make(&multi, 0, 2, 0);
    multi.config[0x0e] = 0x80;
    make(&second, 0, 2, 7);
    start(true);
    assert_int_equal(probes, 3);
    assert_int_equal(fake_command(&hidden), 7);
}

static void dma_opens_the_bridges_above_and_only_those(void **state) {
    (void)state;
    struct fake_function above, aside, nonsense, behind;
    make_bridge(&above, 1, 1, 2);
    make_bridge(&aside, 2, 3, 3);
    make_bridge(&nonsense, 3, 200, 100);
    make(&behind, 2, 0, 0);
    start(true);
    pci_dma_on(probed[0]);
    assert_true(fake_bus_master(&behind));
    assert_true(fake_bus_master(&above));
    assert_false(fake_bus_master(&aside));
    assert_false(fake_bus_master(&nonsense));
    pci_dma_off(probed[0]);
    assert_false(fake_bus_master(&behind));
}

static void bars_are_sized_and_nonsense_is_left_out(void **state) {
    (void)state;
    struct fake_function f;
    make(&f, 0, 1, 0);
    f.bar_bytes[0] = 8192;
    fake_config_set32(&f, 0x10, 0xfe000000);
    f.bar_bytes[1] = 16384; /* 64 bits */
    fake_config_set32(&f, 0x14, 0x40000004);
    fake_config_set32(&f, 0x18, 0x38);
    f.bar_bytes[3] = 32; /* I/O */
    fake_config_set32(&f, 0x1c, 0xc001);
    f.bar_bytes[4] = 4096; /* not assigned */
    f.bar_bytes[5] = 4096; /* 64 bits in the last register: there is no upper half */
    fake_config_set32(&f, 0x24, 0xfd000004);
    start(true);
    const struct pci_bar *bar = probed[0]->bar;
    assert_int_equal(bar[0].base.raw, 0xfe000000);
    assert_int_equal(bar[0].bytes, 8192);
    assert_int_equal(bar[1].base.raw, 0x3840000000ull);
    assert_int_equal(bar[1].bytes, 16384);
    assert_int_equal(bar[2].bytes, 0);
    assert_int_equal(bar[3].bytes, 0);
    assert_int_equal(bar[4].bytes, 0);
    assert_int_equal(bar[5].bytes, 4096);
    uint32_t raw;
    memcpy(&raw, f.config + 0x14, 4);
    assert_int_equal(raw, 0x40000004); /* sizing leaves no trace */
    assert_null(pci_map_bar(probed[0], 3));
    assert_null(pci_map_bar(probed[0], 6));
    assert_ptr_equal(pci_map_bar(probed[0], 0), (void *)0xfe000000);
}

static void capability_rings_and_strays_end(void **state) {
    (void)state;
    struct fake_function ring, stray;
    make(&ring, 0, 1, 0);
    fake_config_set16(&ring, 0x06, 0x10);
    ring.config[0x34] = 0x40;
    ring.config[0x40] = 0x09;
    ring.config[0x41] = 0x50;
    ring.config[0x50] = 0x09;
    ring.config[0x51] = 0x43; /* low bits count for nothing: back to 0x40 */
    make(&stray, 0, 2, 0);
    fake_config_set16(&stray, 0x06, 0x10);
    stray.config[0x34] = 0xfc;
    stray.config[0xfc] = 0x11; /* MSI-X that would lie beyond configuration space */
    stray.config[0xfd] = 0x3c;
    start(true);
    assert_int_equal(probed[0]->capabilities, 2);
    assert_int_equal(probed[1]->capabilities, 1);
    assert_int_equal(probed[1]->msix_entries, 0);
}

static void with_msix(struct fake_function *f, uint16_t entries, uint32_t table) {
    f->bar_bytes[0] = 4096;
    fake_config_set32(f, 0x10, 0xfe000000);
    fake_config_set16(f, 0x06, 0x10);
    f->config[0x34] = 0x40;
    f->config[0x40] = 0x11;
    fake_config_set16(f, 0x42, (uint16_t)(0x8000 | (entries - 1))); /* left enabled */
    fake_config_set32(f, 0x44, table);
}

static unsigned interrupts;

static void interrupted(void *context) {
    (void)context;
    interrupts++;
}

static void msix_is_programmed(void **state) {
    (void)state;
    struct fake_function f;
    make(&f, 0, 1, 0);
    with_msix(&f, 4, 0x800);
    start(true);
    assert_int_equal(f.config[0x43] & 0x80, 0); /* off until the driver turns it on */
    assert_int_equal(probed[0]->msix_entries, 4);
    assert_int_equal(pci_msix_open(probed[0], 4, interrupted, NULL), BH_BAD_ARG);
    assert_int_equal(pci_msix_open(probed[0], 3, interrupted, NULL), BH_OK);
    assert_int_equal(last_written[0], 0xfee00000);
    assert_int_equal(last_written[1], 0);
    assert_int_equal(last_written[3], 0);
    fake_interrupt(last_written[2]);
    assert_int_equal(interrupts, 1);
    pci_msix_enable(probed[0]);
    assert_int_equal(f.config[0x43] & 0xc0, 0x80);
}

static void msix_tables_outside_their_bar_do_not_count(void **state) {
    (void)state;
    static const struct {
        uint16_t entries;
        uint32_t table;
    } bad[] = {
        {4, 0xfd0},      /* ends beyond the BAR */
        {2048, 0},       /* longer than the BAR */
        {4, 0xfffffff8}, /* the end overflows 32 bits */
        {4, 1},          /* no such BAR */
        {4, 7},          /* reserved */
    };
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct fake_function f;
        setup(NULL);
        make(&f, 0, 1, 0);
        with_msix(&f, bad[i].entries, bad[i].table);
        start(true);
        assert_int_equal(probed[0]->msix_entries, 0);
        assert_int_equal(pci_msix_open(probed[0], 0, interrupted, NULL), BH_BAD_ARG);
    }
}

static void nonsense_ecam_falls_back_to_ports(void **state) {
    (void)state;
    struct fake_function f;
    make(&f, 200, 1, 0);
    pci_start(FAKE_ECAM, 5, 300);
    assert_int_equal(probes, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(everything_is_silenced_and_nothing_else_is_opened, setup),
        cmocka_unit_test_setup(functions_beyond_0_only_if_multi_function, setup),
        cmocka_unit_test_setup(dma_opens_the_bridges_above_and_only_those, setup),
        cmocka_unit_test_setup(bars_are_sized_and_nonsense_is_left_out, setup),
        cmocka_unit_test_setup(capability_rings_and_strays_end, setup),
        cmocka_unit_test_setup(msix_is_programmed, setup),
        cmocka_unit_test_setup(msix_tables_outside_their_bar_do_not_count, setup),
        cmocka_unit_test_setup(nonsense_ecam_falls_back_to_ports, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
