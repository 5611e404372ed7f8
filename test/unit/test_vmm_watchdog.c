/* The VMM's watchdog, as a driver for Intel's 6300ESB sees it. */
#include "fake_loop.h"
#include "mgmt/vmm/bus.h"
#include "mgmt/vmm/watchdog.h"
#include "unit.h"

#define SLOT 30u
#define TICK_NS 992969ull /* 2^15 cycles of 33 MHz */
#define CONFIG 0x60u
#define LOCK 0x68u

static struct watchdog watchdog;
static unsigned resets;
static bool line; /* PCI_IRQ */
static uint64_t base;

static void reset(void) {
    resets++;
}

static void set_line(bool level) {
    line = level;
}

static uint64_t config_at(unsigned offset) {
    return PCI_ECAM_BASE | SLOT << 15 | offset;
}

static int begin(void **state) {
    (void)state;
    resets = 0;
    line = false;
    pci_init(set_line, NULL); /* it sends no messages */
    watchdog_init(&watchdog, reset);
    pci_add(&watchdog.function, SLOT);
    base = bus_memory_read(config_at(PCI_BAR0), 4);
    return 0;
}

static int end(void **state) {
    (void)state;
    loop_timer_cancel(&watchdog.timer);
    return 0;
}

static void unlock(void) {
    bus_memory_write(base + 0xc, 2, 0x80);
    bus_memory_write(base + 0xc, 2, 0x86);
}

static void set_stage(unsigned stage, uint32_t ticks) {
    unlock();
    bus_memory_write(base + 4 * stage, 4, ticks);
}

static void serve(void) {
    unlock();
    bus_memory_write(base + 0xc, 2, 0x100);
}

static void enable(bool on) {
    bus_memory_write(config_at(LOCK), 1, on ? 2 : 0);
}

static bool timed_out(void) {
    return bus_memory_read(base + 0xc, 2) & 0x200;
}

static void identity(void **state) {
    (void)state;
    assert_int_equal(bus_memory_read(config_at(0), 4), 0x25ab8086);
    assert_int_equal(bus_memory_read(config_at(8), 4) >> 8, 0x088000);
    assert_int_equal(base & 0xfff, 0);
    assert_int_equal(bus_memory_read(base, 4), 0xfffff);
}

static void two_stages(void **state) {
    (void)state;
    set_stage(0, 10);
    set_stage(1, 20);
    fake_loop_advance(100 * TICK_NS);
    assert_int_equal(resets, 0); /* it is off */
    enable(true);
    fake_loop_advance(9 * TICK_NS);
    assert_int_equal(bus_memory_read(base + 8, 4), 0);
    fake_loop_advance(2 * TICK_NS);
    assert_int_equal(bus_memory_read(base + 8, 4), 1); /* the first stage has ended */
    bus_memory_write(base + 8, 4, 1);
    assert_int_equal(bus_memory_read(base + 8, 4), 0);
    fake_loop_advance(18 * TICK_NS);
    assert_int_equal(resets, 0);
    assert_false(timed_out());
    fake_loop_advance(2 * TICK_NS);
    assert_int_equal(resets, 1);
    assert_true(timed_out());
    unlock();
    bus_memory_write(base + 0xc, 2, 0x200);
    assert_false(timed_out());
    fake_loop_advance(1000 * TICK_NS);
    assert_int_equal(resets, 1);
}

static void served_in_time(void **state) {
    (void)state;
    set_stage(0, 10);
    set_stage(1, 10);
    enable(true);
    for (unsigned i = 0; i < 20; i++) {
        fake_loop_advance(15 * TICK_NS); /* in the second stage */
        serve();
    }
    assert_int_equal(resets, 0);
    fake_loop_advance(15 * TICK_NS);
    enable(false);
    fake_loop_advance(100 * TICK_NS);
    assert_int_equal(resets, 0);
}

