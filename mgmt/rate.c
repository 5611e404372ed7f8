/* Token buckets. */
#include "mgmt/rate.h"

#define NS_PER_S 1000000000ull
#define USE_MAX                                                                                    \
    (1ull << 32) /* of one call: bounds the debt, and so all products below to 64 bits */
#define SECONDS_MAX (1ull << 30) /* longer pauses count as this */

/* How many units `ns` earn. */
static uint64_t units_of(uint64_t ns, uint64_t per_s) {
    uint64_t seconds = ns / NS_PER_S < SECONDS_MAX ? ns / NS_PER_S : SECONDS_MAX;
    uint64_t rest_ns = ns % NS_PER_S;
    return seconds * per_s + per_s / NS_PER_S * rest_ns + per_s % NS_PER_S * rest_ns / NS_PER_S;
}

/* How long it takes to earn `units`, rounded down. */
static uint64_t ns_of(uint64_t units, uint64_t per_s) {
    return units / per_s * NS_PER_S + units % per_s * NS_PER_S / per_s;
}

void rate_start(struct rate *rate, uint64_t per_s, uint64_t burst, uint64_t now_ns) {
    uint64_t bounded = per_s < RATE_PER_S_MAX ? per_s : RATE_PER_S_MAX;
    int64_t full = (int64_t)(burst < RATE_PER_S_MAX ? burst : RATE_PER_S_MAX);
    if (full == 0)
        full = 1;
    *rate = (struct rate){.per_s = bounded, .tokens = full, .burst = full, .filled_ns = now_ns};
}

static void fill(struct rate *rate, uint64_t now_ns) {
    if (now_ns <= rate->filled_ns)
        return;
    uint64_t missing = (uint64_t)(rate->burst - rate->tokens);
    uint64_t earned = units_of(now_ns - rate->filled_ns, rate->per_s);
    if (earned >= missing) {
        rate->tokens = rate->burst;
        rate->filled_ns = now_ns;
    } else if (earned > 0) {
        rate->tokens += (int64_t)earned;
        /* Only the time that was paid out is used up: slow rates lose nothing to rounding. */
        rate->filled_ns += ns_of(earned, rate->per_s);
    }
}

bool rate_allows(struct rate *rate, uint64_t now_ns) {
    if (rate->per_s == 0)
        return true;
    fill(rate, now_ns);
    return rate->tokens > 0;
}

void rate_use(struct rate *rate, uint64_t units) {
    if (rate->per_s == 0)
        return;
    rate->tokens -= (int64_t)(units < USE_MAX ? units : USE_MAX);
}

uint64_t rate_ready_ns(const struct rate *rate) {
    if (rate->per_s == 0 || rate->tokens > 0)
        return rate->filled_ns;
    uint64_t missing = (uint64_t)(1 - rate->tokens);
    return rate->filled_ns + ns_of(missing, rate->per_s) + 1;
}
