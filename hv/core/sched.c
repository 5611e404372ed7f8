/* Who runs: fixed priorities, round robin by quantum within one, budgets per period.
 *
 * The current Context is in no queue. Time is charged when somebody else is chosen, when a timer
 * fires, and when the current one is taken away. */
#include "hv/core/core.h"

static uint32_t priority_bit(const struct context *context) {
    return 1u << context->priority;
}

/* Each queue is a ring: its last is the one before its first. */
void sched_enqueue(struct context *context, bool head) {
    struct cpu *cpu = context->cpu;
    struct context **first = &cpu->ready[context->priority];
    struct context *next = *first ? *first : context;
    struct context *prev = *first ? next->ready_prev : context;
    context->queued = true;
    context->ready_next = next;
    context->ready_prev = prev;
    prev->ready_next = next->ready_prev = context;
    if (head || !*first)
        *first = context;
    cpu->ready_bitmap |= priority_bit(context);
}

void sched_dequeue(struct context *context) {
    if (!context->queued)
        return;
    struct cpu *cpu = context->cpu;
    struct context **first = &cpu->ready[context->priority];
    context->queued = false;
    context->ready_prev->ready_next = context->ready_next;
    context->ready_next->ready_prev = context->ready_prev;
    if (*first == context)
        *first = context->ready_next == context ? NULL : context->ready_next;
    if (!*first)
        cpu->ready_bitmap &= ~priority_bit(context);
}

/* Charges the time since run_start to the current Context. */
static void charge(struct cpu *cpu, uint64_t now) {
    struct context *context = cpu->current;
    uint64_t ran = now - cpu->run_start;
    cpu->run_start = now;
    if (!context)
        return;
    context->cpu_time += ran;
    context->quantum_left -= min_u64(ran, context->quantum_left);
    context->budget_left -= min_u64(ran, context->budget_left);
}

void sched_place(struct context *context, struct cpu *cpu) {
    struct cpu *old = context->cpu;
    if (old) {
        timer_cancel(old, &context->timer);
        sched_dequeue(context);
        if (old->current == context) {
            charge(old, arch_now());
            old->current = NULL;
            old->reschedule = true;
        }
    }
    context->cpu = cpu;
}

void sched_yield(struct context *current) {
    charge(current->cpu, arch_now());
    current->quantum_left = 0;
    current->cpu->reschedule = true;
}

/* A new period gives a new budget. */
static void refresh_budget(struct context *context, uint64_t now) {
    if (!context->budget || now < context->period_end)
        return;
    context->period_end = now + context->period;
    context->budget_left = context->budget;
}

bool sched_throttle(struct context *context, uint64_t now) {
    refresh_budget(context, now);
    if (!context->budget || context->budget_left)
        return false;
    timer_arm(context->cpu, &context->timer, context->period_end);
    context->blocked |= BLOCK_BUDGET;
    return true;
}

/* What becomes of the Context that ran until now. */
static void put_back(struct context *context, uint64_t now) {
    if (context->blocked || sched_throttle(context, now))
        return;
    bool spent = context->quantum_left == 0;
    if (spent) /* without a quantum only a YIELD ends the turn */
        context->quantum_left = context->quantum ? context->quantum : ~0ull;
    context->preempted_at = spent ? 0 : now;
    struct cpu *cpu = context->cpu;
    struct context *woken = cpu->gives_way ? cpu->ready[context->priority] : NULL;
    sched_enqueue(context, !spent);
    if (woken) { /* most likely what it waits for: a message between vCPUs of one guest */
        sched_dequeue(woken);
        sched_enqueue(woken, true);
    }
}

/* The first of the highest priority. A turn is meant in the world's time: what more important
 * Contexts took of it, most likely at its holder's own request, is not given to the holder again.
 * Else who keeps a server busy would have his own share and the server's. */
static struct context *take_first(struct cpu *cpu, uint64_t now) {
    struct context *first = cpu->ready[31 - __builtin_clz(cpu->ready_bitmap)];
    sched_dequeue(first);
    if (!first->preempted_at || !first->quantum)
        return first;
    first->quantum_left -= min_u64(now - first->preempted_at, first->quantum_left);
    first->preempted_at = 0;
    if (first->quantum_left)
        return first;
    first->quantum_left = first->quantum;
    sched_enqueue(first, false);
    first = cpu->ready[first->priority];
    sched_dequeue(first);
    first->preempted_at = 0; /* one turn a visit: bounded */
    return first;
}

void sched_timer_by(struct cpu *cpu, uint64_t deadline) {
    if (deadline < cpu->timer_set) {
        cpu->timer_set = deadline;
        arch_timer_set(deadline);
    }
}

static void set_timer(struct cpu *cpu, uint64_t now) {
    uint64_t deadline = cpu->timers ? cpu->timers->deadline : ~0ull;
    const struct context *context = cpu->current;
    if (context && context->quantum)
        deadline = min_u64(deadline, now + min_u64(context->quantum_left, INT64_MAX));
    if (context && context->budget)
        deadline = min_u64(deadline, now + context->budget_left);
    if (context && context->vcpu)
        deadline = min_u64(deadline, context->run_deadline);
    if (deadline == cpu->timer_set)
        return;
    cpu->timer_set = deadline;
    arch_timer_set(deadline);
}

struct context *sched_next(struct cpu *cpu) {
    uint64_t now = arch_now();
    cpu->reschedule = false;
    charge(cpu, now);
    if (cpu->current)
        put_back(cpu->current, now);
    cpu->gives_way = false;
    struct context *next = NULL;
    if (cpu->ready_bitmap) {
        next = take_first(cpu, now);
        refresh_budget(next, now);
    }
    cpu->current = next;
    set_timer(cpu, now);
    return next;
}

/* At most this many deadlines are served in one interrupt; the next follows at once if more are
 * due. */
enum { EXPIRIES_MAX = 16 };

void timer_interrupt(void) {
    struct cpu *cpu = this_cpu();
    struct read_held held = lock_read(cpu);
    uint64_t now = arch_now();
    for (unsigned i = 0; i < EXPIRIES_MAX && cpu->timers && cpu->timers->deadline <= now; i++) {
        struct timer *timer = cpu->timers;
        struct context *context = (void *)((uint8_t *)timer - offsetof(struct context, timer));
        if (context->blocked & BLOCK_WAIT) {
            context_end_wait(context, BH_TIMEOUT, 0, 0);
        } else {
            timer_cancel(cpu, timer);
            context_unblock(context, BLOCK_BUDGET);
        }
    }
    cpu->timer_set = 0;
    cpu->reschedule = true; /* the quantum may be over; the timer is set anew there */
    unlock_read(held);
}
