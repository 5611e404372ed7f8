#include "mgmt/vmm/run.h"

#include <stdio.h>
#include <stdlib.h>

#include "abi/domain.h"
#include "abi/hypercall.h"
#include "guestlib/console_front.h"
#include "guestlib/control_front.h"
#include "guestlib/loop.h"
#include "mgmt/vmm/checkpoint.h"
#include "mgmt/vmm/clock.h"
#include "mgmt/vmm/devices.h"
#include "mgmt/vmm/exits.h"
#include "mgmt/vmm/fpu.h"
#include "mgmt/vmm/lock.h"
#include "mgmt/vmm/machine.h"
#include "mgmt/vmm/pv_eoi.h"

#define KICK_MASK (1ull << BH_GUEST_KICK_BIT)

static void kick(uint32_t number) {
    vcpu_backend_kick(machine_vcpu(number));
}

static void sleep_kickable(uint32_t number) {
    (void)number; /* its own Context calls */
    vcpu_backend_wait(KICK_MASK, BH_DEADLINE_NEVER);
}

static struct lock lock = {.held = true, .kick = kick, .sleep = sleep_kickable};

/* All else: by who holds the lock. */
static uint32_t kicks;         /* vCPUs to be kicked as soon as it is dropped */
static uint64_t deadline_told; /* what the first Context went outside with */
static uint64_t mask_told;
static bool saving;      /* vCPUs are to stop where they are */
static uint32_t stopped; /* those that have: with nothing left to do for the exit they came by */

void run_wake(struct vcpu *vcpu) {
    if (!vcpu->outside)
        return;
    vcpu->outside = false; /* once is enough */
    kicks |= 1u << vcpu->number;
}

/* The first Context sleeps by what the loop wants; another one may have changed that. */
static void tell_first(void) {
    uint64_t deadline = loop_deadline_tsc(), mask = KICK_MASK | loop_event_mask();
    if (deadline >= deadline_told && mask == mask_told)
        return;
    deadline_told = deadline;
    mask_told = mask;
    run_wake(machine_vcpu(0));
}

static void go_outside(struct vcpu *vcpu, uint64_t deadline, uint64_t mask) {
    if (vcpu->number == 0) {
        deadline_told = deadline;
        mask_told = mask;
    } else {
        tell_first();
    }
    vcpu->outside = true;
    uint32_t now = kicks;
    kicks = 0;
    lock_drop(&lock, vcpu->number);
    for (; now; now &= now - 1) /* now that they can have the lock */
        kick((uint32_t)__builtin_ctz(now));
}

static void come_back(struct vcpu *vcpu) {
    lock_take(&lock, vcpu->number);
    vcpu->outside = false;
}

/* When the Context has to be back, and for which Events. */
static uint64_t deadline_tsc(const struct vcpu *vcpu) {
    uint64_t due = saving ? LAPIC_TIMER_OFF : vcpu->lapic.due_tsc;
    uint64_t deadline = due == LAPIC_TIMER_OFF ? BH_DEADLINE_NEVER : clock_host_tsc(due);
    if (vcpu->number != 0)
        return deadline;
    uint64_t of_loop = loop_deadline_tsc();
    return of_loop < deadline ? of_loop : deadline;
}

static uint64_t event_mask(const struct vcpu *vcpu) {
    return KICK_MASK | (vcpu->number == 0 ? loop_event_mask() : 0);
}

/* Takes what is pending, so that it does not bring the Context back again, and does what the loop
 * has to do. */
static void serve(const struct vcpu *vcpu) {
    loop_serve(vcpu_backend_wait(event_mask(vcpu), BH_DEADLINE_POLL));
}

static void sleep_outside(struct vcpu *vcpu) {
    uint64_t deadline = deadline_tsc(vcpu), mask = event_mask(vcpu);
    go_outside(vcpu, deadline, mask);
    uint64_t bits = vcpu_backend_wait(mask, deadline);
    come_back(vcpu);
    loop_serve(bits);
}

static void wake_all(void) {
    for (uint32_t i = 0; i < machine_vcpus(); i++)
        run_wake(machine_vcpu(i));
}

void run_save(void) {
    saving = true;
    wake_all();
}

/* The last that is said, with what an exit status cannot say. Returns if that is nothing. */
static void tell(enum bh_control_cause cause) {
    machine_flush();
    console_drain();
    if (cause != BH_CAUSE_STATUS)
        control_end(cause);
}

static void save(void) {
    machine_flush();
    const char *wrong = checkpoint_save();
    if (!wrong) {
        tell(BH_CAUSE_SAVED);
        exit(EXIT_SUCCESS);
    }
    printf("vmm: the guest is not saved and goes on: %s\n", wrong);
    saving = false;
    stopped = 0;
    wake_all();
}

