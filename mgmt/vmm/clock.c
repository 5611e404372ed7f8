#include "mgmt/vmm/clock.h"

#include "guestlib/guest.h"
#include "guestlib/tsc.h"

#define SYSTEM_TIME_ENABLE 1u
#define TSC_STABLE 1u /* flags */
#define GUEST_STOPPED 2u
#define HZ_TOLERANCE 1000u /* one part in */

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

/* As in pvclock_time. */
struct scale {
    uint32_t multiplier;
    int8_t shift;
};

static struct {
    uint64_t hz;
    uint64_t host_tsc_at_0; /* of the guest's TSC; below 0 if the guest is older than the host */
    struct scale scale;
    /* What the guest is told: system_ns was from_ns at from_tsc. */
    uint64_t from_tsc, from_ns;
    uint32_t version;
} clock;

static struct scale scale_of(uint64_t hz) {
    struct scale scale = {0};
    /* The frequency is scaled to between 1 and 2 GHz: then 10^9 / f << 32 just fits 32 bits. */
    while (hz > 2 * NS_PER_S) {
        hz >>= 1;
        scale.shift--;
    }
    while (hz <= NS_PER_S) {
        hz <<= 1;
        scale.shift++;
    }
    scale.multiplier = (uint32_t)((NS_PER_S << 32) / hz);
    return scale;
}

void clock_init(uint64_t tsc_hz) {
    clock.hz = tsc_hz;
    clock.host_tsc_at_0 = tsc_read();
    clock.scale = scale_of(tsc_hz);
    clock.version = 2;
}

/* As the guest calculates it, to the last bit: or a clock that is saved and loaded could be seen to
 * run backwards. */
static uint64_t system_ns(uint64_t tsc, struct scale scale) {
    uint64_t ticks = tsc - clock.from_tsc;
    ticks = scale.shift < 0 ? ticks >> -scale.shift : ticks << scale.shift;
    return clock.from_ns + (uint64_t)((unsigned __int128)ticks * scale.multiplier >> 32);
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
    if ((int64_t)clock.host_tsc_at_0 < 0)
        return host < tsc ? host : 0; /* 0: long ago */
    return host < tsc ? ~0ull : host;
}

void clock_state(struct state *s) {
    uint64_t hz = clock.hz, tsc = clock_guest_tsc();
    state_section(s, "clock");
    STATE(s, hz);
    STATE(s, tsc);
    STATE_SPAN(s, &clock, from_tsc, version);
    uint64_t difference = hz > clock.hz ? hz - clock.hz : clock.hz - hz;
    state_check(s, difference <= clock.hz / HZ_TOLERANCE, "its TSC runs at another rate");
    if (!s->loading || s->wrong)
        return;
    clock.from_ns = system_ns(tsc, scale_of(hz));
    clock.from_tsc = tsc;
    clock.version += 2; /* a vCPU may have been reading it */
    clock.host_tsc_at_0 = tsc_read() - tsc;
}

static bool write_time(const struct vcpu *vcpu, uint8_t flags) {
    struct pvclock_time time = {.version = clock.version,
                                .tsc_at = clock.from_tsc,
                                .system_ns = clock.from_ns,
                                .multiplier = clock.scale.multiplier,
                                .shift = clock.scale.shift,
                                .flags = flags};
    return ram_write(vcpu->clock, &time, sizeof(time));
}

bool clock_resume(struct vcpu *vcpu) {
    clock_start(vcpu);
    return !vcpu->clock_on || write_time(vcpu, TSC_STABLE | GUEST_STOPPED);
}

/* The guest's TSC keeps its rate, so this is written once, and anew when the guest is restored. */
bool clock_set_system_time(struct vcpu *vcpu, uint64_t value) {
    vcpu->clock_on = value & SYSTEM_TIME_ENABLE;
    vcpu->clock = GPA(value & ~(uint64_t)SYSTEM_TIME_ENABLE);
    return !vcpu->clock_on || write_time(vcpu, TSC_STABLE);
}

bool clock_set_wall_clock(uint64_t value) {
    uint64_t ns = guest_wall_ns() - system_ns(clock_guest_tsc(), clock.scale);
    struct pvclock_wall wall = {
        .version = 2, .seconds = (uint32_t)(ns / NS_PER_S), .ns = (uint32_t)(ns % NS_PER_S)};
    return ram_write(GPA(value), &wall, sizeof(wall));
}
