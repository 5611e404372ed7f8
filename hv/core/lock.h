/* The big-reader lock over structure (capabilities, mappings, bindings).
 *
 * Hot calls (signal, wait, acknowledge, port I/O) read: a store to a line of their own CPU. Calls
 * that change structure write: they wait, in order of arrival, until no CPU reads. "The lock is
 * held" is a parameter type, so a function that needs it cannot be called without. */
#pragma once

#include "hv/core/arch.h"

struct read_held {
    struct cpu *cpu;
};
struct write_held {
    struct cpu *cpu;
};

struct write_held lock_write(struct cpu *cpu);
void unlock_write(struct write_held held);

/* Writers' tickets. Atomic; a writer is there while they differ. */
extern uint32_t lock_next_ticket, lock_serving;

/* Sequentially consistent: it must not come before the reader's own store to `reading`. */
static inline bool lock_has_writer(void) {
    return __atomic_load_n(&lock_next_ticket, __ATOMIC_SEQ_CST) !=
           __atomic_load_n(&lock_serving, __ATOMIC_ACQUIRE);
}

/* A reader that finds a writer steps back. Inline, because hot calls do little else. */
static inline struct read_held lock_read(struct cpu *cpu) {
    for (;;) {
        __atomic_store_n(&cpu->reading, 1, __ATOMIC_SEQ_CST);
        if (!lock_has_writer())
            return (struct read_held){cpu};
        __atomic_store_n(&cpu->reading, 0, __ATOMIC_RELEASE);
        while (lock_has_writer())
            arch_relax();
    }
}

static inline void unlock_read(struct read_held held) {
    __atomic_store_n(&held.cpu->reading, 0, __ATOMIC_RELEASE);
}
