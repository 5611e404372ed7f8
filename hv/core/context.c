/* Contexts: why they run or not, waiting, faults. */
#include "hv/core/core.h"

void context_block(struct context *context, uint32_t reason) {
    bool was_ready = context->blocked == 0;
    context->blocked |= reason;
    if (!was_ready || !context->cpu)
        return;
    if (context->cpu->current == context)
        context->cpu->reschedule = true;
    else
        sched_dequeue(context);
}

void context_unblock(struct context *context, uint32_t reason) {
    if (!(context->blocked & reason))
        return;
    context->blocked &= ~reason;
    if (context->blocked || !context->cpu)
        return;
    struct cpu *cpu = context->cpu;
    if (cpu->current == context)
        return; /* blocked and unblocked within one visit to hv */
    if (sched_throttle(context, arch_now())) {
        cpu->reschedule = true; /* the timer has to be set for it */
        return;
    }
    sched_enqueue(context, true);
    const struct context *current = cpu->current;
    if (!current || current->priority < context->priority)
        cpu->reschedule = true;
    else if (current->priority == context->priority &&
             current->table.object == context->table.object)
        cpu->reschedule = cpu->gives_way = true;
}

void context_end_wait(struct context *context, enum bh_status status, uint64_t bits,
                      uint64_t group) {
    timer_cancel(context->cpu, &context->timer);
    arch_set_result(context, status, bits, group);
    context_unblock(context, BLOCK_WAIT);
}

void context_event(struct context *context) {
    uint64_t bits, group;
    if ((context->blocked & BLOCK_WAIT) &&
        event_take(context->event.object, context->wait_mask, &bits, &group))
        context_end_wait(context, BH_OK, bits, group);
    else if (context->vcpu && event_pending(context->event.object, context->wait_mask))
        vcpu_exit(context->vcpu, BH_EXIT_NONE);
}

void context_wait(struct context *context, uint64_t mask, uint64_t deadline) {
    uint64_t bits, group;
    if (context->event.type == BH_TYPE_NONE) {
        arch_set_result(context, BH_NOT_READY, 0, 0);
    } else if (event_take(context->event.object, mask, &bits, &group)) {
        arch_set_result(context, BH_OK, bits, group);
    } else if (deadline != BH_DEADLINE_NEVER && deadline <= arch_now()) {
        arch_set_result(context, BH_TIMEOUT, 0, 0);
    } else {
        context->wait_mask = mask;
        if (deadline != BH_DEADLINE_NEVER)
            timer_arm(context->cpu, &context->timer, deadline);
        context_block(context, BLOCK_WAIT);
    }
}

void context_fault(struct context *context, uint64_t vector, uint64_t error, uint64_t address) {
    struct read_held held = lock_read(this_cpu());
    context->fault_vector = vector;
    context->fault_error = error;
    context->fault_address = address;
    context_block(context, BLOCK_FAULT);
    if (context->fault.type != BH_TYPE_NONE)
        event_signal(context->fault.object, context->fault.ref.badge);
    unlock_read(held);
}

void context_destroy(struct context *context) {
    sched_place(context, NULL);
    context->blocked |= BLOCK_STOPPED;
    if (context->vcpu)
        vcpu_stop(context->vcpu);
    arch_context_retire(context);
}
