/* The VMM's timers, clock and serial port, and the bus in front of them. */
#include <string.h>

#include "fake_loop.h"
#include "mgmt/vmm/bus.h"
#include "mgmt/vmm/pit.h"
#include "mgmt/vmm/power.h"
#include "mgmt/vmm/rtc.h"
#include "mgmt/vmm/uart.h"
#include "unit.h"
#include "vmm_registers.h"

/* --- PIT --- */

static unsigned pulses;

static void pulse(void) {
    pulses++;
}

static void periodic_interrupt(void **state) {
    (void)state;
    struct pit pit;
    pit_init(&pit, pulse);
    pulses = 0;
    write_register(pit_write, &pit, 3, 0x34); /* channel 0, both bytes, mode 2 */
    write_register(pit_write, &pit, 0, 11932 & 0xff);
    assert_int_equal(pulses, 0);
    write_register(pit_write, &pit, 0, 11932 >> 8); /* 100 Hz */
    fake_loop_advance(1000000000);
    assert_in_range(pulses, 99, 100);
    write_register(pit_write, &pit, 3, 0x30); /* one shot, and not started yet */
    pulses = 0;
    fake_loop_advance(1000000000);
    assert_int_equal(pulses, 0);
    write_register(pit_write, &pit, 0, 100);
    write_register(pit_write, &pit, 0, 0);
    fake_loop_advance(1000000000);
    assert_int_equal(pulses, 1);
}

/* The least count leaves time for the guest; and the rate stays for days. */
static void fast_and_long(void **state) {
    (void)state;
    struct pit pit;
    pit_init(&pit, pulse);
    write_register(pit_write, &pit, 3, 0x14); /* channel 0, low byte, mode 2 */
    write_register(pit_write, &pit, 0, 1);    /* 1.19 MHz */
    pulses = 0;
    fake_loop_advance(1000000000);
    assert_in_range(pulses, 1000, 5000);
    write_register(pit_write, &pit, 3, 0x34);
    write_register(pit_write, &pit, 0, 11932 & 0xff);
    write_register(pit_write, &pit, 0, 11932 >> 8);
    for (unsigned hour = 0; hour < 10; hour++) {
        pulses = 0;
        fake_loop_advance(3600ull * 1000000000);
        assert_in_range(pulses, 359900, 360100);
    }
    loop_timer_cancel(&pit.timer);
}

static void latched_count(void **state) {
    (void)state;
    struct pit pit;
    pit_init(&pit, pulse);
    write_register(pit_write, &pit, 3, 0x34);
    write_register(pit_write, &pit, 0, 0);
    write_register(pit_write, &pit, 0, 0); /* 65,536 */
    fake_loop_advance(1000000);            /* 1,193 ticks */
    write_register(pit_write, &pit, 3, 0x00);
    unsigned count = read_register(pit_read, &pit, 0);
    fake_loop_advance(1000000);
    count |= (unsigned)read_register(pit_read, &pit, 0) << 8;
    assert_int_equal(count, 65536 - 1193);
    write_register(pit_write, &pit, 3, 0xe2); /* status of channel 0 */
    assert_int_equal(read_register(pit_read, &pit, 0) & 0x3f, 0x34);
    loop_timer_cancel(&pit.timer);
}

/* As Linux calibrates its TSC. */
static void gated_channel(void **state) {
    (void)state;
    struct pit pit;
    pit_init(&pit, pulse);
    write_register(pit_write, &pit, PIT_CONTROL, 1);
    write_register(pit_write, &pit, 3, 0xb0);
    write_register(pit_write, &pit, 2, 0xff);
    write_register(pit_write, &pit, 2, 0x2e); /* 12,031 ticks: 10.08 ms */
    fake_loop_advance(10000000);
    assert_int_equal(read_register(pit_read, &pit, PIT_CONTROL) & 0x21, 0x01);
    fake_loop_advance(100000);
    assert_int_equal(read_register(pit_read, &pit, PIT_CONTROL) & 0x21, 0x21);
}

/* --- RTC --- */

static uint64_t leap_day(void) {
    return 1709210096ull * 1000000000; /* 2024-02-29 12:34:56 UTC, a Thursday */
}

