/* The heap: see heap.h. A chunk is a header and its payload; chunks cover a stretch of memory
 * without gaps, and a used chunk of no payload ends it. Two free chunks are never neighbours. */
#include "guestlib/heap.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct chunk {
    size_t previous_bytes;      /* payload of the chunk in front; 0 at the first */
    size_t bytes_and_used;      /* payload, a multiple of HEAP_ALIGNMENT; bit 0: in use */
    struct chunk *next, **link; /* only while free: the payload's first 16 bytes */
};

#define HEADER_BYTES offsetof(struct chunk, next)
#define PAYLOAD_MIN (sizeof(struct chunk) - HEADER_BYTES)
#define USED ((size_t)1)

_Static_assert(HEADER_BYTES == HEAP_ALIGNMENT && PAYLOAD_MIN == HEAP_ALIGNMENT, "payloads align");

/* Size classes: below 8 * 16 bytes one for each multiple of 16; above, 8 for each power of two. */
#define CLASSES_LOG2 3u
#define LINEAR_LOG2 (CLASSES_LOG2 + 4u)
#define CLASSES ((64u - LINEAR_LOG2 + 1u) << CLASSES_LOG2)
#define CLASS_WORDS ((CLASSES + 63u) / 64u)

static struct {
    struct chunk *free[CLASSES];
    uint64_t occupied[CLASS_WORDS]; /* bit n: free[n] is not empty */
    size_t free_bytes, blocks;
    const struct chunk *first; /* of the stretch that heap_init was given */
    struct chunk *spare;       /* of a later one that was kept when it became empty, or NULL */
} heap;

static size_t payload_bytes(const struct chunk *chunk) {
    return chunk->bytes_and_used & ~USED;
}

static bool is_used(const struct chunk *chunk) {
    return chunk->bytes_and_used & USED;
}

static struct chunk *chunk_at(struct chunk *chunk, ptrdiff_t bytes) {
    return (struct chunk *)(void *)((char *)chunk + bytes);
}

static struct chunk *chunk_after(struct chunk *chunk) {
    return chunk_at(chunk, (ptrdiff_t)(HEADER_BYTES + payload_bytes(chunk)));
}

static void *payload_of(struct chunk *chunk) {
    return (char *)chunk + HEADER_BYTES;
}

static struct chunk *chunk_of(void *memory) {
    struct chunk *chunk = (struct chunk *)(void *)((char *)memory - HEADER_BYTES);
    if ((uintptr_t)memory % HEAP_ALIGNMENT != 0 || !is_used(chunk) ||
        chunk_after(chunk)->previous_bytes != payload_bytes(chunk))
        abort(); /* freed twice, never allocated, or overwritten */
    return chunk;
}

/* The class a free chunk of that size is kept in: all of a class are at least as large as its name.
 */
static unsigned class_of(size_t bytes) {
    if (bytes < (size_t)1 << LINEAR_LOG2)
        return (unsigned)(bytes >> 4);
    unsigned log2 = 63u - (unsigned)__builtin_clzll(bytes);
    unsigned fraction = (unsigned)(bytes >> (log2 - CLASSES_LOG2)) & ((1u << CLASSES_LOG2) - 1);
    return ((log2 - LINEAR_LOG2 + 1) << CLASSES_LOG2) + fraction;
}

/* The first class of which every chunk has room for that many bytes. */
static unsigned class_for(size_t bytes) {
    if (bytes < (size_t)1 << LINEAR_LOG2)
        return class_of(bytes);
    unsigned log2 = 63u - (unsigned)__builtin_clzll(bytes);
    return class_of(bytes + ((size_t)1 << (log2 - CLASSES_LOG2)) - 1);
}

static void set_bytes(struct chunk *chunk, size_t bytes, size_t used) {
    chunk->bytes_and_used = bytes | used;
    chunk_after(chunk)->previous_bytes = bytes;
}

