/* Leaves a marker wherever a guest can leave something: its first argument, a 64-bit number in
 * hexadecimal, and the number's complement, again and again, in all of the heap, in the windows and
 * queues of its disks and interfaces, on its stack and in the vector registers. Tests then look for
 * it in the machine's memory. The argument is text, so the marker itself comes from nowhere else.
 *
 * With a second argument it only marks where it was: once in each page, and not in its registers.
 */
#include <stdio.h>
#include <stdlib.h>

#include "abi/queue.h"
#include "guestlib/control_front.h"
#include "guestlib/guest.h"
#include "guestlib/hypercall.h"
#include "guestlib/loop.h"

#define LARGEST (1u << 20)
#define SMALLEST 64u
#define STACK_BYTES (40u << 10) /* most of it */
#define RESERVE (64u << 10)     /* for guestlib itself */

static uint64_t pair[2] __attribute__((aligned(16)));
static size_t step = sizeof pair;

static void fill(void *start, size_t bytes) {
    for (size_t i = 0; i + sizeof pair <= bytes; i += step) {
        volatile uint64_t *at = (void *)((uint8_t *)start + i); /* nobody in here reads it */
        at[0] = pair[0];
        at[1] = pair[1];
    }
}

static void fill_heap(void) {
    void *reserve = malloc(RESERVE);
    for (size_t bytes = LARGEST; bytes >= SMALLEST; bytes /= 2) {
        void *piece;
        while ((piece = malloc(bytes)))
            fill(piece, bytes); /* kept until the end */
    }
    free(reserve);
}

static void fill_windows(void) {
    const struct bh_domain_info *domain = guest_domain();
    for (uint32_t i = 0; i < domain->device_count; i++) {
        const struct bh_device_info *device = &domain->device[i];
        if (device->class != BH_CLASS_BLOCK && device->class != BH_CLASS_NET)
            continue;
        fill((void *)device->window_va, device->window_bytes);
        fill((uint8_t *)device->client_va + BH_QUEUE_HEADER_BYTES,
             device->client_units * sizeof(struct bh_request)); /* published to nobody */
    }
}

__attribute__((noinline)) static void fill_stack(void) {
    uint8_t deep[STACK_BYTES] __attribute__((aligned(16)));
    fill(deep, sizeof deep);
}

/* Its Context is left with the marker in its registers. */
static void stop(void *unused) {
    (void)unused;
    uint64_t bits, group;
    for (;;) {
        if (step == sizeof pair)
            __asm__ volatile("movdqa %0, %%xmm6\n\tmovdqa %0, %%xmm7\n\tmovdqa %0, %%xmm15"
                             :
                             : "m"(pair)
                             : "xmm6", "xmm7", "xmm15");
        hc_wait(0, BH_DEADLINE_NEVER, &bits, &group);
    }
}

int main(int argc, char **argv) {
    if (argc < 2) {
        puts("marker: which?");
        return EXIT_FAILURE;
    }
    pair[0] = strtoull(argv[1], NULL, 16);
    pair[1] = ~pair[0];
    if (argc > 2)
        step = 4096;
    fill_windows();
    fill_stack();
    control_ready();
    fill_heap();
    puts("full");
    static struct loop_timer timer;
    loop_timer_set(&timer, loop_now_ns() + 50000000, stop, NULL);
    return loop_run();
}
