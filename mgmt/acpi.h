/* What of ACPI's tables concerns ring 3: where PCI's configuration space lies, and how the machine
 * is switched off. What a table does not say, or says beyond its end, reads as 0. */
#pragma once

#include <stdint.h>

struct acpi_ecam {
    uint64_t base; /* host-physical; 0: there is none */
    unsigned first_bus, last_bus;
};

/* Once. root: host-physical address of XSDT or RSDT, 0 if there is none. Returns the ECAM of PCI
 * segment 0. */
struct acpi_ecam acpi_start(uint64_t root);

/* Switches off. Returns if the firmware names no way, or the board does not take it. */
void acpi_power_off(void);
