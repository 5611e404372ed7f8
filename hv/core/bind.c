/* References from object to object. Each is a hidden slot inside the referring object and a child
 * of the capability that was named, so revocation finds it. */
#include "hv/core/core.h"

/* What each binding needs of its two capabilities, and where in the object its hidden slot is. */
#define RULE(object, OBJECT, field, target, target_rights)                                         \
    {                                                                                              \
        BH_TYPE_##OBJECT, BH_##OBJECT##_BIND, BH_TYPE_##target, target_rights,                     \
            offsetof(struct object, field)                                                         \
    }
static const struct rule {
    uint8_t object_type, object_rights, target_type, target_rights;
    uint16_t offset;
} rules[] = {
    [BH_BIND_CTX_SPACE] = RULE(context, CONTEXT, space, SPACE, BH_SPACE_BIND),
    [BH_BIND_CTX_TABLE] = RULE(context, CONTEXT, table, CAPTABLE, BH_CAPTABLE_BIND),
    [BH_BIND_CTX_EVENT] = RULE(context, CONTEXT, event, EVENT, BH_EVENT_RECEIVE),
    [BH_BIND_CTX_FAULT] = RULE(context, CONTEXT, fault, EVENT, BH_EVENT_SIGNAL),
    [BH_BIND_IRQ_EVENT] = RULE(irq, IRQ, event, EVENT, BH_EVENT_SIGNAL),
    [BH_BIND_VCPU_SPACE] = RULE(vcpu, VCPU, space, SPACE, BH_SPACE_BIND),
    [BH_BIND_VCPU_STATE] = RULE(vcpu, VCPU, state, REGION, BH_REGION_READ | BH_REGION_WRITE),
};

static struct slot *hidden_slot(const struct slot *object, const struct rule *rule) {
    return (void *)((uint8_t *)object->object + rule->offset);
}

/* Beyond its type: Contexts run on Spaces of ring 3, Vcpus on guest ones; hv reaches shared memory
 * only. */
static bool target_suits(enum bh_binding what, const struct slot *target) {
    if (target->type == BH_TYPE_SPACE)
        return ((const struct space *)target->object)->kind ==
               (what == BH_BIND_VCPU_SPACE ? BH_SPACE_GUEST : BH_SPACE_RING3);
    return target->type != BH_TYPE_REGION ||
           (target->region.kind == BH_KIND_SHARED && target->pages == 1);
}

/* A Context's references change only while it is stopped; a Vcpu's run ends. */
static bool is_busy(const struct context *context, enum bh_binding what,
                    const struct slot *target) {
    if (!(context->blocked & (BLOCK_STOPPED | BLOCK_FAULT)))
        return true;
    if (what != BH_BIND_CTX_EVENT || !target)
        return false;
    const struct context *waiter = ((const struct event *)target->object)->waiter;
    return waiter && waiter != context;
}

enum bh_status bind(struct write_held held, struct slot *object, enum bh_binding what,
                    struct slot *target) {
    const struct rule *rule = &rules[what];
    if (object->type != rule->object_type || (target && target->type != rule->target_type))
        return BH_BAD_CAP;
    if (rule->object_rights & ~object->rights || (target && rule->target_rights & ~target->rights))
        return BH_BAD_RIGHTS;
    if (target && !slot_may_have_child(target))
        return BH_TOO_DEEP;
    if (target && !target_suits(what, target))
        return BH_BAD_ARG;
    if (object->type == BH_TYPE_CONTEXT && is_busy(object->object, what, target))
        return BH_BUSY;

    struct slot *hidden = hidden_slot(object, rule);
    unbind(held, hidden);
    if (!target)
        return BH_OK;
    slot_refer(hidden, target, object->object, (uint8_t)what);
    if (what == BH_BIND_CTX_EVENT)
        ((struct event *)target->object)->waiter = object->object;
    /* An interrupt that came when there was nobody to tell. */
    if (what == BH_BIND_IRQ_EVENT && ((struct irq *)object->object)->in_service)
        event_signal(target->object, target->ref.badge);
    if (what == BH_BIND_VCPU_STATE)
        ((struct vcpu *)object->object)->page = arch_object_pointer(target->base);
    return BH_OK;
}

void unbind(struct write_held held, struct slot *hidden) {
    (void)held;
    if (slot_empty(hidden))
        return;
    struct context *context = hidden->ref.owner;
    struct vcpu *vcpu = hidden->ref.owner;
    switch (hidden->ref.role) {
    case BH_BIND_CTX_SPACE:
    case BH_BIND_CTX_TABLE:
        context_block(context, BLOCK_STOPPED);
        break;
    case BH_BIND_CTX_EVENT:
        ((struct event *)hidden->object)->waiter = NULL;
        if (context->blocked & BLOCK_WAIT)
            context_end_wait(context, BH_NOT_READY, 0, 0);
        break;
    case BH_BIND_VCPU_SPACE:
        vcpu_stop(vcpu);
        break;
    case BH_BIND_VCPU_STATE:
        vcpu_stop(vcpu);
        vcpu->page = NULL;
        break;
    default: /* a doorbell, a fault Event or an Irq's Event: there is just nobody to tell any more
              */
        break;
    }
    slot_remove(hidden);
}

bool unbind_all(struct write_held held, const struct slot *object, uint32_t *work) {
    for (unsigned i = 0; i < COUNT(rules); i++) {
        if (rules[i].object_type != object->type || slot_empty(hidden_slot(object, &rules[i])))
            continue;
        if (!work_take(work, 1))
            return false;
        unbind(held, hidden_slot(object, &rules[i]));
    }
    return true;
}
