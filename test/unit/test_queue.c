/* Both ends of a queue pair, against each other and against a peer that lies. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <cmocka.h>

#include "guestlib/queue.h"

#define CLIENT_UNITS 16u
#define SERVER_UNITS 4u
#define WINDOW_BYTES 65536u
#define EFLAGS_TF 0x100

struct memory {
    _Alignas(4096) struct bh_queue_header header;
    struct bh_request units[256];
};

static struct memory *submissions, *completions;
static struct queue_end client, server;

static struct memory *map_memory(void) {
    void *memory = mmap(NULL, sizeof(struct memory), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    return memory;
}

static void open_server(uint32_t generation) {
    assert_int_equal(queue_server_open(&server, &completions->header, SERVER_UNITS,
                                       &submissions->header, CLIENT_UNITS, WINDOW_BYTES,
                                       generation),
                     BH_OK);
}

static void open_client(void) {
    assert_int_equal(queue_client_open(&client, &submissions->header, CLIENT_UNITS,
                                       &completions->header, SERVER_UNITS, WINDOW_BYTES),
                     BH_OK);
}

static int open_both(void **state) {
    (void)state;
    submissions = map_memory();
    completions = map_memory();
    open_server(1);
    open_client();
    return 0;
}

static int close_both(void **state) {
    (void)state;
    munmap(submissions, sizeof *submissions);
    munmap(completions, sizeof *completions);
    return 0;
}

static bool push(uint32_t tag, unsigned segments) {
    struct bh_request request = {.operation = 7, .segments = (uint8_t)segments, .tag = tag};
    struct bh_segment list[BH_QUEUE_SEGMENTS_MAX];
    for (unsigned i = 0; i < segments; i++)
        list[i] = (struct bh_segment){.offset = tag * 64 + i, .bytes = i + 1};
    return queue_push(&client, &request, list);
}

static enum queue_take take(struct bh_request *request, bool *bad) {
    struct bh_segment segments[BH_QUEUE_SEGMENTS_MAX];
    return queue_take_request(&server, request, segments, bad);
}

static void assert_taken(uint32_t tag) {
    struct bh_request request;
    bool bad;
    assert_int_equal(take(&request, &bad), QUEUE_TAKEN);
    assert_int_equal(request.tag, tag);
    assert_false(bad);
}

/* --- honest peers --------------------------------------------------------------------------------
 */

static void refuses_wrong_sizes(void **state) {
    (void)state;
    static const uint32_t wrong[] = {0, 1, 3, 100, BH_QUEUE_UNITS_MAX * 2};
    struct queue_end q;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(queue_client_open(&q, &submissions->header, wrong[i], &completions->header,
                                           SERVER_UNITS, WINDOW_BYTES),
                         BH_BAD_ARG);
        assert_int_equal(queue_server_open(&q, &completions->header, SERVER_UNITS,
                                           &submissions->header, wrong[i], WINDOW_BYTES, 1),
                         BH_BAD_ARG);
    }
}

static void carries_requests_and_completions(void **state) {
    (void)state;
    /* Many times round both rings, with segments that wrap. */
    for (uint32_t tag = 0; tag < 1000; tag++) {
        unsigned count = tag % 8;
        struct bh_request request;
        struct bh_segment segments[BH_QUEUE_SEGMENTS_MAX];
        struct bh_completion completion;
        bool bad;
        assert_true(push(tag, count));
        assert_int_equal(queue_take_request(&server, &request, segments, &bad), QUEUE_EMPTY);
        queue_publish(&client);
        assert_int_equal(queue_take_request(&server, &request, segments, &bad), QUEUE_TAKEN);
        assert_false(bad);
        assert_int_equal(request.tag, tag);
        assert_int_equal(request.operation, 7);
        assert_int_equal(request.segments, count);
        for (unsigned i = 0; i < count; i++) {
            assert_int_equal(segments[i].offset, tag * 64 + i);
            assert_int_equal(segments[i].bytes, i + 1);
        }
        queue_complete(&server, tag, BH_IO_ERROR, 5, tag + 1ull);
        assert_false(queue_take_completion(&client, &completion));
        queue_publish(&server);
        assert_true(queue_take_completion(&client, &completion));
        assert_int_equal(completion.tag, tag);
        assert_int_equal(completion.status, BH_IO_ERROR);
        assert_int_equal(completion.flags, 5);
        assert_int_equal(completion.value, tag + 1ull);
    }
}

