/* Kernels that mean harm to their VMM. A program is a table of attacks; the definition's command
 * line names the one that this guest makes: "NAME ok" or "NAME FAILED, line N" is what it found,
 * then it powers off. Attacks that end the guest otherwise, or never, come after "NAME begins". */
#pragma once

#include "test/guest/hvm/kernel.h"

struct attack {
    const char *name;
    void (*run)(void);
};

/* Each program's own; ends with an empty name. */
extern const struct attack attacks[];

/* A check of the attack that runs. */
#define expect(condition) expect_at(condition, __LINE__)
void expect_at(bool condition, unsigned line);

uint64_t random_next(void); /* the same at each start */

/* The first address above the RAM at 0, by the memory map; a few MiB in these guests. */
uint64_t ram_end(void);
/* Where the PC has neither RAM nor a device. */
#define NOTHING_BASE 0xd8000000ull

/* Counts interrupts of `vector` from now on. */
void count_interrupts(uint8_t vector);
uint64_t interrupts_counted(void);

#define MHZ 1000000ull /* TSC ticks; the processors here have some GHz */
void spin(uint64_t ticks);

/* Exceptions: SDM 3A, table 6-1. */
enum { EXCEPTION_UD = 6, EXCEPTION_GP = 13, EXCEPTION_PF = 14 };

/* Instructions on `address`, which is in RDI; the vector of the exception, or NO_FAULT. Other
 * registers are theirs to change. */
#define FORM(name, text) FORM_AFTER(name, "", text)
/* `setup` goes before, and does not fault. */
#define FORM_AFTER(name, setup, text)                                                              \
    static uint32_t name(uint64_t address) {                                                       \
        register uint32_t fault __asm__("r15");                                                    \
        __asm__ volatile(setup "\n" ATTEMPT(text)                                                  \
                         : "=&r"(fault), "+D"(address)                                             \
                         :                                                                         \
                         : "rax", "rcx", "rdx", "rbx", "rsi", "r8", "memory", "cc");               \
        return fault;                                                                              \
    }

static inline uint64_t read_memory(uint64_t address, unsigned bytes) {
    switch (bytes) {
    case 1:
        return *(volatile uint8_t *)address;
    case 2:
        return *(volatile uint16_t *)address;
    case 4:
        return *(volatile uint32_t *)address;
    default:
        return *(volatile uint64_t *)address;
    }
}

static inline void write_memory(uint64_t address, unsigned bytes, uint64_t value) {
    switch (bytes) {
    case 1:
        *(volatile uint8_t *)address = (uint8_t)value;
        break;
    case 2:
        *(volatile uint16_t *)address = (uint16_t)value;
        break;
    case 4:
        *(volatile uint32_t *)address = (uint32_t)value;
        break;
    default:
        *(volatile uint64_t *)address = value;
    }
}
