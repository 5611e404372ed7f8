/* mgmt's own memory: what init gave it, and frame memory that its heap grew into (heap_more and
 * heap_less of guestlib/heap.h). It is clean when it goes back: guests' console output was in it.
 */
#pragma once

#include <stdint.h>

/* From now on there is frame memory (host_start was called), and the heap may grow. */
void own_memory_start(void);

/* All of it, now. */
uint64_t own_memory_bytes(void);
