/* The end of an interrupt that a guest tells by a bit in its memory: when it may, and what becomes
 * of the APIC. */
#include "mgmt/vmm/pv_eoi.h"
#include "unit.h"
#include "vmm_guest.h"

#define AT 0x3000u
#define ENABLED (AT | 1u)
#define LOW 0x41u
#define HIGH 0x81u
enum { SVR = 0xf0 };

static struct lapic *const lapic = &guest_vcpu.lapic;
static unsigned ends; /* of level-triggered interrupts */

static void command(struct lapic *from, uint32_t destination, uint32_t value) {
    (void)from, (void)destination, (void)value;
}

static void ended(uint8_t vector) {
    (void)vector;
    ends++;
}

static uint64_t tsc(void) {
    return 0;
}

static int fresh(void **state) {
    (void)state;
    static const struct lapic_host host = {command, ended, tsc, 1000000000};
    guest_reset();
    lapic_reset(lapic, &host, 0);
    lapic_write(lapic, SVR, 0x1ff);
    assert_true(pv_eoi_set(&guest_vcpu, ENABLED));
    ends = 0;
    return 0;
}

static void deliver(uint8_t vector, bool level) {
    lapic_accept(lapic, vector, level);
    assert_int_equal(lapic_pending(lapic), vector);
    lapic_acknowledge(lapic, vector);
}

static bool in_service(uint8_t vector) {
    return lapic->service[vector / 32] >> vector % 32 & 1;
}

/* Whether the guest finds the bit set as it runs; if `takes`, it clears it, as the end of the
 * interrupt it is in. */
static bool run(bool takes) {
    pv_eoi_offer(&guest_vcpu);
    bool set = guest_ram[AT];
    if (takes)
        guest_ram[AT] = 0;
    pv_eoi_take(&guest_vcpu);
    assert_int_equal(guest_ram[AT], 0); /* never left set: it would mean another interrupt */
    return set;
}

static void an_end_unseen(void **state) {
    (void)state;
    assert_false(run(true)); /* nothing is in service: what it clears means nothing */
    deliver(LOW, false);
    assert_true(run(false));
    assert_true(in_service(LOW)); /* not yet at its end */
    assert_true(run(true));
    assert_false(in_service(LOW));
    assert_false(run(true));
    assert_int_equal(ends, 0);
}

static void who_waits_for_the_end_sees_it(void **state) {
    (void)state;
    deliver(LOW, true); /* its device does */
    assert_false(run(true));
    assert_true(in_service(LOW));
    lapic_end_of_interrupt(lapic);
    assert_int_equal(ends, 1);
    deliver(HIGH, false);
    lapic_accept(lapic, LOW, false); /* another interrupt does */
    assert_false(run(true));
    assert_true(in_service(HIGH));
    lapic_end_of_interrupt(lapic);
    assert_int_equal(lapic_pending(lapic), LOW);
}

static void the_inner_one_ends_first(void **state) {
    (void)state;
    deliver(LOW, false);
    deliver(HIGH, false);
    assert_true(run(true));
    assert_true(in_service(LOW) && !in_service(HIGH));
    assert_true(run(true));
    assert_false(in_service(LOW));
}

/* The guest need not use it: EOI ends the interrupt, and the bit is not believed afterwards. */
static void ended_by_the_register(void **state) {
    (void)state;
    deliver(LOW, false);
    deliver(HIGH, false);
    pv_eoi_offer(&guest_vcpu);
    pv_eoi_take(&guest_vcpu);
    lapic_write(lapic, 0xb0, 0);
    assert_true(in_service(LOW) && !in_service(HIGH));
}

static void places(void **state) {
    (void)state;
    assert_int_equal(guest_vcpu.eoi_msr, ENABLED);
    assert_false(pv_eoi_set(&guest_vcpu, AT | 3)); /* a reserved bit */
    assert_false(pv_eoi_set(&guest_vcpu, GUEST_RAM_BYTES | 1));
    assert_false(pv_eoi_set(&guest_vcpu, ~0ull & ~2ull));
    assert_int_equal(guest_vcpu.eoi_msr, ENABLED);
    assert_true(pv_eoi_set(&guest_vcpu, (GUEST_RAM_BYTES - 4) | 1));
    assert_true(pv_eoi_set(&guest_vcpu, GUEST_RAM_BYTES)); /* off: no place is meant */
    assert_null(guest_vcpu.eoi);
    assert_true(pv_eoi_set(&guest_vcpu, ENABLED));
    vcpu_reset(&guest_vcpu); /* INIT */
    assert_null(guest_vcpu.eoi);
    assert_int_equal(guest_vcpu.eoi_msr, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_end_unseen, fresh),
        cmocka_unit_test_setup(who_waits_for_the_end_sees_it, fresh),
        cmocka_unit_test_setup(the_inner_one_ends_first, fresh),
        cmocka_unit_test_setup(ended_by_the_register, fresh),
        cmocka_unit_test_setup(places, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
