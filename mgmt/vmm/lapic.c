#include "mgmt/vmm/lapic.h"

#include <stddef.h>
#include <string.h>

#include "mgmt/vmm/apic.h"
#include "mgmt/vmm/msr.h"

/* Registers: offset in the page / 16 = MSR - 0x800. */
enum {
    ID = 0x02,
    VERSION = 0x03,
    TASK_PRIORITY = 0x08,
    PROCESSOR_PRIORITY = 0x0a,
    END_OF_INTERRUPT = 0x0b,
    LOGICAL_ID = 0x0d,
    FORMAT = 0x0e,
    SPURIOUS = 0x0f,
    SERVICE = 0x10,
    TRIGGER = 0x18,
    REQUEST = 0x20,
    ERRORS = 0x28,
    LVT_FIRST_CMCI = 0x2f,
    COMMAND_LOW = 0x30,
    COMMAND_HIGH = 0x31,
    LVT_FIRST = 0x32,
    LVT_LAST = 0x37,
    INITIAL_COUNT = 0x38,
    CURRENT_COUNT = 0x39,
    DIVIDE = 0x3e,
    SELF = 0x3f,
};

#define VERSION_VALUE 0x00060015u /* integrated, 7 local vectors */
#define SPURIOUS_ENABLED 0x100u
#define FORMAT_FLAT 0xffffffffu
#define FORMAT_MODEL 0xf0000000u
#define ERROR_SEND_VECTOR 0x20u
#define ERROR_RECEIVE_VECTOR 0x40u
#define COMMAND_WRITABLE 0x000ccfffu

static const uint32_t lvt_writable[] = {
    [LVT_CMCI] = 0x107ff,  [LVT_TIMER] = 0x700ff, [LVT_THERMAL] = 0x107ff, [LVT_COUNTERS] = 0x107ff,
    [LVT_LINT0] = 0x1a7ff, [LVT_LINT1] = 0x1a7ff, [LVT_ERROR] = 0x100ff,
};

static bool is_x2apic(const struct lapic *lapic) {
    return lapic->base & APIC_BASE_X2APIC;
}

static bool is_enabled(const struct lapic *lapic) {
    return (lapic->base & APIC_BASE_ENABLED) && (lapic->spurious & SPURIOUS_ENABLED);
}

/* IA32_APIC_BASE and the identifier stay. */
void lapic_init(struct lapic *lapic) {
    *lapic = (struct lapic){.host = lapic->host,
                            .id = lapic->id,
                            .base = lapic->base,
                            .format = FORMAT_FLAT,
                            .due_tsc = LAPIC_TIMER_OFF,
                            .startup = lapic->startup,
                            .startup_vector = lapic->startup_vector,
                            .spurious = 0xff};
    for (unsigned i = 0; i < sizeof(lapic->lvt) / sizeof(lapic->lvt[0]); i++)
        lapic->lvt[i] = APIC_MASKED;
}

void lapic_reset(struct lapic *lapic, const struct lapic_host *host, uint32_t id) {
    lapic->host = host;
    lapic->id = id;
    lapic->base = LAPIC_BASE | APIC_BASE_ENABLED | (id == 0 ? APIC_BASE_BOOT : 0);
    lapic_init(lapic);
}

/* --- 256 bits, by vector --- */

static void bit_set(uint32_t *bits, uint8_t vector) {
    bits[vector / 32] |= 1u << vector % 32;
}

static void bit_clear(uint32_t *bits, uint8_t vector) {
    bits[vector / 32] &= ~(1u << vector % 32);
}

static int highest(const uint32_t *bits) {
    uint64_t word[4];
    memcpy(word, bits, sizeof(word));
    if (!(word[0] | word[1] | word[2] | word[3]))
        return -1; /* nearly always */
    int i = 3;
    while (!word[i])
        i--;
    return i * 64 + 63 - __builtin_clzll(word[i]);
}

/* --- Delivery --- */

static void set_error(struct lapic *lapic, uint32_t error) {
    lapic->errors |= error;
    uint32_t lvt = lapic->lvt[LVT_ERROR];
    if (!(lvt & APIC_MASKED) && (lvt & APIC_VECTOR) >= 16)
        bit_set(lapic->request, lvt & APIC_VECTOR);
}

