/* The VMM's interrupt controllers: local APIC, I/O APIC, the pair of 8259As. */
#include <string.h>

#include "mgmt/vmm/apic.h"
#include "mgmt/vmm/ioapic.h"
#include "mgmt/vmm/lapic.h"
#include "mgmt/vmm/msr.h"
#include "mgmt/vmm/pic.h"
#include "unit.h"
#include "vmm_registers.h"

/* --- Local APIC --- */

static struct {
    unsigned sent;
    uint32_t destination, command;
    unsigned ended;
    uint8_t ended_vector;
} seen;

static void on_send(struct lapic *from, uint32_t destination, uint32_t command) {
    (void)from;
    seen.sent++;
    seen.destination = destination;
    seen.command = command;
}

static void on_end(uint8_t vector) {
    seen.ended++;
    seen.ended_vector = vector;
}

static uint64_t now_tsc = 1000000;

static uint64_t tsc(void) {
    return now_tsc;
}

static const struct lapic_host host = {on_send, on_end, tsc, 2000000000};
static struct lapic lapic;

/* Time passes for whoever runs the vCPU. */
static void pass(uint64_t ns) {
    now_tsc += ns * 2;
    lapic_timer_run(&lapic);
}

enum {
    TPR = 0x80,
    EOI = 0xb0,
    LDR = 0xd0,
    DFR = 0xe0,
    SVR = 0xf0,
    ICR = 0x300,
    ICR_HIGH = 0x310,
    TIMER = 0x320,
    INITIAL = 0x380,
    CURRENT = 0x390,
    DIVIDE = 0x3e0,
    ISR0 = 0x100
};

static int fresh(void **state) {
    (void)state;
    memset(&seen, 0, sizeof(seen));
    lapic_reset(&lapic, &host, 0);
    lapic_write(&lapic, SVR, 0x1ff);
    return 0;
}

static void priorities(void **state) {
    (void)state;
    lapic_accept(&lapic, 0x31, false);
    lapic_accept(&lapic, 0x62, false);
    assert_int_equal(lapic_pending(&lapic), 0x62);
    lapic_acknowledge(&lapic, 0x62);
    assert_int_equal(lapic_pending(&lapic), -1); /* 0x31 is below what is in service */
    lapic_accept(&lapic, 0x6f, false);
    assert_int_equal(lapic_pending(&lapic), -1); /* the same class */
    lapic_write(&lapic, EOI, 0);
    assert_int_equal(lapic_pending(&lapic), 0x6f);
    lapic_write(&lapic, TPR, 0x70);
    assert_int_equal(lapic_pending(&lapic), -1);
    assert_int_equal(lapic_waiting(&lapic), 0x6f);
    assert_int_equal(lapic_task_priority(&lapic), 7);
    lapic_set_task_priority(&lapic, 6); /* class 6 is not above 6 */
    assert_int_equal(lapic_pending(&lapic), -1);
    lapic_set_task_priority(&lapic, 5);
    assert_int_equal(lapic_pending(&lapic), 0x6f);
    assert_int_equal(seen.ended, 0); /* none was level-triggered */
}

/* An exit kept 0x31 from being delivered; 0x62 has come since, and goes first. */
static void takes_back(void **state) {
    (void)state;
    lapic_accept(&lapic, 0x31, false);
    lapic_acknowledge(&lapic, 0x31);
    lapic_accept(&lapic, 0x62, false);
    assert_false(lapic_take_back(&lapic, 0x32));
    assert_true(lapic_take_back(&lapic, 0x31));
    assert_false(lapic_take_back(&lapic, 0x31));
    assert_int_equal(lapic_pending(&lapic), 0x62);
    lapic_acknowledge(&lapic, 0x62);
    assert_int_equal(lapic_waiting(&lapic), -1); /* no window to ask for */
    lapic_write(&lapic, EOI, 0);
    assert_int_equal(lapic_pending(&lapic), 0x31);
}

