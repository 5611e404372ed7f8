/* The console: bytes out and in. stdout and stderr end here; use printf. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* At start-up; without a console device all output is dropped. */
void console_open(void);

/* Shows the bytes. Sleeps while the back end has not taken earlier ones, for a second at most: then
 * drops the rest, and all that comes until some has been taken, because output must not stop a
 * guest. */
void console_write(const char *text, size_t bytes);

/* Waits until everything written has been taken, for a second at most. */
void console_drain(void);

/* handler(context, text, bytes) runs for what is typed, as it comes, and returns how much of it it
 * takes. The rest is kept, and nothing more is asked for, until console_input_again. Call once.
 * False: no console. */
typedef size_t (*console_input_handler)(void *context, const char *text, size_t bytes);
bool console_on_input(console_input_handler handler, void *context);

/* Whoever took only a part can take more: gives the handler what was kept. Not from within it. */
void console_input_again(void);
