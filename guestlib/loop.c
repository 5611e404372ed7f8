/* The event loop. One turn: every admitted group of pending Event bits once, then due timers and
 * posted work, so that neither a flooder in a low group nor a timer that sets itself again starves
 * the rest. */
#include "guestlib/loop.h"

#include <assert.h>
#include <stdlib.h>

#include "guestlib/hypercall.h"
#include "guestlib/tsc.h"

#define GROUP_BITS 64u

struct event_handler {
    loop_handler handler;
    void *context;
};

static struct {
    uint64_t tsc_hz;
    struct event_handler *handlers; /* one for each bit of the Event */
    unsigned bits;
    uint64_t wanted; /* mask of WAIT: bits (or groups) that have a handler */
    uint64_t muted;
    struct loop_timer *timers; /* by deadline */
    uint64_t turn_ns;          /* when this turn began */
    struct loop_work *work_first, **work_end;
    bool stopped;
    int status;
} loop;

void loop_init(unsigned bits, uint64_t tsc_hz) {
    assert(bits == GROUP_BITS || bits == LOOP_BITS_MAX);
    loop.handlers = calloc(bits, sizeof *loop.handlers);
    if (!loop.handlers)
        abort();
    loop.bits = bits;
    loop.tsc_hz = tsc_hz;
    loop.work_end = &loop.work_first;
}

/* The bit of WAIT's mask that admits `bit`. */
static uint64_t mask_bit(unsigned bit) {
    assert(bit < loop.bits);
    return 1ull << (loop.bits == GROUP_BITS ? bit : bit / GROUP_BITS);
}

static bool group_has_handler(unsigned bit) {
    unsigned first = bit - bit % GROUP_BITS;
    for (unsigned i = first; i < first + GROUP_BITS; i++)
        if (loop.handlers[i].handler)
            return true;
    return false;
}

void loop_on_event(unsigned bit, loop_handler handler, void *context) {
    uint64_t mask = mask_bit(bit);
    loop.handlers[bit] = (struct event_handler){handler, context};
    if (handler || (loop.bits > GROUP_BITS && group_has_handler(bit)))
        loop.wanted |= mask;
    else
        loop.wanted &= ~mask;
}

void loop_mute(unsigned bit, bool muted) {
    if (muted)
        loop.muted |= mask_bit(bit);
    else
        loop.muted &= ~mask_bit(bit);
}

void loop_timer_set(struct loop_timer *timer, uint64_t deadline_ns, loop_handler handler,
                    void *context) {
    loop_timer_cancel(timer);
    /* Past deadlines run in the next turn, not in this one: timers must not starve Events. */
    timer->deadline_ns = deadline_ns > loop.turn_ns ? deadline_ns : loop.turn_ns + 1;
    timer->handler = handler;
    timer->context = context;
    timer->set = true;
    struct loop_timer **link = &loop.timers;
    while (*link && (*link)->deadline_ns <= timer->deadline_ns)
        link = &(*link)->next;
    timer->next = *link;
    *link = timer;
}

void loop_timer_cancel(struct loop_timer *timer) {
    if (!timer->set)
        return;
    struct loop_timer **link = &loop.timers;
    while (*link != timer)
        link = &(*link)->next;
    *link = timer->next;
    timer->set = false;
}

void loop_post(struct loop_work *work) {
    if (work->posted)
        return;
    work->posted = true;
    work->next = NULL;
    *loop.work_end = work;
    loop.work_end = &work->next;
}

uint64_t loop_now_ns(void) {
    return tsc_to_ns(tsc_read(), loop.tsc_hz);
}

static void run_timers(void) {
    if (!loop.timers)
        return;
    loop.turn_ns = loop_now_ns();
    while (loop.timers && loop.timers->deadline_ns <= loop.turn_ns) {
        struct loop_timer *timer = loop.timers;
        loop_timer_cancel(timer);
        timer->handler(timer->context);
    }
}

/* Runs what is posted now; what these handlers post is the next turn's. */
static void run_work(void) {
    struct loop_work *work = loop.work_first;
    loop.work_first = NULL;
    loop.work_end = &loop.work_first;
    while (work) {
        struct loop_work *next = work->next; /* the handler may post `work` again, or free it */
        work->posted = false;
        work->handler(work->context);
        work = next;
    }
}

static void run_events(uint64_t group, uint64_t bits) {
    while (bits) {
        unsigned bit = (unsigned)group * GROUP_BITS + (unsigned)__builtin_ctzll(bits);
        bits &= bits - 1;
        /* An earlier handler of this group may have taken this one away. */
        if (loop.handlers[bit].handler)
            loop.handlers[bit].handler(loop.handlers[bit].context);
    }
}

/* The first timer's deadline. Often the same as last time, and a division to convert. */
static uint64_t timer_deadline(void) {
    static uint64_t ns, tsc;
    if (ns != loop.timers->deadline_ns) {
        ns = loop.timers->deadline_ns;
        tsc = tsc_from_ns(ns, loop.tsc_hz);
    }
    return tsc;
}

static uint64_t sleep_deadline(void) {
    if (loop.work_first || loop.stopped)
        return BH_DEADLINE_POLL;
    return loop.timers ? timer_deadline() : BH_DEADLINE_NEVER;
}

static void wait_and_run_events(uint64_t deadline) {
    uint64_t mask = loop.wanted & ~loop.muted, bits, group;
    while (hc_wait(mask, deadline, &bits, &group) == BH_OK) {
        run_events(group, bits);
        /* Of a 4,096-bit Event, look into the higher groups as well, without sleeping. */
        uint64_t higher = group < GROUP_BITS - 1 ? ~0ull << (group + 1) : 0;
        mask = loop.bits == GROUP_BITS ? 0 : loop.wanted & ~loop.muted & higher;
        if (!mask)
            break;
        deadline = BH_DEADLINE_POLL;
    }
}

void loop_turn(bool sleep) {
    wait_and_run_events(sleep ? sleep_deadline() : BH_DEADLINE_POLL);
    run_timers();
    run_work();
}

void loop_serve(uint64_t bits) {
    run_events(0, bits);
    run_timers();
    run_work();
}

bool loop_has_work(void) {
    return loop.work_first;
}

uint64_t loop_deadline_tsc(void) {
    return sleep_deadline();
}

uint64_t loop_event_mask(void) {
    return loop.wanted & ~loop.muted;
}

int loop_run(void) {
    loop.stopped = false;
    while (!loop.stopped)
        loop_turn(true);
    return loop.status;
}

void loop_stop(int status) {
    loop.stopped = true;
    loop.status = status;
}