/* Each write wants the key anew; half a key, or one in the wrong order, is none. */
static void key(void **state) {
    (void)state;
    bus_memory_write(base, 4, 1);
    bus_memory_write(base + 0xc, 2, 0x86);
    bus_memory_write(base, 4, 2);
    bus_memory_write(base + 0xc, 2, 0x80);
    bus_memory_write(base, 4, 3);
    bus_memory_write(base + 0xc, 2, 0x86);
    bus_memory_write(base, 4, 4);
    assert_int_equal(bus_memory_read(base, 4), 0xfffff);
    unlock();
    bus_memory_write(base, 4, 0xfff00005);
    bus_memory_write(base + 4, 4, 6);
    assert_int_equal(bus_memory_read(base, 4), 5);
    assert_int_equal(bus_memory_read(base + 4, 4), 0xfffff);
    set_stage(0, 10);
    set_stage(1, 10);
    enable(true);
    fake_loop_advance(15 * TICK_NS);
    bus_memory_write(base + 0xc, 2, 0x100); /* not unlocked: not served */
    fake_loop_advance(6 * TICK_NS);
    assert_int_equal(resets, 1);
}

static void locked_and_fast(void **state) {
    (void)state;
    bus_memory_write(config_at(CONFIG), 2, 0x7); /* fast ticks, no interrupt */
    set_stage(0, 1024);
    set_stage(1, 1024);
    bus_memory_write(config_at(LOCK), 1, 3); /* on, for good */
    enable(false);
    assert_int_equal(bus_memory_read(config_at(LOCK), 1), 3);
    fake_loop_advance(3 * TICK_NS);
    assert_int_equal(resets, 1);
}

/* The guest may forbid the reset; shortest stages do not hang the VMM. */
static void no_reset(void **state) {
    (void)state;
    bus_memory_write(config_at(CONFIG), 4, 0x27);
    set_stage(0, 0);
    set_stage(1, 0);
    bus_memory_write(config_at(LOCK - 2), 4, 2u << 16); /* a wider write */
    fake_loop_advance(TICK_NS);
    assert_int_equal(resets, 0);
    assert_true(timed_out());
}

/* The first stage's end interrupts until the driver clears it, if that is what CONFIG says. */
static void interrupts(void **state) {
    (void)state;
    assert_int_equal(bus_memory_read(config_at(PCI_INTERRUPT_PIN), 1), 1);
    set_stage(0, 10);
    set_stage(1, 1000);
    enable(true);
    fake_loop_advance(9 * TICK_NS);
    assert_false(line);
    fake_loop_advance(2 * TICK_NS);
    assert_true(line);
    bus_memory_write(config_at(PCI_COMMAND), 2, PCI_COMMAND_MEMORY | PCI_COMMAND_NO_INTX);
    assert_false(line);
    bus_memory_write(config_at(PCI_COMMAND), 2, PCI_COMMAND_MEMORY);
    assert_true(line);
    bus_memory_write(config_at(CONFIG), 2, 3); /* none */
    assert_false(line);
    assert_int_equal(bus_memory_read(base + 8, 4),
                     1);                       /* the status is there whatever it leads to */
    bus_memory_write(config_at(CONFIG), 2, 2); /* an SMI */
    assert_false(line);
    bus_memory_write(config_at(CONFIG), 2, 0);
    assert_true(line);
    bus_memory_write(base + 8, 4, 0);
    assert_true(line);
    bus_memory_write(base + 8, 4, 1);
    assert_false(line);
    serve();
    fake_loop_advance(11 * TICK_NS);
    assert_true(line); /* and again */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(identity, begin, end),
        cmocka_unit_test_setup_teardown(two_stages, begin, end),
        cmocka_unit_test_setup_teardown(served_in_time, begin, end),
        cmocka_unit_test_setup_teardown(key, begin, end),
        cmocka_unit_test_setup_teardown(locked_and_fast, begin, end),
        cmocka_unit_test_setup_teardown(no_reset, begin, end),
        cmocka_unit_test_setup_teardown(interrupts, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
