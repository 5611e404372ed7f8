/* malloc and its family on heap.h, under the names that programs and newlib's inside use. Compiled
 * with -fno-builtin: else the compiler turns calloc into a call of itself. newlib's own are not
 * used, because its calloc and memalign do not check for overflow. */
#include <errno.h>
#include <malloc.h>
#include <reent.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "guestlib/heap.h"

static void *or_enomem(void *memory) {
    if (!memory)
        errno = ENOMEM;
    return memory;
}

void *malloc(size_t bytes) {
    return or_enomem(heap_allocate(HEAP_ALIGNMENT, bytes));
}

void free(void *memory) {
    heap_release(memory);
}

void *calloc(size_t count, size_t bytes) {
    size_t total;
    if (__builtin_mul_overflow(count, bytes, &total))
        return or_enomem(NULL);
    void *memory = malloc(total);
    if (memory)
        memset(memory, 0, total);
    return memory;
}

void *realloc(void *memory, size_t bytes) {
    return or_enomem(heap_resize(memory, bytes));
}

void *memalign(size_t alignment, size_t bytes) {
    if (alignment == 0 || (alignment & (alignment - 1)) != 0) {
        errno = EINVAL;
        return NULL;
    }
    return or_enomem(heap_allocate(alignment, bytes));
}

void *aligned_alloc(size_t alignment, size_t bytes) {
    return memalign(alignment, bytes);
}

/* What newlib calls. There is one thread, so the reentrancy structure tells nothing. */
void *_malloc_r(struct _reent *reent, size_t bytes) {
    (void)reent;
    return malloc(bytes);
}

void _free_r(struct _reent *reent, void *memory) {
    (void)reent;
    free(memory);
}

void *_calloc_r(struct _reent *reent, size_t count, size_t bytes) {
    (void)reent;
    return calloc(count, bytes);
}

void *_realloc_r(struct _reent *reent, void *memory, size_t bytes) {
    (void)reent;
    return realloc(memory, bytes);
}

void *_memalign_r(struct _reent *reent, size_t alignment, size_t bytes) {
    (void)reent;
    return memalign(alignment, bytes);
}
