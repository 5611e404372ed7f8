/* What drivers and back ends may ask of the policy role: DMA memory, device registers, interrupts,
 * a log. Narrow on purpose: a driver role in an instance of its own gets the same calls over a
 * channel. Nothing here blocks. Host-side tests supply their own implementation
 * (test/unit/fake_platform.c). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/cap.h"
#include "abi/status.h"

/* A host-physical address. Not a pointer, not an integer. */
struct hpa {
    uint64_t raw;
};

/* Physically contiguous, zeroed, mapped read-write here; a device may access it at `hpa`. */
struct dma_memory {
    void *va;
    struct hpa hpa;
    size_t bytes;   /* rounded up to a power of two of pages */
    uint32_t chunk; /* the allocator's handle */
};
enum bh_status dma_alloc(size_t bytes, struct dma_memory *out); /* OK, NO_MEMORY */
void dma_free(struct dma_memory *memory); /* the device must have been reset or drained before */

/* Device registers, uncached. base and bytes: whole pages. OK, NO_MEMORY, BAD_ARG (not device
 * memory, or mapped already). Never unmapped; *va is at a constant distance from base. */
enum bh_status mmio_map(struct hpa base, size_t bytes, volatile void **va);

/* One message-signalled interrupt; the handler runs from the event loop and the interrupt is
 * acknowledged before it runs. */
struct msi {
    uint64_t address;
    uint32_t data;
};
enum bh_status msi_open(void (*handler)(void *context), void *context, struct msi *out);

/* A legacy pin by its global system interrupt number (edge, active high), for example the UART's.
 */
enum bh_status gsi_open(unsigned gsi, void (*handler)(void *context), void *context);

/* Sets the Event bit behind `signal`: wakes the peer of a queue pair. A slot that has gone is no
 * error. */
void event_signal(bh_slot signal);

uint32_t port_in(uint16_t port, unsigned width_bytes);
void port_out(uint16_t port, unsigned width_bytes, uint32_t value);

/* A line for the host's log: "mgmt: " or the part's name in front, no newline at the end. */
void log_line(const char *part, const char *format, ...) __attribute__((format(printf, 2, 3)));
