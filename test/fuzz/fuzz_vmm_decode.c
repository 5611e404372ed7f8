/* Any instruction on device memory, in any mode, with any registers and page tables: the VMM either
 * carries it out or refuses it, and touches nothing but the guest's RAM and devices. Input: mode,
 * four registers, two page-table entries, then code. */
#include <string.h>

#include "mgmt/vmm/emulate.h"
#include "../unit/vmm_guest.h"

#define CODE 0x10000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    static bool ready;
    uint64_t words[7];
    if (bytes <= sizeof(words))
        return 0;
    if (!ready)
        guest_reset();
    ready = true;
    memcpy(words, data, sizeof(words));
    vcpu_reset(&guest_vcpu);
    memset(guest_ram + 0x1000, 0, 0x2000);
    guest_long_mode();
    if (words[0] & 1)
        guest_state.segment[BH_CS].attributes = 0xc09b;
    if (words[0] & 2)
        guest_state.segment[BH_CS].attributes = 0x009b;
    if (words[0] & 4)
        guest_state.efer = 0;
    if (words[0] & 8)
        guest_state.rflags |= RFLAGS_DF;
    if (words[0] & 16)
        memcpy(guest_ram + 0x1008, &words[5], 16);
    guest_state.general[RAX] = words[1];
    guest_state.general[RCX] = words[2];
    guest_state.general[RSI] = words[3];
    guest_state.general[RDI] = words[4];
    guest_state.rip = CODE + (words[0] >> 8 & 0xfff);
    guest_state.address = 0xfec00000 + (words[0] >> 24 & 0xffffff);
    memset(guest_ram + CODE, 0, 0x2000);
    memcpy(guest_ram + guest_state.rip, data + sizeof(words), bytes - sizeof(words));
    emulate_memory_access(&guest_vcpu);
    /* hv tells one of these widths and sizes. */
    uint64_t width = 1u << (words[0] >> 48 & 3) % 3, address = 2u << (words[0] >> 50 & 3) % 3;
    guest_state.qualification = (words[0] >> 32 & 0x7ffff) | width << 24 | address << 28;
    emulate_port_string(&guest_vcpu);
    return 0;
}
