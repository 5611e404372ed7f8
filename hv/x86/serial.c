/* The first serial port, 115200 8N1, polled. Only hv's log goes here; a machine without the port
 * costs nothing but a bounded wait. */
#include "hv/x86/x86.h"

/* 16550 UART registers and bits. */
enum { COM1 = 0x3f8, DATA = COM1, INTERRUPT_ENABLE = COM1 + 1, FIFO_CONTROL = COM1 + 2 };
enum { LINE_CONTROL = COM1 + 3, MODEM_CONTROL = COM1 + 4, LINE_STATUS = COM1 + 5 };
enum { DIVISOR_LOW = COM1, DIVISOR_HIGH = COM1 + 1 }; /* while DLAB is set */
enum { LINE_8N1 = 0x03, LINE_DLAB = 0x80, STATUS_EMPTY = 0x20 };
enum { FIFO_ENABLE_AND_CLEAR = 0x07, MODEM_DTR_RTS = 0x03 };
enum { WAIT_READS = 100000 }; /* a character takes 87 us, a read about 1 us */

void serial_init(void) {
    out8(INTERRUPT_ENABLE, 0);
    out8(LINE_CONTROL, LINE_DLAB);
    out8(DIVISOR_LOW, 1); /* 115200 baud */
    out8(DIVISOR_HIGH, 0);
    out8(LINE_CONTROL, LINE_8N1);
    out8(FIFO_CONTROL, FIFO_ENABLE_AND_CLEAR);
    out8(MODEM_CONTROL, MODEM_DTR_RTS);
}

void serial_write(char byte) {
    for (unsigned i = 0; i < WAIT_READS && !(in8(LINE_STATUS) & STATUS_EMPTY); i++)
        arch_relax();
    out8(DATA, (uint8_t)byte);
}
