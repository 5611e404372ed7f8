/* The dispatcher, and the decoding of every hypercall: slots, types, rights and bounds are checked
 * here or in the first half of the function that acts. Arguments are registers; no address of a
 * domain is followed. */
#include "hv/core/core.h"

/* What a call returns: RAX, RDX, RSI. */
struct result {
    enum bh_status status;
    uint64_t value0, value1;
};

static struct result answer(enum bh_status status) {
    return (struct result){.status = status};
}

/* --- Looking up capabilities -------------------------------------------------------------------
 */

/* The slot `index` of a table, or NULL. The mask keeps a mispredicted bounds check from reading
 * beyond the table. Slot 0 is not a slot. */
static struct slot *table_slot(struct captable *table, uint64_t index) {
    if (index == 0 || index >= table->count)
        return NULL;
    uint64_t in_bounds = arch_bounds_mask(index, table->count);
    return &table->slot[index & in_bounds];
}

/* A capability of the caller's own table: type and rights in one check. */
static enum bh_status own_cap(struct context *caller, uint64_t index, enum bh_type type,
                              uint32_t rights, struct slot **cap) {
    *cap = table_slot(caller->table.object, index);
    if (!*cap || (*cap)->type != type)
        return BH_BAD_CAP;
    return rights & ~(*cap)->rights ? BH_BAD_RIGHTS : BH_OK;
}

/* Whether a reference may name a slot of the caller's own table without MANAGE. */
enum reach { ANY_SLOT, STRUCTURAL };

/* The slot that a bh_ref names, empty or not. */
static enum bh_status ref_slot(struct context *caller, uint64_t ref, enum reach reach,
                               struct slot **slot) {
    struct captable *table = caller->table.object;
    uint64_t table_index = ref >> 32;
    if (table_index != 0 || reach == STRUCTURAL) {
        struct slot *cap;
        enum bh_status status =
            own_cap(caller, table_index, BH_TYPE_CAPTABLE, BH_CAPTABLE_MANAGE, &cap);
        if (status != BH_OK)
            return status;
        table = cap->object;
    }
    *slot = table_slot(table, ref & 0xffffffffu);
    return *slot ? BH_OK : BH_BAD_CAP;
}

static enum bh_status ref_cap(struct context *caller, uint64_t ref, enum reach reach,
                              enum bh_type type, uint32_t rights, struct slot **cap) {
    enum bh_status status = ref_slot(caller, ref, reach, cap);
    if (status != BH_OK)
        return status;
    if ((*cap)->type != type)
        return BH_BAD_CAP;
    return rights & ~(*cap)->rights ? BH_BAD_RIGHTS : BH_OK;
}

/* --- Hot calls: the lock is held for reading -----------------------------------------------------
 */

static void do_null(struct context *caller) {
    arch_set_result(caller, BH_OK, BH_ABI_VERSION, 0);
}

static void do_signal(struct context *caller) {
    struct slot *event;
    enum bh_status status =
        own_cap(caller, arch_argument(caller, 0), BH_TYPE_EVENT, BH_EVENT_SIGNAL, &event);
    arch_set_result(caller, status, 0, 0);
    if (status == BH_OK)
        event_signal(event->object, event->ref.badge);
}

static void do_wait(struct context *caller) {
    context_wait(caller, arch_argument(caller, 0), arch_argument(caller, 1));
}

static void do_yield(struct context *caller) {
    arch_set_result(caller, BH_OK, 0, 0);
    sched_yield(caller);
}

static void do_irq_ack(struct context *caller) {
    struct slot *cap;
    enum bh_status status =
        own_cap(caller, arch_argument(caller, 0), BH_TYPE_IRQ, BH_IRQ_ACK, &cap);
    if (status == BH_OK && !((struct irq *)cap->object)->attached)
        status = BH_NOT_READY;
    arch_set_result(caller, status, 0, 0);
    if (status == BH_OK)
        irq_acknowledge(cap->object);
}

