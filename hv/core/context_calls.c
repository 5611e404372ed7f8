/* The structural calls on Contexts: placing, starting, stopping, registers. Argument 0 names the
 * Context. */
#include "hv/core/call.h"

/* Below this a quantum or budget would do nothing but interrupt. */
enum { SLICE_TSC_MIN = 1000 };

struct result act_ctx_sched(const struct call *call) {
    struct context *context = call->slot[0]->object;
    const struct slot *cpu = call->slot[1];
    uint64_t priority = call->value[2], quantum = call->value[3];
    uint64_t budget = call->value[4], period = call->value[5];
    if (priority > cpu->ref.badge || (quantum && quantum < SLICE_TSC_MIN) ||
        (budget && budget < SLICE_TSC_MIN) || budget > period || period > INT64_MAX)
        return answer(BH_BAD_ARG);
    bool sleeping = (context->blocked & BLOCK_WAIT) && context->timer.armed;
    uint64_t deadline = context->timer.deadline;
    sched_place(context, NULL);
    context->blocked &= ~(uint32_t)BLOCK_BUDGET;
    context->priority = (uint8_t)priority;
    context->quantum = quantum;
    context->quantum_left = quantum ? quantum : ~0ull;
    context->budget = context->budget_left = budget;
    context->period = period;
    context->period_end = arch_now() + period;
    sched_place(context, cpu->object);
    if (sleeping)
        timer_arm(context->cpu, &context->timer, deadline);
    else if (!context->blocked)
        sched_enqueue(context, true);
    context->cpu->reschedule = true;
    return answer(BH_OK);
}

struct result act_ctx_resume(const struct call *call) {
    struct context *context = call->slot[0]->object;
    if (slot_empty(&context->space) || slot_empty(&context->table) || !context->cpu)
        return answer(BH_NOT_READY);
    /* It may have faulted on a jump there, and returning to a non-canonical RIP faults in ring 0.
     */
    if (arch_get_register(context, BH_REG_RIP) >= BH_USER_VA_END)
        return answer(BH_NOT_READY);
    context_unblock(context, BLOCK_STOPPED | BLOCK_FAULT);
    return answer(BH_OK);
}

struct result act_ctx_suspend(const struct call *call) {
    context_block(call->slot[0]->object, BLOCK_STOPPED);
    return answer(BH_OK);
}

static enum bh_ctx_state context_state(const struct context *context) {
    if (context->blocked & BLOCK_FAULT)
        return BH_CTX_FAULTED;
    if (context->blocked & BLOCK_STOPPED)
        return BH_CTX_STOPPED;
    if (context->blocked & BLOCK_WAIT)
        return BH_CTX_WAITING;
    return context->blocked ? BH_CTX_THROTTLED : BH_CTX_READY;
}

static uint64_t context_get(const struct context *context, uint64_t reg) {
    const uint64_t own[] = {context->fault_vector, context->fault_error, context->fault_address,
                            context->cpu_time, context_state(context)};
    if (reg < BH_REG_FAULT_VECTOR)
        return arch_get_register(context, (uint32_t)reg);
    return own[reg - BH_REG_FAULT_VECTOR];
}
_Static_assert(BH_REG_STATE - BH_REG_FAULT_VECTOR == 4, "the core's own follow the processor's");

struct result act_ctx_get(const struct call *call) {
    uint64_t reg = call->value[1];
    uint8_t rights = call->slot[0]->rights;
    bool time = reg == BH_REG_CPU_TIME || reg == BH_REG_STATE;
    if (reg >= BH_REG_COUNT)
        return answer(BH_BAD_ARG);
    if (!(rights & BH_CONTEXT_READ) && !(time && (rights & BH_CONTEXT_TIME)))
        return answer(BH_BAD_RIGHTS);
    return (struct result){BH_OK, context_get(call->slot[0]->object, reg), 0};
}

struct result act_ctx_set(const struct call *call) {
    struct context *context = call->slot[0]->object;
    if (call->value[1] > BH_REG_GS_BASE)
        return answer(BH_BAD_ARG);
    if (!(context->blocked & (BLOCK_STOPPED | BLOCK_FAULT)))
        return answer(BH_BUSY);
    return answer(arch_set_register(context, (uint32_t)call->value[1], call->value[2]));
}
