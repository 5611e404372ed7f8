/* The reference model of the capability core: what abi/hypercall.h and docs/design.md promise, in
 * the plainest form: capabilities with a parent each, objects, and for every hypercall the set of
 * statuses that its arguments allow. Long work is not modelled step by step: what a call that
 * answered AGAIN has removed is observed, and has to be a closed part of what it may remove.
 *
 * model_call() makes one hypercall on the core and here and stops the process when they disagree.
 */
#pragma once

#include "test/unit/fake_arch/world.h"

enum { M_CAPS = 1024, M_OBJECTS = 512, M_NONE = -1 };

struct m_object {
    bool used;
    bool dying; /* a CapTable whose original is gone and that may still hold something */
    enum bh_type type;
    void *real;
    uint64_t size; /* CapTable slots, Event bits, Space pool pages */

    /* Context */
    bool stopped, faulted, waiting;
    int cpu; /* M_NONE: not placed */
    uint32_t priority;
    uint64_t mask, deadline;

    uint64_t pending[64]; /* Event */

    bool attached, in_service, again; /* Irq */
};

struct m_cap {
    bool used, original;
    enum bh_type type;
    uint8_t rights;
    int parent;       /* capability it was derived from, M_NONE: root */
    int table, index; /* where it is; table M_NONE: a reference inside object `owner` */
    int owner, role;
    int object;                /* what it names, if that is an object */
    uint64_t base, pages;      /* Untyped, Region */
    enum bh_kind kind;         /* Untyped, Region */
    uint64_t watermark, clean; /* Untyped, bytes */
    uint64_t badge;            /* Event, Cpu */
    uint64_t first, count;     /* Ports */
    int space;                 /* Region: where it is mapped */
    uint64_t va, mapped;       /* pages from the start */
    uint32_t map_rights;       /* all that a MAP of this mapping asked for */
};

extern struct model {
    struct m_cap cap[M_CAPS];
    struct m_object object[M_OBJECTS];
    uint64_t calls, agains, oks, removed; /* statistics */
} model;

void model_boot(void); /* the model of what world_boot() made */

uint64_t model_call(struct context *caller, uint64_t number, const uint64_t argument[6]);
void model_fault(struct context *context);
void model_time(uint64_t ticks);      /* passes, and timers interrupt */
void model_interrupt(int irq_object); /* an attached source */

/* Everything visible compared, and the invariants. `thorough`: also what takes long. */
void model_compare(bool thorough);

/* Says what is wrong and where in the sequence, and stops. */
_Noreturn void model_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void model_trace(bool on); /* print every step */
extern bool tracing;

/* --- For model.c, model_check.c and steps.c -----------------------------------------------------
 */

int m_find(int table, uint64_t index); /* the capability there, or M_NONE */
int m_object_of(const void *real);     /* the object, or M_NONE */
int m_reference(int owner, int role);  /* the reference inside an object, or M_NONE */
bool m_has_children(int cap);
unsigned m_depth(int cap);
bool m_ready(const struct m_object *context);
int m_table_of(const struct context *context); /* the CapTable it is bound to */
struct slot *m_slot(const struct m_cap *cap);  /* where it has to be */
