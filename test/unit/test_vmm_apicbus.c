/* Interrupt messages between the vCPUs of one guest: whom they reach, and that whoever they reach
 * is woken. */
#include <string.h>

#include "mgmt/vmm/apic.h"
#include "mgmt/vmm/apicbus.h"
#include "mgmt/vmm/msr.h"
#include "unit.h"

#define VCPUS 4u
#define TO_ALL 0x80000u /* shorthands */
#define TO_OTHERS 0xc0000u
#define TO_SELF 0x40000u
#define VECTOR 0x41u
enum { EOI = 0xb0, LDR = 0xd0, SVR = 0xf0, ICR = 0x300, ICR_HIGH = 0x310, TPR = 0x80 };

static struct vcpu vcpu[VCPUS];
static unsigned woken; /* a bit each */

static void wake(struct vcpu *which) {
    woken |= 1u << which->number;
}

static void ended(uint8_t vector) {
    (void)vector;
}

static uint64_t tsc(void) {
    return 0;
}

static int fresh(void **state) {
    (void)state;
    static const struct lapic_host host = {apicbus_command, ended, tsc, 1000000000};
    memset(vcpu, 0, sizeof(vcpu));
    apicbus_init(vcpu, VCPUS, wake);
    woken = 0;
    for (uint32_t i = 0; i < VCPUS; i++) {
        vcpu[i].number = i;
        lapic_reset(&vcpu[i].lapic, &host, i);
        lapic_write(&vcpu[i].lapic, SVR, 0x1ff);
        lapic_write(&vcpu[i].lapic, LDR, 0x01000000u << i);
    }
    return 0;
}

/* Who has an interrupt of VECTOR waiting; it is taken away. */
static unsigned reached(void) {
    unsigned who = 0;
    for (uint32_t i = 0; i < VCPUS; i++) {
        if (lapic_pending(&vcpu[i].lapic) != VECTOR)
            continue;
        who |= 1u << i;
        lapic_acknowledge(&vcpu[i].lapic, VECTOR);
        lapic_write(&vcpu[i].lapic, EOI, 0);
    }
    assert_int_equal(who, woken);
    woken = 0;
    return who;
}

static void command(uint32_t from, uint32_t destination, uint32_t low) {
    lapic_write(&vcpu[from].lapic, ICR_HIGH, destination << 24);
    lapic_write(&vcpu[from].lapic, ICR, low);
}

static void fixed(void **state) {
    (void)state;
    command(0, 2, VECTOR);
    assert_int_equal(reached(), 0x4);
    command(2, 0xff, VECTOR);
    assert_int_equal(reached(), 0xf);
    command(1, 0x0a, VECTOR | APIC_LOGICAL);
    assert_int_equal(reached(), 0xa);
    command(1, 9, VECTOR); /* nobody */
    assert_int_equal(reached(), 0);
}

static void shorthands(void **state) {
    (void)state;
    command(1, 3, VECTOR | TO_SELF); /* the destination does not count */
    assert_int_equal(reached(), 0x2);
    command(1, 3, VECTOR | TO_ALL);
    assert_int_equal(reached(), 0xf);
    command(1, 3, VECTOR | TO_OTHERS);
    assert_int_equal(reached(), 0xd);
}

static void x2apic(void **state) {
    (void)state;
    for (uint32_t i = 0; i < VCPUS; i++)
        assert_true(
            lapic_write_msr(&vcpu[i].lapic, MSR_APIC_BASE, vcpu[i].lapic.base | APIC_BASE_X2APIC));
    assert_true(lapic_write_msr(&vcpu[3].lapic, 0x830, 1ull << 32 | VECTOR));
    assert_int_equal(reached(), 0x2);
    assert_true(lapic_write_msr(&vcpu[3].lapic, 0x830, 0xffffffffull << 32 | VECTOR));
    assert_int_equal(reached(), 0xf);
    assert_true(lapic_write_msr(&vcpu[3].lapic, 0x830, 0xcull << 32 | APIC_LOGICAL | VECTOR));
    assert_int_equal(reached(), 0xc);
    assert_true(lapic_write_msr(&vcpu[3].lapic, 0x830, 0x10001ull << 32 | APIC_LOGICAL | VECTOR));
    assert_int_equal(reached(), 0); /* another cluster */
}

