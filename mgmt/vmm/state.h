/* The machine's state as a stream of bytes, either way: each model says once what its state is, in
 * a function X_state that saves or loads it. Pointers and wiring are no state; models are loaded
 * into fresh ones, interrupt controllers before what is wired to them. A stream is for the version
 * that wrote it. Nothing in it is trusted: it may come from anywhere, and a model refuses what
 * could hurt the VMM. After that it is of no use. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guestlib/loop.h"

#define STATE_VERSION 1u
#define STATE_SECTION_BYTES 8u

struct state {
    uint8_t *at;
    size_t left; /* bytes from there on */
    bool loading;
    const char *section; /* which model's it is */
    const char *wrong;   /* what was found first, in this section; NULL: nothing */
};

/* What follows is this model's: up to STATE_SECTION_BYTES - 1 characters. */
void state_section(struct state *s, const char *name);

/* One field, or all from `first` to `last` of a structure. Flags are checked: a span that begins
 * with one is of flags alone. */
#define STATE_FROM(s, first, bytes)                                                                \
    _Generic((first), bool : state_flags, default : state_bytes)(s, &(first), bytes)
#define STATE(s, field) STATE_FROM(s, field, sizeof(field))
#define STATE_SPAN(s, object, first, last)                                                         \
    STATE_FROM(s, (object)->first,                                                                 \
               (size_t)((uint8_t *)(&(object)->last + 1) - (uint8_t *)&(object)->first))
void state_bytes(struct state *s, void *field, size_t bytes);
void state_flags(struct state *s, void *flags, size_t bytes);

/* A moment of loop_now_ns, by its distance from now. */
void state_time(struct state *s, uint64_t *ns);
void state_timer(struct state *s, struct loop_timer *timer, loop_handler handler, void *context);

/* Unless `good`, the stream is refused: `what` is wrong. */
void state_check(struct state *s, bool good, const char *what);
