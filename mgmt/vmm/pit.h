/* The 8254 timer with port 0x61. Channel 0 drives an interrupt, channel 2 is read by guests that
 * calibrate with it; channel 1 (memory refresh) only counts. Reference: Intel 82C54 data sheet. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guestlib/loop.h"
#include "mgmt/vmm/bus.h"
#include "mgmt/vmm/state.h"

#define PIT_HZ 1193182u
#define PIT_CONTROL 4u /* port 0x61 */

struct pit {
    struct pit_channel {
        uint8_t mode, access; /* access: 1 low byte, 2 high byte, 3 both */
        uint16_t reload;      /* 0 means 65,536 */
        uint16_t latch;
        bool latched, status_latched, high_next_read, high_next_write, gate, counting;
        uint8_t status, low_written;
        uint64_t started_ns;
    } channel[3];
    bool speaker; /* port 0x61, bit 1 */
    struct loop_timer timer;
    void (*pulse)(void); /* IRQ 0 */
};

void pit_init(struct pit *pit, void (*pulse)(void));
void pit_state(struct state *s, struct pit *pit);
/* Registers: 0..3, and PIT_CONTROL. */
uint64_t pit_read(const struct bus_access *access);
void pit_write(const struct bus_access *access);