void lapic_accept(struct lapic *lapic, uint8_t vector, bool level) {
    if (!is_enabled(lapic))
        return;
    if (vector < 16) {
        set_error(lapic, ERROR_RECEIVE_VECTOR);
        return;
    }
    bit_set(lapic->request, vector);
    if (level)
        bit_set(lapic->trigger, vector);
    else
        bit_clear(lapic->trigger, vector);
}

static uint32_t x2apic_logical_id(const struct lapic *lapic) {
    return lapic->id >> 4 << 16 | 1u << (lapic->id & 15);
}

bool lapic_is_meant(const struct lapic *lapic, uint32_t destination, bool logical) {
    bool wide = is_x2apic(lapic);
    if (!logical)
        return destination == lapic->id || destination == (wide ? 0xffffffffu : 0xffu) ||
               destination == 0xffu;
    if (wide) {
        uint32_t own = x2apic_logical_id(lapic);
        return destination == 0xffffffffu ||
               (destination >> 16 == own >> 16 && (destination & own & 0xffff));
    }
    uint32_t own = lapic->logical_id >> 24;
    if ((lapic->format & FORMAT_MODEL) == FORMAT_MODEL) /* flat */
        return destination & own & 0xff;
    return (destination >> 4 == 0xf || (destination ^ own) >> 4 == 0) && (destination & own & 0xf);
}

uint32_t lapic_processor_priority(const struct lapic *lapic) {
    int in_service = highest(lapic->service);
    uint32_t service = in_service < 0 ? 0 : (uint32_t)in_service & 0xf0;
    return (lapic->task_priority & 0xf0) >= service ? lapic->task_priority : service;
}

int lapic_pending(const struct lapic *lapic) {
    int vector = highest(lapic->request);
    if (vector < 0 || !is_enabled(lapic))
        return -1;
    return (uint32_t)vector >> 4 > lapic_processor_priority(lapic) >> 4 ? vector : -1;
}

int lapic_waiting(const struct lapic *lapic) {
    int vector = highest(lapic->request);
    if (vector < 0 || !is_enabled(lapic))
        return -1;
    int in_service = highest(lapic->service);
    return vector >> 4 > (in_service < 0 ? 0 : in_service >> 4) ? vector : -1;
}

void lapic_acknowledge(struct lapic *lapic, uint8_t vector) {
    bit_clear(lapic->request, vector);
    bit_set(lapic->service, vector);
}

bool lapic_take_back(struct lapic *lapic, uint8_t vector) {
    if (!(lapic->service[vector / 32] & 1u << vector % 32))
        return false;
    bit_clear(lapic->service, vector);
    bit_set(lapic->request, vector);
    return true;
}

bool lapic_takes_extint(const struct lapic *lapic) {
    if (!(lapic->base & APIC_BASE_ENABLED))
        return lapic->id == 0;
    uint32_t lvt = lapic->lvt[LVT_LINT0];
    return !(lvt & APIC_MASKED) && (lvt & APIC_MODE) == APIC_MODE_EXTINT;
}

uint64_t lapic_task_priority(const struct lapic *lapic) {
    return lapic->task_priority >> 4 & 0xf;
}

void lapic_set_task_priority(struct lapic *lapic, uint64_t cr8) {
    lapic->task_priority = (uint32_t)(cr8 & 0xf) << 4;
}

void lapic_end_of_interrupt(struct lapic *lapic) {
    int vector = highest(lapic->service);
    if (vector < 0)
        return;
    bit_clear(lapic->service, (uint8_t)vector);
    if (lapic->trigger[vector / 32] >> vector % 32 & 1)
        lapic->host->end_of_interrupt((uint8_t)vector);
}

bool lapic_ends_unseen(const struct lapic *lapic) {
    int vector = highest(lapic->service);
    return vector >= 0 && highest(lapic->request) < 0 &&
           !(lapic->trigger[vector / 32] >> vector % 32 & 1);
}

/* --- Registers --- */