/* Ports capability, port and width: arguments 0 to 2 of both port calls. */
static enum bh_status decode_port(struct context *caller, uint32_t rights) {
    struct slot *cap;
    uint64_t port = arch_argument(caller, 1), width = arch_argument(caller, 2);
    enum bh_status status = own_cap(caller, arch_argument(caller, 0), BH_TYPE_PORTS, rights, &cap);
    if (status != BH_OK)
        return status;
    if ((width != 1 && width != 2 && width != 4) || port < cap->ports.first ||
        port >= cap->ports.first + (uint64_t)cap->ports.count ||
        width > cap->ports.first + (uint64_t)cap->ports.count - port)
        return BH_BAD_ARG;
    return BH_OK;
}

static void do_port_in(struct context *caller) {
    enum bh_status status = decode_port(caller, BH_PORTS_IN);
    uint64_t value = 0;
    if (status == BH_OK)
        value =
            arch_port_in((uint16_t)arch_argument(caller, 1), (unsigned)arch_argument(caller, 2));
    arch_set_result(caller, status, value, 0);
}

static void do_port_out(struct context *caller) {
    enum bh_status status = decode_port(caller, BH_PORTS_OUT);
    if (status == BH_OK)
        arch_port_out((uint16_t)arch_argument(caller, 1), (unsigned)arch_argument(caller, 2),
                      (uint32_t)arch_argument(caller, 3));
    arch_set_result(caller, status, 0, 0);
}

/* --- Structural calls: the lock is held for writing ----------------------------------------------
 */

static struct result do_retype(struct write_held held, struct context *caller) {
    struct slot *untyped, *destination;
    enum bh_status status = ref_cap(caller, arch_argument(caller, 0), STRUCTURAL, BH_TYPE_UNTYPED,
                                    BH_UNTYPED_RETYPE, &untyped);
    if (status == BH_OK)
        status = ref_slot(caller, arch_argument(caller, 3), STRUCTURAL, &destination);
    uint64_t type = arch_argument(caller, 1), kind = arch_argument(caller, 4);
    if (status == BH_OK && (type > BH_TYPE_DEVICE || kind > BH_SPACE_DEVICE))
        status = BH_BAD_ARG;
    if (status == BH_OK)
        status = untyped_retype(held, untyped, (enum bh_type)type, arch_argument(caller, 2),
                                destination, (uint32_t)kind);
    return answer(status);
}

/* The type's own part of a copy: `copy` starts as the source's contents. */
static enum bh_status derive(const struct slot *source, struct slot *copy, uint64_t a, uint64_t b) {
    switch (source->type) {
    case BH_TYPE_UNTYPED:
        return BH_BAD_ARG;
    case BH_TYPE_EVENT:
        if (!(source->flags & SLOT_ORIGINAL))
            return BH_OK;
        copy->ref.badge = a;
        return a < 64ull * ((struct event *)source->object)->words ? BH_OK : BH_BAD_ARG;
    case BH_TYPE_CPU:
        copy->ref.badge = a;
        return a <= source->ref.badge ? BH_OK : BH_BAD_ARG;
    case BH_TYPE_REGION:
        copy->region.space = NULL;
        copy->region.space_prev = copy->region.space_next = NULL;
        copy->region.va_page = copy->region.mapped = 0;
        if (b == 0)
            return BH_OK;
        if (a >= source->pages || b > source->pages - a)
            return BH_BAD_ARG;
        copy->base = pa_add(source->base, a * PAGE_BYTES);
        copy->pages = (uint32_t)b;
        return BH_OK;
    case BH_TYPE_PORTS:
        if (b == 0)
            return BH_OK;
        if (a < source->ports.first || a - source->ports.first >= source->ports.count ||
            b > source->ports.count - (a - source->ports.first))
            return BH_BAD_ARG;
        copy->ports.first = (uint32_t)a;
        copy->ports.count = (uint32_t)b;
        return BH_OK;
    default:
        return BH_OK;
    }
}

