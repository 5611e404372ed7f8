/* A 16550A at COM1: what the guest writes goes to the console, what is typed comes in. Reference:
 * National Semiconductor PC16550D. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "guestlib/loop.h"
#include "mgmt/vmm/state.h"

#define UART_BUFFER_BYTES 256u

struct uart {
    uint8_t ier, lcr, mcr, scr;
    uint16_t divisor;
    bool fifo;
    bool transmitter_interrupt; /* THR empty, and nobody has been told */
    uint8_t input[UART_BUFFER_BYTES];
    unsigned input_first, input_count;
    char output[UART_BUFFER_BYTES];
    unsigned output_count;
    struct loop_work flush;
    void (*set_irq)(bool level);
    void (*show)(const char *text, size_t bytes);
};

void uart_init(struct uart *uart, void (*set_irq)(bool level),
               void (*show)(const char *text, size_t bytes));
/* What is still buffered is shown before. */
void uart_state(struct state *s, struct uart *uart);
/* What there is no room for is lost, as in the real one. */
void uart_receive(struct uart *uart, const char *text, size_t bytes);
/* Shows what is still buffered. */
void uart_flush(struct uart *uart);

/* Register 0..7. */
uint8_t uart_read(struct uart *uart, unsigned reg);
void uart_write(struct uart *uart, unsigned reg, uint8_t value);
