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

enum bh_status vcpu_run(struct context *caller, struct vcpu *vcpu, uint64_t groups,
                        uint64_t deadline, uint64_t mask) {
    if (groups & ~(uint64_t)BH_VCPU_ALL)
        return BH_BAD_ARG;
    if (vcpu->runner)
        return BH_BUSY;
    if (vcpu->space.type == BH_TYPE_NONE || !vcpu->page)
        return BH_NOT_READY;
    vcpu->runner = caller;
    caller->vcpu = vcpu;
    caller->wait_mask = mask;
    caller->run_deadline = deadline;
    if (!arch_vcpu_load(vcpu, (uint32_t)groups)) {
        vcpu_exit(vcpu, BH_EXIT_INVALID_STATE);
    } else if (caller->event.type != BH_TYPE_NONE && event_pending(caller->event.object, mask)) {
        vcpu_exit(vcpu, BH_EXIT_NONE);
    } else {
        sched_timer_by(caller->cpu, deadline);
        caller->cpu->enter_guest = true;
    }
    return BH_OK;
}

enum bh_status vcpu_sync(struct vcpu *vcpu, uint64_t groups) {
    if (groups & ~(uint64_t)BH_VCPU_ALL)
        return BH_BAD_ARG;
    if (vcpu->runner)
        return BH_BUSY;
    if (!vcpu->page)
        return BH_NOT_READY;
    arch_vcpu_store(vcpu, (uint32_t)groups);
    return BH_OK;
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

void vcpu_destroy(struct write_held held, struct vcpu *vcpu) {
    vcpu_stop(vcpu);
    if (vcpu->space.type != BH_TYPE_NONE)
        unbind(held, &vcpu->space);
    if (vcpu->state.type != BH_TYPE_NONE)
        unbind(held, &vcpu->state);
    arch_vcpu_retire(vcpu);
}
