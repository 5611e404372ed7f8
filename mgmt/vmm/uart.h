/* A 16550A at COM1: what the guest writes goes to the console, what is typed comes in. Reference:
 * National Semiconductor PC16550D. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "guestlib/loop.h"
#include "mgmt/vmm/bus.h"
#include "mgmt/vmm/state.h"

#define UART_FIFO_BYTES 16u
#define UART_BUFFER_BYTES 256u /* for output */

struct uart {
    uint8_t ier, lcr, mcr, scr;
    uint16_t divisor;
    bool fifo;
    bool uses_rts;              /* has raised RTS once */
    bool transmitter_interrupt; /* THR empty, and nobody has been told */
    uint8_t input[UART_FIFO_BYTES];
    unsigned input_first, input_count;
    char output[UART_BUFFER_BYTES];
    unsigned output_count;
    struct loop_work flush;
    void (*set_irq)(bool level);
    void (*show)(const char *text, size_t bytes);
    void (*drained)(void);
};

/* drained: it is empty, and what was refused may be offered again. Called also when nothing was. */
void uart_init(struct uart *uart, void (*set_irq)(bool level),
               void (*show)(const char *text, size_t bytes), void (*drained)(void));
/* What is still buffered is shown before. */
void uart_state(struct state *s, struct uart *uart);
/* Returns how many bytes it took: none while the driver holds the line back (RTS). The other end
 * heeds that and the FIFO, so nothing is lost here. */
size_t uart_receive(struct uart *uart, const char *text, size_t bytes);
/* Shows what is still buffered. */
void uart_flush(struct uart *uart);

/* Register 0..7. */
uint64_t uart_read(const struct bus_access *access);
void uart_write(const struct bus_access *access);
