/* MSI-X of one PCI function: table, pending bits, masks. PCI Local Bus 3.0, 6.8.2. */
#pragma once

#include "mgmt/vmm/pci.h"

#define MSIX_VECTORS_MAX 32u
#define MSIX_ENTRY_BYTES 16u
#define MSIX_PENDING_BYTES 8u /* one 64-bit word of pending bits */

struct msix {
    struct pci_function *function;
    unsigned capability; /* its offset in configuration space */
    unsigned vectors;
    uint32_t table[MSIX_VECTORS_MAX][MSIX_ENTRY_BYTES / 4]; /* address (64 bits), data, control */
    uint32_t pending;                                       /* a bit for each vector */
};

/* Adds the capability; table and pending bits lie at these offsets in `bar`, whose accesses the
 * device passes on. 1..MSIX_VECTORS_MAX vectors. */
void msix_init(struct msix *m, struct pci_function *function, unsigned vectors, unsigned bar,
               uint32_t table_offset, uint32_t pending_offset);

bool msix_enabled(const struct msix *m);

/* Sends the vector's message, now or when it is unmasked. Nothing while MSI-X is off, or if there
 * is no such vector. */
void msix_signal(struct msix *m, unsigned vector);

/* Forgets what is pending: the device was reset. */
void msix_clear(struct msix *m);

/* offset: from the table's beginning (table: msix->vectors entries) or that of the pending bits. */
uint64_t msix_read_table(const struct msix *m, uint64_t offset, unsigned bytes);
void msix_write_table(struct msix *m, uint64_t offset, unsigned bytes, uint64_t value);
uint64_t msix_read_pending(const struct msix *m, uint64_t offset, unsigned bytes);

/* After a write to configuration space: masks may have changed. */
void msix_config_written(struct msix *m);

/* A part of its device's. */
void msix_state(struct state *s, struct msix *m);
