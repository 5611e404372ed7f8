/* The VMM: a PV guest that is the virtual PC of one unmodified guest. Loads the guest's kernel,
 * then lets it run. */
#include <stdio.h>
#include <stdlib.h>

#include "guestlib/block_front.h"
#include "guestlib/console_front.h"
#include "guestlib/control_front.h"
#include "guestlib/guest.h"
#include "guestlib/loop.h"
#include "mgmt/vmm/acpi.h"
#include "mgmt/vmm/clock.h"
#include "mgmt/vmm/loader.h"
#include "mgmt/vmm/machine.h"
#include "mgmt/vmm/ram.h"
#include "mgmt/vmm/run.h"

/* --- The kernel, from block devices that the guest does not see --- */

struct read_state {
    bool finished;
    enum bh_status status;
};

static void read_done(struct block_io *io, enum bh_status status) {
    struct read_state *state = io->context;
    state->finished = true;
    state->status = status;
}

static bool read_sectors(struct block_front *disk, uint64_t sector, void *to, uint32_t bytes) {
    struct read_state state = {0};
    struct block_io io = {.operation = BH_BLOCK_READ,
                          .sector = sector,
                          .buffer = to,
                          .bytes = bytes,
                          .done = read_done,
                          .context = &state};
    block_front_submit(disk, &io);
    while (!state.finished)
        loop_turn(true);
    return state.status == BH_OK;
}

/* A part of one sector. */
static bool read_part(struct block_front *disk, uint64_t at, uint8_t *to, uint32_t bytes) {
    static uint8_t sector[BH_SECTOR_BYTES];
    if (!read_sectors(disk, at / BH_SECTOR_BYTES, sector, BH_SECTOR_BYTES))
        return false;
    for (uint32_t i = 0; i < bytes; i++)
        to[i] = sector[at % BH_SECTOR_BYTES + i];
    return true;
}

static bool read_file(const struct loader_file *file, uint64_t at, void *buffer, uint64_t bytes) {
    uint8_t *to = buffer;
    uint32_t max = block_front_bytes_max(file->context) / BH_SECTOR_BYTES * BH_SECTOR_BYTES;
    while (bytes > 0) {
        uint32_t offset = at % BH_SECTOR_BYTES, piece = BH_SECTOR_BYTES - offset;
        bool good;
        if (offset == 0 && bytes >= BH_SECTOR_BYTES) {
            piece = bytes < max ? (uint32_t)bytes / BH_SECTOR_BYTES * BH_SECTOR_BYTES : max;
            good = read_sectors(file->context, at / BH_SECTOR_BYTES, to, piece);
        } else {
            piece = bytes < piece ? (uint32_t)bytes : piece;
            good = read_part(file->context, at, to, piece);
        }
        if (!good)
            return false;
        at += piece;
        to += piece;
        bytes -= piece;
    }
    return true;
}

/* No disk is no file; a disk that is smaller than it should be is none either. */
static struct loader_file open_file(uint32_t disk, uint64_t bytes) {
    struct loader_file file = {.read = read_file};
    if (disk != BH_GUEST_NO_DISK)
        file.context = block_front_open(disk);
    if (file.context &&
        block_front_info(file.context)->sectors >= (bytes + BH_SECTOR_BYTES - 1) / BH_SECTOR_BYTES)
        file.bytes = bytes;
    return file;
}

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

static void typed(void *unused, const char *text, size_t bytes) {
    (void)unused;
    machine_type(text, bytes);
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
    if (!domain->guest_info_offset)
        return NULL;
    const struct bh_guest_info *guest =
        (const void *)((const uint8_t *)domain + domain->guest_info_offset);
    return guest->version == BH_GUEST_INFO_VERSION && guest->vcpus >= 1 ? guest : NULL;
}

int main(int argc, char **argv) {
    (void)argc, (void)argv;
    const struct bh_guest_info *guest = find_guest();
    if (!guest)
        guest_panic("not started as a VMM");
    ram_init(guest->ram, guest->ram_ranges);
    clock_init(guest_domain()->tsc_hz);
    struct loader_file kernel = open_file(guest->kernel_disk, guest->kernel_bytes);
    struct loader_file initrd = open_file(guest->initrd_disk, guest->initrd_bytes);
    struct loader_entry entry;
    const char *wrong = loader_load(&kernel, &initrd, guest_domain()->arguments, &entry);
    if (wrong) {
        printf("vmm: %s\n", wrong);
        return EXIT_FAILURE;
    }
    if (!machine_init(guest) || !acpi_build(guest->vcpus)) {
        printf("vmm: out of memory\n");
        return EXIT_FAILURE;
    }
    console_on_input(typed, NULL);
    control_on_shutdown(press_button, NULL);
    enter_kernel(machine_vcpu(0), &entry);
    control_ready();
    run(machine_vcpu(0));
}

void guest_further_main(unsigned context) {
    run_further(context);
}
