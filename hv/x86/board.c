/* Reset, and power-off by what ACPI's FADT said at boot. */
#include "hv/x86/x86.h"

struct board board;

/* PM1 control register: ACPI 6.5, 4.8.3.2.1. */
enum { SCI_EN = 1 << 0, SLP_TYP_SHIFT = 10, SLP_TYP_MASK = 7 << SLP_TYP_SHIFT, SLP_EN = 1 << 13 };

enum { ACPI_ENABLE_READS = 1000000, SLEEP_READS = 1000000 };

/* An exception with no IDT to deliver it shuts the processor down, which every PC board answers
 * with a reset (SDM 3A, 6.15, #DF). */
enum bh_status arch_reset(void) {
    log_print("hv: reset\n");
    static const uint8_t no_idt[10];
    __asm__ volatile("lidt %0; int3" ::"m"(no_idt));
    return BH_NOT_READY;
}

/* The firmware may still own power management: hand it over first (ACPI 6.5, 4.8.2.3). */
static void enable_acpi(void) {
    if (!board.smi_command || (in16(board.pm1_control[0]) & SCI_EN))
        return;
    out8(board.smi_command, board.acpi_enable);
    for (unsigned i = 0; i < ACPI_ENABLE_READS && !(in16(board.pm1_control[0]) & SCI_EN); i++)
        arch_relax();
}

enum bh_status arch_power_off(void) {
    if (!board.can_sleep)
        return BH_NOT_READY;
    log_print("hv: power off\n");
    enable_acpi();
    for (unsigned i = 0; i < 2; i++) {
        uint16_t port = board.pm1_control[i];
        if (port)
            out16(port, (uint16_t)((in16(port) & ~SLP_TYP_MASK) |
                                   board.sleep_type[i] << SLP_TYP_SHIFT | SLP_EN));
    }
    for (unsigned i = 0; i < SLEEP_READS; i++)
        arch_relax();
    return BH_NOT_READY;
}
