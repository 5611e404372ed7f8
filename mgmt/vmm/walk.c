#include "mgmt/vmm/walk.h"

#include <string.h>

#define PAGE_BYTES 4096u
#define ENTRY_PRESENT 0x1ull
#define ENTRY_WRITE 0x2ull
#define ENTRY_USER 0x4ull
#define ENTRY_LARGE 0x80ull
#define ENTRY_NO_EXECUTE (1ull << 63)
#define ENTRY_ADDRESS 0x000ffffffffff000ull
/* Where a level's index begins in the linear address. */
enum {
    BITS_PER_LEVEL = 9,
    SHIFT_LEVEL_1 = 12,
    SHIFT_LEVEL_2 = 21,
    SHIFT_LEVEL_3 = 30,
    SHIFT_LEVEL_4 = 39,
    SHIFT_LEVEL_5 = 48,
};
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
    const void *at = ram_at(GPA(table.value + (uint64_t)index * entry_bytes), entry_bytes);
    if (!at)
        return false;
    uint64_t entry =
        entry_bytes == 8 ? *(const volatile uint64_t *)at : *(const volatile uint32_t *)at;
    if (!(entry & ENTRY_PRESENT))
        return false;
    found->entry = entry;
    found->rights &= entry;
    if (entry_bytes == 8)
        found->no_execute |= entry & ENTRY_NO_EXECUTE;
    return true;
}

/* Tables with entries of 8 bytes: 2 levels below the PDPTEs, which have no rights; 4 or 5 in 64-bit
 * mode. */
static bool walk_wide(const struct bh_vcpu_state *state, uint64_t linear, struct found *found,
                      struct gpa *gpa) {
    uint64_t table = state->cr3 & ENTRY_ADDRESS;
    unsigned shift = state->cr4 & CR4_LA57 ? SHIFT_LEVEL_5 : SHIFT_LEVEL_4;
    if (!(state->efer & EFER_LMA)) {
        struct found pdpte = {0};
        linear &= 0xffffffffu;
        if (!step(GPA(state->cr3 & 0xffffffe0u), (unsigned)(linear >> SHIFT_LEVEL_3), 8, &pdpte))
            return false;
        table = pdpte.entry & ENTRY_ADDRESS;
        shift = SHIFT_LEVEL_2;
    }
    while (step(GPA(table), linear >> shift & 511, 8, found)) {
        if (shift == SHIFT_LEVEL_1 || (shift <= SHIFT_LEVEL_3 && (found->entry & ENTRY_LARGE))) {
            uint64_t offset = (1ull << shift) - 1;
            *gpa = GPA((found->entry & ENTRY_ADDRESS & ~offset) | (linear & offset));
            return true;
        }
        table = found->entry & ENTRY_ADDRESS;
        shift -= BITS_PER_LEVEL;
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
    if (access == 0)
        return true;
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