static unsigned rtc_at(struct rtc *rtc, uint8_t index) {
    write_register(rtc_write, rtc, 0, index);
    return read_register(rtc_read, rtc, 1);
}

static void date(void **state) {
    (void)state;
    struct rtc rtc;
    rtc_init(&rtc, leap_day);
    static const uint8_t expected[][2] = {{0, 0x56}, {2, 0x34}, {4, 0x12},    {6, 5},     {7, 0x29},
                                          {8, 2},    {9, 0x24}, {0x32, 0x20}, {0xd, 0x80}};
    for (unsigned i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
        assert_int_equal(rtc_at(&rtc, expected[i][0]), expected[i][1]);
    write_register(rtc_write, &rtc, 0, 0xb);
    write_register(rtc_write, &rtc, 1, 0x04); /* binary, 12 hours */
    assert_int_equal(rtc_at(&rtc, 7), 29);
    assert_int_equal(rtc_at(&rtc, 4), 12 | 0x80);
    write_register(rtc_write, &rtc, 0, 0xff); /* beyond CMOS: wraps */
    write_register(rtc_write, &rtc, 1, 0x5a);
    assert_int_equal(rtc_at(&rtc, 0x7f), 0x5a);
}

/* --- UART --- */

static bool irq;
static char shown[600];
static size_t shown_bytes;

static void set_irq(bool level) {
    irq = level;
}

static void show(const char *text, size_t bytes) {
    memcpy(shown + shown_bytes, text, bytes);
    shown_bytes += bytes;
}

static struct uart uart;
static char typed[10000]; /* the other end of the line */
static size_t typed_bytes, typed_taken;

static void type_on(void) {
    typed_taken += uart_receive(&uart, typed + typed_taken, typed_bytes - typed_taken);
}

static void serial_output(void **state) {
    (void)state;
    uart_init(&uart, set_irq, show, type_on);
    shown_bytes = 0;
    write_register(uart_write, &uart, 3, 0x80); /* the divisor is not output */
    write_register(uart_write, &uart, 0, 1);
    write_register(uart_write, &uart, 3, 0x03);
    write_register(uart_write, &uart, 4, 0x08);
    write_register(uart_write, &uart, 1, 0x02);
    assert_true(irq); /* the transmitter is empty */
    assert_int_equal(read_register(uart_read, &uart, 2), 0x02);
    assert_false(irq); /* told */
    for (unsigned i = 0; i < 300; i++)
        write_register(uart_write, &uart, 0, 'x');
    assert_true(irq);
    assert_int_equal(shown_bytes, 256);
    fake_loop_work();
    assert_int_equal(shown_bytes, 300);
    assert_int_equal(read_register(uart_read, &uart, 5), 0x60);
}

static void serial_input(void **state) {
    (void)state;
    typed_bytes = typed_taken = 0;
    uart_init(&uart, set_irq, show, type_on);
    write_register(uart_write, &uart, 4, 0x08);
    assert_int_equal(uart_receive(&uart, "ab", 2), 1); /* without FIFO */
    assert_false(irq);                                 /* not enabled */
    write_register(uart_write, &uart, 1, 0x01);
    assert_true(irq);
    assert_int_equal(read_register(uart_read, &uart, 2), 0x04);
    assert_int_equal(read_register(uart_read, &uart, 0), 'a');
    assert_false(irq);
    write_register(uart_write, &uart, 2, 0x01);
    assert_int_equal(uart_receive(&uart, "0123456789012345678", 19), UART_FIFO_BYTES);
    write_register(uart_write, &uart, 2, 0x00); /* switching cleans it */
    assert_int_equal(read_register(uart_read, &uart, 5) & 1, 0);
    write_register(uart_write, &uart, 4, 0x0a);
    write_register(uart_write, &uart, 4, 0x08); /* RTS dropped */
    assert_int_equal(uart_receive(&uart, "a", 1), 0);
    write_register(uart_write, &uart, 4, 0x0a);
    assert_int_equal(uart_receive(&uart, "a", 1), 1);
}

/* A guest that reads a little now and then, looks for its port's loop mode, is not ready for a
 * while: it gets all. */
static void serial_burst(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(typed); i++)
        typed[i] = (char)(i * 7 + i / 251);
    typed_bytes = sizeof(typed);
    typed_taken = 0;
    uart_init(&uart, set_irq, show, type_on);
    write_register(uart_write, &uart, 2, 0x01);
    write_register(uart_write, &uart, 1, 0x01);
    write_register(uart_write, &uart, 4, 0x0a);
    for (size_t got = 0; got < sizeof(typed); got++) {
        assert_true(irq);
        assert_int_equal(read_register(uart_read, &uart, 5) & 1, 1);
        assert_int_equal((char)read_register(uart_read, &uart, 0), typed[got]);
        if (got % 100 == 0)
            write_register(uart_write, &uart, 4, got % 200 ? 0x1a : 0x08);
        if (got % 100 == 50)
            assert_true(typed_taken <= got + 1 + UART_FIFO_BYTES);
        if (got % 100 < UART_FIFO_BYTES && !irq)
            write_register(uart_write, &uart, 4, 0x0a); /* what had come is read: on again */
    }
    assert_false(irq);
}

