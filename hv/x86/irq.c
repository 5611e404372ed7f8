/* Interrupt vectors: which Irq each one means. */
#include "hv/x86/x86.h"

/* MSI: SDM 3A, 10.11: physical destination, fixed delivery, edge. */
#define MSI_ADDRESS 0xfee00000ull
#define MSI_DESTINATION_SHIFT 12

static struct irq *vectors[256];

/* A free vector, 0 if there is none; *taken: another Irq has this pin. */
static unsigned find_vector(bool msi, uint32_t gsi, bool *taken) {
    unsigned found = 0;
    for (unsigned vector = VECTOR_IRQ_FIRST; vector <= VECTOR_IRQ_LAST; vector++) {
        const struct irq *irq = vectors[vector];
        if (!irq)
            found = vector;
        else if (!msi && !irq->arch.msi && irq->arch.gsi == gsi)
            *taken = true;
    }
    return found;
}

enum bh_status arch_irq_attach(struct irq *irq, uint64_t source, uint64_t *address,
                               uint64_t *data) {
    bool msi = source == BH_IRQ_SOURCE_MSI;
    uint32_t gsi = (uint32_t)source;
    *address = *data = 0;
    if (!msi && ((source & ~BH_IRQ_GSI_LEVEL) >> 32 || !ioapic_has(gsi)))
        return BH_BAD_ARG;
    bool taken = false;
    unsigned vector = find_vector(msi, gsi, &taken);
    if (taken)
        return BH_BUSY;
    if (!vector)
        return BH_NO_MEMORY;

    irq->arch = (struct arch_irq){.vector = (uint8_t)vector, .msi = msi, .gsi = gsi};
    vectors[vector] = irq;
    if (msi) {
        *address = MSI_ADDRESS | (uint64_t)lapic_id() << MSI_DESTINATION_SHIFT;
        *data = vector;
    } else {
        irq->arch.level = ioapic_connect(gsi, (uint8_t)vector, source & BH_IRQ_GSI_LEVEL);
        ioapic_mask(gsi, false);
    }
    return BH_OK;
}

void arch_irq_detach(struct irq *irq) {
    if (!irq->arch.msi)
        ioapic_mask(irq->arch.gsi, true);
    vectors[irq->arch.vector] = NULL;
}

/* An edge that comes while a pin is masked is lost, so only levels are masked; what an edge source
 * sends before it is acknowledged the core keeps. */
void arch_irq_unmask(struct irq *irq) {
    if (irq->arch.level)
        ioapic_mask(irq->arch.gsi, false);
}

void irq_interrupt(uint8_t vector) {
    struct irq *irq = vectors[vector];
    if (irq && irq->arch.level)
        ioapic_mask(irq->arch.gsi, true);
    lapic_eoi();
    if (irq)
        irq_deliver(irq);
}
