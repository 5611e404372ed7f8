/* What the VMM does at an exit: the instruction's work and the step behind it, or neither. */
#include <string.h>

#include "guestlib/guest.h"
#include "mgmt/vmm/exits.h"
#include "mgmt/vmm/machine.h"
#include "mgmt/vmm/msr.h"
#include "unit.h"
#include "vmm_guest.h"

#define CODE 0x4000u

uint32_t machine_vcpus(void) {
    return 1;
}

uint64_t guest_wall_ns(void) {
    return 1000000000;
}

static int setup(void **state) {
    (void)state;
    guest_reset();
    guest_long_mode();
    guest_state.rip = CODE;
    return 0;
}

/* The exit of an instruction, where these bytes are now. */
static void exit_at(enum bh_exit exit, const char *code, unsigned bytes) {
    memcpy(guest_ram + CODE, code, bytes);
    guest_state.exit = exit;
    guest_state.next_rip = 0; /* as on a processor that does not tell */
    assert_true(exits_handle(&guest_vcpu, exit));
}
#define EXIT(exit, code) exit_at(exit, code, sizeof(code) - 1)

static void skipped(void **state) {
    (void)state;
    guest_state.general[RAX] = 0x40000000;
    EXIT(BH_EXIT_CPUID, "\x0f\xa2");
    assert_int_equal(guest_state.rip, CODE + 2);
    assert_int_not_equal(guest_state.general[RBX], 0);
    guest_state.rip = CODE;
    EXIT(BH_EXIT_HLT, "\xf4");
    assert_int_equal(guest_state.rip, CODE + 1);
    assert_true(guest_vcpu.halted);
}

/* Another vCPU has written something else there since: the guest stays where it is, and nothing has
 * been done for it. */
static void rewritten(void **state) {
    (void)state;
    guest_state.interruptibility = BH_VCPU_SHADOW;
    guest_state.general[RAX] = 0x40000000;
    guest_state.general[RCX] = MSR_LSTAR;
    EXIT(BH_EXIT_CPUID, "\x0f\x0b");
    EXIT(BH_EXIT_MSR_READ, "\x06");
    EXIT(BH_EXIT_MSR_WRITE, "\x0f\x32");
    EXIT(BH_EXIT_HLT, "\x90");
    EXIT(BH_EXIT_XSETBV, "\x0f\x01\xd0");
    EXIT(BH_EXIT_WBINVD, "\xcc");
    assert_int_equal(guest_state.rip, CODE);
    assert_int_equal(guest_state.general[RAX], 0x40000000);
    assert_int_equal(guest_state.general[RBX], 0);
    assert_int_equal(guest_state.lstar, 0);
    assert_int_equal(guest_state.xcr0, 1);
    assert_int_equal(guest_state.interruptibility, BH_VCPU_SHADOW);
    assert_int_equal(guest_state.event, 0);
    assert_false(guest_vcpu.halted);
}

/* Where hv knows, nobody looks at the code. */
static void told(void **state) {
    (void)state;
    guest_state.next_rip = CODE + 5;
    assert_true(exits_handle(&guest_vcpu, BH_EXIT_HLT));
    assert_int_equal(guest_state.rip, CODE + 5);
    assert_true(guest_vcpu.halted);
}

/* The trap comes behind what the VMM has done, and HLT does not wait for more. */
static void stepped(void **state) {
    (void)state;
    guest_state.rflags |= RFLAGS_TF;
    EXIT(BH_EXIT_CPUID, "\x0f\x0b"); /* another instruction by now */
    assert_int_equal(guest_state.event, 0);
    EXIT(BH_EXIT_CPUID, "\x0f\xa2");
    assert_int_equal(guest_state.rip, CODE + 2);
    assert_int_equal(guest_state.event, BH_EVENT_VALID | BH_EVENT_EXCEPTION | EXCEPTION_DB);
    assert_int_equal(guest_state.dr6 & DR6_BS, DR6_BS);
    guest_state.event = 0;
    guest_state.rip = CODE;
    EXIT(BH_EXIT_HLT, "\xf4");
    assert_int_equal(guest_state.event, BH_EVENT_VALID | BH_EVENT_EXCEPTION | EXCEPTION_DB);
    assert_false(guest_vcpu.halted);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(skipped, setup),
        cmocka_unit_test_setup(rewritten, setup),
        cmocka_unit_test_setup(told, setup),
        cmocka_unit_test_setup(stepped, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