static void level_ends(void **state) {
    (void)state;
    lapic_accept(&lapic, 0x41, true);
    lapic_acknowledge(&lapic, 0x41);
    lapic_write(&lapic, EOI, 0);
    assert_int_equal(seen.ended, 1);
    assert_int_equal(seen.ended_vector, 0x41);
    lapic_write(&lapic, EOI, 0); /* nothing in service */
    assert_int_equal(seen.ended, 1);
}

static void disabled(void **state) {
    (void)state;
    lapic_write(&lapic, SVR, 0xff);
    lapic_accept(&lapic, 0x41, false);
    assert_int_equal(lapic_pending(&lapic), -1);
    lapic_write(&lapic, TIMER, 0x40); /* masked while disabled */
    assert_int_equal(lapic_read(&lapic, TIMER), 0x10040);
}

static void bad_vectors(void **state) {
    (void)state;
    lapic_accept(&lapic, 15, false);
    assert_int_equal(lapic_pending(&lapic), -1);
    lapic_write(&lapic, ICR, 3);
    assert_int_equal(seen.sent, 0);
    lapic_write(&lapic, 0x280, 0);
    assert_int_equal(lapic_read(&lapic, 0x280), 0x60); /* received, sent: illegal vector */
}

static void one_shot_and_periodic(void **state) {
    (void)state;
    lapic_write(&lapic, DIVIDE, 0xb); /* by 1 */
    lapic_write(&lapic, TIMER, 0x50);
    lapic_write(&lapic, INITIAL, 100000);
    pass(40000);
    assert_int_equal(lapic_read(&lapic, CURRENT), 60000);
    assert_int_equal(lapic_pending(&lapic), -1);
    assert_int_equal(lapic.due_tsc - now_tsc, 120000);
    pass(60000);
    assert_int_equal(lapic_pending(&lapic), 0x50);
    assert_int_equal(lapic_read(&lapic, CURRENT), 0);
    assert_int_equal(lapic.due_tsc, LAPIC_TIMER_OFF);
    lapic_acknowledge(&lapic, 0x50);
    lapic_write(&lapic, EOI, 0);
    pass(1000000);
    assert_int_equal(lapic_pending(&lapic), -1); /* once */
    lapic_write(&lapic, TIMER, 0x20050);
    lapic_write(&lapic, INITIAL, 1000000);
    for (unsigned i = 0; i < 5; i++) {
        pass(1000000);
        assert_int_equal(lapic_pending(&lapic), 0x50);
        lapic_acknowledge(&lapic, 0x50);
        lapic_write(&lapic, EOI, 0);
    }
    lapic_write(&lapic, INITIAL, 0);
    pass(1000000);
    assert_int_equal(lapic_pending(&lapic), -1);
}

/* A period of a nanosecond is no way to keep the VMM from doing anything else. */
static void fast_period(void **state) {
    (void)state;
    lapic_write(&lapic, DIVIDE, 0xb);
    lapic_write(&lapic, TIMER, 0x20050);
    lapic_write(&lapic, INITIAL, 1);
    pass(10000000);
    assert_int_equal(lapic_pending(&lapic), 0x50);
}

static void deadline(void **state) {
    (void)state;
    uint64_t value;
    assert_true(lapic_write_msr(&lapic, MSR_TSC_DEADLINE, 1)); /* not in that mode: lost */
    lapic_write(&lapic, TIMER, 0x40051);
    assert_true(lapic_write_msr(&lapic, MSR_TSC_DEADLINE, tsc() + 2000));
    assert_true(lapic_read_msr(&lapic, MSR_TSC_DEADLINE, &value));
    assert_int_equal(value, tsc() + 2000);
    pass(999);
    assert_int_equal(lapic_pending(&lapic), -1);
    pass(1);
    assert_int_equal(lapic_pending(&lapic), 0x51);
    assert_true(lapic_read_msr(&lapic, MSR_TSC_DEADLINE, &value));
    assert_int_equal(value, 0);
    assert_true(lapic_write_msr(&lapic, MSR_TSC_DEADLINE, 1)); /* passed long ago: at once */
    lapic_acknowledge(&lapic, 0x51);
    lapic_write(&lapic, EOI, 0);
    pass(0);
    assert_int_equal(lapic_pending(&lapic), 0x51);
}

