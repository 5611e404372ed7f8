/* fw_cfg, as firmware reads it and as a guest abuses it. */
#include "mgmt/vmm/bus.h"
#include "mgmt/vmm/fw_cfg.h"
#include "mgmt/vmm/ram.h"
#include "unit.h"

#define RAM_BYTES 0x30000u
#define HIGH_BASE 0x100000000ull
#define HIGH_BYTES 0x1000u
#define REQUEST 0x100u /* where a DMA request lies */
#define BUFFER 0x200u

enum { READ = 2, SKIP = 4, SELECT = 8, WRITE = 16 };

static uint8_t low[RAM_BYTES], high[HIGH_BYTES];

static int begin(void **state) {
    (void)state;
    memset(low, 0xaa, sizeof(low));
    memset(high, 0xaa, sizeof(high));
    ram_init((struct bh_guest_ram[]){{0, RAM_BYTES, (uint64_t)low},
                                     {HIGH_BASE, HIGH_BYTES, (uint64_t)high}},
             2);
    fw_cfg_init(3);
    return 0;
}

static void select_key(uint16_t key) {
    bus_port_write(FW_CFG_SELECTOR, 2, key);
}

static uint64_t read_number(unsigned bytes) {
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= bus_port_read(FW_CFG_DATA, 1) << 8 * i;
    return value;
}

static void ring(uint64_t at) {
    bus_port_write(FW_CFG_DMA, 4, __builtin_bswap32((uint32_t)(at >> 32)));
    bus_port_write(FW_CFG_DMA + 4, 4, __builtin_bswap32((uint32_t)at));
}

static void put_request(uint32_t control, uint32_t bytes, uint64_t address) {
    control = __builtin_bswap32(control);
    bytes = __builtin_bswap32(bytes);
    address = __builtin_bswap64(address);
    memcpy(low + REQUEST, &control, 4);
    memcpy(low + REQUEST + 4, &bytes, 4);
    memcpy(low + REQUEST + 8, &address, 8);
}

/* What the request's control says afterwards. */
static uint32_t request(uint32_t control, uint32_t bytes, uint64_t address) {
    uint32_t result;
    put_request(control, bytes, address);
    ring(REQUEST);
    memcpy(&result, low + REQUEST, 4);
    return __builtin_bswap32(result);
}

static void items(void **state) {
    (void)state;
    select_key(0);
    assert_int_equal(read_number(4), 0x554d4551); /* QEMU */
    assert_int_equal(read_number(4), 0);          /* and nothing more */
    select_key(1);
    assert_int_equal(read_number(4), 3);
    select_key(3);
    assert_int_equal(read_number(8), RAM_BYTES + HIGH_BYTES);
    select_key(5);
    assert_int_equal(read_number(2), 3);
    select_key(0x0f);
    assert_int_equal(read_number(2), 3);
    select_key(0x8000); /* ACPI tables, which there are not */
    assert_int_equal(read_number(8), 0);
    bus_port_write(FW_CFG_SELECTOR, 1, 0); /* not a selector's width */
    bus_port_write(FW_CFG_DATA, 1, 0x55);
    assert_int_equal(read_number(8), 0);
    assert_int_equal(bus_port_read(FW_CFG_DMA, 4), 0x554d4551);
    assert_int_equal(bus_port_read(FW_CFG_DMA + 4, 4), 0x47464320); /* CFG */
    assert_int_equal(bus_port_read(FW_CFG_DMA + 7, 4), 'G');
}

/* The memory map, found by its name, by DMA. */
static void file(void **state) {
    (void)state;
    struct {
        uint32_t files, bytes;
        uint16_t key, reserved;
        char name[56];
    } directory;
    struct __attribute__((packed)) {
        uint64_t base, bytes;
        uint32_t type;
    } map[2];
    assert_int_equal(request(0x19 << 16 | SELECT | READ, sizeof(directory), BUFFER), 0);
    memcpy(&directory, low + BUFFER, sizeof(directory));
    assert_int_equal(__builtin_bswap32(directory.files), 1);
    assert_string_equal(directory.name, "etc/e820");
    assert_int_equal(__builtin_bswap32(directory.bytes), sizeof(map));
    uint32_t key = __builtin_bswap16(directory.key);
    assert_int_equal(request(key << 16 | SELECT | READ, sizeof(map) + 10, HIGH_BASE), 0);
    memcpy(map, high, sizeof(map));
    assert_int_equal(map[0].base, 0);
    assert_int_equal(map[0].bytes, RAM_BYTES);
    assert_int_equal(map[0].type, 1);
    assert_int_equal(map[1].base, HIGH_BASE);
    assert_int_equal(map[1].bytes, HIGH_BYTES);
    assert_int_equal(high[sizeof(map) + 9], 0);
    assert_int_equal(high[sizeof(map) + 10], 0xaa);
    assert_int_equal(request(key << 16 | SELECT | SKIP, 20, 0), 0);
    assert_int_equal(read_number(8), HIGH_BASE);
    assert_int_equal(request(SKIP, 0xffffffff, 0), 0);
    assert_int_equal(read_number(1), 0);
}

