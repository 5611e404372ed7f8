/* The dispatcher, and the decoding of every hypercall: slots, types and rights are checked here,
 * bounds in the act itself before it does anything. Arguments are registers; no address of a domain
 * is followed. */
#include "hv/core/call.h"

/* The slot `index` of a table, or NULL. The mask keeps a mispredicted bounds check from reading
 * beyond the table. Slot 0 is not a slot. */
/*@ requires is_table(table);
  @ assigns \result \from table, index, table->count;
  @ ensures \result == \null || (0 < index < table->count && \result == &table->slot[index]); */
static inline struct slot *table_slot(struct captable *table, uint64_t index) {
    if (index == 0 || index >= table->count)
        return NULL;
    uint64_t in_bounds = arch_bounds_mask(index, table->count);
    return &table->slot[index & in_bounds];
}

/* A capability of the caller's own table: type and rights in one check. */
/*@ requires \valid_read(caller) && is_table((struct captable *)caller->table.object);
  @ requires \valid(cap) && \separated(cap, caller, (struct captable *)caller->table.object);
  @ assigns *cap;
  @ ensures \result == BH_OK ==> names(caller->table.object, index, *cap) &&
  @   (*cap)->type == type && (rights & ~(*cap)->rights) == 0; */
static inline enum bh_status own_cap(struct context *caller, uint64_t index, enum bh_type type,
                                     uint8_t rights, struct slot **cap) {
    *cap = table_slot(caller->table.object, index);
    if (!*cap || (*cap)->type != type)
        return BH_BAD_CAP;
    return rights & ~(*cap)->rights ? BH_BAD_RIGHTS : BH_OK;
}

/* --- Hot calls: the lock is held for reading -----------------------------------------------------
 */

static void do_null(struct context *caller, struct slot *none) {
    (void)none;
    arch_set_result(caller, BH_OK, BH_ABI_VERSION, 0);
}

static void do_signal(struct context *caller, struct slot *event) {
    arch_set_result(caller, BH_OK, 0, 0);
    event_signal(event->object, event->ref.badge);
}

static void do_wait(struct context *caller, struct slot *none) {
    (void)none;
    context_wait(caller, arch_argument(caller, 0), arch_argument(caller, 1));
}

static void do_yield(struct context *caller, struct slot *none) {
    (void)none;
    arch_set_result(caller, BH_OK, 0, 0);
    sched_yield(caller);
}

static void do_irq_ack(struct context *caller, struct slot *cap) {
    struct irq *irq = cap->object;
    arch_set_result(caller, irq->attached ? BH_OK : BH_NOT_READY, 0, 0);
    if (irq->attached)
        irq_acknowledge(irq);
}

/* Port and width: arguments 1 and 2 of both port calls. */
static bool port_valid(const struct slot *ports, uint64_t port, uint64_t width) {
    return (width == 1 || width == 2 || width == 4) &&
           within(ports->ports.count, port - ports->ports.first, width); /* huge if it lies below */
}

static void do_port_in(struct context *caller, struct slot *ports) {
    uint64_t port = arch_argument(caller, 1), width = arch_argument(caller, 2);
    bool valid = port_valid(ports, port, width);
    uint64_t value = valid ? arch_port_in((uint16_t)port, (unsigned)width) : 0;
    arch_set_result(caller, valid ? BH_OK : BH_BAD_ARG, value, 0);
}

static void do_port_out(struct context *caller, struct slot *ports) {
    uint64_t port = arch_argument(caller, 1), width = arch_argument(caller, 2);
    bool valid = port_valid(ports, port, width);
    if (valid)
        arch_port_out((uint16_t)port, (unsigned)width, (uint32_t)arch_argument(caller, 3));
    arch_set_result(caller, valid ? BH_OK : BH_BAD_ARG, 0, 0);
}

/* --- Structural calls: the lock is held for writing ---------------------------------------------
 */

/* How an argument names a slot. */
enum naming {
    NUMBER,     /* it does not */
    OWN,        /* a slot of the caller's own table */
    ANY,        /* a bh_ref; of the caller's own table without MANAGE as well */
    STRUCTURAL, /* a bh_ref whose table's MANAGE right is needed */
    OPTIONAL,   /* the same, or 0 for none */
};

/* type NONE: whatever it holds, or nothing. */
struct operand {
    uint8_t naming, type, rights;
};

#define SLOT                                                                                       \
    { STRUCTURAL, BH_TYPE_NONE, 0 }