static void x2apic(void **state) {
    (void)state;
    uint64_t value;
    uint64_t on = LAPIC_BASE | APIC_BASE_BOOT | APIC_BASE_ENABLED;
    assert_false(lapic_read_msr(&lapic, 0x802, &value));               /* not in x2APIC mode */
    assert_false(lapic_write_msr(&lapic, MSR_APIC_BASE, on + 0x1000)); /* it cannot move */
    assert_true(lapic_write_msr(&lapic, MSR_APIC_BASE, on | APIC_BASE_X2APIC));
    assert_false(lapic_in_memory(&lapic));
    assert_false(lapic_write_msr(&lapic, MSR_APIC_BASE, on)); /* there is no way straight back */
    assert_true(lapic_read_msr(&lapic, 0x803, &value));
    assert_false(lapic_read_msr(&lapic, 0x80b, &value)); /* write-only */
    assert_false(lapic_write_msr(&lapic, 0x80b, 1));     /* 0 alone */
    assert_false(lapic_write_msr(&lapic, 0x80d, 0));     /* read-only */
    assert_true(lapic_write_msr(&lapic, 0x830, 0x123400000855));
    assert_int_equal(seen.destination, 0x1234);
    assert_int_equal(seen.command, 0x855);
    assert_true(lapic_write_msr(&lapic, 0x83f, 0x77));
    assert_int_equal(lapic_pending(&lapic), 0x77);
    assert_true(lapic_is_meant(&lapic, 0xffffffff, false));
    assert_true(lapic_is_meant(&lapic, 0x1, true));
    assert_false(lapic_is_meant(&lapic, 0x10001, true));
}

static void destinations(void **state) {
    (void)state;
    assert_true(lapic_is_meant(&lapic, 0, false));
    assert_true(lapic_is_meant(&lapic, 0xff, false));
    assert_false(lapic_is_meant(&lapic, 1, false));
    lapic_write(&lapic, LDR, 0x24000000);
    assert_true(lapic_is_meant(&lapic, 0x04, true));
    assert_false(lapic_is_meant(&lapic, 0x03, true));
    lapic_write(&lapic, DFR, 0); /* clusters */
    assert_true(lapic_is_meant(&lapic, 0x24, true));
    assert_false(lapic_is_meant(&lapic, 0x14, true));
    assert_true(lapic_is_meant(&lapic, 0xf4, true));
}

/* --- I/O APIC --- */

static struct ioapic ioapic;
static unsigned messages;
static uint64_t last_entry;

static void on_message(uint64_t entry) {
    messages++;
    last_entry = entry;
}

static void program(unsigned pin, uint32_t low, uint32_t high) {
    write_register(ioapic_write, &ioapic, 0, 0x11 + 2 * pin);
    write_register(ioapic_write, &ioapic, 0x10, high);
    write_register(ioapic_write, &ioapic, 0, 0x10 + 2 * pin);
    write_register(ioapic_write, &ioapic, 0x10, low);
}

static void pins(void **state) {
    (void)state;
    ioapic_reset(&ioapic, on_message);
    messages = 0;
    ioapic_set(&ioapic, 4, true);
    assert_int_equal(messages, 0); /* masked */
    ioapic_set(&ioapic, 4, false);
    program(4, 0x31, 0x01000000);
    ioapic_set(&ioapic, 4, true);
    ioapic_set(&ioapic, 4, true);
    assert_int_equal(messages, 1); /* an edge */
    assert_int_equal(last_entry >> 56, 1);
    program(9, 0x8041, 0);
    ioapic_set(&ioapic, 9, true);
    ioapic_set(&ioapic, 9, true);
    assert_int_equal(messages, 2);
    ioapic_end_of_interrupt(&ioapic, 0x41);
    assert_int_equal(messages, 3); /* still asserted */
    ioapic_set(&ioapic, 9, false);
    ioapic_end_of_interrupt(&ioapic, 0x41);
    assert_int_equal(messages, 3);
    write_register(ioapic_write, &ioapic, 0, 0xff); /* no such register */
    write_register(ioapic_write, &ioapic, 0x10, ~0u);
    assert_int_equal(read_register(ioapic_read, &ioapic, 0x10), 0);
    write_register(ioapic_write, &ioapic, 0, 1);
    assert_int_equal(read_register(ioapic_read, &ioapic, 0x10), 0x170020);
}

