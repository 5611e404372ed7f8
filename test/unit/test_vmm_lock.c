/* The VMM lock under threads: each thread stands for a vCPU's Context, its Event is a flag with a
 * condition. What is lost in a race shows as a wrong count, or as a test that never ends. */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "mgmt/vmm/lock.h"
#include "unit.h"

#define THREADS 4u
#define ROUNDS 20000u

static struct event {
    pthread_mutex_t mutex;
    pthread_cond_t signalled;
    bool pending;
} events[THREADS];

static void event_set(uint32_t who) {
    struct event *event = &events[who];
    pthread_mutex_lock(&event->mutex);
    event->pending = true;
    pthread_cond_signal(&event->signalled);
    pthread_mutex_unlock(&event->mutex);
}

static void event_wait(uint32_t who) {
    struct event *event = &events[who];
    pthread_mutex_lock(&event->mutex);
    while (!event->pending)
        pthread_cond_wait(&event->signalled, &event->mutex);
    event->pending = false;
    pthread_mutex_unlock(&event->mutex);
}

static struct lock lock;

static int fresh(void **state) {
    (void)state;
    for (uint32_t i = 0; i < THREADS; i++) {
        pthread_mutex_init(&events[i].mutex, NULL);
        pthread_cond_init(&events[i].signalled, NULL);
        events[i].pending = false;
    }
    lock = (struct lock){.kick = event_set, .sleep = event_wait};
    return 0;
}

static void run_threads(void *(*body)(void *who)) {
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, body, (void *)i), 0);
    for (uint32_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

/* --- Alone --- */

static unsigned kicked;

static void count_kick(uint32_t who) {
    kicked |= 1u << who;
}

static void test_kicks_who_waits_in_turn(void **state) {
    (void)state;
    lock.kick = count_kick;
    kicked = 0;
    lock_take(&lock, 1);
    lock_drop(&lock, 1);
    assert_int_equal(kicked, 0);
    lock_take(&lock, 1);
    atomic_store(&lock.waiters, 0xd);
    lock_drop(&lock, 1);
    assert_int_equal(kicked, 0x4); /* the next one, not the lowest */
    lock_take(&lock, 3);
    atomic_store(&lock.waiters, 0x5);
    lock_drop(&lock, 3);
    assert_int_equal(kicked, 0x5);
    assert_int_equal(atomic_load(&lock.waiters), 0x4);
}

/* --- Exclusion: what is not atomic stays right, and nobody waits for ever --- */

static struct { uint64_t count, inside; } shared;

static void *count_under_lock(void *argument) {
    uint32_t who = (uint32_t)(uintptr_t)argument;
    for (unsigned i = 0; i < ROUNDS; i++) {
        lock_take(&lock, who);
        if (shared.inside++ != 0)
            abort();
        shared.count++;
        if (i % 64 == who)
            usleep(1); /* long enough for the others to fall asleep */
        shared.inside--;
        lock_drop(&lock, who);
    }
    return NULL;
}

static void test_one_at_a_time(void **state) {
    (void)state;
    shared.count = shared.inside = 0;
    run_threads(count_under_lock);
    assert_int_equal(shared.count, THREADS * (uint64_t)ROUNDS);
    assert_false(atomic_load(&lock.held));
    assert_int_equal(atomic_load(&lock.waiters), 0);
}

/* --- Messages, as run.c sends them: work is noted under the lock, the receiver is kicked after it,
 * if it was outside; it sleeps only when it has found nothing --- */

static struct box {
    uint64_t work; /* under the lock, as `outside` */
    bool outside;
} boxes[THREADS];
static uint64_t left; /* hops to be made, under the lock */

static void *pass_on(void *argument) {
    uint32_t who = (uint32_t)(uintptr_t)argument;
    struct box *own = &boxes[who];
    uint32_t to = who;
    lock_take(&lock, who);
    while (left > 0) {
        unsigned kicks = 0;
        if (own->work > 0) {
            own->work--;
            left--;
            to = left == 0 ? to : (to + 1) % THREADS;
            boxes[to].work++;
            for (uint32_t i = 0; i < THREADS; i++)
                if (boxes[i].outside && (boxes[i].work > 0 || left == 0)) {
                    boxes[i].outside = false;
                    kicks |= 1u << i;
                }
        }
        bool idle = own->work == 0 && left > 0;
        own->outside = idle;
        lock_drop(&lock, who);
        for (; kicks; kicks &= kicks - 1)
            event_set((uint32_t)__builtin_ctz(kicks));
        if (idle)
            event_wait(who);
        lock_take(&lock, who);
        own->outside = false;
    }
    lock_drop(&lock, who);
    return NULL;
}

static void test_no_wake_up_is_lost(void **state) {
    (void)state;
    for (uint32_t i = 0; i < THREADS; i++)
        boxes[i] = (struct box){.work = i < 2};
    left = THREADS * (uint64_t)ROUNDS;
    run_threads(pass_on);
    uint64_t work = 0;
    for (uint32_t i = 0; i < THREADS; i++)
        work += boxes[i].work;
    assert_int_equal(left, 0);
    assert_int_equal(work, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_kicks_who_waits_in_turn, fresh),
        cmocka_unit_test_setup(test_one_at_a_time, fresh),
        cmocka_unit_test_setup(test_no_wake_up_is_lost, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