#define CAP(type, rights)                                                                          \
    { STRUCTURAL, BH_TYPE_##type, rights }
#define ANY_CAP(type, rights)                                                                      \
    { ANY, BH_TYPE_##type, rights }
#define OWN_CAP(type, rights)                                                                      \
    { OWN, BH_TYPE_##type, rights }

/* Every structural call: its act, and what its first four arguments must name with which rights. */
static const struct {
    act *act;
    struct operand operand[4];
} structural_calls[] = {
    [BH_HC_RETYPE] = {act_retype, {[0] = CAP(UNTYPED, BH_UNTYPED_RETYPE), [3] = SLOT}},
    [BH_HC_COPY] = {act_copy, {SLOT, SLOT}},
    [BH_HC_MOVE] = {act_move, {SLOT, SLOT}},
    [BH_HC_NARROW] = {act_narrow, {SLOT}},
    [BH_HC_DELETE] = {act_delete, {SLOT}},
    [BH_HC_REVOKE] = {act_revoke, {SLOT}},
    [BH_HC_SCRUB] = {act_scrub, {CAP(UNTYPED, BH_UNTYPED_RETYPE)}},
    [BH_HC_MAP] = {act_map, {CAP(REGION, 0), CAP(SPACE, BH_SPACE_MAP)}},
    [BH_HC_UNMAP] = {act_unmap, {CAP(REGION, 0)}},
    [BH_HC_BIND] = {act_bind, {[0] = SLOT, [2] = {OPTIONAL, BH_TYPE_NONE, 0}}},
    [BH_HC_CTX_SCHED] = {act_ctx_sched,
                         {ANY_CAP(CONTEXT, BH_CONTEXT_CONTROL), OWN_CAP(CPU, BH_CPU_SCHEDULE)}},
    [BH_HC_CTX_RESUME] = {act_ctx_resume, {ANY_CAP(CONTEXT, BH_CONTEXT_CONTROL)}},
    [BH_HC_CTX_SUSPEND] = {act_ctx_suspend, {ANY_CAP(CONTEXT, BH_CONTEXT_CONTROL)}},
    [BH_HC_CTX_GET] = {act_ctx_get, {ANY_CAP(CONTEXT, 0)}}, /* rights: by register */
    [BH_HC_CTX_SET] = {act_ctx_set, {ANY_CAP(CONTEXT, BH_CONTEXT_WRITE)}},
    [BH_HC_CAP_INFO] = {act_cap_info, {ANY_CAP(NONE, 0)}},
    [BH_HC_REGION_ADDRESS] = {act_region_address, {ANY_CAP(REGION, BH_REGION_ADDR)}},
    [BH_HC_IRQ_ATTACH] = {act_irq_attach,
                          {ANY_CAP(IRQ, BH_IRQ_BIND), OWN_CAP(SYSTEM, BH_SYSTEM_IRQ)}},
    [BH_HC_SYSTEM] = {act_system, {OWN_CAP(SYSTEM, 0)}}, /* rights: by operation */
    [BH_HC_DOORBELL] =
        {act_doorbell,
         {[0] = CAP(SPACE, BH_SPACE_MAP), [3] = {OPTIONAL, BH_TYPE_EVENT, BH_EVENT_SIGNAL}}},
    [BH_HC_REGION_DIRTY] = {act_region_dirty, {ANY_CAP(REGION, BH_REGION_DIRTY)}},
};
_Static_assert(COUNT(structural_calls) == BH_HC_COUNT, "complete");

/* The slot that a bh_ref names, empty or not. */
/*@ requires \valid_read(caller) && holds_tables((struct captable *)caller->table.object);
  @ requires \valid(slot) && \separated(slot, caller, (struct captable *)caller->table.object);
  @ assigns *slot;
  @ ensures \result == BH_OK ==> \valid(*slot);
  @ ensures \result == BH_OK && naming == ANY && ref >> 32 == 0 ==>
  @   names(caller->table.object, ref & 0xffffffff, *slot); */
static enum bh_status ref_slot(struct context *caller, uint64_t ref, enum naming naming,
                               struct slot **slot) {
    struct captable *table = caller->table.object;
    if (naming != ANY || ref >> 32 != 0) {
        struct slot *cap;
        enum bh_status status =
            own_cap(caller, ref >> 32, BH_TYPE_CAPTABLE, BH_CAPTABLE_MANAGE, &cap);
        if (status != BH_OK)
            return status;
        /*@ assert names(caller->table.object, ref >> 32, cap) && cap->type == BH_TYPE_CAPTABLE &&
          @   (BH_CAPTABLE_MANAGE & ~cap->rights) == 0; */
        //@ assert is_table((struct captable *)cap->object);
        table = cap->object;
    }
    //@ assert is_table(table);
    *slot = table_slot(table, ref & 0xffffffffu);
    return *slot ? BH_OK : BH_BAD_CAP;
}

/*@ requires \valid_read(caller) && holds_tables((struct captable *)caller->table.object);
  @ requires \valid_read(operand) && \valid(slot);
  @ requires \separated(slot, caller, operand, (struct captable *)caller->table.object);
  @ assigns *slot;
  @ ensures \result == BH_OK && operand->naming != NUMBER &&
  @   !(operand->naming == OPTIONAL && value == 0) && operand->type != BH_TYPE_NONE ==>
  @     (*slot)->type == operand->type && (operand->rights & ~(*slot)->rights) == 0; */
static enum bh_status decode(struct context *caller, const struct operand *operand, uint64_t value,
                             struct slot **slot) {
    if (operand->naming == NUMBER || (operand->naming == OPTIONAL && value == 0))
        return BH_OK;
    if (operand->naming == OWN)
        return own_cap(caller, value, operand->type, operand->rights, slot);
    enum bh_status status = ref_slot(caller, value, operand->naming, slot);
    if (status != BH_OK || operand->type == BH_TYPE_NONE)
        return status;
    if ((*slot)->type != operand->type)
        return BH_BAD_CAP;
    return operand->rights & ~(*slot)->rights ? BH_BAD_RIGHTS : BH_OK;
}

static struct result act_on(struct write_held held, struct context *caller, uint64_t number) {
    struct call call = {.held = held};
    for (unsigned i = 0; i < COUNT(call.value); i++)
        call.value[i] = arch_argument(caller, i);
    for (unsigned i = 0; i < COUNT(call.slot); i++) {
        enum bh_status status =
            decode(caller, &structural_calls[number].operand[i], call.value[i], &call.slot[i]);
        if (status != BH_OK)
            return answer(status);
    }
    return structural_calls[number].act(&call);
}

/* --- The dispatcher ------------------------------------------------------------------------------
 */

/* Every hot call: its function, and what its first argument must name with which rights. */
static const struct hot_call {
    void (*act)(struct context *caller, struct slot *named);
    uint8_t type, rights;
} hot_calls[BH_HC_COUNT] = {
    [BH_HC_NULL] = {do_null, BH_TYPE_NONE, 0},
    [BH_HC_SIGNAL] = {do_signal, BH_TYPE_EVENT, BH_EVENT_SIGNAL},
    [BH_HC_WAIT] = {do_wait, BH_TYPE_NONE, 0},
    [BH_HC_YIELD] = {do_yield, BH_TYPE_NONE, 0},
    [BH_HC_IRQ_ACK] = {do_irq_ack, BH_TYPE_IRQ, BH_IRQ_ACK},
    [BH_HC_PORT_IN] = {do_port_in, BH_TYPE_PORTS, BH_PORTS_IN},
    [BH_HC_PORT_OUT] = {do_port_out, BH_TYPE_PORTS, BH_PORTS_OUT},
    [BH_HC_VCPU_RUN] = {vcpu_run, BH_TYPE_VCPU, BH_VCPU_RUN},
    [BH_HC_VCPU_SYNC] = {vcpu_sync, BH_TYPE_VCPU, BH_VCPU_RUN},
};

/* Not inlined, so that a hot call does not save the registers that only this needs. */
__attribute__((noinline)) static void structural_call(struct cpu *cpu, struct context *caller,
                                                      uint64_t number) {
    struct write_held held = lock_write(cpu);
    struct result result = act_on(held, caller, number);
    arch_set_result(caller, result.status, result.value0, result.value1);
    unlock_write(held);
}

/* Every number is in one of the two tables. */
void hypercall(struct context *caller, uint64_t number) {
    struct cpu *cpu = this_cpu();
    if (number >= BH_HC_COUNT) {
        arch_set_result(caller, BH_BAD_CALL, 0, 0);
        return;
    }
    number &= arch_bounds_mask(number, BH_HC_COUNT);
    const struct hot_call *call = &hot_calls[number];
    if (!call->act) {
        structural_call(cpu, caller, number);
        return;
    }
    struct read_held held = lock_read(cpu);
    struct slot *named = NULL;
    enum bh_status status = BH_OK;
    if (call->type != BH_TYPE_NONE)
        status = own_cap(caller, arch_argument(caller, 0), call->type, call->rights, &named);
    if (status == BH_OK)
        call->act(caller, named);
    else
        arch_set_result(caller, status, 0, 0);
    unlock_read(held);
}
