#include "mgmt/console/uart.h"

#include <stdint.h>

#include "guestlib/loop.h"
#include "mgmt/console/log.h"
#include "mgmt/platform.h"

/* PC16550D data sheet, table II; COM1 of the PC/AT. */
#define COM1 0x3f8u
#define COM1_GSI 4u

enum uart_register {
    UART_DATA = 0,        /* DLAB 0 */
    UART_DIVISOR_LOW = 0, /* DLAB 1 */
    UART_IER = 1,
    UART_DIVISOR_HIGH = 1,
    UART_IIR = 2, /* read */
    UART_FCR = 2, /* write */
    UART_LCR = 3,
    UART_MCR = 4,
    UART_LSR = 5,
    UART_SCRATCH = 7,
};
#define UART_IER_RECEIVED 0x01u
#define UART_IER_EMPTY 0x02u
#define UART_IIR_NONE 0x01u
#define UART_FCR_FIFO_CLEAR 0x07u /* on, both cleared */
#define UART_LCR_8N1 0x03u
#define UART_LCR_DLAB 0x80u
#define UART_MCR_DTR_RTS 0x03u
#define UART_MCR_OUT2 0x08u /* lets the interrupt out on a PC */
#define UART_LSR_RECEIVED 0x01u
#define UART_LSR_OVERRUN 0x02u
#define UART_LSR_EMPTY 0x20u

#define FIFO_BYTES 16u
#define BYTES_PER_TURN 1024u /* each is a hypercall */
#define ROUNDS_PER_INTERRUPT 16u
#define POLL_NS 10000000u
#define REPORT_NS 1000000000u

static struct {
    bool present;
    bool empty_interrupt; /* IER_EMPTY is set */
    void (*input)(void *context, char byte);
    void *context;
    struct loop_timer poll;
    unsigned overruns; /* since the last report */
    struct loop_timer report;
    uint32_t head, tail; /* free-running; bytes [head, tail) are to be sent */
    char queue[UART_QUEUE_BYTES];
} uart;

_Static_assert((UART_QUEUE_BYTES & (UART_QUEUE_BYTES - 1)) == 0, "indices run freely");

static uint8_t get(enum uart_register reg) {
    return (uint8_t)port_in((uint16_t)(COM1 + reg), 1);
}

static void set(enum uart_register reg, uint32_t value) {
    port_out((uint16_t)(COM1 + reg), 1, value);
}

static void report_overruns(void *unused) {
    (void)unused;
    log_line("mgmt", "the serial line was read too late %u times: characters typed are lost",
             uart.overruns);
    uart.overruns = 0;
}

/* Nothing but the reader's haste keeps a line without flow control from overrunning the FIFO; the
 * device tells each time once. */
static uint8_t line_status(void) {
    uint8_t status = get(UART_LSR);
    if (status & UART_LSR_OVERRUN && uart.overruns++ == 0)
        loop_timer_set(&uart.report, loop_now_ns() + REPORT_NS, report_overruns, NULL);
    return status;
}

static void send_some(void) {
    for (unsigned sent = 0; sent < BYTES_PER_TURN && uart.head != uart.tail;) {
        if (!(line_status() & UART_LSR_EMPTY))
            break;
        for (unsigned i = 0; i < FIFO_BYTES && uart.head != uart.tail; i++, sent++)
            set(UART_DATA, (uint8_t)uart.queue[uart.head++ % UART_QUEUE_BYTES]);
    }
    /* The interrupt that goes on with the rest; off when there is none, or it would come without
     * end. */
    bool wanted = uart.head != uart.tail;
    if (wanted != uart.empty_interrupt) {
        uart.empty_interrupt = wanted;
        set(UART_IER, UART_IER_RECEIVED | (wanted ? UART_IER_EMPTY : 0));
    }
}

static void receive_some(void) {
    for (unsigned i = 0; i < FIFO_BYTES * 2 && (line_status() & UART_LSR_RECEIVED); i++)
        uart.input(uart.context, (char)get(UART_DATA));
}

/* The pin is edge-triggered: go on until the device asks for nothing, or it would never ask again.
 * Should it ask for ever, the poll timer comes back to it. */
static void interrupt(void *context) {
    (void)context;
    for (unsigned i = 0; i < ROUNDS_PER_INTERRUPT; i++) {
        bool none = get(UART_IIR) & UART_IIR_NONE;
        receive_some();
        send_some();
        if (none)
            return;
    }
}

static void poll(void *context) {
    interrupt(context);
    loop_timer_set(&uart.poll, loop_now_ns() + POLL_NS, poll, context);
}

bool uart_start(void (*input)(void *context, char byte), void *context) {
    /* The scratch register keeps what is written to it; a bus without a device does not. */
    set(UART_SCRATCH, 0x5a);
    if (get(UART_SCRATCH) != 0x5a)
        return false;
    uart.present = true;
    uart.input = input;
    uart.context = context;
    set(UART_IER, 0);
    set(UART_LCR, UART_LCR_DLAB);
    set(UART_DIVISOR_LOW, 1); /* 115200 */
    set(UART_DIVISOR_HIGH, 0);
    set(UART_LCR, UART_LCR_8N1);
    set(UART_FCR, UART_FCR_FIFO_CLEAR);
    get(UART_LSR); /* what was lost before is not ours */
    set(UART_MCR, UART_MCR_DTR_RTS | UART_MCR_OUT2);
    if (gsi_open(COM1_GSI, interrupt, NULL))
        loop_timer_set(&uart.poll, loop_now_ns() + POLL_NS, poll, NULL);
    set(UART_IER, UART_IER_RECEIVED);
    return true;
}

size_t uart_room(void) {
    return UART_QUEUE_BYTES - (uart.tail - uart.head);
}

void uart_write(const char *text, size_t bytes) {
    if (!uart.present)
        return;
    for (size_t i = 0; i < bytes && uart_room() > 0; i++)
        uart.queue[uart.tail++ % UART_QUEUE_BYTES] = text[i];
    if (!uart.empty_interrupt)
        send_some();
}

void uart_flush(void) {
    while (uart.present && uart.head != uart.tail)
        send_some();
}
