/* The big-reader lock over structure (capabilities, mappings, bindings).
 *
 * Hot calls (signal, wait, acknowledge, port I/O) read: a store to a line of their own CPU. Calls
 * that change structure write: they wait, in order of arrival, until no CPU reads. "The lock is
 * held" is a parameter type, so a function that needs it cannot be called without. */
#pragma once

#include "hv/core/object.h"

struct read_held {
    struct cpu *cpu;
};
struct write_held {
    struct cpu *cpu;
};

struct read_held lock_read(struct cpu *cpu);
void unlock_read(struct read_held held);
struct write_held lock_write(struct cpu *cpu);
void unlock_write(struct write_held held);
