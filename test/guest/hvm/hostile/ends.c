/* Ends of a guest, by its own hand, and ways never to end. */
#include "test/guest/hvm/hostile/hostile.h"
#include "test/guest/hvm/layout.h"

struct __attribute__((packed)) table_pointer {
    uint16_t limit;
    uint64_t base;
};

static void no_gates(void) {
    struct table_pointer none = {0, 0};
    __asm__ volatile("lidt %0; ud2" ::"m"(none));
}

static void no_pages(void) {
    static uint8_t empty[8192];
    __asm__ volatile("mov %0, %%cr3" ::"r"(((uint64_t)empty + 4095) & ~4095ull) : "memory");
}

static void no_stack(void) {
    __asm__ volatile("mov %0, %%rsp; push %%rax" ::"r"(1ull << 40) : "memory");
}

static void bad_segments(void) {
    struct table_pointer none = {0, 0};
    __asm__ volatile("lgdt %0; mov $0x10, %%eax; mov %%eax, %%ss; int3" ::"m"(none) : "rax");
}

/* A fault inside a fault's handler, whose gate is not there. */
static void bad_gate(void) {
    static uint64_t gates[512];
    struct table_pointer pointer = {sizeof(gates) - 1, (uint64_t)gates};
    __asm__ volatile("lidt %0; mov 0x100000000, %%rax" ::"m"(pointer) : "rax");
}

/* real_mode.S */
extern const uint8_t to_real_mode[], to_real_mode_end[];

static void real_mode(void) {
    volatile uint8_t *to = (volatile uint8_t *)STARTUP_PAGE;
    for (unsigned i = 0; i < (unsigned)(to_real_mode_end - to_real_mode); i++)
        to[i] = to_real_mode[i];
    ((void (*)(void))STARTUP_PAGE)();
}

/* --- Nothing more is heard of these -------------------------------------------------------------
 */

static void deaf(void) {
    __asm__ volatile("cli; hlt");
    say("deaf woke FAILED\n");
}

/* A timer that goes on does not wake who has interrupts off. */
static void deaf_with_timer(void) {
    wrmsr(APIC_LVT_TIMER, 0x20060);
    wrmsr(APIC_TIMER_INITIAL, 100000);
    __asm__ volatile("cli; hlt");
    say("deaf woke FAILED\n");
}

static void loops(void) {
    for (;;)
        ;
}

static void faults_for_ever(void) {
    for (;;)
        __asm__ volatile(ATTEMPT("ud2") : : : "r15", "memory");
}

static void exits_for_ever(void) {
    for (;;)
        cpuid(0, 0);
}

static void resets(void) {
    out8(0xcf9, 6);
}

const struct attack attacks[] = {
    {"no-gates", no_gates},
    {"no-pages", no_pages},
    {"no-stack", no_stack},
    {"bad-segments", bad_segments},
    {"bad-gate", bad_gate},
    {"real-mode", real_mode},
    {"deaf", deaf},
    {"deaf-with-timer", deaf_with_timer},
    {"loops", loops},
    {"faults-for-ever", faults_for_ever},
    {"exits-for-ever", exits_for_ever},
    {"resets", resets},
    {0},
};
