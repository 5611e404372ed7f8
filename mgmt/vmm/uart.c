#include "mgmt/vmm/uart.h"

/* Registers (table III): with LCR_DLAB set, 0 and 1 are the divisor. */
enum { DATA = 0, IER = 1, IIR_FCR = 2, LCR = 3, MCR = 4, LSR = 5, MSR = 6, SCR = 7 };
#define IER_RECEIVED 0x01u
#define IER_TRANSMITTER 0x02u
#define IIR_NONE 0x01u
#define IIR_TRANSMITTER 0x02u
#define IIR_RECEIVED 0x04u
#define IIR_FIFOS 0xc0u
#define FCR_ENABLE 0x01u
#define FCR_CLEAR_RECEIVER 0x02u
#define LCR_DLAB 0x80u
#define MCR_DTR 0x01u
#define MCR_RTS 0x02u
#define MCR_OUT1 0x04u
#define MCR_OUT2 0x08u
#define MCR_LOOP 0x10u
#define LSR_DATA 0x01u
#define LSR_EMPTY 0x60u /* THR and transmitter */
#define MSR_CTS 0x10u
#define MSR_DSR 0x20u
#define MSR_RI 0x40u
#define MSR_DCD 0x80u

static uint8_t interrupt_cause(const struct uart *uart) {
    if ((uart->ier & IER_RECEIVED) && uart->input_count > 0)
        return IIR_RECEIVED;
    if ((uart->ier & IER_TRANSMITTER) && uart->transmitter_interrupt)
        return IIR_TRANSMITTER;
    return IIR_NONE;
}

static void update_irq(struct uart *uart) {
    uart->set_irq(interrupt_cause(uart) != IIR_NONE && (uart->mcr & MCR_OUT2));
}

void uart_flush(struct uart *uart) {
    unsigned count = uart->output_count;
    uart->output_count = 0;
    uart->show(uart->output, count);
}

static void flush(void *uart) {
    uart_flush(uart);
}

void uart_init(struct uart *uart, void (*set_irq)(bool level),
               void (*show)(const char *text, size_t bytes), void (*drained)(void)) {
    *uart = (struct uart){.set_irq = set_irq, .show = show, .drained = drained, .divisor = 1};
    uart->flush.handler = flush;
    uart->flush.context = uart;
}

static bool put(struct uart *uart, uint8_t byte) {
    if (uart->input_count >= (uart->fifo ? UART_FIFO_BYTES : 1))
        return false;
    uart->input[(uart->input_first + uart->input_count++) % UART_FIFO_BYTES] = byte;
    return true;
}

/* In loop mode the line is cut off. A driver that never raised RTS means nothing by it. */
static bool is_ready(const struct uart *uart) {
    return !(uart->mcr & MCR_LOOP) && (uart->mcr & MCR_RTS || !uart->uses_rts);
}

size_t uart_receive(struct uart *uart, const char *text, size_t bytes) {
    size_t taken = 0;
    while (taken < bytes && is_ready(uart) && put(uart, (uint8_t)text[taken]))
        taken++;
    update_irq(uart);
    return taken;
}

/* After a register may have changed what is waited for, on either side. */
static void changed(struct uart *uart) {
    update_irq(uart);
    if (is_ready(uart) && uart->input_count == 0)
        uart->drained();
}

static uint8_t take(struct uart *uart) {
    if (uart->input_count == 0)
        return 0;
    uart->input_count--;
    return uart->input[uart->input_first++ % UART_FIFO_BYTES];
}

/* In loop mode the outputs of MCR appear as the inputs of MSR. */
static uint8_t modem_status(const struct uart *uart) {
    if (!(uart->mcr & MCR_LOOP))
        return MSR_CTS | MSR_DSR | MSR_DCD;
    return (uint8_t)((uart->mcr & MCR_RTS ? MSR_CTS : 0) | (uart->mcr & MCR_DTR ? MSR_DSR : 0) |
                     (uart->mcr & MCR_OUT1 ? MSR_RI : 0) | (uart->mcr & MCR_OUT2 ? MSR_DCD : 0));
}

uint64_t uart_read(const struct bus_access *a) {
    struct uart *uart = a->device;
    uint8_t value = 0;
    switch (a->offset) {
    case DATA:
        if (uart->lcr & LCR_DLAB)
            return (uint8_t)uart->divisor;
        value = take(uart);
        break;
    case IER:
        return uart->lcr & LCR_DLAB ? (uint8_t)(uart->divisor >> 8) : uart->ier;
    case IIR_FCR:
        value = interrupt_cause(uart);
        if (value == IIR_TRANSMITTER)
            uart->transmitter_interrupt = false;
        value |= uart->fifo ? IIR_FIFOS : 0;
        break;
    case LCR:
        return uart->lcr;
    case MCR:
        return uart->mcr;
    case LSR:
        return LSR_EMPTY | (uart->input_count > 0 ? LSR_DATA : 0);
    case MSR:
        return modem_status(uart);
    default:
        return uart->scr;
    }
    changed(uart);
    return value;
}

static void transmit(struct uart *uart, uint8_t byte) {
    uart->transmitter_interrupt = true; /* it is empty again at once */
    if (uart->mcr & MCR_LOOP) {
        put(uart, byte);
        return;
    }
    uart->output[uart->output_count++] = (char)byte;
    if (uart->output_count == UART_BUFFER_BYTES)
        uart_flush(uart);
    else
        loop_post(&uart->flush);
}

void uart_write(const struct bus_access *a) {
    struct uart *uart = a->device;
    uint8_t value = (uint8_t)a->value;
    switch (a->offset) {
    case DATA:
        if (uart->lcr & LCR_DLAB)
            uart->divisor = (uint16_t)((uart->divisor & 0xff00) | value);
        else
            transmit(uart, value);
        break;
    case IER:
        if (uart->lcr & LCR_DLAB) {
            uart->divisor = (uint16_t)((uart->divisor & 0x00ff) | value << 8);
            break;
        }
        if (value & ~uart->ier & IER_TRANSMITTER)
            uart->transmitter_interrupt = true;
        uart->ier = value & 0x0f;
        break;
    case IIR_FCR:
        if (value & FCR_CLEAR_RECEIVER || uart->fifo != (value & FCR_ENABLE))
            uart->input_count = 0;
        uart->fifo = value & FCR_ENABLE;
        break;
    case LCR:
        uart->lcr = value;
        break;
    case MCR:
        uart->mcr = value & 0x1f;
        if (value & MCR_RTS)
            uart->uses_rts = true;
        break;
    case SCR:
        uart->scr = value;
        break;
    default: /* LSR and MSR are read-only */
        break;
    }
    changed(uart);
}

void uart_state(struct state *s, struct uart *uart) {
    state_section(s, "uart");
    uart_flush(uart);
    STATE_SPAN(s, uart, ier, divisor);
    STATE_SPAN(s, uart, fifo, transmitter_interrupt);
    STATE_SPAN(s, uart, input, input_count);
    state_check(s, uart->input_count <= UART_FIFO_BYTES, "more input than there is room for");
    update_irq(uart);
}