/* Its Context is the only one that has the guest's FPU registers. The first one saves when all have
 * stopped, and serves the devices until then. */
static void stop(struct vcpu *vcpu) {
    if (vcpu->fpu)
        fpu_store(vcpu->fpu);
    stopped |= 1u << vcpu->number;
    run_wake(machine_vcpu(0));
    if (vcpu->number == 0 && stopped == (1u << machine_vcpus()) - 1 && devices_are_quiet())
        save();
    else
        sleep_outside(vcpu);
}

static enum bh_exit run_outside(struct vcpu *vcpu) {
    machine_deliver(vcpu);
    uint64_t deadline = deadline_tsc(vcpu), mask = event_mask(vcpu);
    uint32_t groups = vcpu_before_run(vcpu);
    if (vcpu->eoi)
        pv_eoi_offer(vcpu);
    go_outside(vcpu, deadline, mask);
    enum bh_exit exit = vcpu_backend_run(vcpu, groups, deadline, mask);
    come_back(vcpu);
    vcpu_after_run(vcpu, exit);
    if (vcpu->eoi)
        pv_eoi_take(vcpu);
    return exit;
}

/* INIT and startup messages. Where INIT leads the first vCPU there is no firmware: it would reset
 * the machine. */
static void obey(struct vcpu *vcpu) {
    struct lapic *lapic = &vcpu->lapic;
    if (lapic->init && vcpu->number == 0) {
        machine_reset();
        return;
    }
    if (lapic->init) {
        lapic_init(lapic);
        vcpu_reset(vcpu);
        vcpu->waiting = true;
    }
    if (lapic->startup && vcpu->waiting)
        vcpu_startup(vcpu, lapic->startup_vector);
    lapic->startup = false;
}

static void report(struct vcpu *vcpu) {
    const struct bh_vcpu_state *s = vcpu_look(vcpu, BH_VCPU_CONTROL | BH_VCPU_SEGMENTS);
    machine_flush();
    printf("vmm: vCPU %u stops: %s; exit %u, qualification %llx, address %llx, event %x\n",
           (unsigned)vcpu->number, exits_why(), (unsigned)s->exit,
           (unsigned long long)s->qualification, (unsigned long long)s->address,
           (unsigned)s->event);
    printf("vmm: rip %016llx rsp %016llx rflags %llx cs %x\n", (unsigned long long)s->rip,
           (unsigned long long)s->general[RSP], (unsigned long long)s->rflags,
           s->segment[BH_CS].selector);
    printf("vmm: cr0 %llx cr2 %llx cr3 %llx cr4 %llx efer %llx\n", (unsigned long long)s->cr0,
           (unsigned long long)s->cr2, (unsigned long long)s->cr3, (unsigned long long)s->cr4,
           (unsigned long long)s->efer);
}

static void run_guest(struct vcpu *vcpu) {
    enum bh_exit why = run_outside(vcpu);
    if (!exits_handle(vcpu, why)) {
        report(vcpu);
        tell(why == BH_EXIT_SHUTDOWN ? BH_CAUSE_TRIPLE_FAULT : BH_CAUSE_STATUS);
        exit(EXIT_FAILURE);
    }
    if (why == BH_EXIT_NONE)
        serve(vcpu);
}

static void turn(struct vcpu *vcpu) {
    if (saving) {
        stop(vcpu);
        return;
    }
    obey(vcpu);
    if (machine_end() != POWER_GOES_ON)
        return;
    lapic_timer_run(&vcpu->lapic);
    if (vcpu->halted && machine_wakes(vcpu))
        vcpu->halted = false;
    if (loop_has_work())
        loop_serve(0);
    else if (vcpu->halted || vcpu->waiting)
        sleep_outside(vcpu);
    else
        run_guest(vcpu);
}

/* The lock stays held: whoever ends the guest is the last one to do anything for it. */
void run(struct vcpu *vcpu) {
    static const enum bh_control_cause causes[] = {[POWER_OFF] = BH_CAUSE_STATUS,
                                                   [POWER_RESET] = BH_CAUSE_REBOOT,
                                                   [POWER_PANIC] = BH_CAUSE_PANIC,
                                                   [POWER_WATCHDOG] = BH_CAUSE_WATCHDOG};
    if (vcpu->fpu_loads)
        fpu_load(vcpu->fpu);
    while (machine_end() == POWER_GOES_ON)
        turn(vcpu);
    tell(causes[machine_end()]);
    exit(EXIT_SUCCESS);
}

void run_further(uint32_t number) {
    lock_take(&lock, number);
    run(machine_vcpu(number));
}
