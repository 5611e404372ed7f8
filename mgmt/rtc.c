/* The time of day from the PC's real-time clock (MC146818A data sheet; PC AT register layout). It
 * is read once, at the start, and taken to be UTC. */
#include <stdbool.h>

#include "guestlib/tsc.h"
#include "mgmt/host.h"
#include "mgmt/platform.h"

#define RTC_INDEX 0x70u
#define RTC_DATA 0x71u

enum rtc_register {
    RTC_SECONDS = 0x00,
    RTC_MINUTES = 0x02,
    RTC_HOURS = 0x04,
    RTC_DAY = 0x07,
    RTC_MONTH = 0x08,
    RTC_YEAR = 0x09,
    RTC_STATUS_A = 0x0a,
    RTC_STATUS_B = 0x0b,
};
#define RTC_A_UPDATING 0x80u
#define RTC_B_24_HOURS 0x02u
#define RTC_B_BINARY 0x04u
#define RTC_HOURS_PM 0x80u

struct rtc_time {
    unsigned second, minute, hour, day, month, year;
};

static uint8_t rtc_read(enum rtc_register reg) {
    port_out(RTC_INDEX, 1, reg);
    return (uint8_t)port_in(RTC_DATA, 1);
}

static unsigned from_bcd(unsigned value, uint8_t status_b) {
    return status_b & RTC_B_BINARY ? value : (value >> 4) * 10 + (value & 15);
}

static struct rtc_time rtc_get(void) {
    uint8_t b = rtc_read(RTC_STATUS_B);
    unsigned raw_hour = rtc_read(RTC_HOURS);
    struct rtc_time t = {
        .second = from_bcd(rtc_read(RTC_SECONDS), b),
        .minute = from_bcd(rtc_read(RTC_MINUTES), b),
        .hour = from_bcd(raw_hour & ~RTC_HOURS_PM, b),
        .day = from_bcd(rtc_read(RTC_DAY), b),
        .month = from_bcd(rtc_read(RTC_MONTH), b),
        .year = 2000 + from_bcd(rtc_read(RTC_YEAR), b),
    };
    if (!(b & RTC_B_24_HOURS))
        t.hour = t.hour % 12 + (raw_hour & RTC_HOURS_PM ? 12 : 0);
    return t;
}

static bool rtc_same(const struct rtc_time *a, const struct rtc_time *b) {
    return a->second == b->second && a->minute == b->minute && a->hour == b->hour &&
           a->day == b->day && a->month == b->month && a->year == b->year;
}

/* Days from 1970-01-01 to a date of the Gregorian calendar, for years counted from March, so that a
 * leap day ends its year. */
static uint64_t days_since_1970(const struct rtc_time *t) {
    uint64_t year = t->month > 2 ? t->year : t->year - 1;
    uint64_t month = t->month > 2 ? t->month - 3 : t->month + 9;
    uint64_t days =
        year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + t->day;
    return days - 719469; /* the same sum for 1970-01-01 */
}

static uint64_t read_wall_clock(void) {
    /* Two equal readings outside an update are a consistent one. A clock that is not there never
     * gives them, or gives nonsense; the tries are bounded either way. */
    struct rtc_time t, again = {0};
    bool good = false;
    for (unsigned tries = 0; tries < 10000 && !good; tries++) {
        if (rtc_read(RTC_STATUS_A) & RTC_A_UPDATING)
            continue;
        t = rtc_get();
        good = rtc_same(&t, &again);
        again = t;
    }
    if (!good || t.second > 59 || t.minute > 59 || t.hour > 23 || t.day < 1 || t.day > 31 ||
        t.month < 1 || t.month > 12)
        return 0;
    uint64_t seconds = ((days_since_1970(&t) * 24 + t.hour) * 60 + t.minute) * 60 + t.second;
    return seconds * NS_PER_S - tsc_to_ns(tsc_read(), host_info()->tsc_hz);
}

uint64_t host_wall_ns_at_tsc_0(void) {
    static bool known;
    static uint64_t wall_ns_at_tsc_0;
    if (!known)
        wall_ns_at_tsc_0 = read_wall_clock();
    known = true;
    return wall_ns_at_tsc_0;
}