/* One alone, and it is the one that does the least important things. */
static void lowest_priority(void **state) {
    (void)state;
    for (uint32_t i = 0; i < VCPUS; i++)
        lapic_write(&vcpu[i].lapic, TPR, i == 2 ? 0x10 : 0x30);
    command(0, 0xf, VECTOR | APIC_MODE_LOWEST | APIC_LOGICAL);
    assert_int_equal(reached(), 0x4);
    command(0, 0xb, VECTOR | APIC_MODE_LOWEST | APIC_LOGICAL);
    assert_int_equal(reached(), 0x1);
    command(0, 0xf0, VECTOR | APIC_MODE_LOWEST | APIC_LOGICAL);
    assert_int_equal(reached(), 0);
}

static void nmi(void **state) {
    (void)state;
    command(3, 0, APIC_MODE_NMI | TO_OTHERS);
    assert_int_equal(woken, 0x7);
    for (uint32_t i = 0; i < VCPUS; i++)
        assert_int_equal(vcpu[i].lapic.nmi, i != 3);
}

static void init_and_startup(void **state) {
    (void)state;
    command(0, 2, APIC_MODE_INIT | APIC_LEVEL); /* the level goes off: nothing */
    assert_int_equal(woken, 0);
    assert_false(vcpu[2].lapic.init);
    command(0, 2, APIC_MODE_STARTUP | 0x9a);
    command(0, 2, APIC_MODE_INIT | APIC_LEVEL | APIC_ASSERT);
    assert_int_equal(woken, 0x4);
    assert_true(vcpu[2].lapic.init);
    assert_false(vcpu[2].lapic.startup); /* came before INIT */
    command(0, 2, APIC_MODE_STARTUP | 0x9b);
    lapic_init(&vcpu[2].lapic);
    assert_false(vcpu[2].lapic.init);
    assert_true(vcpu[2].lapic.startup); /* came after INIT */
    assert_int_equal(vcpu[2].lapic.startup_vector, 0x9b);
    assert_int_equal(vcpu[2].lapic.id, 2);
    assert_false(vcpu[0].lapic.init || vcpu[1].lapic.init || vcpu[3].lapic.init);
}

static void from_devices(void **state) {
    (void)state;
    apicbus_entry(3ull << 56 | VECTOR);
    assert_int_equal(reached(), 0x8);
    apicbus_entry(0x06ull << 56 | APIC_LOGICAL | VECTOR);
    assert_int_equal(reached(), 0x6);
    apicbus_message(0xfee01000, VECTOR);
    assert_int_equal(reached(), 0x2);
    apicbus_message(0xfee05004, VECTOR); /* logical: 0 and 2 */
    assert_int_equal(reached(), 0x5);
    apicbus_message(0xfee05004, APIC_MODE_LOWEST | VECTOR);
    assert_int_equal(reached(), 0x1);
    apicbus_message(0xfec01000, VECTOR); /* no message */
    apicbus_message(0x1fee01000, VECTOR);
    assert_int_equal(reached(), 0);
}

/* Its page says that it is off: messages are lost, but not these. */
static void switched_off(void **state) {
    (void)state;
    lapic_write(&vcpu[1].lapic, SVR, 0xff);
    command(0, 1, APIC_MODE_NMI);
    command(0, 1, APIC_MODE_INIT);
    assert_true(vcpu[1].lapic.nmi && vcpu[1].lapic.init);
    command(0, 1, VECTOR);
    assert_int_equal(lapic_pending(&vcpu[1].lapic), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(fixed, fresh),
        cmocka_unit_test_setup(shorthands, fresh),
        cmocka_unit_test_setup(x2apic, fresh),
        cmocka_unit_test_setup(lowest_priority, fresh),
        cmocka_unit_test_setup(nmi, fresh),
        cmocka_unit_test_setup(init_and_startup, fresh),
        cmocka_unit_test_setup(from_devices, fresh),
        cmocka_unit_test_setup(switched_off, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
