#include "mgmt/vmm/clock.h"

#include "guestlib/guest.h"
#include "guestlib/tsc.h"

#define SYSTEM_TIME_ENABLE 1u
#define TSC_STABLE 1u /* flags */

struct pvclock_time {
    uint32_t version; /* odd while it changes */
    uint32_t reserved;
    uint64_t tsc_at; /* moment of system_ns */
    uint64_t system_ns;
    uint32_t multiplier; /* ns = ((tsc - tsc_at) << shift) * multiplier >> 32 */
    int8_t shift;
    uint8_t flags;
    uint8_t reserved2[2];
};
_Static_assert(sizeof(struct pvclock_time) == 32, "pvclock-abi.h");

struct pvclock_wall {
    uint32_t version;
    uint32_t seconds, ns; /* of system_ns 0 */
};

static struct {
    uint64_t hz;
    uint64_t host_tsc_at_0; /* of the guest's TSC */
    uint32_t multiplier;
    int8_t shift;
} clock;

void clock_init(uint64_t tsc_hz) {
    clock.hz = tsc_hz;
    clock.host_tsc_at_0 = tsc_read();
    /* The frequency is scaled to between 1 and 2 GHz: then 10^9 / f << 32 just fits 32 bits. */
    uint64_t scaled = tsc_hz;
    while (scaled > 2 * NS_PER_S) {
        scaled >>= 1;
        clock.shift--;
    }
    while (scaled <= NS_PER_S) {
        scaled <<= 1;
        clock.shift++;
    }
    clock.multiplier = (uint32_t)((NS_PER_S << 32) / scaled);
}

void clock_start(struct vcpu *vcpu) {
    struct bh_vcpu_state *state = vcpu->state;
    vcpu->modified |= BH_VCPU_TSC;
    state->tsc_offset = 0 - clock.host_tsc_at_0;
    state->tsc_ratio = 1ull << 32;
}

uint64_t clock_guest_tsc(void) {
    return tsc_read() - clock.host_tsc_at_0;
}

uint64_t clock_host_tsc(uint64_t tsc) {
    uint64_t host = tsc + clock.host_tsc_at_0;
    return host < tsc ? ~0ull : host;
}

/* The guest's TSC keeps its rate, so this is written once and never changes. */
bool clock_set_system_time(struct vcpu *vcpu, uint64_t value) {
    vcpu->clock_on = value & SYSTEM_TIME_ENABLE;
    vcpu->clock = GPA(value & ~(uint64_t)SYSTEM_TIME_ENABLE);
    if (!vcpu->clock_on)
        return true;
    struct pvclock_time time = {
        .version = 2, .multiplier = clock.multiplier, .shift = clock.shift, .flags = TSC_STABLE};
    return ram_write(vcpu->clock, &time, sizeof(time));
}

bool clock_set_wall_clock(uint64_t value) {
    uint64_t ns = guest_wall_ns() - tsc_to_ns(clock_guest_tsc(), clock.hz);
    struct pvclock_wall wall = {
        .version = 2, .seconds = (uint32_t)(ns / NS_PER_S), .ns = (uint32_t)(ns % NS_PER_S)};
    return ram_write(GPA(value), &wall, sizeof(wall));
}
