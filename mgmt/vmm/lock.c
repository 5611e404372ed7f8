#include "mgmt/vmm/lock.h"

/* The lock may become free between two looks at it: no wake-up is lost because the waiter announces
 * itself before its last look, and who gives it up looks for waiters after that (both sequentially
 * consistent). A waiter that was kicked and finds it taken again announces itself again. */

static bool try(struct lock *lock) {
    bool held = false;
    return atomic_compare_exchange_strong(&lock->held, &held, true);
}

void lock_take(struct lock *lock, uint32_t who) {
    if (try(lock))
        return;
    for (;;) {
        atomic_fetch_or(&lock->waiters, 1u << who);
        if (try(lock))
            break;
        lock->sleep(who);
    }
    atomic_fetch_and(&lock->waiters, ~(1u << who));
}

void lock_drop(struct lock *lock, uint32_t who) {
    atomic_store(&lock->held, false);
    unsigned waiters = atomic_load(&lock->waiters);
    if (waiters == 0)
        return;
    unsigned behind = waiters & ~1u << who; /* in turn, so that nobody is left out */
    unsigned next = 1u << __builtin_ctz(behind ? behind : waiters);
    if (atomic_fetch_and(&lock->waiters, ~next) & next)
        lock->kick((uint32_t)__builtin_ctz(next));
}
