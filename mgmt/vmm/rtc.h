/* MC146818 real-time clock and its CMOS memory: the host's time of day, to the second; no alarms
 * and no periodic interrupt. Writes to the time are ignored: the host's clock is the clock. */
#pragma once

#include <stdint.h>

#include "mgmt/vmm/bus.h"
#include "mgmt/vmm/state.h"

#define RTC_CMOS_BYTES 128u

struct rtc {
    uint8_t index;
    uint8_t cmos[RTC_CMOS_BYTES];
    uint64_t (*wall_ns)(void); /* since 1970-01-01 UTC */
};

void rtc_init(struct rtc *rtc, uint64_t (*wall_ns)(void));
void rtc_state(struct state *s, struct rtc *rtc);
/* Registers: 0 index, 1 data. */
uint64_t rtc_read(const struct bus_access *access);
void rtc_write(const struct bus_access *access);
