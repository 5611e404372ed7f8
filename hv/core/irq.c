/* Interrupt sources: one signal each until it is acknowledged; what comes meanwhile is kept as one
 * more. */
#include "hv/core/core.h"

static void raise(struct irq *irq) {
    if (irq->in_service) {
        irq->again = true;
        return;
    }
    irq->in_service = true;
    if (irq->event.type != BH_TYPE_NONE)
        event_signal(irq->event.object, irq->event.ref.badge);
}

void irq_deliver(struct irq *irq) {
    struct read_held held = lock_read(this_cpu());
    raise(irq);
    unlock_read(held);
}

void irq_acknowledge(struct irq *irq) {
    irq->in_service = false;
    arch_irq_unmask(irq);
    if (irq->again) {
        irq->again = false;
        raise(irq);
    }
}
