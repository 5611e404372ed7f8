/* Events: pending bits and who is told of them. */
#include "hv/core/core.h"

void event_signal(struct event *event, uint64_t badge) {
    uint64_t word = badge / 64 % event->words;
    uint64_t bit = 1ull << badge % 64;
    __atomic_fetch_or(&event->word[word], bit, __ATOMIC_RELAXED);
    if (event->words > 1) /* after the word: whoever sees the summary bit finds the word set */
        __atomic_fetch_or(&event->summary, 1ull << word, __ATOMIC_RELEASE);
    if (event->waiter)
        context_event(event->waiter);
}

bool event_pending(const struct event *event, uint64_t mask) {
    const uint64_t *word = event->words == 1 ? &event->word[0] : &event->summary;
    return __atomic_load_n(word, __ATOMIC_ACQUIRE) & mask;
}

bool event_take(struct event *event, uint64_t mask, uint64_t *bits, uint64_t *group) {
    *group = 0;
    if (event->words == 1) {
        *bits = __atomic_fetch_and(&event->word[0], ~mask, __ATOMIC_ACQUIRE) & mask;
        return *bits != 0;
    }
    uint64_t groups = __atomic_load_n(&event->summary, __ATOMIC_ACQUIRE) & mask;
    for (; groups; groups &= groups - 1) {
        *group = (uint64_t)__builtin_ctzll(groups);
        /* Summary first: a signal that comes between the two sets it again, for a word that may be
         * empty by then. */
        __atomic_fetch_and(&event->summary, ~(1ull << *group), __ATOMIC_ACQ_REL);
        *bits = __atomic_exchange_n(&event->word[*group], 0, __ATOMIC_ACQUIRE);
        if (*bits)
            return true;
    }
    *group = 0;
    return false;
}