static uint32_t *lvt_at(struct lapic *lapic, unsigned reg, enum lapic_lvt *which) {
    if (reg == LVT_FIRST_CMCI)
        *which = LVT_CMCI;
    else if (reg >= LVT_FIRST && reg <= LVT_LAST)
        *which = (enum lapic_lvt)(LVT_TIMER + reg - LVT_FIRST);
    else
        return NULL;
    return &lapic->lvt[*which];
}

static uint32_t read_register(struct lapic *lapic, unsigned reg) {
    enum lapic_lvt which;
    const uint32_t *lvt = lvt_at(lapic, reg, &which);
    if (lvt)
        return *lvt;
    if (reg >= SERVICE && reg < SERVICE + 8)
        return lapic->service[reg - SERVICE];
    if (reg >= TRIGGER && reg < TRIGGER + 8)
        return lapic->trigger[reg - TRIGGER];
    if (reg >= REQUEST && reg < REQUEST + 8)
        return lapic->request[reg - REQUEST];
    switch (reg) {
    case ID:
        return is_x2apic(lapic) ? lapic->id : lapic->id << 24;
    case VERSION:
        return VERSION_VALUE;
    case TASK_PRIORITY:
        return lapic->task_priority;
    case PROCESSOR_PRIORITY:
        return lapic_processor_priority(lapic);
    case LOGICAL_ID:
        return is_x2apic(lapic) ? x2apic_logical_id(lapic) : lapic->logical_id;
    case FORMAT:
        return lapic->format;
    case SPURIOUS:
        return lapic->spurious;
    case ERRORS:
        return lapic->errors_shown;
    case COMMAND_LOW:
        return lapic->command;
    case COMMAND_HIGH:
        return lapic->destination;
    case INITIAL_COUNT:
        return lapic->initial_count;
    case CURRENT_COUNT:
        return lapic_timer_count(lapic);
    case DIVIDE:
        return lapic->divide;
    default:
        return 0;
    }
}

static void send(struct lapic *lapic, uint32_t destination, uint32_t command) {
    lapic->command = command & COMMAND_WRITABLE;
    if ((command & APIC_MODE) == APIC_MODE_FIXED && (command & APIC_VECTOR) < 16)
        set_error(lapic, ERROR_SEND_VECTOR);
    else
        lapic->host->send(lapic, destination, lapic->command);
}

static void write_spurious(struct lapic *lapic, uint32_t value) {
    lapic->spurious = value & 0x1ff;
    if (value & SPURIOUS_ENABLED)
        return;
    for (unsigned i = 0; i < sizeof(lapic->lvt) / sizeof(lapic->lvt[0]); i++)
        lapic->lvt[i] |= APIC_MASKED;
}

static void write_register(struct lapic *lapic, unsigned reg, uint32_t value) {
    enum lapic_lvt which;
    uint32_t *lvt = lvt_at(lapic, reg, &which);
    if (lvt) {
        value &= lvt_writable[which];
        if (!(lapic->spurious & SPURIOUS_ENABLED))
            value |= APIC_MASKED;
        if (which == LVT_TIMER)
            lapic_timer_set_lvt(lapic, value);
        else
            *lvt = value;
        return;
    }
    switch (reg) {
    case TASK_PRIORITY:
        lapic->task_priority = value & 0xff;
        break;
    case END_OF_INTERRUPT:
        lapic_end_of_interrupt(lapic);
        break;
    case LOGICAL_ID:
        lapic->logical_id = value & 0xff000000;
        break;
    case FORMAT:
        lapic->format = value | ~FORMAT_MODEL;
        break;
    case SPURIOUS:
        write_spurious(lapic, value);
        break;
    case ERRORS: /* a write latches what has happened since the last one */
        lapic->errors_shown = lapic->errors;
        lapic->errors = 0;
        break;
    case COMMAND_LOW:
        send(lapic, lapic->destination >> 24, value);
        break;
    case COMMAND_HIGH:
        lapic->destination = value & 0xff000000;
        break;
    case INITIAL_COUNT:
        lapic_timer_set_count(lapic, value);
        break;
    case DIVIDE:
        lapic_timer_set_divide(lapic, value & 0xb);
        break;
    default:
        break;
    }
}

