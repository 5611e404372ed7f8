/* The I/O APIC: 24 pins, each with an entry that says which interrupt message its line sends.
 * Reference: 82093AA data sheet; ICH9 data sheet, 13.5. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "mgmt/vmm/bus.h"
#include "mgmt/vmm/state.h"

#define IOAPIC_PINS 24u
#define IOAPIC_BASE 0xfec00000ull
#define IOAPIC_BYTES 0x1000ull

struct ioapic {
    uint32_t id, select;
    uint64_t entry[IOAPIC_PINS];
    uint32_t lines;
    /* Sends the message of an entry to the local APICs. */
    void (*send)(uint64_t entry);
};

void ioapic_reset(struct ioapic *ioapic, void (*send)(uint64_t entry));
void ioapic_state(struct state *s, struct ioapic *ioapic);
void ioapic_set(struct ioapic *ioapic, unsigned pin, bool level);
/* A local APIC has ended a level-triggered interrupt of this vector. */
void ioapic_end_of_interrupt(struct ioapic *ioapic, uint8_t vector);

uint64_t ioapic_read(const struct bus_access *access);
void ioapic_write(const struct bus_access *access);
