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

static struct {
    uint16_t status, enable, control;
    uint8_t reset;
    uint64_t timer_from_ns; /* when it was 0 */
    void (*set_sci)(bool level);
    void (*end)(enum power_end how);
    struct bus_range pm, cf9, keyboard;
} power;

static void update_sci(void) {
    power.set_sci((power.control & CONTROL_SCI) && (power.status & power.enable));
}

/* Registers are 16 bits wide; the timer 32. */
static uint64_t pm_read(void *unused, uint64_t offset, unsigned bytes) {
    (void)unused;
    (void)bytes;
    switch (offset) {
    case 0:
        return power.status | (uint64_t)power.enable << 16;
    case 2:
        return power.enable;
    case 4:
        return power.control;
    case 8: {
        uint64_t ns = loop_now_ns() - power.timer_from_ns;
        return ns / NS_PER_S * TIMER_HZ + ns % NS_PER_S * TIMER_HZ / NS_PER_S;
    }
    default:
        return 0;
    }
}

static void pm_write(void *unused, uint64_t offset, unsigned bytes, uint64_t value) {
    (void)unused;
    switch (offset) {
    case 0: /* writing 1 clears */
        power.status &= (uint16_t)~value;
        if (bytes == 4)
            power.enable = (uint16_t)(value >> 16);
        break;
    case 2:
        power.enable = (uint16_t)value;
        break;
    case 4:
        power.control = (uint16_t)value & (uint16_t)~CONTROL_SLEEP_ENABLE;
        if ((value & CONTROL_SLEEP_ENABLE) && CONTROL_SLEEP_TYPE(value) == POWER_S5)
            power.end(POWER_OFF);
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

static uint64_t reset_read(void *unused, uint64_t offset, unsigned bytes) {
    (void)unused, (void)offset, (void)bytes;
    return power.reset;
}

static void reset_write(void *unused, uint64_t offset, unsigned bytes, uint64_t value) {
    (void)unused, (void)offset, (void)bytes;
    power.reset = (uint8_t)value & (uint8_t)~RESET_CPU;
    if (value & RESET_CPU)
        power.end(POWER_RESET);
}

/* There is no keyboard; its status says that it is ready for a command. */
static uint64_t keyboard_read(void *unused, uint64_t offset, unsigned bytes) {
    (void)unused, (void)offset, (void)bytes;
    return 0;
}

static void keyboard_write(void *unused, uint64_t offset, unsigned bytes, uint64_t value) {
    (void)unused, (void)offset, (void)bytes;
    if ((value & 0xff) == KEYBOARD_PULSE_RESET)
        power.end(POWER_RESET);
}

void power_init(void (*set_sci)(bool level), void (*end)(enum power_end how)) {
    power.status = power.enable = power.control = 0;
    power.reset = 0;
    power.timer_from_ns = 0;
    power.control = CONTROL_SCI; /* there is no legacy mode */
    power.set_sci = set_sci;
    power.end = end;
    power.pm = (struct bus_range){POWER_PM1_EVENT, 12, pm_read, pm_write, NULL, NULL};
    power.cf9 = (struct bus_range){PORT_RESET, 1, reset_read, reset_write, NULL, NULL};
    power.keyboard =
        (struct bus_range){PORT_KEYBOARD, 1, keyboard_read, keyboard_write, NULL, NULL};
    bus_add_ports(&power.pm);
    bus_add_ports(&power.cf9);
    bus_add_ports(&power.keyboard);
}

void power_state(struct state *s) {
    state_section(s, "power");
    STATE_SPAN(s, &power, status, reset);
    state_time(s, &power.timer_from_ns);
    update_sci();
}
