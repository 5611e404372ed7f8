/* The VMM: a PV guest that is the virtual PC of one unmodified guest. Loads the guest's kernel,
 * then lets it run. */
#include <stdio.h>
#include <stdlib.h>

#include "guestlib/console_front.h"
#include "guestlib/control_front.h"
#include "guestlib/guest.h"
#include "guestlib/loop.h"
#include "mgmt/vmm/acpi.h"
#include "mgmt/vmm/checkpoint.h"
#include "mgmt/vmm/clock.h"
#include "mgmt/vmm/file.h"
#include "mgmt/vmm/machine.h"
#include "mgmt/vmm/ram.h"
#include "mgmt/vmm/run.h"

/* --- The first vCPU's first instruction --- */

#define CR4_START (CR4_PAE)
#define CODE_64 0xa09bu
#define CODE_32 0xc09bu
#define DATA 0xc093u
#define SELECTOR_CODE 0x10u
#define SELECTOR_DATA 0x18u
#define GDT_BYTES 40u

static void enter_kernel(struct vcpu *vcpu, const struct loader_entry *entry) {
    struct bh_vcpu_state *state = vcpu_change(vcpu, BH_VCPU_ALL);
    state->rip = entry->rip;
    state->general[RSI] = entry->rsi;
    state->general[RBX] = entry->rbx;
    state->cr0 |= CR0_PE;
    for (unsigned i = BH_CS; i <= BH_GS; i++)
        state->segment[i] = (struct bh_segment_register){
            .limit = 0xffffffff, .attributes = DATA, .selector = SELECTOR_DATA};
    state->segment[BH_CS].attributes = entry->long_mode ? CODE_64 : CODE_32;
    state->segment[BH_CS].selector = SELECTOR_CODE;
    state->gdtr.base = entry->gdt.value;
    state->gdtr.limit = GDT_BYTES - 1;
    if (!entry->long_mode)
        return;
    state->cr3 = entry->cr3;
    state->cr4 |= CR4_START;
    state->efer |= EFER_LME | EFER_LMA;
    state->cr0 |= CR0_PG;
}

/* --- The start --- */

static size_t typed(void *unused, const char *text, size_t bytes) {
    (void)unused;
    return machine_type(text, bytes);
}

/* A guest that does not listen, because it is not up yet or has no ACPI, could only be waited for
 * in vain: its machine is switched off. */
static void press_button(void *unused) {
    (void)unused;
    if (power_button())
        return;
    printf("vmm: the guest does not listen to its power button; switched off\n");
    machine_switch_off();
}

static const struct bh_guest_info *find_guest(void) {
    const struct bh_domain_info *domain = guest_domain();
    const struct bh_guest_info *guest =
        (const void *)((const uint8_t *)domain + domain->guest_info_offset);
    if (!domain->guest_info_offset || guest->version != BH_GUEST_INFO_VERSION || guest->vcpus < 1)
        guest_panic("not started as a VMM");
    return guest;
}

/* NULL, or what is wrong. */
static const char *start_kernel(const struct bh_guest_info *guest) {
    struct loader_file kernel = file_open(guest->kernel_disk, guest->kernel_bytes, &guest->kernel);
    struct loader_file initrd = file_open(guest->initrd_disk, guest->initrd_bytes, &guest->initrd);
    struct loader_entry entry;
    const char *wrong = loader_load(&kernel, &initrd, guest_domain()->arguments, &entry);
    if (wrong)
        return wrong;
    if (!acpi_build(guest->vcpus))
        return "out of memory";
    enter_kernel(machine_vcpu(0), &entry);
    return checkpoint_forget();
}

/* The guest was to go on: its policy for failures does not apply, and its checkpoint stays. */
_Noreturn static void refuse_restore(const char *wrong) {
    printf("vmm: the checkpoint is refused: %s\n", wrong);
    console_drain();
    control_end(BH_CAUSE_REFUSED);
    exit(EXIT_FAILURE);
}

int main(int argc, char **argv) {
    (void)argc, (void)argv;
    const struct bh_guest_info *guest = find_guest();
    bool restore = guest->flags & BH_GUEST_RESTORE;
    ram_init(guest->ram, guest->ram_ranges);
    clock_init(guest_domain()->tsc_hz);
    const char *wrong = machine_init(guest) ? checkpoint_open(guest) : "out of memory";
    if (!wrong)
        wrong = restore ? checkpoint_load() : start_kernel(guest);
    if (wrong && restore)
        refuse_restore(wrong);
    if (wrong) {
        printf("vmm: %s\n", wrong);
        return EXIT_FAILURE;
    }
    console_on_input(typed, NULL);
    control_on_shutdown(press_button, NULL);
    if (guest->checkpoint_disk != BH_GUEST_NO_DISK)
        control_on_save(run_save);
    control_ready();
    run(machine_vcpu(0));
}

void guest_further_main(unsigned context) {
    run_further(context);
}
