/* What the VMM saves of a machine, and loads into a fresh one: the same bytes come out again, and
 * the machine behaves as the first one would have. What is no state is refused. */
#include "fake_loop.h"
#include "mgmt/vmm/apic.h"
#include "mgmt/vmm/bus.h"
#include "mgmt/vmm/ioapic.h"
#include "mgmt/vmm/lapic.h"
#include "mgmt/vmm/msr.h"
#include "mgmt/vmm/pci.h"
#include "mgmt/vmm/pic.h"
#include "mgmt/vmm/pit.h"
#include "mgmt/vmm/power.h"
#include "mgmt/vmm/rtc.h"
#include "mgmt/vmm/uart.h"
#include "mgmt/vmm/watchdog.h"
#include "unit.h"
#include "vmm_registers.h"

#define SLOT 30u
#define CONFIG(offset) (PCI_ECAM_BASE | SLOT << 15 | (offset))
#define BYTES_MAX 8192u
#define TICK_NS 992969ull /* of the watchdog */

static struct {
    struct lapic lapic;
    struct pic pic;
    struct ioapic ioapic;
    struct pit pit;
    struct rtc rtc;
    struct uart uart;
    struct watchdog watchdog;
    unsigned pulses, expirations, messages;
    bool pci_line, sci, uart_line;
} pc;
static uint64_t now_tsc = 1000000;

static void send(struct lapic *from, uint32_t destination, uint32_t command) {
    (void)from, (void)destination, (void)command;
}

static void end_of_interrupt(uint8_t vector) {
    (void)vector;
}

static uint64_t tsc(void) {
    return now_tsc;
}

static void message(uint64_t entry) {
    (void)entry;
    pc.messages++;
}

static void pulse(void) {
    pc.pulses++;
}

static void expired(void) {
    pc.expirations++;
}

static void set_pci(bool level) {
    pc.pci_line = level;
}

static void set_sci(bool level) {
    pc.sci = level;
}

static void set_uart(bool level) {
    pc.uart_line = level;
}

static void show(const char *text, size_t bytes) {
    (void)text, (void)bytes;
}

static void nothing(void) {
}

static void power_ends(enum power_end how) {
    (void)how;
    pc.expirations++;
}

static uint64_t wall(void) {
    return 1000000000;
}

static void make_fresh(void) {
    static const struct lapic_host host = {send, end_of_interrupt, tsc, 1000000000};
    loop_timer_cancel(&pc.pit.timer);
    loop_timer_cancel(&pc.watchdog.timer);
    fake_loop_work();
    memset(&pc, 0, sizeof(pc));
    lapic_reset(&pc.lapic, &host, 0);
    pic_reset(&pc.pic, nothing);
    ioapic_reset(&pc.ioapic, message);
    pit_init(&pc.pit, pulse);
    rtc_init(&pc.rtc, wall);
    uart_init(&pc.uart, set_uart, show, nothing);
    pci_init(set_pci, NULL);
    watchdog_init(&pc.watchdog, expired);
    pci_add(&pc.watchdog.function, SLOT);
    power_init(set_sci, power_ends);
}

static void transfer(struct state *s) {
    lapic_state(s, &pc.lapic);
    pic_state(s, &pc.pic);
    ioapic_state(s, &pc.ioapic);
    pit_state(s, &pc.pit);
    rtc_state(s, &pc.rtc);
    uart_state(s, &pc.uart);
    power_state(s);
    pci_state(s);
    watchdog_state(s, &pc.watchdog);
}

static size_t save(uint8_t *to) {
    struct state s = {.at = to, .left = BYTES_MAX};
    transfer(&s);
    assert_null(s.wrong);
    return BYTES_MAX - s.left;
}

/* Into a fresh machine. NULL: taken. */
static const char *load(uint8_t *from, size_t bytes) {
    make_fresh();
    struct state s = {.at = from, .left = bytes, .loading = true};
    transfer(&s);
    return s.wrong;
}