static struct result do_copy(struct write_held held, struct context *caller) {
    (void)held;
    struct slot *source, *destination;
    enum bh_status status = ref_slot(caller, arch_argument(caller, 0), STRUCTURAL, &source);
    if (status == BH_OK)
        status = ref_slot(caller, arch_argument(caller, 1), STRUCTURAL, &destination);
    if (status != BH_OK)
        return answer(status);
    if (source->type == BH_TYPE_NONE)
        return answer(BH_BAD_CAP);
    if (destination->type != BH_TYPE_NONE)
        return answer(BH_BUSY);
    if (!slot_may_have_child(source))
        return answer(BH_TOO_DEEP);
    struct slot copy = *source;
    status = derive(source, &copy, arch_argument(caller, 3), arch_argument(caller, 4));
    if (status != BH_OK)
        return answer(status);
    copy.rights = source->rights & (uint8_t)arch_argument(caller, 2);
    copy.flags = 0;
    *destination = copy;
    slot_insert_child(source, destination);
    return answer(BH_OK);
}

static struct result do_move(struct write_held held, struct context *caller) {
    (void)held;
    struct slot *source, *destination;
    enum bh_status status = ref_slot(caller, arch_argument(caller, 0), STRUCTURAL, &source);
    if (status == BH_OK)
        status = ref_slot(caller, arch_argument(caller, 1), STRUCTURAL, &destination);
    if (status != BH_OK)
        return answer(status);
    if (source->type == BH_TYPE_NONE)
        return answer(BH_BAD_CAP);
    if (destination->type != BH_TYPE_NONE)
        return answer(BH_BUSY);
    slot_move(source, destination);
    if (destination->type == BH_TYPE_REGION)
        region_moved(destination);
    return answer(BH_OK);
}

static struct result do_narrow(struct write_held held, struct context *caller) {
    (void)held;
    struct slot *slot;
    enum bh_status status = ref_slot(caller, arch_argument(caller, 0), STRUCTURAL, &slot);
    if (status == BH_OK && slot->type == BH_TYPE_NONE)
        status = BH_BAD_CAP;
    if (status == BH_OK)
        slot->rights &= (uint8_t)arch_argument(caller, 1);
    return answer(status);
}

static struct result do_delete(struct write_held held, struct context *caller) {
    struct slot *slot;
    enum bh_status status = ref_slot(caller, arch_argument(caller, 0), STRUCTURAL, &slot);
    return answer(status == BH_OK ? slot_delete(held, slot) : status);
}

static struct result do_revoke(struct write_held held, struct context *caller) {
    struct slot *slot;
    enum bh_status status = ref_slot(caller, arch_argument(caller, 0), STRUCTURAL, &slot);
    return answer(status == BH_OK ? slot_revoke(held, slot) : status);
}

static struct result do_scrub(struct write_held held, struct context *caller) {
    struct slot *untyped;
    struct result result = answer(ref_cap(caller, arch_argument(caller, 0), STRUCTURAL,
                                          BH_TYPE_UNTYPED, BH_UNTYPED_RETYPE, &untyped));
    if (result.status == BH_OK)
        result.status = untyped_scrub(held, untyped, &result.value0);
    return result;
}

static struct result do_map(struct write_held held, struct context *caller) {
    struct slot *region, *space;
    enum bh_status status =
        ref_cap(caller, arch_argument(caller, 0), STRUCTURAL, BH_TYPE_REGION, 0, &region);
    if (status == BH_OK)
        status = ref_cap(caller, arch_argument(caller, 1), STRUCTURAL, BH_TYPE_SPACE, BH_SPACE_MAP,
                         &space);
    uint64_t rights = arch_argument(caller, 3);
    if (status == BH_OK && rights > BH_RIGHTS_ALL)
        status = BH_BAD_ARG;
    if (status == BH_OK)
        status =
            region_map(held, region, space->object, arch_argument(caller, 2), (uint32_t)rights);
    return answer(status);
}

static struct result do_unmap(struct write_held held, struct context *caller) {
    struct slot *region;
    enum bh_status status =
        ref_cap(caller, arch_argument(caller, 0), STRUCTURAL, BH_TYPE_REGION, 0, &region);
    uint32_t work = REMOVE_WORK;
    if (status == BH_OK && !region_unmap(held, region, &work))
        status = BH_AGAIN;
    return answer(status);
}

