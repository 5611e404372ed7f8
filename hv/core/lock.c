/* The big-reader lock: see lock.h. Writers queue by ticket. */
#include "hv/core/lock.h"

#include "hv/core/core.h"

uint32_t lock_next_ticket, lock_serving;

struct write_held lock_write(struct cpu *cpu) {
    uint32_t ticket = __atomic_fetch_add(&lock_next_ticket, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&lock_serving, __ATOMIC_ACQUIRE) != ticket)
        arch_relax();
    for (uint32_t i = 0; i < cpu_count; i++)
        while (__atomic_load_n(&cpus[i]->reading, __ATOMIC_SEQ_CST))
            arch_relax();
    return (struct write_held){cpu};
}

void unlock_write(struct write_held held) {
    (void)held;
    __atomic_store_n(&lock_serving, lock_serving + 1, __ATOMIC_RELEASE);
}
