#include "mgmt/vmm/apicbus.h"

#include <stddef.h>

#include "mgmt/vmm/apic.h"

#define SHORTHAND 0xc0000u /* of an interrupt command */
#define SHORTHAND_SELF 0x40000u
#define SHORTHAND_ALL 0x80000u
#define MESSAGE_LOGICAL 0x4u /* of an MSI address */

static struct {
    struct vcpu *vcpu;
    uint32_t vcpus;
    void (*wake)(struct vcpu *vcpu);
} bus;

void apicbus_init(struct vcpu *vcpus, uint32_t count, void (*wake)(struct vcpu *vcpu)) {
    bus.vcpu = vcpus;
    bus.vcpus = count;
    bus.wake = wake;
}

/* The message reaches this one vCPU. */
static void deliver(struct vcpu *vcpu, uint32_t command) {
    struct lapic *lapic = &vcpu->lapic;
    switch (command & APIC_MODE) {
    case APIC_MODE_FIXED:
    case APIC_MODE_LOWEST:
        lapic_accept(lapic, command & APIC_VECTOR, command & APIC_LEVEL);
        break;
    case APIC_MODE_NMI:
        lapic->nmi = true;
        break;
    case APIC_MODE_INIT:
        lapic->init = true;
        lapic->startup = false;
        break;
    case APIC_MODE_STARTUP:
        lapic->startup = true;
        lapic->startup_vector = command & APIC_VECTOR;
        break;
    default: /* SMI; ExtINT comes by LINT0 alone */
        return;
    }
    bus.wake(vcpu);
}

/* To the one of those meant that has the least to do. */
static void deliver_lowest(uint32_t destination, uint32_t command) {
    struct vcpu *best = NULL;
    for (uint32_t i = 0; i < bus.vcpus; i++) {
        struct vcpu *vcpu = &bus.vcpu[i];
        if (lapic_is_meant(&vcpu->lapic, destination, command & APIC_LOGICAL) &&
            (!best ||
             lapic_processor_priority(&vcpu->lapic) < lapic_processor_priority(&best->lapic)))
            best = vcpu;
    }
    if (best)
        deliver(best, command);
}

static void route(uint32_t destination, uint32_t command) {
    if ((command & APIC_MODE) == APIC_MODE_LOWEST) {
        deliver_lowest(destination, command);
        return;
    }
    for (uint32_t i = 0; i < bus.vcpus; i++)
        if (lapic_is_meant(&bus.vcpu[i].lapic, destination, command & APIC_LOGICAL))
            deliver(&bus.vcpu[i], command);
}

void apicbus_command(struct lapic *from, uint32_t destination, uint32_t command) {
    uint32_t shorthand = command & SHORTHAND;
    /* INIT with the level off only synchronized arbitration once. */
    if ((command & APIC_MODE) == APIC_MODE_INIT && (command & APIC_LEVEL) &&
        !(command & APIC_ASSERT))
        return;
    command &= ~APIC_LEVEL; /* IPIs are edges */
    if (!shorthand) {
        route(destination, command);
        return;
    }
    for (uint32_t i = 0; i < bus.vcpus; i++) {
        struct vcpu *vcpu = &bus.vcpu[i];
        bool self = &vcpu->lapic == from;
        if (shorthand == SHORTHAND_SELF ? self : shorthand == SHORTHAND_ALL || !self)
            deliver(vcpu, command);
    }
}

void apicbus_entry(uint64_t entry) {
    route((uint32_t)(entry >> 56),
          (uint32_t)entry & (APIC_VECTOR | APIC_MODE | APIC_LOGICAL | APIC_LEVEL));
}

void apicbus_message(uint64_t address, uint32_t data) {
    if (address >> 20 != LAPIC_BASE >> 20)
        return; /* a write to nowhere */
    uint32_t command = data & (APIC_VECTOR | APIC_MODE);
    route((uint32_t)(address >> 12 & 0xff),
          command | (address & MESSAGE_LOGICAL ? APIC_LOGICAL : 0));
}
