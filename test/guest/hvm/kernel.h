/* A kernel of one C file for an HVM guest: what every such file uses. 64-bit mode, ring 0, one
 * stack for each vCPU, the first 4 GiB mapped one to one, interrupts off. The file defines
 * kernel_main. What it prints appears on the guest's console; power_off ends it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* arguments: the definition's command line. Returning is power_off(). */
void kernel_main(const char *arguments);

/* Xen, public/arch-x86/hvm/start_info.h, version 1. */
struct pvh_start_info {
    uint32_t magic, version, flags, modules;
    uint64_t modules_at, command_line, rsdp, memory_map;
    uint32_t memory_map_entries, reserved;
};
const struct pvh_start_info *start_info(void);

/* --- Console: the first 16550 --- */

void say(const char *text);
void say_number(uint64_t value);
void say_hex(uint64_t value);
/* A line that was typed, without its end; sleeps until it is there. Cut short to `bytes` - 1. */
void read_line(char *line, size_t bytes);

bool same(const char *a, const char *b);
/* Reads a decimal number at *text and moves on behind it and one blank. */
uint64_t parse_number(const char **text);

/* --- The processor --- */

static inline uint64_t rdtsc(void) {
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high)::"memory");
    return (uint64_t)high << 32 | low;
}

static inline uint8_t in8(uint16_t port) {
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static inline uint16_t in16(uint16_t port) {
    uint16_t value;
    __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static inline uint32_t in32(uint16_t port) {
    uint32_t value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static inline void out8(uint16_t port, uint8_t value) {
    __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port) : "memory");
}
static inline void out16(uint16_t port, uint16_t value) {
    __asm__ volatile("outw %0, %1" ::"a"(value), "Nd"(port) : "memory");
}
static inline void out32(uint16_t port, uint32_t value) {
    __asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port) : "memory");
}

struct cpuid_result {
    uint32_t eax, ebx, ecx, edx;
};
static inline struct cpuid_result cpuid(uint32_t leaf, uint32_t subleaf) {
    struct cpuid_result r;
    __asm__ volatile("cpuid"
                     : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
                     : "a"(leaf), "c"(subleaf));
    return r;
}

static inline uint64_t rdmsr(uint32_t msr) {
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
    return (uint64_t)high << 32 | low;
}
static inline void wrmsr(uint32_t msr, uint64_t value) {
    __asm__ volatile("wrmsr" ::"c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
}

static inline void interrupts_on(void) {
    __asm__ volatile("sti" ::: "memory");
}
static inline void interrupts_off(void) {
    __asm__ volatile("cli" ::: "memory");
}
/* With interrupts off: lets one in, and comes back with them off. */
static inline void sleep_until_interrupt(void) {
    __asm__ volatile("sti; hlt; cli" ::: "memory");
}

_Noreturn void power_off(void);

/* --- Instructions that may fault --- */

#define NO_FAULT 0xffffffffu
/* An instruction as the first line of an asm with "=&r15" as an output: R15 becomes the vector of
 * the exception it raised, or NO_FAULT. See attempt_rdmsr. */
#define ATTEMPT(instruction)                                                                       \
    "movl $-1, %%r15d\n1: " instruction "\n2:\n.pushsection .attempts, \"a\"\n.quad 1b, 2b\n"      \
    ".popsection"

static inline uint32_t attempt_rdmsr(uint32_t msr, uint64_t *value) {
    register uint32_t fault __asm__("r15");
    uint32_t low = 0, high = 0;
    __asm__ volatile(ATTEMPT("rdmsr") : "=r"(fault), "+a"(low), "+d"(high) : "c"(msr) : "memory");
    *value = (uint64_t)high << 32 | low;
    return fault;
}
static inline uint32_t attempt_wrmsr(uint32_t msr, uint64_t value) {
    register uint32_t fault __asm__("r15");
    __asm__ volatile(ATTEMPT("wrmsr")
                     : "=r"(fault)
                     : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
    return fault;
}

/* --- Interrupts and exceptions --- */

/* As interrupted: pushed in start.S and by the processor. */
struct frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    uint64_t vector, error;
    uint64_t rip, cs, rflags, rsp, ss;
};
/* Of every vCPU; called with interrupts off. An exception without one is reported and ends the
 * guest; an interrupt without one is ended by apic_end. */
void on_interrupt(uint8_t vector, void (*handler)(struct frame *frame));

/* --- The local APIC in x2APIC mode: SDM 3A, 11.12 --- */

enum apic_register {
    APIC_ID = 0x802,
    APIC_TASK_PRIORITY = 0x808,
    APIC_EOI = 0x80b,
    APIC_SPURIOUS = 0x80f,
    APIC_COMMAND = 0x830,
    APIC_LVT_TIMER = 0x832,
    APIC_TIMER_INITIAL = 0x838,
    APIC_TIMER_CURRENT = 0x839,
    APIC_TIMER_DIVIDE = 0x83e,
    APIC_SELF_IPI = 0x83f,
};
#define APIC_COMMAND_FIXED 0x4000u /* physical, asserted; the vector is bits 0..7 */
#define APIC_COMMAND_INIT 0x4500u
#define APIC_COMMAND_STARTUP 0x4600u

/* On this vCPU. Done for the first before kernel_main, for others by cpu_start. */
void apic_enable(void);
static inline void apic_end(void) {
    wrmsr(APIC_EOI, 0);
}
static inline void apic_send(uint32_t to, uint32_t command) {
    wrmsr(APIC_COMMAND, (uint64_t)to << 32 | command);
}

/* A pin of the I/O APIC raises `vector` on the first vCPU, as an edge. */
void ioapic_route(unsigned pin, uint8_t vector);

/* --- Further vCPUs --- */

/* Starts vCPU 1..15 with a function that does not return; waits until it runs. */
void cpu_start(uint32_t id, void (*function)(void));
