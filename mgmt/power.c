#include "mgmt/power.h"

#include "guestlib/loop.h"
#include "guestlib/tsc.h"
#include "mgmt/acpi.h"
#include "mgmt/console/uart.h"
#include "mgmt/domain/domain.h"
#include "mgmt/hv.h"
#include "mgmt/platform.h"

/* Guests get this long to end; then, should a back end not let go of a dead device, the host goes
 * anyway. */
#define GUESTS_NS (20 * NS_PER_S)
#define BACK_ENDS_NS (5 * NS_PER_S)

static struct {
    bool going;
    enum power_end end;
    struct loop_timer limit;
    struct loop_work work;
} power;

static void go(void *context) {
    (void)context;
    loop_timer_cancel(&power.limit);
    bool off = power.end == POWER_OFF;
    log_line("mgmt", "%s", off ? "power off" : "reset");
    uart_flush();
    uint64_t ignored;
    if (off)
        acpi_power_off();
    else
        hv_system(BH_SYSTEM_OP_RESET, 0, &ignored);
    log_line("mgmt", "the board knows no way to %s; switch it by hand: all guests are off",
             off ? "switch off" : "reset");
    power.going = false;
}

void power_check(void) {
    if (!power.going || !domains_all_off())
        return;
    /* A domain reports its change and goes on after that: leave it time to come to its end. */
    power.work.handler = go;
    loop_post(&power.work);
}

void power_down(enum power_end end) {
    if (power.going)
        return;
    power.going = true;
    power.end = end;
    log_line("mgmt", "asking all guests to end");
    loop_timer_set(&power.limit, loop_now_ns() + GUESTS_NS + BACK_ENDS_NS, go, NULL);
    domains_close(GUESTS_NS);
    power_check();
}
