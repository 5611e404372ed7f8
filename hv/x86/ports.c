/* I/O ports on behalf of whoever holds a Ports capability. hv itself uses none after boot but its
 * serial line's; what the 8259s say ends at the LAPIC. */
#include "hv/x86/x86.h"

uint32_t arch_port_in(uint16_t port, unsigned width_bytes) {
    if (width_bytes == 1)
        return in8(port);
    return width_bytes == 2 ? in16(port) : in32(port);
}

void arch_port_out(uint16_t port, unsigned width_bytes, uint32_t value) {
    if (width_bytes == 1)
        out8(port, (uint8_t)value);
    else if (width_bytes == 2)
        out16(port, (uint16_t)value);
    else
        out32(port, value);
}