static void carries_on_when_indices_wrap(void **state) {
    (void)state;
    const uint32_t near = UINT32_MAX - 2;
    client.tail = client.published = client.head = near;
    server.tail = server.published = server.head = near;
    submissions->header.tail = submissions->header.head = submissions->header.wake = near;
    completions->header.tail = completions->header.head = completions->header.wake = near;
    carries_requests_and_completions(NULL);
}

static void refuses_more_than_completions_have_room_for(void **state) {
    (void)state;
    struct bh_completion completion;
    for (uint32_t tag = 0; tag < SERVER_UNITS; tag++)
        assert_true(push(tag, 0));
    assert_false(push(9, 0));
    queue_publish(&client);
    for (uint32_t tag = 0; tag < SERVER_UNITS; tag++) {
        assert_taken(tag);
        queue_complete(&server, tag, BH_OK, 0, 0);
    }
    queue_publish(&server);
    assert_false(push(9, 0)); /* completed, but not taken */
    assert_true(queue_take_completion(&client, &completion));
    assert_true(push(9, 0));
}

static void refuses_more_than_the_queue_has_room_for(void **state) {
    (void)state;
    assert_true(push(0, 8));
    assert_false(push(1, 7)); /* 9 + 8 units of 16 */
    assert_true(push(2, 6));
    queue_publish(&client);
    assert_taken(0);
    assert_taken(2);
}

static void completions_come_in_any_order(void **state) {
    (void)state;
    struct bh_completion completion;
    push(1, 0);
    push(2, 0);
    queue_publish(&client);
    assert_taken(1);
    assert_taken(2);
    queue_complete(&server, 2, BH_OK, 0, 0);
    queue_complete(&server, 1, BH_OK, 0, 0);
    queue_publish(&server);
    assert_true(queue_take_completion(&client, &completion));
    assert_int_equal(completion.tag, 2);
    assert_true(queue_take_completion(&client, &completion));
    assert_int_equal(completion.tag, 1);
    assert_false(queue_take_completion(&client, &completion));
}

/* --- sleep and wake ------------------------------------------------------------------------------
 */

static void signals_only_a_sleeper(void **state) {
    (void)state;
    push(1, 0);
    assert_true(queue_publish(&client)); /* a new peer sleeps */
    push(2, 0);
    assert_false(queue_publish(&client)); /* it has been signalled for that sleep */
    assert_false(queue_publish(&client)); /* nothing new */
    assert_taken(1);
    assert_false(queue_sleep(&server)); /* 2 has come */
    assert_taken(2);
    push(3, 0);
    assert_false(queue_publish(&client)); /* awake, it will look */
    assert_taken(3);
    assert_true(queue_sleep(&server));
    push(4, 0);
    assert_true(queue_publish(&client));
}

static void signals_when_a_batch_passes_the_threshold(void **state) {
    (void)state;
    assert_true(queue_sleep(&server));
    for (uint32_t tag = 0; tag < 3; tag++)
        push(tag, 3);
    assert_true(queue_publish(&client));
}

static void looks_again_before_it_sleeps(void **state) {
    (void)state;
    queue_sleep(&server);
    push(1, 0);
    queue_publish(&client);
    assert_taken(1);
    push(2, 0);
    queue_publish(&client); /* between the server's last look and its sleep */
    assert_false(queue_sleep(&server));
}

