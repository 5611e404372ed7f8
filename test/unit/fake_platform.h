/* mgmt/platform.h, guestlib/loop.h and mgmt/pci/mmio.h for native tests of drivers and back ends:
 * memory whose host-physical address is its address, a clock that stands still until it is
 * advanced, and PCI functions that are C models. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "mgmt/platform.h"

/* Forgets all functions, timers, posted work, logs, signals. Call in every test's set-up. */
void fake_reset(void);

/* Runs posted work until there is none, but `rounds` rounds at most; returns the rounds it took. */
unsigned fake_run_work(unsigned rounds);
/* Advances the clock and runs what is due, and the work that it posts. */
void fake_advance_ns(uint64_t ns);

/* dma_alloc fails after so many further calls; ~0u: never. */
void fake_limit_dma(unsigned calls);

unsigned fake_signals(bh_slot slot); /* since fake_reset */
unsigned fake_log_lines(void);
const char *fake_last_log(void);

/* PCI. A function is found under ports 0xCF8/0xCFC and in the ECAM at FAKE_ECAM. */
#define FAKE_ECAM 0xb0000000ull
#define FAKE_ECAM_LAST_BUS 3u
#define FAKE_BARS 6u

struct fake_function {
    uint8_t bus, device, function;
    uint8_t config[256];
    uint32_t bar_bytes[FAKE_BARS]; /* 0: none; powers of two; the base stands in config */
    uint32_t (*read)(struct fake_function *f, unsigned bar, uint32_t offset, unsigned width);
    void (*write)(struct fake_function *f, unsigned bar, uint32_t offset, unsigned width,
                  uint32_t value);
    struct fake_function *next;
};
void fake_add_function(struct fake_function *f);
void fake_config_set16(struct fake_function *f, unsigned offset, uint16_t value);
void fake_config_set32(struct fake_function *f, unsigned offset, uint32_t value);
uint16_t fake_command(const struct fake_function *f);
bool fake_bus_master(const struct fake_function *f);

/* The interrupt whose message holds this data. */
void fake_interrupt(uint32_t data);
