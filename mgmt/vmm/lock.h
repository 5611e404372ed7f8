/* The VMM lock: whoever holds it is alone with everything the VMM has but hv's VCPU_RUN, so that
 * all else here, and guestlib, is as if there were one Context. Each vCPU's Context is one who may
 * wait for it, known by its number; waiting is sleeping on the Context's Event until it is kicked.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <stdatomic.h> /* newlib's does not include stdint.h */

struct lock {
    atomic_bool held;
    atomic_uint waiters; /* a bit for each that has to be kicked when it is given up */
    /* kick(who) makes a sleep(who), the one that goes on or else the next one, return. It may
     * return without. */
    void (*kick)(uint32_t who);
    void (*sleep)(uint32_t who);
};

void lock_take(struct lock *lock, uint32_t who);
/* By `who`, who holds it. */
void lock_drop(struct lock *lock, uint32_t who);