static struct result do_bind(struct write_held held, struct context *caller) {
    struct slot *object, *target = NULL;
    enum bh_status status = ref_slot(caller, arch_argument(caller, 0), STRUCTURAL, &object);
    if (status == BH_OK && arch_argument(caller, 2) != 0)
        status = ref_slot(caller, arch_argument(caller, 2), STRUCTURAL, &target);
    uint64_t what = arch_argument(caller, 1);
    if (status == BH_OK && what > BH_BIND_IRQ_EVENT)
        status = BH_BAD_ARG;
    if (status == BH_OK)
        status = bind(held, object, (enum bh_binding)what, target);
    return answer(status);
}

/* The Context that argument 0 names. */
static enum bh_status context_cap(struct context *caller, uint32_t rights, struct context **out) {
    struct slot *cap;
    enum bh_status status =
        ref_cap(caller, arch_argument(caller, 0), ANY_SLOT, BH_TYPE_CONTEXT, rights, &cap);
    if (status == BH_OK)
        *out = cap->object;
    return status;
}

/* Below this a quantum or budget would do nothing but interrupt. */
enum { SLICE_TSC_MIN = 1000 };

static struct result do_ctx_sched(struct write_held held, struct context *caller) {
    (void)held;
    struct context *context;
    struct slot *cpu;
    enum bh_status status = context_cap(caller, BH_CONTEXT_CONTROL, &context);
    if (status == BH_OK)
        status = own_cap(caller, arch_argument(caller, 1), BH_TYPE_CPU, BH_CPU_SCHEDULE, &cpu);
    if (status != BH_OK)
        return answer(status);
    uint64_t priority = arch_argument(caller, 2), quantum = arch_argument(caller, 3);
    uint64_t budget = arch_argument(caller, 4), period = arch_argument(caller, 5);
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

static struct result do_ctx_resume(struct write_held held, struct context *caller) {
    (void)held;
    struct context *context;
    enum bh_status status = context_cap(caller, BH_CONTEXT_CONTROL, &context);
    if (status != BH_OK)
        return answer(status);
    if (context->space.type == BH_TYPE_NONE || context->table.type == BH_TYPE_NONE || !context->cpu)
        return answer(BH_NOT_READY);
    /* It may have faulted on a jump there, and returning to a non-canonical RIP faults in ring 0.
     */
    if (arch_get_register(context, BH_REG_RIP) >= BH_USER_VA_END)
        return answer(BH_NOT_READY);
    context_unblock(context, BLOCK_STOPPED | BLOCK_FAULT);
    return answer(BH_OK);
}

static struct result do_ctx_suspend(struct write_held held, struct context *caller) {
    (void)held;
    struct context *context;
    enum bh_status status = context_cap(caller, BH_CONTEXT_CONTROL, &context);
    if (status == BH_OK)
        context_block(context, BLOCK_STOPPED);
    return answer(status);
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
    switch (reg) {
    case BH_REG_FAULT_VECTOR:
        return context->fault_vector;
    case BH_REG_FAULT_ERROR:
        return context->fault_error;
    case BH_REG_FAULT_ADDRESS:
        return context->fault_address;
    case BH_REG_CPU_TIME:
        return context->cpu_time;
    case BH_REG_STATE:
        return context_state(context);
    default:
        return arch_get_register(context, (uint32_t)reg);
    }
}

static struct result do_ctx_get(struct write_held held, struct context *caller) {
    (void)held;
    struct context *context;
    uint64_t reg = arch_argument(caller, 1);
    if (reg >= BH_REG_COUNT)
        return answer(BH_BAD_ARG);
    bool time = reg == BH_REG_CPU_TIME || reg == BH_REG_STATE;
    struct result result = answer(context_cap(caller, BH_CONTEXT_READ, &context));
    if (result.status == BH_BAD_RIGHTS && time)
        result.status = context_cap(caller, BH_CONTEXT_TIME, &context);
    if (result.status == BH_OK)
        result.value0 = context_get(context, reg);
    return result;
}

static struct result do_ctx_set(struct write_held held, struct context *caller) {
    (void)held;
    struct context *context;
    enum bh_status status = context_cap(caller, BH_CONTEXT_WRITE, &context);
    if (status != BH_OK)
        return answer(status);
    if (arch_argument(caller, 1) > BH_REG_GS_BASE)
        return answer(BH_BAD_ARG);
    if (!(context->blocked & (BLOCK_STOPPED | BLOCK_FAULT)))
        return answer(BH_BUSY);
    return answer(
        arch_set_register(context, (uint32_t)arch_argument(caller, 1), arch_argument(caller, 2)));
}

/* Words 0 and 1 of CAP_INFO. */
static struct result describe(const struct slot *slot) {
    uint64_t kind = 0, badge = 0;
    if (slot->type == BH_TYPE_UNTYPED)
        kind = slot->untyped.kind;
    else if (slot->type == BH_TYPE_REGION)
        kind = slot->region.kind;
    else if (slot->type == BH_TYPE_EVENT || slot->type == BH_TYPE_CPU)
        badge = slot->ref.badge;
    uint64_t original = slot->flags & SLOT_ORIGINAL ? 1 : 0;
    return (struct result){BH_OK,
                           slot->type | (uint64_t)slot->rights << 8 | (uint64_t)slot->depth << 16 |
                               original << 24 | kind << 32,
                           badge};
}

static struct result measure(const struct slot *slot) {
    const struct space *space = slot->object;
    switch (slot->type) {
    case BH_TYPE_UNTYPED:
        return (struct result){BH_OK, slot->untyped.pages,
                               slot_has_children(slot)
                                   ? slot->untyped.pages -
                                         align_up(slot->untyped.used, PAGE_BYTES) / PAGE_BYTES
                                   : slot->untyped.pages};
    case BH_TYPE_REGION:
        return (struct result){BH_OK, slot->pages, slot->region.mapped};
    case BH_TYPE_CAPTABLE:
        return (struct result){BH_OK, ((struct captable *)slot->object)->count, 0};
    case BH_TYPE_SPACE:
        return (struct result){BH_OK, space->pool_pages, space->pool_pages - space->pool_used};
    case BH_TYPE_PORTS:
        return (struct result){BH_OK, slot->ports.first, slot->ports.count};
    default:
        return answer(BH_OK);
    }
}

static struct result do_cap_info(struct write_held held, struct context *caller) {
    (void)held;
    struct slot *slot;
    enum bh_status status = ref_slot(caller, arch_argument(caller, 0), ANY_SLOT, &slot);
    uint64_t word = arch_argument(caller, 1);
    if (status == BH_OK && word > 1)
        status = BH_BAD_ARG;
    if (status != BH_OK)
        return answer(status);
    return word == 0 ? describe(slot) : measure(slot);
}

static struct result do_region_address(struct write_held held, struct context *caller) {
    (void)held;
    struct slot *region;
    struct result result = answer(ref_cap(caller, arch_argument(caller, 0), ANY_SLOT,
                                          BH_TYPE_REGION, BH_REGION_ADDR, &region));
    if (result.status == BH_OK)
        result.value0 = region->base.raw;
    return result;
}

static struct result do_irq_attach(struct write_held held, struct context *caller) {
    (void)held;
    struct slot *cap, *system;
    struct result result =
        answer(ref_cap(caller, arch_argument(caller, 0), ANY_SLOT, BH_TYPE_IRQ, BH_IRQ_BIND, &cap));
    if (result.status == BH_OK)
        result.status =
            own_cap(caller, arch_argument(caller, 1), BH_TYPE_SYSTEM, BH_SYSTEM_IRQ, &system);
    if (result.status != BH_OK)
        return result;
    struct irq *irq = cap->object;
    if (irq->attached)
        return answer(BH_BUSY);
    result.status = arch_irq_attach(irq, arch_argument(caller, 2), &result.value0, &result.value1);
    irq->attached = result.status == BH_OK;
    return result;
}

static struct result do_system(struct write_held held, struct context *caller) {
    /* Right that each operation needs, by enum bh_system. */
    static const uint8_t rights[] = {BH_SYSTEM_RESET, BH_SYSTEM_RESET, BH_SYSTEM_LOG,
                                     BH_SYSTEM_INFO};
    uint64_t operation = arch_argument(caller, 1), argument = arch_argument(caller, 2);
    if (operation >= sizeof(rights))
        return answer(BH_BAD_ARG);
    struct slot *system;
    enum bh_status status =
        own_cap(caller, arch_argument(caller, 0), BH_TYPE_SYSTEM, rights[operation], &system);
    if (status != BH_OK)
        return answer(status);
    if (operation == BH_SYSTEM_OP_RESET)
        return answer(arch_reset());
    if (operation == BH_SYSTEM_OP_POWER_OFF)
        return answer(arch_power_off());
    if (operation == BH_SYSTEM_OP_COUNTER) {
        if (argument >= BH_COUNTER_COUNT)
            return answer(BH_BAD_ARG);
        return (struct result){BH_OK, held.cpu->counter[argument], 0};
    }
    char text[8];
    size_t length = 0;
    for (; length < sizeof(text) && (argument >> 8 * length & 0xff); length++)
        text[length] = (char)(argument >> 8 * length & 0xff);
    arch_log(text, length);
    return answer(BH_OK);
}

/* --- The dispatcher ------------------------------------------------------------------------------
 */

typedef void hot_call(struct context *caller);
typedef struct result structural_call(struct write_held held, struct context *caller);

static hot_call *const hot_calls[] = {
    [BH_HC_NULL] = do_null,         [BH_HC_SIGNAL] = do_signal,   [BH_HC_WAIT] = do_wait,
    [BH_HC_YIELD] = do_yield,       [BH_HC_IRQ_ACK] = do_irq_ack, [BH_HC_PORT_IN] = do_port_in,
    [BH_HC_PORT_OUT] = do_port_out,
};

static structural_call *const structural_calls[] = {
    [BH_HC_RETYPE] = do_retype,
    [BH_HC_COPY] = do_copy,
    [BH_HC_MOVE] = do_move,
    [BH_HC_NARROW] = do_narrow,
    [BH_HC_DELETE] = do_delete,
    [BH_HC_REVOKE] = do_revoke,
    [BH_HC_SCRUB] = do_scrub,
    [BH_HC_MAP] = do_map,
    [BH_HC_UNMAP] = do_unmap,
    [BH_HC_BIND] = do_bind,
    [BH_HC_CTX_SCHED] = do_ctx_sched,
    [BH_HC_CTX_RESUME] = do_ctx_resume,
    [BH_HC_CTX_SUSPEND] = do_ctx_suspend,
    [BH_HC_CTX_GET] = do_ctx_get,
    [BH_HC_CTX_SET] = do_ctx_set,
    [BH_HC_CAP_INFO] = do_cap_info,
    [BH_HC_REGION_ADDRESS] = do_region_address,
    [BH_HC_IRQ_ATTACH] = do_irq_attach,
    [BH_HC_SYSTEM] = do_system,
};
_Static_assert(sizeof(structural_calls) / sizeof(structural_calls[0]) == BH_HC_COUNT, "complete");

enum { HOT_CALLS = sizeof(hot_calls) / sizeof(hot_calls[0]) };

void hypercall(struct context *caller, uint64_t number) {
    struct cpu *cpu = this_cpu();
    if (number < HOT_CALLS) {
        number &= arch_bounds_mask(number, HOT_CALLS);
        struct read_held held = lock_read(cpu);
        hot_calls[number](caller);
        unlock_read(held);
        return;
    }
    number &= arch_bounds_mask(number, BH_HC_COUNT);
    if (number == BH_HC_NULL || !structural_calls[number]) {
        arch_set_result(caller, BH_BAD_CALL, 0, 0);
        return;
    }
    struct write_held held = lock_write(cpu);
    struct result result = structural_calls[number](held, caller);
    arch_set_result(caller, result.status, result.value0, result.value1);
    unlock_write(held);
}
