/* See hostile.h. */
#include "test/guest/hvm/hostile/hostile.h"

static unsigned failed_line;
static volatile uint64_t counted;

void expect_at(bool condition, unsigned line) {
    if (!condition && !failed_line)
        failed_line = line;
}

/* xorshift */
uint64_t random_next(void) {
    static uint64_t state = 0x9e3779b97f4a7c15ull;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* Xen, public/arch-x86/hvm/start_info.h: hvm_memmap_table_entry */
struct map_entry {
    uint64_t base, bytes;
    uint32_t type, reserved;
};

uint64_t ram_end(void) {
    const struct map_entry *map = (const struct map_entry *)start_info()->memory_map;
    uint64_t end = 0;
    for (uint32_t i = 0; i < start_info()->memory_map_entries; i++)
        if (map[i].type == 1 && map[i].base < NOTHING_BASE && map[i].base + map[i].bytes > end)
            end = map[i].base + map[i].bytes;
    return end;
}

static void count(struct frame *frame) {
    (void)frame;
    counted++;
    apic_end();
}

void count_interrupts(uint8_t vector) {
    counted = 0;
    on_interrupt(vector, count);
}

uint64_t interrupts_counted(void) {
    return counted;
}

void spin(uint64_t ticks) {
    uint64_t end = rdtsc() + ticks;
    while (rdtsc() < end)
        __asm__ volatile("pause");
}

void kernel_main(const char *arguments) {
    const struct attack *a = attacks;
    while (a->name && !same(a->name, arguments))
        a++;
    say(arguments);
    if (!a->name) {
        say(": no such attack FAILED\n");
        return;
    }
    say(" begins\n");
    a->run();
    say(a->name);
    if (failed_line) {
        say(" FAILED, line ");
        say_number(failed_line);
        say("\n");
    } else {
        say(" ok\n");
    }
}
