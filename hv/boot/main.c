/* The order of boot. */
#include "hv/boot/boot.h"

_Noreturn void boot_main(uint64_t protocol, uint64_t information, uint64_t tsc);

static struct boot boot;

static void log_feature(const char *name, bool present) {
    log_print(" %s%s,", present ? "" : "no ", name);
}

static void log_features(void) {
    log_print("hv: processor:");
    log_feature("SMEP", features.smep);
    log_feature("SMAP", features.smap);
    log_feature("UMIP", features.umip);
    log_feature("x2APIC", features.x2apic);
    log_feature("XSAVE", features.xsave);
    log_feature("TSC deadline", features.tsc_deadline);
    log_feature("guest mode", arch_guest_mode());
    log_print(" %u physical address bits\n", features.physical_bits);
}

_Noreturn void boot_main(uint64_t protocol, uint64_t information, uint64_t tsc) {
    boot.tsc_at_start = tsc;
    serial_init();
    log_init();
    log_print("hv: Bulkhead, build %s\n", build_text);
    cpu_traps_init(&boot_cpu);
    if (!(cpuid(0x80000001, 0).edx & CPUID_80000001_EDX_NX))
        panic("this processor has no NX; switch it on in the firmware");
    cpu_init(&boot_cpu);
    tables_init();
    log_features();

    if (protocol == MULTIBOOT2_MAGIC)
        multiboot2_read(&boot.loader, information);
    else if (protocol == PVH_MAGIC)
        pvh_read(&boot.loader, information);
    else
        panic("hv was started neither by Multiboot2 nor by PVH (EAX = %lx)", protocol);

    lapic_init();
    acpi_read(&boot.acpi, boot.loader.rsdp);
    boot.tsc_hz = clock_init();
    memory_divide(&boot.memory, &boot.loader, &boot.acpi);
    log_print("hv: TSC %lu kHz\n", boot.tsc_hz / 1000);
    log_print("hv: no IOMMU%s: a device can reach all memory; every claim that depends on an "
              "IOMMU is void\n",
              boot.acpi.iommu ? " in use, although there is one" : "");
    init_domain_start(&boot);
    log_print("hv: init starts %lu us after hv\n", (arch_now() - tsc) / (boot.tsc_hz / 1000000));
    paging_leave_boot();
}
