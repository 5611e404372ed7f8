/* The host's serial line: a 16550A at COM1, 115200 8N1, or nothing. Output is queued and never
 * waits. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define UART_QUEUE_BYTES 262144u /* `list --json` of a thousand guests */

/* input(context, byte) runs for each byte that comes in. False: there is no such device; then
 * output is dropped. Works from interrupts, or from a timer if there are none. */
bool uart_start(void (*input)(void *context, char byte), void *context);

size_t uart_room(void);
void uart_write(const char *text, size_t bytes); /* what finds no room is dropped */

/* Waits until all is out: for the host's last words only. */
void uart_flush(void);
