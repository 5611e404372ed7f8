/* The kernel objects. Each lies in object memory, starts zeroed and is made, found and destroyed
 * through its original capability only. Fields say who may touch them; "W" = with the lock held for
 * writing. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "hv/core/slot.h"
#include "hv_arch_types.h"

struct cpu;
struct bh_vcpu_state;

#define CPU_COUNTERS 8 /* indexed by enum bh_counter (abi/hypercall.h) */

/* A domain's authority: a flat array of slots. */
struct captable {
    uint32_t count;        /* slots, constant */
    uint32_t reaped;       /* W: while dying: slots [0, reaped) are empty */
    struct captable *next; /* W: while dying: the list of dying tables */
    uint64_t pad[6];       /* slots start on a cache line */
    struct slot slot[];
};
_Static_assert(sizeof(struct captable) == 64, "slots are aligned");

/*@ predicate is_table{L}(struct captable *t) =
  @   \valid(t) && t->count <= 65536 && \valid(t->slot + (0 .. t->count - 1));
  @ predicate holds_tables{L}(struct captable *t) = is_table(t) &&
  @   \forall integer i; 0 <= i < t->count && t->slot[i].type == BH_TYPE_CAPTABLE ==>
  @     is_table((struct captable *)t->slot[i].object);
  @ predicate names{L}(void *t, integer i, struct slot *s) =
  @   0 < i < ((struct captable *)t)->count && s == &((struct captable *)t)->slot[i]; */

/* A page map with the pool its table pages come from. The pool pages follow the object in memory.
 */
struct space {
    struct slot *mapped;     /* W: list of Region slots mapped here */
    uint32_t pool_pages;     /* constant */
    uint32_t pool_used;      /* W: pages [0, pool_used) of the pool have been taken */
    uint8_t kind;            /* enum bh_space_kind, constant */
    uint32_t doorbells_used; /* W: doorbell[0, doorbells_used) may hold one, none beyond */
    struct slot *doorbell;   /* W: guest Spaces: BH_DOORBELLS_MAX hidden slots, in a pool page */
    struct arch_space arch;  /* the root table, the processor's tag */
};

/* Pending bits. 64 bits: word[0] alone. 4,096: `summary` has a bit for each non-zero word. Words
 * and summary are atomic: signal runs with the lock held for reading, on any CPU. */
struct event {
    uint16_t words;         /* 1 or 64, constant */
    struct context *waiter; /* W: the bound Context */
    uint64_t summary;
    uint64_t word[]; /* `words` of them */
};

/* Why a Context does not run; it is ready when none is left. */
enum context_block {
    BLOCK_STOPPED = 1, /* not resumed, suspended, or a reference was taken away */
    BLOCK_FAULT = 2,   /* faulted */
    BLOCK_WAIT = 4,    /* in WAIT */
    BLOCK_BUDGET = 8,  /* budget used up; excludes BLOCK_WAIT, so one timer serves both */
};

/* A node of a leftist heap ordered by `deadline` (timer.c). */
struct timer {
    uint64_t deadline; /* TSC */
    struct timer *parent, *left, *right;
    uint32_t rank;
    bool armed;
};

/* Ring-3 registers, FPU state and scheduling parameters. The FPU area follows the object. */
struct context {
    struct arch_context arch;               /* registers: entry code depends on them being first */
    struct slot space, table, event, fault; /* hidden slots; type NONE when unbound */
    struct cpu *cpu;                        /* W: where it is placed, or NULL */
    struct vcpu *vcpu;                      /* it is in VCPU_RUN: in guest mode whenever it runs */

    /* Owned by `cpu` (interrupts off): */
    uint32_t blocked; /* set of enum context_block */
    bool queued;      /* in cpu->ready[priority] */
    struct context *ready_prev, *ready_next;
    struct timer timer;    /* wait deadline or end of throttling */
    uint64_t wait_mask;    /* of WAIT or VCPU_RUN */
    uint64_t run_deadline; /* TSC: when VCPU_RUN returns */
    uint8_t priority;
    uint64_t quantum, quantum_left; /* TSC ticks; quantum 0: no round robin */
    uint64_t preempted_at;          /* TSC value: its turn goes on meanwhile; 0: it is not */
    uint64_t budget, budget_left;   /* TSC ticks; budget 0: no cap */
    uint64_t period, period_end;    /* TSC ticks; TSC value */
    uint64_t cpu_time;              /* TSC ticks */
    uint64_t fault_vector, fault_error, fault_address;
};

/* Guest-mode state. The page before the object is the processor's (VMCB, VMCS). */
struct vcpu {
    struct slot space, state;   /* hidden slots */
    struct bh_vcpu_state *page; /* W: what `state` refers to, or NULL */
    struct context *runner;     /* the Context that is in VCPU_RUN on it, or NULL */
    struct arch_vcpu arch;
};

/* One interrupt source. */
struct irq {
    struct slot event;    /* hidden slot */
    struct arch_irq arch; /* vector, pin */
    bool attached;        /* W */
    bool in_service;      /* signalled and not yet acknowledged */
    bool again;           /* came again meanwhile */
};

/* Per-CPU state. */
struct cpu {
    struct arch_cpu arch; /* entry code depends on it being first */
    uint32_t index;
    struct context *current; /* NULL: idle */
    bool reschedule;         /* look for another Context before leaving hv */
    bool enter_guest;        /* current has begun VCPU_RUN; entry.S tests both at once */
    bool gives_way;          /* one of current's own domain was woken: that one is next */
    uint32_t ready_bitmap;   /* priorities that have ready Contexts */
    struct context *ready[BH_PRIORITIES]; /* the first of each, or NULL */
    struct timer *timers;                 /* root of the heap */
    uint64_t timer_set; /* TSC: what the processor's timer is set to; 0: it has gone off */
    uint64_t run_start; /* TSC when current (or idling) began to be charged */
    uint64_t counter[CPU_COUNTERS];
    _Alignas(64) uint32_t reading; /* this CPU holds the lock for reading: lock.h */
};

/* All processors, by index; filled in at boot. */
#define CPUS_MAX 64u
extern struct cpu *cpus[CPUS_MAX];
extern uint32_t cpu_count;
