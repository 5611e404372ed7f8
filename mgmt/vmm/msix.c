/* See msix.h. */
#include "mgmt/vmm/msix.h"

#include <assert.h>
#include <string.h>

#define CAPABILITY_MSIX 0x11u /* PCI 3.0, appendix H */
#define CAPABILITY_BYTES 12u
#define CONTROL 2u /* 6.8.2.3: message control, in the capability */
#define CONTROL_ENABLE 0x8000u
#define CONTROL_MASK 0x4000u
#define TABLE 4u
#define PENDING 8u

#define ENTRY_ADDRESS 0u /* 6.8.2.6 and following; words of an entry */
#define ENTRY_ADDRESS_HIGH 1u
#define ENTRY_DATA 2u
#define ENTRY_CONTROL 3u
#define ENTRY_MASKED 0x1u

void msix_init(struct msix *m, struct pci_function *function, unsigned vectors, unsigned bar,
               uint32_t table_offset, uint32_t pending_offset) {
    assert(vectors >= 1 && vectors <= MSIX_VECTORS_MAX);
    *m = (struct msix){.function = function, .vectors = vectors};
    m->capability = pci_add_capability(function, CAPABILITY_MSIX, CAPABILITY_BYTES);
    pci_set16(function, m->capability + CONTROL, (uint16_t)(vectors - 1));
    function->writable[m->capability + CONTROL + 1] = (CONTROL_ENABLE | CONTROL_MASK) >> 8;
    pci_set32(function, m->capability + TABLE, table_offset | bar);
    pci_set32(function, m->capability + PENDING, pending_offset | bar);
    for (unsigned i = 0; i < vectors; i++)
        m->table[i][ENTRY_CONTROL] = ENTRY_MASKED;
}

static uint16_t control(const struct msix *m) {
    return pci_get16(m->function, m->capability + CONTROL);
}

bool msix_enabled(const struct msix *m) {
    return control(m) & CONTROL_ENABLE;
}

/* Sends what is pending and no longer masked. */
static void deliver(struct msix *m) {
    if ((control(m) & (CONTROL_ENABLE | CONTROL_MASK)) != CONTROL_ENABLE ||
        !(pci_get16(m->function, PCI_COMMAND) & PCI_COMMAND_MASTER))
        return;
    for (uint32_t left = m->pending; left; left &= left - 1) {
        unsigned vector = (unsigned)__builtin_ctz(left);
        const uint32_t *entry = m->table[vector];
        if (entry[ENTRY_CONTROL] & ENTRY_MASKED)
            continue;
        m->pending &= ~(1u << vector);
        pci_message(entry[ENTRY_ADDRESS] | (uint64_t)entry[ENTRY_ADDRESS_HIGH] << 32,
                    entry[ENTRY_DATA]);
    }
}

void msix_signal(struct msix *m, unsigned vector) {
    if (vector >= m->vectors || !msix_enabled(m))
        return;
    m->pending |= 1u << vector;
    deliver(m);
}

void msix_clear(struct msix *m) {
    m->pending = 0;
}

static bool in_table(const struct msix *m, uint64_t offset, unsigned bytes) {
    return offset < (uint64_t)m->vectors * MSIX_ENTRY_BYTES &&
           bytes <= (uint64_t)m->vectors * MSIX_ENTRY_BYTES - offset;
}

uint64_t msix_read_table(const struct msix *m, uint64_t offset, unsigned bytes) {
    uint64_t value = 0;
    if (in_table(m, offset, bytes))
        memcpy(&value, (const uint8_t *)m->table + offset, bytes);
    return value;
}

/* 6.8.2: aligned accesses of 4 and 8 bytes; the result of others is undefined: nothing. */
void msix_write_table(struct msix *m, uint64_t offset, unsigned bytes, uint64_t value) {
    if (!in_table(m, offset, bytes) || offset % bytes || (bytes != 4 && bytes != 8))
        return;
    memcpy((uint8_t *)m->table + offset, &value, bytes);
    deliver(m);
}

uint64_t msix_read_pending(const struct msix *m, uint64_t offset, unsigned bytes) {
    uint64_t value = 0, bits = m->pending;
    if (offset < MSIX_PENDING_BYTES && bytes <= MSIX_PENDING_BYTES - offset)
        memcpy(&value, (const uint8_t *)&bits + offset, bytes);
    return value;
}

void msix_config_written(struct msix *m) {
    if (!msix_enabled(m))
        m->pending = 0;
    deliver(m);
}

void msix_state(struct state *s, struct msix *m) {
    STATE(s, m->table);
    STATE(s, m->pending);
    m->pending &= (uint32_t)((1ull << m->vectors) - 1);
}
