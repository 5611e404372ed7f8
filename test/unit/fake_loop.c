#include "fake_loop.h"

#include <stddef.h>

#include "guestlib/loop.h"

static uint64_t now_ns = 1000000000;
static struct loop_timer *timers;
static struct loop_work *posted;

uint64_t loop_now_ns(void) {
    return now_ns;
}

void loop_timer_cancel(struct loop_timer *timer) {
    for (struct loop_timer **link = &timers; *link; link = &(*link)->next)
        if (*link == timer) {
            *link = timer->next;
            break;
        }
    timer->set = false;
}

void loop_timer_set(struct loop_timer *timer, uint64_t deadline_ns, loop_handler handler,
                    void *context) {
    loop_timer_cancel(timer);
    *timer = (struct loop_timer){deadline_ns, handler, context, timers, true};
    timers = timer;
}

static struct loop_timer *earliest(void) {
    struct loop_timer *found = NULL;
    for (struct loop_timer *t = timers; t; t = t->next)
        if (!found || t->deadline_ns < found->deadline_ns)
            found = t;
    return found;
}

void fake_loop_advance(uint64_t ns) {
    uint64_t end = now_ns + ns;
    struct loop_timer *timer;
    while ((timer = earliest()) && timer->deadline_ns <= end) {
        if (timer->deadline_ns > now_ns)
            now_ns = timer->deadline_ns;
        loop_timer_cancel(timer);
        timer->handler(timer->context);
    }
    now_ns = end;
}

void loop_post(struct loop_work *work) {
    if (work->posted)
        return;
    work->posted = true;
    work->next = posted;
    posted = work;
}

void fake_loop_work(void) {
    while (posted) {
        struct loop_work *work = posted;
        posted = work->next;
        work->posted = false;
        work->handler(work->context);
    }
}
