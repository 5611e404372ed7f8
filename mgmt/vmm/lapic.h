/* One local APIC: xAPIC and x2APIC, all timer modes. What it needs from others (the time, routing
 * of what it sends) comes in struct lapic_host, so that it can be tested alone. Its timer does
 * nothing by itself: whoever runs the vCPU asks when it is due. Reference: SDM 3A, chapter 11. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "mgmt/vmm/state.h"

#define LAPIC_BASE 0xfee00000ull
#define LAPIC_BYTES 0x1000ull
#define LAPIC_TIMER_OFF (~0ull)

struct lapic;
struct lapic_host {
    /* An interrupt command: destination as in the mode of `from`, ICR's low word. */
    void (*send)(struct lapic *from, uint32_t destination, uint32_t command);
    /* A level-triggered interrupt has been ended. */
    void (*end_of_interrupt)(uint8_t vector);
    /* The guest's TSC now, and its frequency. */
    uint64_t (*tsc)(void);
    uint64_t tsc_hz;
};

enum lapic_lvt { LVT_CMCI, LVT_TIMER, LVT_THERMAL, LVT_COUNTERS, LVT_LINT0, LVT_LINT1, LVT_ERROR };

struct lapic {
    const struct lapic_host *host;
    uint32_t id;
    uint64_t base; /* IA32_APIC_BASE */
    uint32_t task_priority, spurious, logical_id, format, command, destination, errors;
    uint32_t errors_shown;
    uint32_t lvt[7];
    uint32_t request[8], service[8], trigger[8];
    uint32_t divide, initial_count;
    /* The guest's TSC: when the count was `initial_count`; what TSC-deadline mode was set to, 0:
     * not armed; when the timer is due, LAPIC_TIMER_OFF: not at all. */
    uint64_t started_tsc, deadline_tsc, due_tsc;
    bool nmi;           /* to be delivered */
    bool init, startup; /* likewise */
    uint8_t startup_vector;
};

void lapic_reset(struct lapic *lapic, const struct lapic_host *host, uint32_t id);
/* Times are the guest's TSC, which goes on where it was. */
void lapic_state(struct state *s, struct lapic *lapic);
/* What an INIT does. A startup message that has come since then stays. */
void lapic_init(struct lapic *lapic);

/* From outside: an interrupt for this one. Vectors below 16 are an error and get lost. */
void lapic_accept(struct lapic *lapic, uint8_t vector, bool level);
/* Whether a message for `destination` (8 bits, or 32 in x2APIC mode) means this one. */
bool lapic_is_meant(const struct lapic *lapic, uint32_t destination, bool logical);

/* SDM 3A, 11.8.3.1: the class in bits 4..7. Of several, the one with the lowest takes a message to
 * any of them. */
uint32_t lapic_processor_priority(const struct lapic *lapic);

/* The vector to deliver next; -1: none that its priority admits. */
int lapic_pending(const struct lapic *lapic);
/* The same if the task priority were 0. */
int lapic_waiting(const struct lapic *lapic);
void lapic_acknowledge(struct lapic *lapic, uint8_t vector);
/* The reverse, for an interrupt that has not reached the guest. False: it is not in service. */
bool lapic_take_back(struct lapic *lapic, uint8_t vector);
/* What a write to EOI does. */
void lapic_end_of_interrupt(struct lapic *lapic);
/* Whether the interrupt in service may end without anybody's noticing: no device waits for its end,
 * and no other interrupt. */
bool lapic_ends_unseen(const struct lapic *lapic);
/* Whether the 8259's interrupt output reaches the processor through LINT0. */
bool lapic_takes_extint(const struct lapic *lapic);

/* Delivers the timer's interrupt if it is due. due_tsc says when that is. */
void lapic_timer_run(struct lapic *lapic);

/* CR8. */
uint64_t lapic_task_priority(const struct lapic *lapic);
void lapic_set_task_priority(struct lapic *lapic, uint64_t cr8);

/* Memory: offset in the page. In x2APIC mode or switched off nobody is there. */
uint32_t lapic_read(struct lapic *lapic, uint32_t offset);
void lapic_write(struct lapic *lapic, uint32_t offset, uint32_t value);
bool lapic_in_memory(const struct lapic *lapic);

/* MSRs: IA32_APIC_BASE, IA32_TSC_DEADLINE and 0x800..0x8ff. False: #GP. */
bool lapic_read_msr(struct lapic *lapic, uint32_t msr, uint64_t *value);
bool lapic_write_msr(struct lapic *lapic, uint32_t msr, uint64_t value);

/* --- between lapic.c and lapic_timer.c: registers of the timer --- */
void lapic_timer_set_lvt(struct lapic *lapic, uint32_t value);
void lapic_timer_set_count(struct lapic *lapic, uint32_t count);
void lapic_timer_set_divide(struct lapic *lapic, uint32_t value);
void lapic_timer_set_deadline(struct lapic *lapic, uint64_t tsc);
uint32_t lapic_timer_count(const struct lapic *lapic);
