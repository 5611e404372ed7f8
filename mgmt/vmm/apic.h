/* Bits that interrupt messages have in common: I/O APIC entries, local vector table, ICR, MSI data.
 * SDM 3A, figures 11-8, 11-12 and 11-25; 82093AA, 3.2.4. */
#pragma once

#define APIC_VECTOR 0xffu
#define APIC_MODE 0x700u
#define APIC_MODE_FIXED 0x000u
#define APIC_MODE_LOWEST 0x100u
#define APIC_MODE_NMI 0x400u
#define APIC_MODE_INIT 0x500u
#define APIC_MODE_STARTUP 0x600u
#define APIC_MODE_EXTINT 0x700u
#define APIC_LOGICAL 0x800u
#define APIC_BUSY 0x1000u
#define APIC_REMOTE_IRR 0x4000u
#define APIC_ASSERT 0x4000u /* the same bit in ICR and MSI data */
#define APIC_LEVEL 0x8000u
#define APIC_MASKED 0x10000u