static uint8_t saved[BYTES_MAX], again[BYTES_MAX];

static int fresh(void **state) {
    (void)state;
    memset(saved, 0, sizeof(saved));
    memset(again, 0, sizeof(again));
    make_fresh();
    return 0;
}

static uint64_t watchdog_base(void) {
    return bus_memory_read(CONFIG(PCI_BAR0), 4);
}

static void set_stage(unsigned stage, uint32_t ticks) {
    bus_memory_write(watchdog_base() + 0xc, 2, 0x80);
    bus_memory_write(watchdog_base() + 0xc, 2, 0x86);
    bus_memory_write(watchdog_base() + 4 * stage, 4, ticks);
}

/* Every model in the midst of something. */
static void make_busy(void) {
    lapic_write(&pc.lapic, 0xf0, 0x1ff);
    lapic_write(&pc.lapic, 0x3e0, 0xb);
    lapic_write(&pc.lapic, 0x320, 0x20050); /* periodic */
    lapic_write(&pc.lapic, 0x380, 1000000);
    lapic_accept(&pc.lapic, 0x61, true);
    pc.lapic.startup = true;
    write_register(pic_write, &pc.pic, PIC_MASTER, 0x11);
    write_register(pic_write, &pc.pic, PIC_MASTER + 1, 0x20); /* two of four words */
    write_register(ioapic_write, &pc.ioapic, 0, 0x10 + 2 * PCI_IRQ);
    write_register(ioapic_write, &pc.ioapic, 0x10, 0x8041); /* level */
    write_register(pit_write, &pc.pit, 3, 0x34);
    write_register(pit_write, &pc.pit, 0, 0xa9);
    write_register(pit_write, &pc.pit, 0, 0x04); /* 1,193 ticks: a millisecond */
    write_register(pit_write, &pc.pit, 3, 0x00); /* latched, and half read */
    read_register(pit_read, &pc.pit, 0);
    write_register(rtc_write, &pc.rtc, 0, 0x40);
    write_register(rtc_write, &pc.rtc, 1, 0x5a);
    write_register(uart_write, &pc.uart, 1, 1);
    write_register(uart_write, &pc.uart, 2, 1);
    write_register(uart_write, &pc.uart, 4, 0xa);
    assert_int_equal(uart_receive(&pc.uart, "typed", 5), 5);
    bus_port_write(POWER_PM1_EVENT + 2, 2, 0x100);
    assert_true(power_button());
    bus_port_write(0xcf8, 4, 0x80000000 | SLOT << 11);
    bus_memory_write(CONFIG(PCI_BAR0), 4, 0xd0000000); /* moved */
    set_stage(0, 10);
    set_stage(1, 20);
    bus_memory_write(CONFIG(0x68), 1, 3); /* on, for good */
    fake_loop_advance(11 * TICK_NS);      /* in its second stage, interrupting */
    assert_true(pc.pci_line);
}

static void comes_back(void **state) {
    (void)state;
    make_busy();
    size_t bytes = save(saved);
    fake_loop_advance(1000 * TICK_NS);
    assert_null(load(saved, bytes));
    assert_int_equal(save(again), bytes);
    assert_memory_equal(again, saved, bytes);
    for (size_t i = 0; i < bytes; i++) /* and all of it is needed */
        assert_non_null(load(saved, i));
}