static void serial_loop(void **state) {
    (void)state;
    uart_init(&uart, set_irq, show, type_on);
    shown_bytes = 0;
    write_register(uart_write, &uart, 4, 0x1a); /* as Linux looks for it */
    assert_int_equal(read_register(uart_read, &uart, 6) & 0xf0, 0x90);
    write_register(uart_write, &uart, 0, 'z');
    assert_int_equal(read_register(uart_read, &uart, 0), 'z');
    fake_loop_work();
    assert_int_equal(shown_bytes, 0);
}

/* --- Bus --- */

static uint64_t give(const struct bus_access *access) {
    return *(uint64_t *)access->device + access->offset;
}

static void ranges(void **state) {
    (void)state;
    static uint64_t low = 0x1100, high = 0x2200;
    static struct bus_range a = {.base = 0x100, .length = 8, .read = give, .device = &low};
    static struct bus_range b = {
        .base = 0x104, .length = 1, .first = 0x40, .read = give, .device = &high};
    bus_add_ports(&a);
    bus_add_ports(&b);
    assert_int_equal(bus_port_read(0x103, 2), 0x1103);
    assert_int_equal(bus_port_read(0x104, 2), 0x2240); /* the later one */
    assert_int_equal(bus_port_read(0x105, 1), 0x05);   /* cut to its width */
    assert_int_equal(bus_port_read(0x108, 1), 0xff);
    assert_int_equal(bus_port_read(0xff, 4), 0xffffffff);
    a.length = 0;
    assert_int_equal(bus_port_read(0x103, 2), 0xffff);
    bus_port_write(0x104, 4, 1); /* nobody takes it */
    assert_true(bus_memory_read(~0ull, 8) == ~0ull);
}

/* --- pvpanic --- */

static unsigned panics;

static void set_sci(bool level) {
    (void)level;
}

static void ends(enum power_end how) {
    assert_int_equal(how, POWER_PANIC);
    panics++;
}

static void panic(void **state) {
    (void)state;
    power_init(set_sci, ends);
    assert_int_equal(bus_port_read(POWER_PVPANIC, 1), PVPANIC_PANICKED | PVPANIC_CRASH_LOADED);
    bus_port_write(POWER_PVPANIC, 1, PVPANIC_CRASH_LOADED);
    bus_port_write(POWER_PVPANIC, 1, 0xfc);
    assert_int_equal(panics, 0);
    bus_port_write(POWER_PVPANIC, 1, PVPANIC_PANICKED);
    assert_int_equal(panics, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(periodic_interrupt),
        cmocka_unit_test(latched_count),
        cmocka_unit_test(fast_and_long),
        cmocka_unit_test(gated_channel),
        cmocka_unit_test(date),
        cmocka_unit_test(serial_output),
        cmocka_unit_test(serial_input),
        cmocka_unit_test(serial_burst),
        cmocka_unit_test(serial_loop),
        cmocka_unit_test(ranges),
        cmocka_unit_test(panic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
