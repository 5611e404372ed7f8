#include "mgmt/vmm/ioapic.h"

#include "mgmt/vmm/apic.h"

/* Direct registers (offsets) and indirect ones (values of SELECT). */
enum { SELECT = 0x00, WINDOW = 0x10, END_OF_INTERRUPT = 0x40 };
enum { ID = 0, VERSION = 1, ARBITRATION = 2, ENTRIES = 0x10 };
#define VERSION_VALUE 0x20u /* has the END_OF_INTERRUPT register */

void ioapic_reset(struct ioapic *ioapic, void (*send)(uint64_t entry)) {
    *ioapic = (struct ioapic){.send = send, .lines = ioapic->lines};
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
        ioapic->entry[pin] = APIC_MASKED;
}

/* A level-triggered pin waits, once it has sent, for the end of its interrupt. */
static void send_level(struct ioapic *ioapic, unsigned pin) {
    uint64_t *entry = &ioapic->entry[pin];
    if (!(ioapic->lines >> pin & 1) || (*entry & (APIC_MASKED | APIC_REMOTE_IRR)))
        return;
    *entry |= APIC_REMOTE_IRR;
    ioapic->send(*entry);
}

void ioapic_set(struct ioapic *ioapic, unsigned pin, bool level) {
    bool was = ioapic->lines >> pin & 1;
    uint64_t entry = ioapic->entry[pin];
    ioapic->lines = level ? ioapic->lines | 1u << pin : ioapic->lines & ~(1u << pin);
    if (entry & APIC_LEVEL)
        send_level(ioapic, pin);
    else if (level && !was && !(entry & APIC_MASKED))
        ioapic->send(entry);
}

void ioapic_end_of_interrupt(struct ioapic *ioapic, uint8_t vector) {
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        uint64_t *entry = &ioapic->entry[pin];
        if ((*entry & APIC_VECTOR) != vector || !(*entry & APIC_LEVEL))
            continue;
        *entry &= ~(uint64_t)APIC_REMOTE_IRR;
        send_level(ioapic, pin);
    }
}

static uint32_t read_window(const struct ioapic *ioapic) {
    switch (ioapic->select) {
    case ID:
    case ARBITRATION:
        return ioapic->id;
    case VERSION:
        return VERSION_VALUE | (IOAPIC_PINS - 1) << 16;
    default: {
        uint32_t half = ioapic->select - ENTRIES;
        if (half >= 2 * IOAPIC_PINS)
            return 0;
        return (uint32_t)(ioapic->entry[half / 2] >> (half % 2 * 32));
    }
    }
}

static void write_entry(struct ioapic *ioapic, uint32_t half, uint32_t value) {
    if (half >= 2 * IOAPIC_PINS)
        return;
    uint64_t *entry = &ioapic->entry[half / 2];
    uint32_t low = (uint32_t)*entry;
    if (half % 2 == 1) {
        *entry = (uint64_t)value << 32 | low;
    } else {
        uint32_t kept = low & (APIC_REMOTE_IRR | APIC_BUSY);
        if (!(value & APIC_LEVEL))
            kept = 0;
        *entry =
            (*entry & ~0xffffffffull) | (value & ~(APIC_REMOTE_IRR | APIC_BUSY) & 0x1ffff) | kept;
        if (value & APIC_LEVEL)
            send_level(ioapic, half / 2);
    }
}

uint64_t ioapic_read(const struct bus_access *a) {
    const struct ioapic *ioapic = a->device;
    switch (a->offset) {
    case SELECT:
        return ioapic->select;
    case WINDOW:
        return read_window(ioapic);
    default:
        return 0;
    }
}

void ioapic_write(const struct bus_access *a) {
    struct ioapic *ioapic = a->device;
    uint32_t value = (uint32_t)a->value;
    switch (a->offset) {
    case SELECT:
        ioapic->select = value & 0xff;
        break;
    case WINDOW:
        if (ioapic->select == ID)
            ioapic->id = value & 0x0f000000;
        else if (ioapic->select >= ENTRIES)
            write_entry(ioapic, ioapic->select - ENTRIES, value);
        break;
    case END_OF_INTERRUPT:
        ioapic_end_of_interrupt(ioapic, (uint8_t)value);
        break;
    default:
        break;
    }
}

void ioapic_state(struct state *s, struct ioapic *ioapic) {
    state_section(s, "ioapic");
    STATE_SPAN(s, ioapic, id, lines);
}