/* --- 8259A --- */

static struct pic pic;
static unsigned changes; /* that it has told of */

static void pic_changed(void) {
    changes++;
}

static void pic_program(unsigned chip, uint8_t base) {
    write_register(pic_write, &pic, PIC_SLAVE * chip, 0x11);
    write_register(pic_write, &pic, PIC_SLAVE * chip + 1, base);
    write_register(pic_write, &pic, PIC_SLAVE * chip + 1, chip ? 2 : 4);
    write_register(pic_write, &pic, PIC_SLAVE * chip + 1, 1);
    write_register(pic_write, &pic, PIC_SLAVE * chip + 1, 0);
}

static void pair(void **state) {
    (void)state;
    pic_reset(&pic, pic_changed);
    pic_set(&pic, 0, true);
    assert_false(pic_pending(&pic)); /* all masked */
    changes = 0;
    write_register(pic_write, &pic, PIC_MASTER + 1, 0xfe);
    assert_int_equal(changes, 1);
    assert_true(pic_pending(&pic)); /* and whoever waits for it looks again */
    pic_reset(&pic, pic_changed);
    pic_program(0, 0x20);
    pic_program(1, 0x28);
    pic_set(&pic, 12, true);
    pic_set(&pic, 4, true);
    assert_true(pic_pending(&pic));
    assert_int_equal(pic_acknowledge(&pic), 0x2c); /* the cascade is input 2 */
    assert_false(pic_pending(&pic));
    write_register(pic_write, &pic, PIC_SLAVE, 0x20);
    write_register(pic_write, &pic, PIC_MASTER, 0x20);
    assert_int_equal(pic_acknowledge(&pic), 0x24);
    pic_set(&pic, 0, true);
    assert_int_equal(pic_acknowledge(&pic), 0x20);     /* nested */
    write_register(pic_write, &pic, PIC_MASTER, 0x60); /* specific: input 0 */
    write_register(pic_write, &pic, PIC_MASTER, 0x0b);
    assert_int_equal(read_register(pic_read, &pic, PIC_MASTER), 0x10);
    write_register(pic_write, &pic, PIC_MASTER, 0x20);
    assert_int_equal(pic_acknowledge(&pic), 0x27); /* spurious */
}

static void elcr(void **state) {
    (void)state;
    pic_reset(&pic, pic_changed);
    pic_program(0, 0x20);
    pic_program(1, 0x28);
    write_register(pic_write, &pic, PIC_ELCR, 0xff);
    write_register(pic_write, &pic, PIC_ELCR + 1, 0xff);
    assert_int_equal(read_register(pic_read, &pic, PIC_ELCR), 0xf8);
    assert_int_equal(read_register(pic_read, &pic, PIC_ELCR + 1), 0xde);
    pic_set(&pic, 11, true);
    pic_set(&pic, 11, false);
    assert_false(pic_pending(&pic)); /* it is the level that counts */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(priorities, fresh),
        cmocka_unit_test_setup(takes_back, fresh),
        cmocka_unit_test_setup(level_ends, fresh),
        cmocka_unit_test_setup(disabled, fresh),
        cmocka_unit_test_setup(bad_vectors, fresh),
        cmocka_unit_test_setup(one_shot_and_periodic, fresh),
        cmocka_unit_test_setup(fast_period, fresh),
        cmocka_unit_test_setup(deadline, fresh),
        cmocka_unit_test_setup(x2apic, fresh),
        cmocka_unit_test_setup(destinations, fresh),
        cmocka_unit_test(pins),
        cmocka_unit_test(pair),
        cmocka_unit_test(elcr),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