static void insert_free(struct chunk *chunk) {
    unsigned class = class_of(payload_bytes(chunk));
    chunk->next = heap.free[class];
    chunk->link = &heap.free[class];
    if (chunk->next)
        chunk->next->link = &chunk->next;
    heap.free[class] = chunk;
    heap.occupied[class / 64] |= 1ull << class % 64;
    heap.free_bytes += payload_bytes(chunk);
}

static void remove_free(struct chunk *chunk) {
    unsigned class = class_of(payload_bytes(chunk));
    *chunk->link = chunk->next;
    if (chunk->next)
        chunk->next->link = chunk->link;
    if (!heap.free[class])
        heap.occupied[class / 64] &= ~(1ull << class % 64);
    heap.free_bytes -= payload_bytes(chunk);
}

static struct chunk *find_free(size_t bytes) {
    unsigned class = class_for(bytes);
    uint64_t candidates = heap.occupied[class / 64] & ~0ull << class % 64;
    for (unsigned word = class / 64;;) {
        if (candidates)
            return heap.free[word * 64 + (unsigned)__builtin_ctzll(candidates)];
        if (++word == CLASS_WORDS)
            return NULL;
        candidates = heap.occupied[word];
    }
}

/* Frees a used chunk; returns what it has become together with its free neighbours. */
static struct chunk *merge(struct chunk *chunk) {
    struct chunk *after = chunk_after(chunk);
    size_t bytes = payload_bytes(chunk);
    if (!is_used(after)) {
        remove_free(after);
        bytes += HEADER_BYTES + payload_bytes(after);
    }
    /* No chunk has a payload of 0 but the end, so 0 says that there is none in front. */
    if (chunk->previous_bytes != 0) {
        struct chunk *before = chunk_at(chunk, -(ptrdiff_t)(HEADER_BYTES + chunk->previous_bytes));
        if (!is_used(before)) {
            remove_free(before);
            bytes += HEADER_BYTES + payload_bytes(before);
            chunk->bytes_and_used = 0; /* no longer a chunk: a second free must not find one */
            chunk = before;
        }
    }
    set_bytes(chunk, bytes, 0);
    insert_free(chunk);
    return chunk;
}

/* Cuts a used chunk down to `bytes` and frees what is left, if that is enough for a chunk. */
static void trim(struct chunk *chunk, size_t bytes) {
    size_t whole = payload_bytes(chunk);
    if (whole < bytes + HEADER_BYTES + PAYLOAD_MIN)
        return;
    set_bytes(chunk, bytes, USED);
    struct chunk *rest = chunk_after(chunk);
    set_bytes(rest, whole - bytes - HEADER_BYTES, USED);
    merge(rest);
}

/* Rounds up to what a chunk can have; 0 if that overflows. */
static size_t chunk_size(size_t bytes) {
    if (bytes > SIZE_MAX / 4)
        return 0;
    if (bytes < PAYLOAD_MIN)
        return PAYLOAD_MIN;
    return (bytes + HEAP_ALIGNMENT - 1) & ~(size_t)(HEAP_ALIGNMENT - 1);
}

/* Makes one free chunk of a stretch of memory; NULL: it is too small. */
static struct chunk *add_stretch(void *memory, size_t bytes) {
    uintptr_t start = ((uintptr_t)memory + HEAP_ALIGNMENT - 1) & ~(uintptr_t)(HEAP_ALIGNMENT - 1);
    size_t lost = start - (uintptr_t)memory;
    if (bytes < lost + 2 * HEADER_BYTES + PAYLOAD_MIN)
        return NULL;
    struct chunk *first = (struct chunk *)start;
    size_t payload = (bytes - lost - 2 * HEADER_BYTES) & ~(size_t)(HEAP_ALIGNMENT - 1);
    first->previous_bytes = 0;
    set_bytes(first, payload, 0);
    chunk_after(first)->bytes_and_used = USED;
    insert_free(first);
    return first;
}

void heap_init(void *memory, size_t bytes) {
    memset(&heap, 0, sizeof heap);
    heap.first = add_stretch(memory, bytes);
}

