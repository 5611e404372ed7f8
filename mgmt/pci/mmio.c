/* Accesses to device registers. The processor keeps uncached accesses in order with each other and
 * with earlier write-back stores (Intel SDM 3A, 8.2 and 11.3.1); `volatile` keeps the compiler from
 * merging or moving them, the barrier from moving ring stores behind a notification. */
#include "mgmt/pci/mmio.h"

static inline void compiler_barrier(void) {
    __asm__ volatile("" ::: "memory");
}

uint8_t mmio_read8(const volatile void *address) {
    uint8_t value = *(const volatile uint8_t *)address;
    compiler_barrier();
    return value;
}

uint16_t mmio_read16(const volatile void *address) {
    uint16_t value = *(const volatile uint16_t *)address;
    compiler_barrier();
    return value;
}

uint32_t mmio_read32(const volatile void *address) {
    uint32_t value = *(const volatile uint32_t *)address;
    compiler_barrier();
    return value;
}

void mmio_write8(volatile void *address, uint8_t value) {
    compiler_barrier();
    *(volatile uint8_t *)address = value;
}

void mmio_write16(volatile void *address, uint16_t value) {
    compiler_barrier();
    *(volatile uint16_t *)address = value;
}

void mmio_write32(volatile void *address, uint32_t value) {
    compiler_barrier();
    *(volatile uint32_t *)address = value;
}
