/* I/O APICs: interrupt pins, named by global system interrupt (ACPI 6.5, 5.2.13). Intel 82093AA
 * data sheet, chapter 3. */
#include "hv/x86/x86.h"

enum { IOREGSEL = 0x00, IOWIN = 0x10 };  /* offsets of the two memory-mapped registers */
enum { IOAPICVER = 1, IOREDTBL = 0x10 }; /* two for each pin */
enum { REDIRECTION_LOW_ACTIVE = 1 << 13, REDIRECTION_LEVEL = 1 << 15 };
enum { REDIRECTION_MASKED = 1 << 16, REDIRECTION_DESTINATION_SHIFT = 24 /* in the upper half */ };

static struct ioapic {
    volatile uint32_t *registers;
    uint32_t gsi_base, pins;
} ioapics[IOAPICS_MAX];
static unsigned count;

/* What the firmware says of a pin counts more than what its user says. */
static struct override {
    uint32_t gsi;
    bool level, low;
} overrides[OVERRIDES_MAX];
static unsigned override_count;

static uint32_t ioapic_read(const struct ioapic *ioapic, uint32_t index) {
    ioapic->registers[IOREGSEL / 4] = index;
    return ioapic->registers[IOWIN / 4];
}

static void ioapic_write(const struct ioapic *ioapic, uint32_t index, uint32_t value) {
    ioapic->registers[IOREGSEL / 4] = index;
    ioapic->registers[IOWIN / 4] = value;
}

void ioapic_add(struct pa address, uint32_t gsi_base) {
    if (count == IOAPICS_MAX)
        panic("the board has more than %u IOAPICs", IOAPICS_MAX);
    struct ioapic *ioapic = &ioapics[count];
    ioapic->registers = window_map(WINDOW_IOAPIC + count, address);
    ioapic->gsi_base = gsi_base;
    ioapic->pins = (ioapic_read(ioapic, IOAPICVER) >> 16 & 0xff) + 1;
    count++;
    for (uint32_t pin = 0; pin < ioapic->pins; pin++)
        ioapic_mask(gsi_base + pin, true);
}

void ioapic_override(uint32_t gsi, bool level, bool low) {
    if (override_count < OVERRIDES_MAX)
        overrides[override_count++] = (struct override){gsi, level, low};
}

static const struct ioapic *ioapic_of(uint32_t gsi) {
    for (unsigned i = 0; i < count; i++)
        if (gsi >= ioapics[i].gsi_base && gsi - ioapics[i].gsi_base < ioapics[i].pins)
            return &ioapics[i];
    return NULL;
}

bool ioapic_has(uint32_t gsi) {
    return ioapic_of(gsi) != NULL;
}

void ioapic_mask(uint32_t gsi, bool masked) {
    const struct ioapic *ioapic = ioapic_of(gsi);
    uint32_t index = IOREDTBL + 2 * (gsi - ioapic->gsi_base);
    uint32_t low = ioapic_read(ioapic, index) & ~(uint32_t)REDIRECTION_MASKED;
    ioapic_write(ioapic, index, low | (masked ? REDIRECTION_MASKED : 0));
}

bool ioapic_connect(uint32_t gsi, uint8_t vector, bool level) {
    const struct ioapic *ioapic = ioapic_of(gsi);
    uint32_t index = IOREDTBL + 2 * (gsi - ioapic->gsi_base);
    bool low = level;
    for (unsigned i = 0; i < override_count; i++)
        if (overrides[i].gsi == gsi) {
            level = overrides[i].level;
            low = overrides[i].low;
        }
    ioapic_write(ioapic, index + 1, lapic_id() << REDIRECTION_DESTINATION_SHIFT);
    ioapic_write(ioapic, index,
                 vector | REDIRECTION_MASKED | (level ? REDIRECTION_LEVEL : 0) |
                     (low ? REDIRECTION_LOW_ACTIVE : 0));
    return level;
}
