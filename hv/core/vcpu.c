/* Runs of guests: VCPU_RUN from its beginning to what ends it, and the Vcpu's references. How the
 * processor enters a guest and what the state page means is the architecture's. */
#include "hv/core/core.h"

/* What VCPU_RUN returns to the Context that is in it. */
static void end_run(struct vcpu *vcpu, enum bh_status status, enum bh_exit exit) {
    struct context *runner = vcpu->runner;
    vcpu->runner = NULL;
    runner->vcpu = NULL;
    arch_set_result(runner, status, exit, 0);
}

/* What both calls need: groups that exist, a Vcpu that does not run, with its state page. */
static enum bh_status check(const struct vcpu *vcpu, uint64_t groups) {
    if (groups & ~(uint64_t)BH_VCPU_ALL)
        return BH_BAD_ARG;
    if (vcpu->runner)
        return BH_BUSY;
    return vcpu->page ? BH_OK : BH_NOT_READY;
}

void vcpu_run(struct context *caller, struct slot *named) {
    struct vcpu *vcpu = named->object;
    uint64_t groups = arch_argument(caller, 1), mask = arch_argument(caller, 3);
    enum bh_status status = check(vcpu, groups);
    if (status == BH_OK && slot_empty(&vcpu->space))
        status = BH_NOT_READY;
    if (status != BH_OK) {
        arch_set_result(caller, status, 0, 0);
        return;
    }
    vcpu->runner = caller;
    caller->vcpu = vcpu;
    caller->wait_mask = mask;
    caller->run_deadline = arch_argument(caller, 2);
    if (!arch_vcpu_load(vcpu, (uint32_t)groups)) {
        vcpu_exit(vcpu, BH_EXIT_INVALID_STATE);
    } else if (!slot_empty(&caller->event) && event_pending(caller->event.object, mask)) {
        vcpu_exit(vcpu, BH_EXIT_NONE);
    } else {
        sched_timer_by(caller->cpu, caller->run_deadline);
        caller->cpu->enter_guest = true;
    }
}

void vcpu_sync(struct context *caller, struct slot *named) {
    uint64_t groups = arch_argument(caller, 1);
    enum bh_status status = check(named->object, groups);
    if (status == BH_OK)
        arch_vcpu_store(named->object, (uint32_t)groups);
    arch_set_result(caller, status, 0, 0);
}

void vcpu_exit(struct vcpu *vcpu, enum bh_exit exit) {
    arch_vcpu_store_exit(vcpu, exit);
    end_run(vcpu, BH_OK, exit);
}

void vcpu_stop(struct vcpu *vcpu) {
    if (!vcpu->runner)
        return;
    arch_vcpu_store_exit(vcpu, BH_EXIT_NONE);
    end_run(vcpu, BH_NOT_READY, BH_EXIT_NONE);
}
