/* References from object to object. Each is a hidden slot inside the referring object and a child
 * of the capability that was named, so revocation finds it. */
#include "hv/core/core.h"

/* What each binding needs of its two capabilities. */
static const struct rule {
    uint8_t object_type, object_rights, target_type, target_rights;
} rules[] = {
    [BH_BIND_CTX_SPACE] = {BH_TYPE_CONTEXT, BH_CONTEXT_BIND, BH_TYPE_SPACE, BH_SPACE_BIND},
    [BH_BIND_CTX_TABLE] = {BH_TYPE_CONTEXT, BH_CONTEXT_BIND, BH_TYPE_CAPTABLE, BH_CAPTABLE_BIND},
    [BH_BIND_CTX_EVENT] = {BH_TYPE_CONTEXT, BH_CONTEXT_BIND, BH_TYPE_EVENT, BH_EVENT_RECEIVE},
    [BH_BIND_CTX_FAULT] = {BH_TYPE_CONTEXT, BH_CONTEXT_BIND, BH_TYPE_EVENT, BH_EVENT_SIGNAL},
    [BH_BIND_IRQ_EVENT] = {BH_TYPE_IRQ, BH_IRQ_BIND, BH_TYPE_EVENT, BH_EVENT_SIGNAL},
    [BH_BIND_VCPU_SPACE] = {BH_TYPE_VCPU, BH_VCPU_BIND, BH_TYPE_SPACE, BH_SPACE_BIND},
    [BH_BIND_VCPU_STATE] = {BH_TYPE_VCPU, BH_VCPU_BIND, BH_TYPE_REGION,
                            BH_REGION_READ | BH_REGION_WRITE},
};

static struct slot *hidden_slot(void *object, enum bh_binding what) {
    struct context *context = object;
    switch (what) {
    case BH_BIND_CTX_SPACE:
        return &context->space;
    case BH_BIND_CTX_TABLE:
        return &context->table;
    case BH_BIND_CTX_EVENT:
        return &context->event;
    case BH_BIND_CTX_FAULT:
        return &context->fault;
    case BH_BIND_VCPU_SPACE:
        return &((struct vcpu *)object)->space;
    case BH_BIND_VCPU_STATE:
        return &((struct vcpu *)object)->state;
    default:
        return &((struct irq *)object)->event;
    }
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
    if ((unsigned)what >= sizeof(rules) / sizeof(rules[0]))
        return BH_BAD_ARG;
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

    struct slot *hidden = hidden_slot(object->object, what);
    if (hidden->type != BH_TYPE_NONE)
        unbind(held, hidden);
    if (!target)
        return BH_OK;
    *hidden = (struct slot){.type = target->type,
                            .rights = target->rights,
                            .flags = SLOT_HIDDEN,
                            .object = target->object,
                            .ref = {.badge = target->type == BH_TYPE_EVENT ? target->ref.badge : 0,
                                    .owner = object->object,
                                    .role = (uint8_t)what}};
    slot_insert_child(target, hidden);
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
