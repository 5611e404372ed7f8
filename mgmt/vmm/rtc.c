#include "mgmt/vmm/rtc.h"

#include <time.h>

#include "guestlib/tsc.h"

enum {
    SECONDS = 0x00,
    MINUTES = 0x02,
    HOURS = 0x04,
    WEEKDAY = 0x06,
    DAY = 0x07,
    MONTH = 0x08,
    YEAR = 0x09,
    STATUS_A = 0x0a,
    STATUS_B = 0x0b,
    STATUS_C = 0x0c,
    STATUS_D = 0x0d,
    CENTURY = 0x32,
};
#define A_RATE 0x26u /* 32,768 Hz, no update in progress */
#define B_24_HOURS 0x02u
#define B_BINARY 0x04u
#define B_WRITABLE 0x87u
#define D_VALID 0x80u

void rtc_init(struct rtc *rtc, uint64_t (*wall_ns)(void)) {
    *rtc = (struct rtc){.wall_ns = wall_ns};
    rtc->cmos[STATUS_B] = B_24_HOURS;
}

static uint8_t shown(const struct rtc *rtc, int value) {
    if (rtc->cmos[STATUS_B] & B_BINARY)
        return (uint8_t)value;
    return (uint8_t)(value / 10 << 4 | value % 10);
}

static uint8_t hour(const struct rtc *rtc, int value) {
    if (rtc->cmos[STATUS_B] & B_24_HOURS)
        return shown(rtc, value);
    uint8_t afternoon = value >= 12 ? 0x80 : 0;
    return shown(rtc, value % 12 ? value % 12 : 12) | afternoon;
}

uint64_t rtc_read(const struct bus_access *a) {
    const struct rtc *rtc = a->device;
    if (a->offset == 0)
        return 0xff; /* the index cannot be read */
    const time_t seconds = (time_t)(rtc->wall_ns() / NS_PER_S);
    struct tm now;
    gmtime_r(&seconds, &now);
    switch (rtc->index) {
    case SECONDS:
        return shown(rtc, now.tm_sec);
    case MINUTES:
        return shown(rtc, now.tm_min);
    case HOURS:
        return hour(rtc, now.tm_hour);
    case WEEKDAY:
        return shown(rtc, now.tm_wday + 1);
    case DAY:
        return shown(rtc, now.tm_mday);
    case MONTH:
        return shown(rtc, now.tm_mon + 1);
    case YEAR:
        return shown(rtc, now.tm_year % 100);
    case CENTURY:
        return shown(rtc, now.tm_year / 100 + 19);
    case STATUS_A:
        return A_RATE;
    case STATUS_C:
        return 0;
    case STATUS_D:
        return D_VALID;
    default:
        return rtc->cmos[rtc->index];
    }
}

void rtc_write(const struct bus_access *a) {
    struct rtc *rtc = a->device;
    uint8_t value = (uint8_t)a->value;
    if (a->offset == 0)
        rtc->index = value % RTC_CMOS_BYTES;
    else if (rtc->index == STATUS_B)
        rtc->cmos[STATUS_B] = value & B_WRITABLE;
    else if (rtc->index > STATUS_D)
        rtc->cmos[rtc->index] = value;
}

void rtc_state(struct state *s, struct rtc *rtc) {
    state_section(s, "rtc");
    STATE_SPAN(s, rtc, index, cmos);
    state_check(s, rtc->index < RTC_CMOS_BYTES, "the index is beyond the memory");
}
