#include "mgmt/vmm/power.h"

#include <stddef.h>

#include "guestlib/loop.h"
#include "guestlib/tsc.h"
#include "mgmt/vmm/bus.h"

#define TIMER_HZ 3579545u
#define STATUS_BUTTON 0x0100u
#define CONTROL_SCI 0x0001u
#define CONTROL_SLEEP_ENABLE 0x2000u
#define CONTROL_SLEEP_TYPE(value) ((value) >> 10 & 7u)
/* Reset: CF9 (ICH9 data sheet, 13.7.5) and the keyboard controller's pulse of its output 0. */
#define PORT_RESET 0xcf9u
#define RESET_CPU 0x04u
#define PORT_KEYBOARD 0x64u
#define KEYBOARD_PULSE_RESET 0xfeu

/* PM1 and its timer as they lie behind each other, 16 and 32 bits wide, then the other ports. */
enum { STATUS = 0, ENABLE = 2, CONTROL = 4, TIMER = 8, RESET = 12, KEYBOARD = 13, PANIC = 14 };

static struct {
    uint16_t status, enable, control;
    uint8_t reset;
    uint64_t timer_from_ns; /* when it was 0 */
    void (*set_sci)(bool level);
    void (*end)(enum power_end how);
} power;

static void update_sci(void) {
    power.set_sci((power.control & CONTROL_SCI) && (power.status & power.enable));
}

static uint64_t power_read(const struct bus_access *a) {
    switch (a->offset) {
    case STATUS:
        return power.status | (uint64_t)power.enable << 16;
    case ENABLE:
        return power.enable;
    case CONTROL:
        return power.control;
    case TIMER: {
        uint64_t ns = loop_now_ns() - power.timer_from_ns;
        return ns / NS_PER_S * TIMER_HZ + ns % NS_PER_S * TIMER_HZ / NS_PER_S;
    }
    case RESET:
        return power.reset;
    case PANIC: /* which events are understood */
        return PVPANIC_PANICKED | PVPANIC_CRASH_LOADED;
    default: /* there is no keyboard; its status says that it is ready for a command */
        return 0;
    }
}

static void write_control(uint16_t value) {
    power.control = value & (uint16_t)~CONTROL_SLEEP_ENABLE;
    if ((value & CONTROL_SLEEP_ENABLE) && CONTROL_SLEEP_TYPE(value) == POWER_S5)
        power.end(POWER_OFF);
}

static void power_write(const struct bus_access *a) {
    switch (a->offset) {
    case STATUS: /* writing 1 clears */
        power.status &= (uint16_t)~a->value;
        if (a->bytes == 4)
            power.enable = (uint16_t)(a->value >> 16);
        break;
    case ENABLE:
        power.enable = (uint16_t)a->value;
        break;
    case CONTROL:
        write_control((uint16_t)a->value);
        break;
    case RESET:
        power.reset = (uint8_t)a->value & (uint8_t)~RESET_CPU;
        if (a->value & RESET_CPU)
            power.end(POWER_RESET);
        break;
    case KEYBOARD:
        if ((a->value & 0xff) == KEYBOARD_PULSE_RESET)
            power.end(POWER_RESET);
        break;
    case PANIC:
        if (a->value & PVPANIC_PANICKED)
            power.end(POWER_PANIC);
        break;
    default:
        break;
    }
    update_sci();
}

bool power_button(void) {
    power.status |= STATUS_BUTTON;
    update_sci();
    return (power.control & CONTROL_SCI) && (power.enable & STATUS_BUTTON);
}

void power_init(void (*set_sci)(bool level), void (*end)(enum power_end how)) {
    static struct bus_range ports[] = {
        {POWER_PM1_EVENT, RESET, STATUS, power_read, power_write, NULL, NULL},
        {PORT_RESET, 1, RESET, power_read, power_write, NULL, NULL},
        {PORT_KEYBOARD, 1, KEYBOARD, power_read, power_write, NULL, NULL},
        {POWER_PVPANIC, 1, PANIC, power_read, power_write, NULL, NULL},
    };
    power.status = power.enable = power.control = 0;
    power.reset = 0;
    power.timer_from_ns = 0;
    power.control = CONTROL_SCI; /* there is no legacy mode */
    power.set_sci = set_sci;
    power.end = end;
    for (unsigned i = 0; i < sizeof(ports) / sizeof(ports[0]); i++)
        bus_add_ports(&ports[i]);
}

void power_state(struct state *s) {
    state_section(s, "power");
    STATE_SPAN(s, &power, status, reset);
    state_time(s, &power.timer_from_ns);
    update_sci();
}
