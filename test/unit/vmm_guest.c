#include "vmm_guest.h"

#include <string.h>

_Alignas(4096) uint8_t guest_ram[GUEST_RAM_BYTES];
struct bh_vcpu_state guest_state;
struct vcpu guest_vcpu;
static struct bh_guest_ram range;

enum bh_exit vcpu_backend_run(struct vcpu *vcpu, uint32_t groups, uint64_t deadline_tsc,
                              uint64_t event_mask) {
    (void)vcpu, (void)groups, (void)deadline_tsc, (void)event_mask;
    return BH_EXIT_NONE;
}

void vcpu_backend_sync(struct vcpu *vcpu, uint32_t groups) {
    (void)vcpu, (void)groups;
}

void guest_reset(void) {
    range = (struct bh_guest_ram){0, GUEST_RAM_BYTES, (uint64_t)guest_ram};
    memset(guest_ram, 0, sizeof(guest_ram));
    memset(&guest_state, 0, sizeof(guest_state));
    guest_vcpu = (struct vcpu){.state = &guest_state};
    ram_init(&range, 1);
    vcpu_reset(&guest_vcpu);
}

void guest_long_mode(void) {
    uint64_t *tables = (uint64_t *)(void *)(guest_ram + 0x1000);
    tables[0] = 0x2007;
    tables[512] = 0x87; /* 1 GiB each */
    tables[513] = 0x40000087;
    guest_state.cr3 = 0x1000;
    guest_state.cr4 = CR4_PAE;
    guest_state.cr0 |= CR0_PG | CR0_PE;
    guest_state.efer = EFER_LME | EFER_LMA;
    guest_state.segment[BH_CS].attributes = 0xa09b;
}
