/* The host console on the serial line: one person (or script) who types commands with a little line
 * editing, or is attached to one guest's console until Ctrl-]. Log lines go above what is being
 * typed. */
#pragma once

#include <stddef.h>

#include "mgmt/console/guest_console.h"

/* execute(line) runs for each line typed; it may print. */
void terminal_start(void (*execute)(char *line));

/* Shows the prompt from now on. */
void terminal_prompt(void);

/* As printf; "\n" ends a line. What guests said must be escaped by the caller. */
void terminal_print(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Bytes as they are: JSON frames. */
void terminal_raw(void *unused, const char *text, size_t bytes);

/* Gives the line to a guest's console. */
void terminal_attach(struct guest_console *console, const char *name);