static void goes_on(void **state) {
    (void)state;
    make_busy();
    uint64_t timer = bus_port_read(POWER_TIMER, 4);
    size_t bytes = save(saved);
    fake_loop_advance(1000 * TICK_NS);
    assert_null(load(saved, bytes));
    assert_int_equal(bus_port_read(POWER_TIMER, 4), timer);
    assert_true(pc.sci && pc.pci_line && pc.uart_line);
    assert_int_equal(read_register(uart_read, &pc.uart, 0), 't');
    assert_int_equal(read_register(rtc_read, &pc.rtc, 1), 0x5a);
    assert_int_equal(read_register(pit_read, &pc.pit, 0), 0x04); /* the latch's upper half */
    assert_int_equal(lapic_pending(&pc.lapic), 0x61);
    assert_true(pc.lapic.startup);
    now_tsc += 1000000;
    lapic_timer_run(&pc.lapic);
    assert_int_equal(pc.lapic.request[2] >> (0x50 - 64) & 1, 1);
    write_register(pic_write, &pc.pic, PIC_MASTER + 1, 4); /* the third word, and the fourth */
    write_register(pic_write, &pc.pic, PIC_MASTER + 1, 1);
    write_register(pic_write, &pc.pic, PIC_MASTER + 1, 0);
    pic_set(&pc.pic, 3, true);
    assert_int_equal(pic_acknowledge(&pc.pic), 0x23);
    ioapic_set(&pc.ioapic, PCI_IRQ, true);
    assert_int_equal(pc.messages, 1);
    assert_int_equal(watchdog_base(), 0xd0000000);
    bus_memory_write(CONFIG(0x68), 1, 0);
    assert_int_equal(bus_memory_read(CONFIG(0x68), 1), 3);
    fake_loop_advance(18 * TICK_NS);
    assert_in_range(pc.pulses, 16, 19);
    assert_int_equal(pc.expirations, 0);
    fake_loop_advance(2 * TICK_NS);
    assert_int_equal(pc.expirations, 1);
}

/* Whoever made it: it is refused, or it is a state that the guest could have made. */
static void random_bytes(void **state) {
    (void)state;
    uint32_t seed = 1, refused = 0;
    make_busy();
    size_t bytes = save(saved);
    for (unsigned round = 0; round < 20000; round++) {
        uint8_t wrong[BYTES_MAX];
        memcpy(wrong, saved, bytes);
        for (unsigned i = 0; i < 1 + round % 4; i++) {
            seed = seed * 1664525 + 1013904223;
            wrong[(seed >> 8) % bytes] = (uint8_t)(seed >> 24);
        }
        if (load(wrong, bytes)) {
            refused++;
            continue;
        }
        now_tsc += 1000000;
        lapic_timer_run(&pc.lapic);
        lapic_pending(&pc.lapic);
        lapic_read(&pc.lapic, 0x390);
        if (pic_pending(&pc.pic))
            pic_acknowledge(&pc.pic);
        ioapic_end_of_interrupt(&pc.ioapic, 0x41);
        read_register(ioapic_read, &pc.ioapic, 0x10);
        read_register(pit_read, &pc.pit, PIT_CONTROL);
        read_register(pit_read, &pc.pit, 0);
        read_register(rtc_read, &pc.rtc, 1);
        uart_receive(&pc.uart, "x", 1);
        read_register(uart_read, &pc.uart, 0);
        read_register(pc.watchdog.function.bar[0].range.read, &pc.watchdog,
                      8); /* wherever it is now */
        fake_loop_advance(1000000);
    }
    assert_in_range(refused, 1000, 19000);
}

static void refusals(void **state) {
    (void)state;
    size_t bytes = save(saved);
    struct state s = {.at = saved, .left = bytes, .loading = true};
    saved[0] = STATE_VERSION + 1;
    transfer(&s);
    assert_string_equal(s.section, "lapic");
    assert_string_equal(s.wrong, "another model, or another version, begins here");
    make_fresh();
    save(saved);
    pci_set16(&pc.watchdog.function, PCI_VENDOR, 0x1234); /* the machine has another device there */
    s = (struct state){.at = saved, .left = bytes, .loading = true};
    transfer(&s);
    assert_string_equal(s.section, "pci");
    assert_string_equal(s.wrong, "not the same PCI device");
}

static int end(void **state) {
    (void)state;
    make_fresh();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(comes_back, fresh, end),
        cmocka_unit_test_setup_teardown(goes_on, fresh, end),
        cmocka_unit_test_setup_teardown(random_bytes, fresh, end),
        cmocka_unit_test_setup_teardown(refusals, fresh, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