bool lapic_in_memory(const struct lapic *lapic) {
    return (lapic->base & APIC_BASE_ENABLED) && !is_x2apic(lapic);
}

uint32_t lapic_read(struct lapic *lapic, uint32_t offset) {
    return offset % 16 ? 0 : read_register(lapic, offset / 16);
}

void lapic_write(struct lapic *lapic, uint32_t offset, uint32_t value) {
    if (offset % 16 == 0)
        write_register(lapic, offset / 16, value);
}

/* --- MSRs --- */

/* Which registers x2APIC mode has: SDM 3A, table 11-6. */
static bool x2apic_readable(unsigned reg) {
    return reg == ID || reg == VERSION || reg == TASK_PRIORITY || reg == PROCESSOR_PRIORITY ||
           reg == LOGICAL_ID || (reg >= SPURIOUS && reg <= ERRORS) || reg == LVT_FIRST_CMCI ||
           reg == COMMAND_LOW || (reg >= LVT_FIRST && reg <= CURRENT_COUNT) || reg == DIVIDE;
}

static bool x2apic_writable(unsigned reg) {
    return reg == TASK_PRIORITY || reg == END_OF_INTERRUPT || reg == SPURIOUS || reg == ERRORS ||
           reg == LVT_FIRST_CMCI || (reg >= LVT_FIRST && reg <= INITIAL_COUNT) || reg == DIVIDE ||
           reg == SELF;
}

/* The modes may only change as figure 11-30 allows. */
static bool write_base(struct lapic *lapic, uint64_t value) {
    uint64_t modes = APIC_BASE_ENABLED | APIC_BASE_X2APIC;
    uint64_t from = lapic->base & modes, to = value & modes;
    if (to == APIC_BASE_X2APIC || (from == modes && to == APIC_BASE_ENABLED) ||
        (from == 0 && to == modes) ||
        (value & ~modes) != (LAPIC_BASE | (lapic->base & APIC_BASE_BOOT)))
        return false;
    lapic->base = value;
    if (from && !to)
        lapic_init(lapic);
    return true;
}

bool lapic_read_msr(struct lapic *lapic, uint32_t msr, uint64_t *value) {
    if (msr == MSR_APIC_BASE) {
        *value = lapic->base;
        return true;
    }
    if (msr == MSR_TSC_DEADLINE) {
        *value = lapic->deadline_tsc;
        return true;
    }
    unsigned reg = msr - MSR_X2APIC_FIRST;
    if (!is_x2apic(lapic) || !x2apic_readable(reg))
        return false;
    *value = read_register(lapic, reg);
    if (reg == COMMAND_LOW)
        *value |= (uint64_t)lapic->destination << 32;
    return true;
}

bool lapic_write_msr(struct lapic *lapic, uint32_t msr, uint64_t value) {
    if (msr == MSR_APIC_BASE)
        return write_base(lapic, value);
    if (msr == MSR_TSC_DEADLINE) {
        lapic_timer_set_deadline(lapic, value);
        return true;
    }
    unsigned reg = msr - MSR_X2APIC_FIRST;
    if (!is_x2apic(lapic))
        return false;
    if (reg == COMMAND_LOW) {
        lapic->destination = (uint32_t)(value >> 32);
        send(lapic, lapic->destination, (uint32_t)value);
        return true;
    }
    if (!x2apic_writable(reg) || value >> 32 || (reg == END_OF_INTERRUPT && value))
        return false;
    if (reg == SELF)
        lapic_accept(lapic, (uint8_t)value, false);
    else
        write_register(lapic, reg, (uint32_t)value);
    return true;
}

/* due_tsc follows from the rest: a period of 0 cannot be loaded. */
void lapic_state(struct state *s, struct lapic *lapic) {
    state_section(s, "lapic");
    STATE_SPAN(s, lapic, base, deadline_tsc);
    STATE(s, lapic->nmi);
    STATE(s, lapic->init);
    STATE(s, lapic->startup);
    STATE(s, lapic->startup_vector);
    lapic_timer_set_divide(lapic, lapic->divide);
    lapic_timer_set_deadline(lapic, lapic->deadline_tsc);
}
