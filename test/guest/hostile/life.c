/* Ways to end badly, or never; and every hypercall on every slot. */
#include "test/guest/hostile/raw.h"

/* Not in C: the compiler has its own ideas about null and constants. */
static void touch(uint64_t address) {
    __asm__ volatile("movb $1, (%0)" : : "r"(address) : "memory");
}

static void null(void) {
    touch(8);
}

static void divide(void) {
    __asm__ volatile("xor %%ecx, %%ecx; div %%ecx" : : : "rax", "rcx", "rdx", "cc");
}

static void write_text(void) {
    touch(domain->ram_va);
}

static void write_information(void) {
    touch((uint64_t)domain);
}

static void write_completions(void) {
    touch(domain->device[0].server_va);
}

static void beyond_ram(void) {
    touch(domain->ram_va + domain->ram_bytes);
}

static void beyond_shared(void) {
    const struct bh_device_info *last = &domain->device[domain->device_count - 1];
    touch(last->window_va + ((last->window_bytes + 4095) & ~4095ull));
}

static void execute_heap(void) {
    *(volatile uint8_t *)domain->heap_va = 0xc3;
    ((void (*)(void))domain->heap_va)();
}

/* Down through the whole stack into the guard page, which a deep enough frame must not jump over.
 */
static void exhaust_stack(void) {
    for (uint64_t at = (uint64_t)__builtin_frame_address(0);; at -= 4096)
        touch(at);
}

static void exhaust_heap(void) {
    for (uint64_t at = domain->heap_va;; at += 4096)
        touch(at);
}

static void loop(void) {
    for (;;)
        __asm__ volatile("pause");
}

/* A fault with the direction flag, odd segments and the FPU in a bad way. */
static void odd_state(void) {
    __asm__ volatile("std; fldpi; fldpi; xor %%eax, %%eax; mov %%eax, %%fs; mov %%eax, %%gs; ud2"
                     :
                     :
                     : "rax");
}

/* Signals on every slot in a tight loop: the mean kind of busy. */
static void signals(void) {
    uint64_t end = tsc_read() + 4 * domain->tsc_hz;
    while (tsc_read() < end)
        for (unsigned i = 0; i < domain->device_count; i++)
            hc_signal(domain->device[i].signal_slot);
}

static void yields(void) {
    uint64_t end = tsc_read() + 2 * domain->tsc_hz;
    while (tsc_read() < end) {
        uint64_t bits, group;
        hc_yield();
        hc_wait(~0ull, 1, &bits, &group);
        hc_wait(0, tsc_read() + random_next() % 100000, &bits, &group);
    }
}

static uint64_t argument(void) {
    uint64_t r = random_next();
    switch (r & 7) {
    case 0:
        return r;
    case 1:
        return BH_REF(r >> 8 & 63, r >> 16 & 63);
    case 2:
        return domain->ram_va + (r >> 8 & 0xfff000);
    case 3:
        return ~(r >> 8 & 63);
    default:
        return r >> 8 & 63;
    }
}

/* Every hypercall with every slot, then at random. Nothing that changes anything may succeed. */
static void hypercalls(void) {
    static const bool harmless[BH_HC_COUNT] = {
        [BH_HC_NULL] = true,  [BH_HC_SIGNAL] = true,   [BH_HC_WAIT] = true,
        [BH_HC_YIELD] = true, [BH_HC_CAP_INFO] = true,
    };
    struct hc_values values;
    for (unsigned round = 0; round < 60000; round++) {
        uint64_t number = round < 64 * BH_HC_COUNT ? round / 64 : random_next() % (BH_HC_COUNT + 3);
        uint64_t first = round < 64 * BH_HC_COUNT ? round % 64 : argument();
        uint64_t second = number == BH_HC_WAIT ? tsc_read() + 1000 : argument();
        enum bh_status status = hc_call((enum bh_hypercall)number, first, second, argument(),
                                        argument(), argument(), argument(), &values);
        expect(status != BH_OK || (number < BH_HC_COUNT && harmless[number]));
    }
}

const struct attempt attempts[] = {
    {"null", null},
    {"divide", divide},
    {"write-text", write_text},
    {"write-information", write_information},
    {"write-completions", write_completions},
    {"beyond-ram", beyond_ram},
    {"beyond-shared", beyond_shared},
    {"execute-heap", execute_heap},
    {"exhaust-stack", exhaust_stack},
    {"exhaust-heap", exhaust_heap},
    {"odd-state", odd_state},
    {"loop", loop},
    {"signals", signals},
    {"yields", yields},
    {"hypercalls", hypercalls},
    {0},
};
