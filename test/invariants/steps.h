/* Sequences of hypercalls, interrupts, faults and time for the model: what to do next is drawn from
 * a generator or from a fuzzer's bytes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct source {
    uint64_t random;     /* state of the generator */
    const uint8_t *data; /* if not NULL: draw from these instead */
    size_t left;
};

/* One machine from boot until `steps` are done or the data are used up. */
void steps_run(struct source *source, unsigned steps);
