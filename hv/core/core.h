/* The core's functions, by file. Everything here runs with interrupts off on one CPU and, where it
 * says so by a parameter, with the lock held. */
#pragma once

#include "abi/hypercall.h"
#include "hv/core/arch.h"
#include "hv/core/lock.h"

/* hypercall.c: one hypercall of the current Context: arguments from its registers, results into
 * them. */
void hypercall(struct context *caller, uint64_t number);

/* object.c: making objects, and how much memory they and Regions take. Memory is zeroed and as
 * large as object_bytes says; the slot is empty and not in the tree; on return it is filled as the
 * original, with all rights, still to be inserted. */
/*@ assigns \nothing;
  @ ensures \result <= UNTYPED_PAGES_MAX * 4096;
  @ ensures (type == BH_TYPE_REGION || type == BH_TYPE_UNTYPED) && \result != 0 ==>
  @   \result == size * 4096;
  @ ensures type == BH_TYPE_REGION && \result != 0 ==> size <= REGION_PAGES_MAX; */
uint64_t object_bytes(enum bh_type type, uint64_t size); /* 0: no such type or size out of bounds */
/*@ assigns \nothing;
  @ ensures \result == 64 || \result == 4096; */
uint64_t object_alignment(enum bh_type type);
/*@ assigns *slot; */
void object_make(struct slot *slot, enum bh_type type, void *memory, uint64_t size, uint32_t kind);
/*@ requires \valid(slot);
  @ assigns *slot;
  @ ensures slot->base.raw == base.raw && slot->untyped.pages == pages; */
void untyped_make(struct slot *slot, enum bh_kind kind, struct pa base, uint64_t pages,
                  uint64_t clean);
/*@ requires \valid(slot);
  @ assigns *slot;
  @ ensures slot->base.raw == base.raw && slot->pages == pages; */
void region_make(struct slot *slot, enum bh_kind kind, struct pa base, uint32_t pages);

/* untyped.c */
void untyped_give_back(const struct slot *child); /* which is a leaf and about to be removed */

/* Taking away is done in bounded steps. `work` counts down what a call may still do: a slot that it
 * looks at, a page-table entry, or a reference is 1, a few hundred instructions at most; what takes
 * longer is more. A call that comes to 0 returns AGAIN. */
#ifndef REMOVE_WORK /* tests make it small, so that long work is interrupted everywhere */
#define REMOVE_WORK 48u
#endif
#define CONTEXT_WORK 4u /* its place in queue and timer heap, and its FPU state */

/* False: nothing is left. What is more than is left is still done: there is always progress, and a
 * call does at most REMOVE_WORK and one such thing more. */
/*@ requires \valid(work);
  @ assigns *work;
  @ ensures \result <==> \old(*work) != 0;
  @ ensures *work <= \old(*work);
  @ ensures \result && units != 0 ==> *work < \old(*work); */
static inline bool work_take(uint32_t *work, uint32_t units) {
    if (!*work)
        return false;
    *work -= units < *work ? units : *work;
    return true;
}

/* remove.c */
bool reap(struct write_held held, uint32_t *work); /* true: no CapTable is dying any more */

/* region.c */
enum bh_status region_map(struct write_held held, struct slot *region, struct space *space,
                          uint64_t va, uint32_t rights);
/* True: all unmapped. */
bool region_unmap(struct write_held held, struct slot *region, uint32_t *work);
bool space_clear(struct write_held held, struct space *space, uint32_t *work);
void region_moved(struct slot *region); /* the slot has a new address */
/*@ requires \valid(region);
  @ assigns region->region; */
void region_forget(struct slot *region); /* it is mapped nowhere: a copy, or after the last page */
void *space_pool_take(struct space *space); /* a zeroed page, or NULL */

/* event.c */
void event_signal(struct event *event, uint64_t badge);
/* Takes what `mask` admits. True if there was something. */
bool event_take(struct event *event, uint64_t mask, uint64_t *bits, uint64_t *group);
bool event_pending(const struct event *event, uint64_t mask);

/* bind.c: references from object to object. `what` is one that exists. */
enum bh_status bind(struct write_held held, struct slot *object, enum bh_binding what,
                    struct slot *target);
void unbind(struct write_held held, struct slot *hidden); /* nothing if it is empty */
/* All of an object's. True: none is left. */
bool unbind_all(struct write_held held, const struct slot *object, uint32_t *work);

/* vcpu.c: runs of guests: the hot calls VCPU_RUN and VCPU_SYNC. Ending a run sets what VCPU_RUN
 * returns. */
void vcpu_run(struct context *caller, struct slot *named);
void vcpu_sync(struct context *caller, struct slot *named);
void vcpu_exit(struct vcpu *vcpu, enum bh_exit exit); /* it runs */
void vcpu_stop(struct vcpu *vcpu);                    /* a reference goes; it may run */

/* doorbell.c */
bool doorbell_ring(const struct space *space, uint64_t port, uint32_t width); /* there is one */
bool doorbells_remove(struct write_held held, struct space *space, uint32_t *work); /* as above */

/* context.c */
void context_wait(struct context *context, uint64_t mask, uint64_t deadline);
void context_event(struct context *context); /* its Event has new bits */
void context_fault(struct context *context, uint64_t vector, uint64_t error, uint64_t address);
void context_block(struct context *context, uint32_t reason);
void context_unblock(struct context *context, uint32_t reason);
void context_destroy(struct context *context); /* it has no references any more */
void context_end_wait(struct context *context, enum bh_status status, uint64_t bits,
                      uint64_t group);

/* sched.c: who runs. */
void sched_enqueue(struct context *context, bool head);
void sched_dequeue(struct context *context);
void sched_yield(struct context *current);
void sched_place(struct context *context, struct cpu *cpu); /* NULL: nowhere */
/* If its budget is used up: blocks it until the next period, and true. */
bool sched_throttle(struct context *context, uint64_t now);
/* The Context to enter now, or NULL to idle; current and the timer are set accordingly. Called on
 * every way out of hv when cpu->reschedule is set. */
struct context *sched_next(struct cpu *cpu);
void timer_interrupt(void);
/* The timer goes off at `deadline` at the latest. */
void sched_timer_by(struct cpu *cpu, uint64_t deadline);

/* timer.c: deadlines of one CPU. */
void timer_arm(struct cpu *cpu, struct timer *timer, uint64_t deadline);
void timer_cancel(struct cpu *cpu, struct timer *timer);

/* irq.c. Deliver and timer_interrupt and context_fault take the lock themselves. */
void irq_deliver(struct irq *irq);
void irq_acknowledge(struct irq *irq);
