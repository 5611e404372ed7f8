/* Hypercalls, interrupts, faults and time drawn from the input, against the reference model with
 * all its invariants: test/invariants/. */
#include <stddef.h>
#include <stdint.h>

#include "test/invariants/steps.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct source source = {.data = data, .left = size};
    steps_run(&source, 400);
    return 0;
}
