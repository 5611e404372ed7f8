/* The ACPI tables in the guest's memory (ACPI 6.5, chapter 5). */
#pragma once

#include <stdint.h>

#include "mgmt/vmm/ram.h"

/* Where they are, below 1 MiB where old systems look for the first one. */
#define ACPI_BASE 0xe0000ull
#define ACPI_END 0x100000ull

/* Writes them. False: there is no RAM at that address. The first is at ACPI_BASE. */
bool acpi_build(uint32_t vcpus);

extern const uint8_t dsdt_body[];
extern const uint32_t dsdt_body_bytes;