/* The request lies outside of RAM, as a whole or at its end. */
static void requests_that_are_nowhere(void **state) {
    (void)state;
    static const uint64_t nowhere[] = {
        RAM_BYTES,  RAM_BYTES - 15, HIGH_BASE - 1, HIGH_BASE + HIGH_BYTES - 1,
        ~0ull - 15, ~0ull,          1ull << 63,    0xd0000000};
    uint8_t before[RAM_BYTES];
    memcpy(before, low, sizeof(low));
    for (unsigned i = 0; i < sizeof(nowhere) / sizeof(nowhere[0]); i++)
        ring(nowhere[i]);
    assert_memory_equal(low, before, sizeof(low));
    put_request(SELECT | READ, 4, BUFFER);
    bus_port_write(FW_CFG_DMA, 4, __builtin_bswap32(1));
    bus_port_write(FW_CFG_DMA + 4, 4, 0);                                /* at HIGH_BASE */
    bus_port_write(FW_CFG_DMA + 4, 2, __builtin_bswap32(REQUEST) >> 16); /* half of it */
    assert_int_equal(low[BUFFER], 0xaa);
    bus_port_write(FW_CFG_DMA + 4, 4, __builtin_bswap32(REQUEST)); /* the upper half is gone */
    assert_memory_equal(low + BUFFER, "QEMU", 4);
}

/* The request is there, and asks for what must not be. */
static void requests_that_are_refused(void **state) {
    (void)state;
    static const struct {
        uint32_t bytes;
        uint64_t address;
    } wrong[] = {{4, RAM_BYTES - 3},         {4, ~0ull - 1},
                 {1, HIGH_BASE - 1},         {0xffffffff, 0},
                 {RAM_BYTES + 1, 0},         {FW_CFG_DMA_BYTES_MAX + 1, 0},
                 {HIGH_BYTES, HIGH_BASE + 1}};
    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(request(SELECT | READ, wrong[i].bytes, wrong[i].address), 1);
        assert_int_equal(low[BUFFER], 0xaa);
        assert_int_equal(low[RAM_BYTES - 1], 0xaa);
        assert_int_equal(high[HIGH_BYTES - 1], 0xaa);
    }
    assert_int_equal(request(SELECT | WRITE, 4, BUFFER), 1);
    assert_int_equal(request(0, 4, BUFFER), 0); /* nothing is asked */
    assert_int_equal(low[BUFFER], 0xaa);
    select_key(0);
    assert_int_equal(request(READ, FW_CFG_DMA_BYTES_MAX, 0x10000), 0);
    assert_memory_equal(low + 0x10000, "QEMU\0\0", 6);
    assert_int_equal(low[0x10000 + FW_CFG_DMA_BYTES_MAX], 0xaa);
    assert_int_equal(request(SELECT | READ, 16, REQUEST), 0); /* over itself */
}

static void state_comes_back(void **state) {
    (void)state;
    uint8_t saved[64];
    select_key(0);
    read_number(1);
    struct state s = {.at = saved, .left = sizeof(saved)};
    fw_cfg_state(&s);
    size_t bytes = sizeof(saved) - s.left;
    select_key(1);
    s = (struct state){.at = saved, .left = bytes, .loading = true};
    fw_cfg_state(&s);
    assert_null(s.wrong);
    assert_int_equal(read_number(3), 0x554d45);
    saved[STATE_SECTION_BYTES + 4] = 5; /* of four bytes */
    s = (struct state){.at = saved, .left = bytes, .loading = true};
    fw_cfg_state(&s);
    assert_string_equal(s.wrong, "read beyond an item's end");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(items, begin),
        cmocka_unit_test_setup(file, begin),
        cmocka_unit_test_setup(requests_that_are_nowhere, begin),
        cmocka_unit_test_setup(requests_that_are_refused, begin),
        cmocka_unit_test_setup(state_comes_back, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
