/* The server's side of class console (abi/console.h): keeps what a guest wrote, shows it to whoever
 * is attached, passes on what is typed. While nobody is attached complete lines go to the host's
 * log, where they are escaped; raw bytes reach a terminal only by attaching. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guestlib/loop.h"
#include "mgmt/backend.h"
#include "mgmt/rate.h"

#define CONSOLE_HISTORY_BYTES 8192u
#define CONSOLE_TYPED_BYTES 65536u
#define CONSOLE_LINE_BYTES 160u

/* A person's terminal. */
struct console_viewer {
    size_t (*room)(void *context); /* bytes that `show` takes now */
    void (*show)(void *context, const char *text, size_t bytes);
    void *context;
};

struct guest_console {
    bool open;
    struct loop_work work;   /* goes on with what one turn left over */
    struct loop_timer retry; /* the viewer had no room */
    struct queue_end queue;
    const char *name;    /* of the guest */
    const char *channel; /* for messages */
    uint8_t *window;
    bh_slot signal;
    const struct console_viewer *viewer; /* NULL: nobody is attached */

    bool reading; /* the guest has a READ outstanding */
    uint32_t read_tag;
    struct bh_segment read_to;

    char *typed; /* CONSOLE_TYPED_BYTES that hold what is still to be read; NULL: nothing is */
    uint32_t typed_head, typed_tail; /* free-running; bytes [head, tail) wait */
    uint32_t lost;                   /* typed, since the last report */
    struct loop_timer report;

    char line[CONSOLE_LINE_BYTES]; /* for the log */
    uint32_t line_bytes;
    struct rate log_rate; /* lines */
    uint64_t lines_left_out;

    uint64_t written; /* bytes ever written; byte n lies at history[n % CONSOLE_HISTORY_BYTES] */
    char history[CONSOLE_HISTORY_BYTES];
};

/* name: of the guest, for the log. The history begins anew. */
enum bh_status guest_console_attach(struct guest_console *c, const struct channel *channel,
                                    const char *name);
void guest_console_service(struct guest_console *c);
void guest_console_detach(struct guest_console *c); /* at once */

/* One viewer; NULL detaches it. A new one is shown the history first, as far as it has room. */
void guest_console_view(struct guest_console *c, const struct console_viewer *viewer);

/* Typed by the viewer. It waits until the guest reads it or ends, also when the viewer has gone.
 * What does not fit is lost, and the log says how much: the line is not held back, or a guest that
 * does not read could not be left. */
void guest_console_type(struct guest_console *c, const char *text, size_t bytes);

/* Writes the last `lines` lines to the host's log. */
void guest_console_log_tail(const struct guest_console *c, unsigned lines);
