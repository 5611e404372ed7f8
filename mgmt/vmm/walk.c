#include "mgmt/vmm/walk.h"

#include <string.h>

#define PAGE_BYTES 4096u
#define ENTRY_PRESENT 0x1ull
#define ENTRY_WRITE 0x2ull
#define ENTRY_USER 0x4ull
#define ENTRY_LARGE 0x80ull
#define ENTRY_NO_EXECUTE (1ull << 63)
#define ENTRY_ADDRESS 0x000ffffffffff000ull
#define FAULT_PRESENT 0x1u
#define CR0_WP 0x10000u

/* What a walk has found so far: rights are those of all levels together. */
struct found {
    uint64_t entry;
    uint64_t rights; /* ENTRY_WRITE, ENTRY_USER */
    uint64_t no_execute;
};

/* One level. False: not present, or the table is not in RAM. */
static bool step(struct gpa table, unsigned index, unsigned entry_bytes, struct found *found) {
    uint64_t entry = 0;
    if (!ram_read(GPA(table.value + (uint64_t)index * entry_bytes), &entry, entry_bytes) ||
        !(entry & ENTRY_PRESENT))
        return false;
    found->entry = entry;
    found->rights &= entry;
    if (entry_bytes == 8)
        found->no_execute |= entry & ENTRY_NO_EXECUTE;
    return true;
}

/* Tables with entries of 8 bytes: 2 levels below the PDPTEs, 4 or 5 in 64-bit mode. */
static bool walk_wide(const struct bh_vcpu_state *state, uint64_t linear, struct found *found,
                      struct gpa *gpa) {
    unsigned levels = state->efer & EFER_LMA ? (state->cr4 & CR4_LA57 ? 5 : 4) : 3;
    uint64_t table = state->cr3 & (levels == 3 ? 0xffffffe0u : ENTRY_ADDRESS);
    if (levels == 3)
        linear &= 0xffffffffu;
    for (unsigned level = levels; level > 0; level--) {
        unsigned shift = 12 + 9 * (level - 1);
        unsigned index = linear >> shift & (level == 3 && levels == 3 ? 3 : 511);
        uint64_t rights = found->rights;
        if (!step(GPA(table), index, 8, found))
            return false;
        if (level == 3 && levels == 3)
            found->rights = rights; /* a PDPTE has none */
        else if (level == 1 || ((level == 2 || level == 3) && (found->entry & ENTRY_LARGE))) {
            uint64_t offset = (1ull << shift) - 1;
            *gpa = GPA((found->entry & ENTRY_ADDRESS & ~offset) | (linear & offset));
            return true;
        }
        table = found->entry & ENTRY_ADDRESS;
    }
    return false;
}

/* 32-bit paging: two levels, entries of 4 bytes. */
static bool walk_narrow(const struct bh_vcpu_state *state, uint64_t linear, struct found *found,
                        struct gpa *gpa) {
    if (!step(GPA(state->cr3 & 0xfffff000u), linear >> 22 & 1023, 4, found))
        return false;
    if ((found->entry & ENTRY_LARGE) && (state->cr4 & CR4_PSE)) {
        /* PSE-36: bits 13..20 are bits 32..39 of the address. */
        *gpa = GPA((found->entry & 0xffc00000u) | (found->entry & 0x1fe000u) << 19 |
                   (linear & 0x3fffffu));
        return true;
    }
    if (!step(GPA(found->entry & 0xfffff000u), linear >> 12 & 1023, 4, found))
        return false;
    *gpa = GPA((found->entry & 0xfffff000u) | (linear & 0xfffu));
    return true;
}

static bool allowed(const struct bh_vcpu_state *state, const struct found *found, uint32_t access) {
    bool user = access & ACCESS_USER;
    if (user && !(found->rights & ENTRY_USER))
        return false;
    if ((access & ACCESS_WRITE) && !(found->rights & ENTRY_WRITE) &&
        (user || (state->cr0 & CR0_WP)))
        return false;
    return !(access & ACCESS_FETCH) || !(state->efer & EFER_NXE) || !found->no_execute;
}

bool walk(struct vcpu *vcpu, uint64_t linear, uint32_t access, struct gpa *gpa, uint32_t *error) {
    const struct bh_vcpu_state *state = vcpu_look(vcpu, BH_VCPU_CONTROL);
    struct found found = {.rights = ENTRY_WRITE | ENTRY_USER};
    *error = access;
    if (!(state->cr0 & CR0_PG)) {
        *gpa = GPA(linear & 0xffffffffu);
        return true;
    }
    bool present = state->cr4 & CR4_PAE ? walk_wide(state, linear, &found, gpa)
                                        : walk_narrow(state, linear, &found, gpa);
    if (!present)
        return false;
    *error |= FAULT_PRESENT;
    return allowed(state, &found, access);
}

unsigned walk_fetch(struct vcpu *vcpu, uint8_t *to, unsigned max) {
    const struct bh_vcpu_state *state = vcpu_look(vcpu, BH_VCPU_SEGMENTS | BH_VCPU_CONTROL);
    uint32_t access = ACCESS_FETCH | (vcpu_privilege(vcpu) == 3 ? ACCESS_USER : 0), error;
    uint64_t linear = state->rip;
    if (vcpu_code_bytes(vcpu) != 8)
        linear = (linear + state->segment[BH_CS].base) & 0xffffffffu;
    unsigned count = 0;
    while (count < max) {
        struct gpa gpa;
        unsigned piece = PAGE_BYTES - (unsigned)(linear % PAGE_BYTES);
        if (piece > max - count)
            piece = max - count;
        if (!walk(vcpu, linear, access, &gpa, &error) || !ram_read(gpa, to + count, piece))
            break;
        count += piece;
        linear += piece;
    }
    return count;
}
