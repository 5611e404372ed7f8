#include "mgmt/console/show_hvm.h"

#include "guestlib/tsc.h"
#include "mgmt/console/terminal.h"
#include "mgmt/domain/contexts.h"
#include "mgmt/host.h"
#include "mgmt/text.h"

/* enum bh_exit; NULL: reserved. */
static const char *const reasons[BH_EXIT_COUNT] = {
    [BH_EXIT_NONE] = "none",
    [BH_EXIT_PORT] = "port",
    [BH_EXIT_MEMORY] = "memory",
    [BH_EXIT_CPUID] = "cpuid",
    [BH_EXIT_MSR_READ] = "msr_read",
    [BH_EXIT_MSR_WRITE] = "msr_write",
    [BH_EXIT_HLT] = "hlt",
    [BH_EXIT_INTERRUPT_WINDOW] = "interrupt_window",
    [BH_EXIT_NMI_WINDOW] = "nmi_window",
    [BH_EXIT_SHUTDOWN] = "shutdown",
    [BH_EXIT_INVALID_STATE] = "invalid_state",
    [BH_EXIT_HYPERCALL] = "hypercall",
    [BH_EXIT_EXCEPTION] = "exception",
    [BH_EXIT_XSETBV] = "xsetbv",
    [BH_EXIT_WBINVD] = "wbinvd",
    [BH_EXIT_INSTRUCTION] = "instruction",
};

static void show_exits(struct json *j, const uint64_t exits[BH_EXIT_COUNT]) {
    if (j)
        json_object(j, "guest_exits");
    for (unsigned i = 0; i < BH_EXIT_COUNT; i++) {
        if (!reasons[i])
            continue;
        if (j)
            json_number(j, reasons[i], exits[i]);
        else if (exits[i])
            terminal_print(" %s %llu", reasons[i], (unsigned long long)exits[i]);
    }
    if (j)
        json_object_end(j);
}

static void show_vcpu(struct json *j, const struct domain *d, uint32_t index,
                      const uint64_t exits[BH_EXIT_COUNT]) {
    uint64_t tsc = d->built ? contexts_cpu_tsc_of(d, index) : 0;
    uint64_t ms = tsc_to_ns(tsc, host_info()->tsc_hz) / 1000000;
    if (j) {
        json_object(j, NULL);
        json_number(j, "cpu_ms", ms);
    } else {
        terminal_print("  vCPU %u: %llu.%03u s; exits:", (unsigned)index,
                       (unsigned long long)(ms / 1000), (unsigned)(ms % 1000));
    }
    show_exits(j, exits);
    if (j)
        json_object_end(j);
    else
        terminal_print("\n");
}

void show_hvm(struct json *j, const struct domain *d) {
    struct bh_guest_statistics statistics;
    hvm_get_statistics(d, &statistics);
    uint64_t vmm_bytes = (domain_memory_pages(d) - hvm_ram_pages(&d->hvm)) * BH_PAGE_BYTES;
    char size[24];
    if (j) {
        json_number(j, "vmm_bytes", vmm_bytes);
        json_array(j, "vcpus");
    } else {
        terminal_print("  its VMM holds %s\n", text_size(size, vmm_bytes));
    }
    for (uint32_t i = 0; i < d->definition.vcpus; i++)
        show_vcpu(j, d, i, statistics.exits[i]);
    if (j)
        json_array_end(j);
}