/* One thread at each end; an end that is told it may sleep does so until it is signalled. A signal
 * too few hangs, and the alarm ends the test. */
struct bell {
    bool pending;
};
static struct bell to_server, to_client;
#define ROUNDS 300000u

static void ring(struct bell *bell) {
    __atomic_store_n(&bell->pending, true, __ATOMIC_SEQ_CST);
}

/* Spins, so that the two ends meet within nanoseconds of each other. */
static void await(struct bell *bell) {
    for (unsigned spins = 1; !__atomic_exchange_n(&bell->pending, false, __ATOMIC_SEQ_CST); spins++)
        if (spins % 512 == 0)
            sched_yield();
}

static void *serve(void *unused) {
    for (uint32_t done = 0; done < ROUNDS;) {
        struct bh_request request;
        bool bad;
        while (take(&request, &bad) == QUEUE_TAKEN) {
            queue_complete(&server, request.tag, BH_OK, 0, request.tag);
            done++;
        }
        if (queue_publish(&server))
            ring(&to_client);
        if (done < ROUNDS && queue_sleep(&server))
            await(&to_server);
    }
    return unused;
}

static void loses_no_wake_up(void **state) {
    (void)state;
    pthread_t thread;
    uint32_t asked = 0, answered = 0;
    alarm(60);
    assert_int_equal(pthread_create(&thread, NULL, serve, NULL), 0);
    while (answered < ROUNDS) {
        struct bh_completion completion;
        /* One at a time in the first half: each request finds both ends about to sleep. */
        uint32_t depth = answered < ROUNDS / 2 ? 1 : SERVER_UNITS;
        while (asked < ROUNDS && asked - answered < depth && push(asked, asked % 3))
            asked++;
        if (queue_publish(&client))
            ring(&to_server);
        while (queue_take_completion(&client, &completion)) {
            assert_int_equal(completion.tag, answered);
            assert_int_equal(completion.value, answered);
            answered++;
        }
        /* Asleep only when nothing can be asked: else this end would be waiting for itself. */
        if (answered < ROUNDS && (asked == ROUNDS || asked - answered >= depth) &&
            queue_sleep(&client))
            await(&to_client);
    }
    pthread_join(thread, NULL);
    alarm(0);
}

/* --- lying peers ---------------------------------------------------------------------------------
 */

static void assert_server_breaks(void) {
    struct bh_request request;
    bool bad;
    assert_int_equal(take(&request, &bad), QUEUE_BROKEN);
    assert_int_equal(completions->header.state, BH_QUEUE_BROKEN);
    assert_true(server.broken);
    /* For good: even a valid queue is not looked at again. */
    submissions->header.tail = server.head;
    assert_int_equal(take(&request, &bad), QUEUE_BROKEN);
    uint32_t tail = completions->header.tail;
    queue_complete(&server, 0, BH_OK, 0, 0);
    assert_false(queue_publish(&server));
    assert_true(queue_sleep(&server));
    assert_int_equal(completions->header.tail, tail);
}

static void server_breaks_on_overrun(void **state) {
    (void)state;
    submissions->header.tail = CLIENT_UNITS + 1;
    assert_server_breaks();
}

static void server_breaks_on_tail_that_goes_back(void **state) {
    (void)state;
    push(1, 0);
    queue_publish(&client);
    assert_taken(1);
    submissions->header.tail = 0;
    assert_server_breaks();
}

static void server_breaks_on_too_many_segments(void **state) {
    (void)state;
    submissions->units[0] = (struct bh_request){.segments = BH_QUEUE_SEGMENTS_MAX + 1};
    submissions->header.tail = CLIENT_UNITS;
    assert_server_breaks();
}

static void server_breaks_on_missing_segments(void **state) {
    (void)state;
    submissions->units[0] = (struct bh_request){.segments = 2};
    submissions->header.tail = 2; /* the second segment was not published */
    assert_server_breaks();
}

