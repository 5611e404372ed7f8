/* The core against the reference model, over random sequences. The seed is printed and can be set:
 * --seed N or BULKHEAD_SEED; BULKHEAD_SECONDS says how long (default 8). --trace prints every step
 * of one machine: --seed N --trace, with the seed that a failure printed. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sanitizer/common_interface_defs.h>

#include "test/invariants/model.h"
#include "test/invariants/steps.h"

enum { STEPS = 1500 };

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static char again[64];

static void say_seed(void) {
    if (write(STDERR_FILENO, again, strlen(again)) < 0)
        _exit(1);
}

static void aborted(int signal_number) {
    (void)signal_number;
    say_seed();
}

/* One machine per seed, so that a failing one can be had alone. */
static void run(uint64_t seed) {
    struct source source = {.random = (seed + 1) * 0x9e3779b97f4a7c15ull};
    snprintf(again, sizeof(again), "to have it again: --seed %llu --trace\n",
             (unsigned long long)seed);
    steps_run(&source, STEPS);
}

int main(int argc, char **argv) {
    const char *from = getenv("BULKHEAD_SEED"), *length = getenv("BULKHEAD_SECONDS");
    uint64_t seed = from ? strtoull(from, NULL, 10) : (uint64_t)time(NULL);
    double end = seconds() + (length ? atof(length) : 8);
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--seed") && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--trace")) {
            model_trace(true);
            end = 0;
        }
    }
    signal(SIGABRT, aborted);
    __sanitizer_set_death_callback(say_seed);
    fprintf(stderr, "--seed %llu\n", (unsigned long long)seed);
    uint64_t calls = 0, oks = 0, agains = 0, removed = 0, machines = 0;
    do {
        run(seed++);
        machines++;
        calls += model.calls;
        oks += model.oks;
        agains += model.agains;
        removed += model.removed;
    } while (seconds() < end);
    fprintf(stderr, "%llu machines, %llu hypercalls: %llu OK, %llu AGAIN; %llu removed\n",
            (unsigned long long)machines, (unsigned long long)calls, (unsigned long long)oks,
            (unsigned long long)agains, (unsigned long long)removed);
    return 0;
}
