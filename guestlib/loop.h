/* The event loop of a unikernel: handlers on Event bits, timers, and nothing else. Single-threaded;
 * a handler runs to its end. mgmt and the VMM run on it too. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "abi/cap.h"

typedef void (*loop_handler)(void *context);

#define LOOP_BITS_MAX 4096u

/* Call once. bits: 64 or 4,096, as the Event bound to this Context has. tsc_hz: see domain or boot
 * info. */
void loop_init(unsigned bits, uint64_t tsc_hz);

/* handler(context) runs whenever `bit` was set. One handler a bit; NULL takes it away. */
void loop_on_event(unsigned bit, loop_handler handler, void *context);

/* Muted bits (64-bit Event) or groups of 64 bits (4,096) stay pending and do not wake. */
void loop_mute(unsigned bit, bool muted);

/* Timers: memory is the caller's; a timer that is set again moves. Times are ns of loop_now_ns. */
struct loop_timer {
    uint64_t deadline_ns;
    loop_handler handler;
    void *context;
    struct loop_timer *next;
    bool set;
};
void loop_timer_set(struct loop_timer *timer, uint64_t deadline_ns, loop_handler handler,
                    void *context);
void loop_timer_cancel(struct loop_timer *timer);

/* Work to run once in this turn of the loop after all events (for example: flush what was queued,
 * serve the next client of a round robin). While work is posted the loop polls instead of sleeping.
 */
struct loop_work {
    loop_handler handler;
    void *context;
    struct loop_work *next;
    bool posted;
};
void loop_post(struct loop_work *work);

/* ns since TSC value 0, monotonic. */
uint64_t loop_now_ns(void);

/* One turn: waits until there is something to do (with `sleep` false it only looks) and does it.
 * For programs that wait for more than the loop does (the VMM). */
void loop_turn(bool sleep);

/* For programs that take what is pending by WAIT themselves: runs the handlers of these bits (of a
 * 64-bit Event; 0: none), then due timers and posted work. */
void loop_serve(uint64_t bits);

/* Whether work is posted, which loop_serve would run. */
bool loop_has_work(void);

/* When the next timer is due (a TSC value; 0 if work is posted), and which Event bits the loop
 * waits for: what VCPU_RUN needs instead of WAIT. */
uint64_t loop_deadline_tsc(void);
uint64_t loop_event_mask(void);

/* Runs until loop_stop; returns its argument. */
int loop_run(void);
void loop_stop(int status);