static void server_breaks_on_too_many_requests(void **state) {
    (void)state;
    submissions->header.tail = SERVER_UNITS + 1;
    for (uint32_t i = 0; i < SERVER_UNITS; i++)
        assert_taken(0);
    assert_server_breaks();
}

static void server_breaks_when_completions_are_not_taken(void **state) {
    (void)state;
    submissions->header.tail = SERVER_UNITS + 1;
    for (uint32_t i = 0; i < SERVER_UNITS; i++) {
        assert_taken(0);
        queue_complete(&server, 0, BH_OK, 0, 0);
        queue_publish(&server);
    }
    assert_server_breaks();
}

static void server_breaks_when_completions_are_taken_that_never_were(void **state) {
    (void)state;
    submissions->header.head = 1;
    submissions->header.tail = 1;
    assert_server_breaks();
}

static void server_hands_bad_segments_over_as_bad(void **state) {
    (void)state;
    static const struct bh_segment wrong[] = {
        {.offset = WINDOW_BYTES, .bytes = 1},
        {.offset = WINDOW_BYTES + 1ull, .bytes = 0},
        {.offset = WINDOW_BYTES - 1, .bytes = 2},
        {.offset = UINT64_MAX, .bytes = 2},
        {.offset = UINT64_MAX - UINT32_MAX + 2, .bytes = UINT32_MAX},
        {.offset = 0, .bytes = UINT32_MAX},
        {.offset = 0, .bytes = 1, .reserved = 1},
    };
    static const struct bh_segment right[] = {
        {.offset = 0, .bytes = WINDOW_BYTES},
        {.offset = WINDOW_BYTES, .bytes = 0},
        {.offset = WINDOW_BYTES - 1, .bytes = 1},
    };
    struct bh_completion completion;
    struct bh_request request = {.segments = 1};
    bool bad;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0] + sizeof right / sizeof right[0]; i++) {
        bool expect_bad = i < sizeof wrong / sizeof wrong[0];
        const struct bh_segment *segment =
            expect_bad ? &wrong[i] : &right[i - sizeof wrong / sizeof wrong[0]];
        assert_true(queue_push(&client, &request, segment));
        queue_publish(&client);
        assert_int_equal(take(&request, &bad), QUEUE_TAKEN);
        assert_int_equal(bad, expect_bad);
        queue_complete(&server, 0, bad ? BH_BAD_ARG : BH_OK, 0, 0);
        queue_publish(&server);
        assert_true(queue_take_completion(&client, &completion));
    }
}

static void assert_client_is_broken(void) {
    struct bh_completion completion;
    assert_true(client.broken);
    assert_false(push(1, 0));
    assert_false(queue_take_completion(&client, &completion));
    assert_false(queue_publish(&client));
    assert_true(queue_sleep(&client));
}

static void client_breaks_on_completions_nobody_asked_for(void **state) {
    (void)state;
    struct bh_completion completion;
    push(1, 0);
    queue_publish(&client);
    completions->header.tail = 2;
    assert_false(queue_take_completion(&client, &completion));
    assert_client_is_broken();
}

static void client_breaks_on_completions_that_go_back(void **state) {
    (void)state;
    struct bh_completion completion;
    push(1, 0);
    queue_publish(&client);
    completions->header.tail = UINT32_MAX;
    assert_false(queue_take_completion(&client, &completion));
    assert_client_is_broken();
}

static void client_breaks_on_a_head_beyond_its_tail(void **state) {
    (void)state;
    push(1, 0); /* not published */
    completions->header.head = 1;
    assert_false(push(2, 0));
    assert_client_is_broken();
}

static void client_breaks_on_a_head_that_goes_back(void **state) {
    (void)state;
    completions->header.head = (uint32_t)-CLIENT_UNITS;
    assert_false(push(1, 0));
    completions->header.head = (uint32_t)-CLIENT_UNITS - 1;
    assert_false(push(1, 0));
    assert_client_is_broken();
}

