/* The local APIC's timer: SDM 3A, 11.5.4. All in the guest's TSC. */
#include "guestlib/tsc.h"
#include "mgmt/vmm/apic.h"
#include "mgmt/vmm/clock.h"
#include "mgmt/vmm/lapic.h"

#define TIMER_MODE 0x60000u
#define TIMER_PERIODIC 0x20000u
#define TIMER_DEADLINE 0x40000u

static uint32_t mode(const struct lapic *lapic) {
    return lapic->lvt[LVT_TIMER] & TIMER_MODE;
}

/* How long the initial count takes: its bus ticks once a nanosecond. */
static uint64_t period_ns(const struct lapic *lapic) {
    unsigned shift = ((lapic->divide & 3) | (lapic->divide >> 1 & 4)) + 1; /* figure 11-10 */
    return (uint64_t)lapic->initial_count << (shift & 7);
}

static uint64_t period_tsc(const struct lapic *lapic) {
    uint64_t ns = period_ns(lapic);
    if (mode(lapic) == TIMER_PERIODIC && ns < TIMER_PERIOD_NS_MIN)
        ns = TIMER_PERIOD_NS_MIN;
    return tsc_from_ns(ns, lapic->host->tsc_hz);
}

static void arm(struct lapic *lapic) {
    lapic->due_tsc = LAPIC_TIMER_OFF;
    if (mode(lapic) == TIMER_DEADLINE) {
        if (lapic->deadline_tsc)
            lapic->due_tsc = lapic->deadline_tsc;
    } else if (lapic->initial_count) {
        lapic->due_tsc = lapic->started_tsc + period_tsc(lapic);
    }
}

static void expire(struct lapic *lapic, uint64_t now) {
    uint32_t lvt = lapic->lvt[LVT_TIMER];
    if (!(lvt & APIC_MASKED))
        lapic_accept(lapic, lvt & APIC_VECTOR, false);
    switch (mode(lapic)) {
    case TIMER_PERIODIC: {
        /* Ticks that were missed are not made up for. */
        uint64_t period = period_tsc(lapic);
        lapic->started_tsc += (now - lapic->started_tsc) / period * period;
        break;
    }
    case TIMER_DEADLINE:
        lapic->deadline_tsc = 0;
        break;
    default:
        lapic->initial_count = 0;
        break;
    }
    arm(lapic);
}

void lapic_timer_run(struct lapic *lapic) {
    if (lapic->due_tsc == LAPIC_TIMER_OFF)
        return;
    uint64_t now = lapic->host->tsc();
    if (now >= lapic->due_tsc)
        expire(lapic, now);
}

uint32_t lapic_timer_count(const struct lapic *lapic) {
    uint64_t period = period_ns(lapic);
    uint64_t passed = tsc_to_ns(lapic->host->tsc() - lapic->started_tsc, lapic->host->tsc_hz);
    if (!period || mode(lapic) == TIMER_DEADLINE)
        return 0;
    if (passed >= period) {
        if (mode(lapic) != TIMER_PERIODIC)
            return 0;
        passed %= period;
    }
    return (uint32_t)((period - passed) / (period / lapic->initial_count));
}

void lapic_timer_set_deadline(struct lapic *lapic, uint64_t tsc) {
    if (mode(lapic) != TIMER_DEADLINE)
        return;
    lapic->deadline_tsc = tsc;
    arm(lapic);
}

void lapic_timer_set_lvt(struct lapic *lapic, uint32_t value) {
    bool mode_changed = (lapic->lvt[LVT_TIMER] ^ value) & TIMER_MODE;
    lapic->lvt[LVT_TIMER] = value;
    if (mode_changed) {
        lapic->deadline_tsc = 0;
        lapic->initial_count = 0;
        arm(lapic);
    }
}

void lapic_timer_set_count(struct lapic *lapic, uint32_t count) {
    if (mode(lapic) == TIMER_DEADLINE)
        return;
    lapic->initial_count = count;
    lapic->started_tsc = lapic->host->tsc();
    arm(lapic);
}

void lapic_timer_set_divide(struct lapic *lapic, uint32_t value) {
    lapic->divide = value;
    if (mode(lapic) != TIMER_DEADLINE)
        arm(lapic);
}
