/* Counts on guest mode alone, in init's place: from a guest's instruction to its VMM, which does
 * nothing but set RIP, and back. Under -icount shift=0 the TSC counts instructions. Prints "bench:
 * ID VALUE" lines; the value is the mean of ROUNDS, a guest's own instructions included. */
#include "test/guest/machine.h"

enum { ROUNDS = 1000 };

GUEST(guest_cpuid, 64, "1: cpuid; jmp 1b")
GUEST(guest_port, 64, "1: in $0x60, %al; jmp 1b")
GUEST(guest_doorbell, 64, "mov $0xc000, %edx; mov $1000, %ecx; 1: out %ax, %dx; loop 1b; hlt")

static struct machine m;

static void report(const char *id, uint64_t value) {
    say("bench: ");
    say(id);
    say(" ");
    say_number(value);
    say("\n");
}

/* The exit's instruction is 2 bytes; a jump back follows it. */
static void round_trips(const char *id) {
    bh_slot vcpu = machine_slot(&m, M_VCPU);
    uint64_t exit, start = 0;
    machine_exits(&m, m.state->exit);
    for (unsigned i = 0; i < ROUNDS + 10; i++) {
        if (i == 10)
            start = now();
        m.state->rip += 2;
        hc_vcpu_run(vcpu, 0, BH_DEADLINE_NEVER, 0, &exit);
    }
    report(id, (now() - start) / ROUNDS);
}

_Noreturn void guest_start(const struct bh_bootinfo *info) {
    harness_start(info);
    machines_start();
    m = machine_make(0);
    START(&m, 64, guest_cpuid);
    m.state->exit = BH_EXIT_CPUID;
    round_trips("guest_cpuid_exit");
    START(&m, 64, guest_port);
    m.state->exit = BH_EXIT_PORT;
    round_trips("guest_port_exit");

    START(&m, 64, guest_doorbell);
    bh_ref event = OWN(TEST_SLOT);
    expect_ok(hc_copy(OWN(BH_INIT_EVENT), event, BH_EVENT_SIGNAL, 9, 0), "copy");
    expect_ok(hc_doorbell(machine_cap(&m, M_SPACE), 0xc000, 2, event), "doorbell");
    uint64_t start = now();
    machine_exits(&m, BH_EXIT_HLT);
    report("guest_doorbell", (now() - start) / ROUNDS);
    finish();
}
