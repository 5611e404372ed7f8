#include "mgmt/vmm/pit.h"

#include "guestlib/tsc.h"
#include "mgmt/vmm/clock.h"

enum { COMMAND = 3 };
#define READ_BACK 3u /* in the place of a channel's number */
#define ACCESS_LATCH 0u
#define STATUS_OUT 0x80u
#define CONTROL_GATE 0x01u
#define CONTROL_SPEAKER 0x02u
#define CONTROL_REFRESH 0x10u
#define CONTROL_OUT 0x20u

static uint64_t count_of(const struct pit_channel *c) {
    return c->reload ? c->reload : 0x10000u;
}

/* Seconds apart from the rest: a product would overflow after four hours. */
static uint64_t ticks_since(const struct pit_channel *c) {
    uint64_t ns = loop_now_ns() - c->started_ns;
    return ns / NS_PER_S * PIT_HZ + ns % NS_PER_S * PIT_HZ / NS_PER_S;
}

static bool is_periodic(const struct pit_channel *c) {
    return c->mode == 2 || c->mode == 3;
}

static uint64_t ns_of(uint64_t ticks) {
    return ticks / PIT_HZ * NS_PER_S + (ticks % PIT_HZ * NS_PER_S + PIT_HZ - 1) / PIT_HZ;
}

static uint16_t counter(const struct pit_channel *c) {
    if (!c->counting)
        return c->reload;
    uint64_t ticks = ticks_since(c), count = count_of(c);
    if (c->mode == 3) /* counts by two */
        return (uint16_t)(count - ticks * 2 % count);
    if (c->mode == 2)
        return (uint16_t)(count - ticks % count);
    return (uint16_t)(count - ticks); /* goes on below 0 */
}

static bool output(const struct pit_channel *c) {
    if (!c->counting)
        return c->mode != 0;
    uint64_t ticks = ticks_since(c), count = count_of(c);
    switch (c->mode) {
    case 2:
        return ticks % count != count - 1;
    case 3:
        return ticks % count < (count + 1) / 2;
    default:
        return ticks >= count;
    }
}

static void expired(void *context) {
    struct pit *pit = context;
    struct pit_channel *c = &pit->channel[0];
    pit->pulse();
    if (!is_periodic(c))
        return;
    uint64_t periods = ticks_since(c) / count_of(c) + 1;
    uint64_t due_ns = c->started_ns + ns_of(periods * count_of(c));
    uint64_t soonest_ns = loop_now_ns() + TIMER_PERIOD_NS_MIN;
    loop_timer_set(&pit->timer, due_ns < soonest_ns ? soonest_ns : due_ns, expired, pit);
}

static void start(struct pit *pit, unsigned which) {
    struct pit_channel *c = &pit->channel[which];
    c->counting = c->gate;
    c->started_ns = loop_now_ns();
    if (which == 0)
        loop_timer_set(&pit->timer, c->started_ns + ns_of(count_of(c)), expired, pit);
}

void pit_init(struct pit *pit, void (*pulse)(void)) {
    *pit = (struct pit){.pulse = pulse};
    for (unsigned i = 0; i < 3; i++)
        pit->channel[i] = (struct pit_channel){.access = 3, .mode = 3, .gate = i != 2};
}

static void latch_count(struct pit_channel *c) {
    if (c->latched)
        return;
    c->latch = counter(c);
    c->latched = true;
}

static void latch_status(struct pit_channel *c) {
    if (c->status_latched)
        return;
    c->status = (uint8_t)((output(c) ? STATUS_OUT : 0) | c->access << 4 | c->mode << 1);
    c->status_latched = true;
}

static void read_back(struct pit *pit, uint8_t value) {
    for (unsigned i = 0; i < 3; i++) {
        if (!(value >> (i + 1) & 1))
            continue;
        if (!(value & 0x20))
            latch_count(&pit->channel[i]);
        if (!(value & 0x10))
            latch_status(&pit->channel[i]);
    }
}

static void command(struct pit *pit, uint8_t value) {
    unsigned which = value >> 6, access = value >> 4 & 3;
    if (which == READ_BACK) {
        read_back(pit, value);
        return;
    }
    struct pit_channel *c = &pit->channel[which];
    if (access == ACCESS_LATCH) {
        latch_count(c);
        return;
    }
    c->access = (uint8_t)access;
    c->mode = value >> 1 & 7;
    if (c->mode > 5)
        c->mode -= 4; /* 6 and 7 are 2 and 3 */
    c->high_next_read = c->high_next_write = c->latched = c->counting = false;
    if (which == 0)
        loop_timer_cancel(&pit->timer);
}

static uint8_t read_control(const struct pit *pit) {
    const struct pit_channel *c = &pit->channel[2];
    /* Guests that wait for the refresh bit see it toggle every 15 us. */
    bool refresh = loop_now_ns() / 15085 & 1;
    return (uint8_t)((c->gate ? CONTROL_GATE : 0) | (pit->speaker ? CONTROL_SPEAKER : 0) |
                     (refresh ? CONTROL_REFRESH : 0) | (output(c) ? CONTROL_OUT : 0));
}

static void write_control(struct pit *pit, uint8_t value) {
    struct pit_channel *c = &pit->channel[2];
    bool gate = value & CONTROL_GATE;
    pit->speaker = value & CONTROL_SPEAKER;
    bool rises = gate && !c->gate;
    c->gate = gate;
    if (rises)
        start(pit, 2);
    else if (!gate)
        c->counting = false;
}

uint64_t pit_read(const struct bus_access *a) {
    struct pit *pit = a->device;
    if (a->offset == PIT_CONTROL)
        return read_control(pit);
    if (a->offset == COMMAND)
        return 0;
    struct pit_channel *c = &pit->channel[a->offset];
    if (c->status_latched) {
        c->status_latched = false;
        return c->status;
    }
    uint16_t value = c->latched ? c->latch : counter(c);
    if (c->access != 3) {
        c->latched = false;
        return (uint8_t)(c->access == 2 ? value >> 8 : value);
    }
    bool high = c->high_next_read;
    c->high_next_read = !high;
    if (high)
        c->latched = false;
    return (uint8_t)(high ? value >> 8 : value);
}

static void write_channel(struct pit *pit, unsigned which, uint8_t value) {
    struct pit_channel *c = &pit->channel[which];
    if (c->access == 3 && !c->high_next_write) {
        c->low_written = value;
        c->high_next_write = true;
        return;
    }
    if (c->access == 3)
        c->reload = (uint16_t)(value << 8 | c->low_written);
    else
        c->reload = (uint16_t)(c->access == 2 ? value << 8 : value);
    c->high_next_write = false;
    start(pit, which);
}

void pit_write(const struct bus_access *a) {
    uint8_t value = (uint8_t)a->value;
    if (a->offset == PIT_CONTROL)
        write_control(a->device, value);
    else if (a->offset == COMMAND)
        command(a->device, value);
    else
        write_channel(a->device, (unsigned)a->offset, value);
}

static void channel_state(struct state *s, struct pit_channel *c) {
    STATE_SPAN(s, c, mode, latch);
    STATE_SPAN(s, c, latched, counting);
    STATE_SPAN(s, c, status, low_written);
    state_time(s, &c->started_ns);
    state_check(s, c->mode <= 5 && c->access >= 1 && c->access <= 3, "a mode that is none");
}

void pit_state(struct state *s, struct pit *pit) {
    state_section(s, "pit");
    for (unsigned i = 0; i < 3; i++)
        channel_state(s, &pit->channel[i]);
    STATE(s, pit->speaker);
    state_timer(s, &pit->timer, expired, pit);
}