/* --- a new server --------------------------------------------------------------------------------
 */

static void new_server_waits_for_the_client(void **state) {
    (void)state;
    struct bh_request request;
    struct bh_completion completion;
    bool bad;
    push(1, 2);
    push(2, 2);
    queue_publish(&client);
    assert_taken(1);
    uint32_t before = queue_generation(&client);
    open_server(2);
    /* Neither takes the other's old indices for new ones, and neither takes offence. */
    assert_int_equal(take(&request, &bad), QUEUE_EMPTY);
    assert_true(queue_sleep(&server));
    assert_false(queue_take_completion(&client, &completion));
    assert_false(push(3, 0));
    assert_true(queue_sleep(&client));
    assert_false(client.broken || server.broken);
    assert_int_not_equal(queue_generation(&client), before);
    open_client();
    push(1, 2);
    push(2, 2);
    assert_true(queue_publish(&client));
    assert_taken(1);
    assert_taken(2);
}

/* --- nothing is read twice -----------------------------------------------------------------------
 */

/* The peer's memory is made inaccessible; each access is let through by single-stepping, counted,
 * and then the word is changed, so that whoever looks again sees something else. */
static struct memory *watched;
static uint8_t reads[sizeof(struct memory) / 4];
static size_t last_read;

static void on_access(int number, siginfo_t *info, void *context) {
    (void)number;
    uintptr_t offset = (uintptr_t)info->si_addr - (uintptr_t)watched;
    if (offset >= sizeof *watched)
        abort();
    last_read = offset / 4;
    reads[last_read]++;
    mprotect(watched, sizeof *watched, PROT_READ | PROT_WRITE);
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] |= EFLAGS_TF;
}

static void on_step(int number, siginfo_t *info, void *context) {
    (void)number, (void)info;
    if (last_read * 4 != offsetof(struct bh_queue_header, generation))
        ((uint32_t *)(void *)watched)[last_read] ^= 0xffffffff;
    mprotect(watched, sizeof *watched, PROT_NONE);
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~EFLAGS_TF;
}

static void watch(struct memory *memory) {
    struct sigaction access = {.sa_sigaction = on_access, .sa_flags = SA_SIGINFO};
    struct sigaction step = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO};
    memset(reads, 0, sizeof reads);
    watched = memory;
    sigaction(SIGSEGV, &access, NULL);
    sigaction(SIGTRAP, &step, NULL);
    mprotect(memory, sizeof *memory, PROT_NONE);
}

/* The generation may be looked at again: it is only compared, and what it guards is not used. */
static void assert_read_once(void) {
    mprotect(watched, sizeof *watched, PROT_READ | PROT_WRITE);
    signal(SIGSEGV, SIG_DFL);
    signal(SIGTRAP, SIG_DFL);
    for (size_t i = 0; i < sizeof reads; i++)
        if (i * 4 != offsetof(struct bh_queue_header, generation))
            assert_in_range(reads[i], 0, 1);
}

static void server_reads_nothing_twice(void **state) {
    (void)state;
    struct bh_request request;
    struct bh_segment segments[BH_QUEUE_SEGMENTS_MAX];
    bool bad;
    push(3, 5);
    queue_publish(&client);
    watch(submissions);
    enum queue_take result = queue_take_request(&server, &request, segments, &bad);
    assert_read_once();
    assert_int_equal(result, QUEUE_TAKEN);
    assert_int_equal(request.segments, 5);
    assert_false(bad);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(segments[i].offset, 3 * 64 + i);
}