/* A chunk of at least `bytes` in a stretch that is added for it. */
static struct chunk *find_more(size_t bytes) {
    /* Chunks are found by classes an eighth apart. */
    size_t wanted = bytes + bytes / 8 + 2 * HEADER_BYTES + PAYLOAD_MIN;
    void *memory = heap_more ? heap_more(&wanted) : NULL;
    return memory && add_stretch(memory, wanted) ? find_free(bytes) : NULL;
}

/* Nothing is allocated in its stretch. */
static bool is_whole(struct chunk *chunk) {
    return !is_used(chunk) && chunk->previous_bytes == 0 && payload_bytes(chunk_after(chunk)) == 0;
}

/* Gives an empty stretch back, but for one: what is allocated and released in turn would else move
 * memory every time. */
static void shed(struct chunk *chunk) {
    if (!heap_less || chunk == heap.first || chunk == heap.spare || !is_whole(chunk))
        return;
    if (!heap.spare || !is_whole(heap.spare)) {
        heap.spare = chunk;
        return;
    }
    remove_free(chunk);
    heap_less(chunk, payload_bytes(chunk) + 2 * HEADER_BYTES);
}

/* Makes the payload of a used chunk begin at a multiple of `alignment`; frees what lies in front.
 * The chunk has room for that (heap_allocate). */
static struct chunk *align_chunk(struct chunk *chunk, size_t alignment) {
    uintptr_t payload = (uintptr_t)payload_of(chunk);
    if (payload % alignment == 0)
        return chunk;
    uintptr_t aligned =
        (payload + HEADER_BYTES + PAYLOAD_MIN + alignment - 1) & ~(uintptr_t)(alignment - 1);
    size_t whole = payload_bytes(chunk), front = aligned - payload - HEADER_BYTES;
    set_bytes(chunk, front, USED);
    struct chunk *rest = chunk_after(chunk);
    set_bytes(rest, whole - front - HEADER_BYTES, USED);
    merge(chunk);
    return rest;
}

void *heap_allocate(size_t alignment, size_t bytes) {
    size_t size = chunk_size(bytes), slack = 0;
    if (size == 0 || alignment > SIZE_MAX / 4)
        return NULL;
    if (alignment > HEAP_ALIGNMENT)
        slack = alignment + HEADER_BYTES + PAYLOAD_MIN;
    struct chunk *chunk = find_free(size + slack);
    if (!chunk)
        chunk = find_more(size + slack);
    if (!chunk)
        return NULL;
    remove_free(chunk);
    chunk->bytes_and_used |= USED;
    chunk = align_chunk(chunk, alignment);
    trim(chunk, size);
    heap.blocks++;
    return payload_of(chunk);
}

void heap_release(void *memory) {
    if (!memory)
        return;
    struct chunk *chunk = chunk_of(memory);
    heap.blocks--;
    shed(merge(chunk));
}

void *heap_resize(void *memory, size_t bytes) {
    if (!memory)
        return heap_allocate(HEAP_ALIGNMENT, bytes);
    struct chunk *chunk = chunk_of(memory), *after = chunk_after(chunk);
    size_t size = chunk_size(bytes), old = payload_bytes(chunk);
    if (size == 0)
        return NULL;
    if (old < size && !is_used(after) && old + HEADER_BYTES + payload_bytes(after) >= size) {
        remove_free(after);
        set_bytes(chunk, old + HEADER_BYTES + payload_bytes(after), USED);
    }
    if (payload_bytes(chunk) >= size) {
        trim(chunk, size);
        return memory;
    }
    void *moved = heap_allocate(HEAP_ALIGNMENT, bytes);
    if (!moved)
        return NULL;
    memcpy(moved, memory, old);
    heap_release(memory);
    return moved;
}

size_t heap_blocks(void) {
    return heap.blocks;
}

size_t heap_free_bytes(void) {
    return heap.free_bytes;
}
