/* Token buckets: how many units (bytes, requests, frames) a client may use up in a second. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define RATE_PER_S_MAX                                                                             \
    (1ull << 33) /* higher limits and bursts count as this: no overflow in rate.c */

struct rate {
    uint64_t per_s; /* 0: no limit */
    int64_t tokens; /* below 0: in debt */
    int64_t burst;
    uint64_t filled_ns; /* up to when tokens have been added */
};

void rate_start(struct rate *rate, uint64_t per_s, uint64_t burst, uint64_t now_ns);

/* Whether anything may be used now. What is used may go into debt: so one unit of work that is
 * larger than the burst still gets through, and is waited for afterwards. */
bool rate_allows(struct rate *rate, uint64_t now_ns);
void rate_use(struct rate *rate, uint64_t units);

/* When rate_allows will be true again. */
uint64_t rate_ready_ns(const struct rate *rate);
