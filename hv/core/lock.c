/* The big-reader lock: see lock.h. Writers queue by ticket; a reader that finds a writer steps
 * back. */
#include "hv/core/lock.h"

#include "hv/core/core.h"

static uint32_t next_ticket; /* atomic */
static uint32_t serving;     /* atomic; next_ticket != serving: a writer is there */

/* Sequentially consistent: it must not come before the reader's own store to `reading`. */
static bool writer_present(void) {
    return __atomic_load_n(&next_ticket, __ATOMIC_SEQ_CST) !=
           __atomic_load_n(&serving, __ATOMIC_ACQUIRE);
}

struct read_held lock_read(struct cpu *cpu) {
    for (;;) {
        __atomic_store_n(&cpu->reading, 1, __ATOMIC_SEQ_CST);
        if (!writer_present())
            return (struct read_held){cpu};
        __atomic_store_n(&cpu->reading, 0, __ATOMIC_RELEASE);
        while (writer_present())
            arch_relax();
    }
}

void unlock_read(struct read_held held) {
    __atomic_store_n(&held.cpu->reading, 0, __ATOMIC_RELEASE);
}

struct write_held lock_write(struct cpu *cpu) {
    uint32_t ticket = __atomic_fetch_add(&next_ticket, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&serving, __ATOMIC_ACQUIRE) != ticket)
        arch_relax();
    for (uint32_t i = 0; i < cpu_count; i++)
        while (__atomic_load_n(&cpus[i]->reading, __ATOMIC_SEQ_CST))
            arch_relax();
    return (struct write_held){cpu};
}

void unlock_write(struct write_held held) {
    (void)held;
    __atomic_store_n(&serving, serving + 1, __ATOMIC_RELEASE);
}
