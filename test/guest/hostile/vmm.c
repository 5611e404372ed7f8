/* In a VMM's place, with exactly what a VMM holds: its CapTable, its guest's RAM and state pages.
 */
#include "test/guest/hostile/raw.h"

#include "abi/vcpu.h"

enum { SLOTS = 256, ROUNDS = 60000, STATE_ROUNDS = 20000, DIRECT_ROUNDS = 500 };
#define EFER_LME 0x100ull
#define CR4_PAE 0x20ull

static const struct bh_guest_info *guest(void) {
    return (const void *)((const uint8_t *)domain + domain->guest_info_offset);
}

static uint64_t argument(void) {
    uint64_t r = random_next();
    switch (r & 7) {
    case 0:
        return r;
    case 1:
    case 2:
        return BH_REF(r >> 8 & 255, r >> 16 & 255);
    case 3:
        return guest()->ram[0].va + (r >> 8 & 0xfff000);
    case 4:
        return ~(r >> 8 & 63);
    default:
        return r >> 8 & 255;
    }
}

/* Every hypercall with every slot, then at random. It may run its vCPU; it can change nothing of
 * what it or its guest was given. */
static void captable(void) {
    static const bool harmless[BH_HC_COUNT] = {
        [BH_HC_NULL] = true,      [BH_HC_SIGNAL] = true,   [BH_HC_WAIT] = true,
        [BH_HC_YIELD] = true,     [BH_HC_CAP_INFO] = true, [BH_HC_VCPU_RUN] = true,
        [BH_HC_VCPU_SYNC] = true,
    };
    struct hc_values values;
    for (unsigned round = 0; round < ROUNDS; round++) {
        bool ordered = round < SLOTS * BH_HC_COUNT;
        uint64_t number = ordered ? round / SLOTS : random_next() % (BH_HC_COUNT + 3);
        uint64_t first = ordered ? round % SLOTS : argument();
        bool waits = number == BH_HC_WAIT || number == BH_HC_VCPU_RUN;
        uint64_t second = number == BH_HC_WAIT ? tsc_read() + 1000 : argument();
        uint64_t third = waits ? tsc_read() + 1000 : argument();
        enum bh_status status = hc_call((enum bh_hypercall)number, first, second, third, argument(),
                                        argument(), argument(), &values);
        expect(status != BH_OK || (number < BH_HC_COUNT && harmless[number]));
    }
}

/* Any state page, any groups, deadlines in the past and future. */
static void states(void) {
    volatile struct bh_vcpu_state *state = (void *)guest()->vcpu[0].state_va;
    volatile uint64_t *words = (void *)guest()->vcpu[0].state_va;
    bh_slot slot = guest()->vcpu[0].slot;
    for (unsigned round = 0; round < STATE_ROUNDS; round++) {
        uint64_t exit, r = random_next();
        for (unsigned i = 0; i < (r & 63); i++)
            words[random_next() % 512] = random_next();
        /* QEMU 7.2 ends at such an exit: see test/guest/svm_harm.c. */
        if (state->efer & EFER_LME)
            state->cr4 |= CR4_PAE;
        enum bh_status status = hc_vcpu_run(slot, (uint32_t)(r >> 8) & BH_VCPU_ALL,
                                            tsc_read() + (r >> 32 & 0xffff), r >> 6, &exit);
        expect(status == BH_OK && exit < BH_EXIT_COUNT);
        expect(hc_vcpu_sync(slot, (uint32_t)(r >> 20)) == BH_OK || (r >> 20 & ~BH_VCPU_ALL));
    }
    expect(hc_vcpu_run(slot, ~0u, 0, 0, (uint64_t[]){0}) == BH_BAD_ARG);
}

/* Just behind its guest's RAM. */
static void beyond_guest(void) {
    const struct bh_guest_ram *last = &guest()->ram[guest()->ram_ranges - 1];
    *(volatile uint8_t *)(last->va + last->bytes - 1) = 1;
    *(volatile uint8_t *)(last->va + last->bytes) = 1;
}

/* io='direct': its guest's RAM is the disk's to read and write, and nothing else is. The disk is
 * full of 0x5a. */
static void direct(void) {
    struct raw *disk = raw_open(BH_CLASS_BLOCK, 0);
    const struct bh_guest_ram *last = &guest()->ram[guest()->ram_ranges - 1];
    uint64_t end = disk->device->window_bytes;
    expect(disk->device->block.flags & BH_BLOCK_DIRECT);
    for (uint32_t i = 0; i < guest()->ram_ranges; i++)
        end += guest()->ram[i].bytes;
    const uint64_t outside[] = {end, end - 511, end + 4096, ~0ull, ~511ull, 0 - end, 1ull << 40};
    for (unsigned i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
        expect(raw_ask(disk, BH_BLOCK_READ, 0, outside[i], 512) == BH_BAD_ARG);
        expect(raw_ask(disk, BH_BLOCK_WRITE, 0, outside[i], 512) == BH_BAD_ARG);
        expect(raw_ask(disk, BH_BLOCK_ID, 0, outside[i], 512) == BH_BAD_ARG);
    }
    for (unsigned round = 0; round < DIRECT_ROUNDS; round++) {
        /* A multiple: whatever the pieces, they are cut between sectors. */
        uint64_t offset = random_next() >> (random_next() & 63) & ~511ull;
        bool inside = offset <= end - 512;
        expect(raw_ask(disk, BH_BLOCK_READ, 0, offset, 512) == (inside ? BH_OK : BH_BAD_ARG));
    }
    expect(raw_ask(disk, BH_BLOCK_READ, 0, disk->device->window_bytes, 512) == BH_OK);
    expect(*(volatile uint8_t *)guest()->ram[0].va == 0x5a);
    expect(raw_ask(disk, BH_BLOCK_READ, 0, end - 512, 512) == BH_OK);
    expect(*(volatile uint8_t *)(last->va + last->bytes - 1) == 0x5a);
}

/* Text and constants, which all VMMs have in common. */
static void writes_text(void) {
    *(volatile uint8_t *)(uintptr_t)writes_text = 0xc3; /* RET */
}

static void writes_constants(void) {
    *(volatile uint8_t *)(uintptr_t)attempts = 0;
}

/* As long as there is one like this, they are not loaded anew. */
static void stays(void) {
    for (;;)
        sleep_ms(1000);
}

const struct attempt attempts[] = {
    {"captable", captable},
    {"states", states},
    {"beyond-guest", beyond_guest},
    {"direct", direct},
    {"writes-text", writes_text},
    {"writes-text-again", writes_text},
    {"writes-constants", writes_constants},
    {"writes-constants-again", writes_constants},
    {"stays", stays},
    {0},
};
