/* The control channel: what the host asks of this guest, and what the guest tells the host. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "abi/control.h"

/* At start-up: keeps one LISTEN outstanding. */
void control_open(void);

/* handler(context) runs when the host asks the guest to end in order. Without one, loop_run returns
 * 0. */
void control_on_shutdown(void (*handler)(void *context), void *context);

/* handler() runs when the host asks a VMM to save its guest. Without one nothing happens. */
void control_on_save(void (*handler)(void));

/* Tells the host that the guest serves; shown in `list`. */
void control_ready(void);

/* Tells the host that the guest has ended, and waits until it knows, for a second at most. exit()
 * does this; 0 is good. */
void control_exit(int status);
/* The same, of a guest that did not end by itself. */
void control_end(enum bh_control_cause cause);

/* Asks the host for the time; handler(context, ns) gets the wall clock at TSC 0, UTC, in ns since
 * 1970-01-01. bh_domain_info has the same as of the start. One question at a time: false if one is
 * open. */
bool control_ask_time(void (*handler)(void *context, uint64_t wall_ns_at_tsc_0), void *context);