static void client_reads_nothing_twice(void **state) {
    (void)state;
    struct bh_completion completion;
    push(3, 0);
    queue_publish(&client);
    assert_taken(3);
    queue_complete(&server, 3, BH_OK, 1, 2);
    queue_publish(&server);
    watch(completions);
    bool taken = queue_take_completion(&client, &completion);
    assert_read_once();
    assert_true(taken);
    assert_int_equal(completion.tag, 3);
    assert_int_equal(completion.value, 2);
    completions->header = (struct bh_queue_header){.tail = 1, .head = 1, .generation = 1};
    watch(completions);
    bool pushed = push(4, 3);
    bool signal_wanted = queue_publish(&client);
    assert_read_once();
    assert_true(pushed);
    assert_false(signal_wanted); /* wake = 0 is behind */
}

/* --- a peer that writes anything at any time
 * ------------------------------------------------------ */

static bool scribbling;

static void *scribble(void *memory) {
    uint32_t random = 1;
    volatile uint32_t *words = memory;
    while (__atomic_load_n(&scribbling, __ATOMIC_RELAXED)) {
        random = random * 1664525 + 1013904223;
        size_t index = random >> 8;
        if (random >> 28 == 0) /* plausible indices, so that something is taken */
            __atomic_store_n(&words[0], server.head + random % 8, __ATOMIC_RELAXED);
        else
            __atomic_store_n(&words[64 + index % (CLIENT_UNITS * 4ul)],
                             random % 3 ? random % 64 : random, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void server_survives_a_scribbler(void **state) {
    (void)state;
    pthread_t thread;
    unsigned taken = 0;
    scribbling = true;
    assert_int_equal(pthread_create(&thread, NULL, scribble, submissions), 0);
    /* At least until something was taken: on a busy machine the other thread may start late. */
    for (unsigned i = 0; i < 300000 || taken == 0; i++) {
        struct bh_request request;
        struct bh_segment segments[BH_QUEUE_SEGMENTS_MAX];
        bool bad;
        switch (queue_take_request(&server, &request, segments, &bad)) {
        case QUEUE_BROKEN:
            submissions->header.head = 0;
            open_server(1);
            break;
        case QUEUE_TAKEN:
            taken++;
            assert_in_range(request.segments, 0, BH_QUEUE_SEGMENTS_MAX);
            for (unsigned s = 0; !bad && s < request.segments; s++) {
                assert_in_range(segments[s].offset, 0, WINDOW_BYTES);
                assert_in_range(segments[s].bytes, 0, WINDOW_BYTES - segments[s].offset);
            }
            queue_complete(&server, request.tag, BH_OK, 0, 0);
            queue_publish(&server);
            submissions->header.head = server.published;
            break;
        case QUEUE_EMPTY:
            break;
        }
    }
    __atomic_store_n(&scribbling, false, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_both, close_both)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(refuses_wrong_sizes),
        TEST(carries_requests_and_completions),
        TEST(carries_on_when_indices_wrap),
        TEST(refuses_more_than_completions_have_room_for),
        TEST(refuses_more_than_the_queue_has_room_for),
        TEST(completions_come_in_any_order),
        TEST(signals_only_a_sleeper),
        TEST(signals_when_a_batch_passes_the_threshold),
        TEST(looks_again_before_it_sleeps),
        TEST(loses_no_wake_up),
        TEST(server_breaks_on_overrun),
        TEST(server_breaks_on_tail_that_goes_back),
        TEST(server_breaks_on_too_many_segments),
        TEST(server_breaks_on_missing_segments),
        TEST(server_breaks_on_too_many_requests),
        TEST(server_breaks_when_completions_are_not_taken),
        TEST(server_breaks_when_completions_are_taken_that_never_were),
        TEST(server_hands_bad_segments_over_as_bad),
        TEST(client_breaks_on_completions_nobody_asked_for),
        TEST(client_breaks_on_completions_that_go_back),
        TEST(client_breaks_on_a_head_beyond_its_tail),
        TEST(client_breaks_on_a_head_that_goes_back),
        TEST(new_server_waits_for_the_client),
        TEST(server_reads_nothing_twice),
        TEST(client_reads_nothing_twice),
        TEST(server_survives_a_scribbler),
    };
    return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
