/* I/O ports on behalf of whoever holds a Ports capability. Those of the interrupt controllers and
 * the timer are hv's: for everybody else nothing is there. */
#include "hv/x86/x86.h"

static const struct {
    uint16_t first, last;
} kept[] = {
    {0x20, 0x21},   /* 8259A, master */
    {0x40, 0x43},   /* 8254 timer */
    {0xa0, 0xa1},   /* 8259A, slave */
    {0x4d0, 0x4d1}, /* ELCR: edge or level */
};

static bool is_kept(uint16_t port, unsigned width_bytes) {
    for (unsigned i = 0; i < COUNT(kept); i++)
        if (port <= kept[i].last && port + width_bytes > kept[i].first)
            return true;
    return false;
}

uint32_t arch_port_in(uint16_t port, unsigned width_bytes) {
    if (is_kept(port, width_bytes))
        return ~0u >> (32 - 8 * width_bytes);
    if (width_bytes == 1)
        return in8(port);
    return width_bytes == 2 ? in16(port) : in32(port);
}

void arch_port_out(uint16_t port, unsigned width_bytes, uint32_t value) {
    if (is_kept(port, width_bytes))
        return;
    if (width_bytes == 1)
        out8(port, (uint8_t)value);
    else if (width_bytes == 2)
        out16(port, (uint16_t)value);
    else
        out32(port, value);
}
