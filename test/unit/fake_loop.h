/* The event loop's timers and work for device models under test: time stands still until the test
 * moves it. */
#pragma once

#include <stdint.h>

/* Moves the time, and runs what becomes due on the way, in order. */
void fake_loop_advance(uint64_t ns);
/* Runs posted work. */
void fake_loop_work(void);
