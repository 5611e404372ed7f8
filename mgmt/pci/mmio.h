/* Accesses to device registers: exactly one access of exactly this width, in program order.
 * Functions, not macros, so that a native test can put a device model behind them
 * (test/unit/fake_platform.c). */
#pragma once

#include <stdint.h>

uint8_t mmio_read8(const volatile void *address);
uint16_t mmio_read16(const volatile void *address);
uint32_t mmio_read32(const volatile void *address);
void mmio_write8(volatile void *address, uint8_t value);
void mmio_write16(volatile void *address, uint16_t value);
void mmio_write32(volatile void *address, uint32_t value);
