/* A guest's checkpoint: what is saved is what goes on, once; and a disk that holds anything else is
 * refused with a reason, and stays as it is. */
#include "abi/block.h"
#include "guestlib/block_front.h"
#include "guestlib/guest.h"
#include "guestlib/random.h"
#include "guestlib/tsc.h"
#include "mgmt/vmm/checkpoint.h"
#include "mgmt/vmm/clock.h"
#include "mgmt/vmm/cpuid.h"
#include "mgmt/vmm/fpu.h"
#include "mgmt/vmm/machine.h"
#include "mgmt/vmm/msr.h"
#include "unit.h"
#include "vmm_guest.h"

#define RAM_BYTES (256u << 10)
#define LOW_BYTES (96u << 10) /* of it; the rest lies beyond a hole */
#define HIGH_GPA (1ull << 32)
#define DISK_BYTES (512u << 10)
#define TRANSFER_BYTES 20480u
#define STATE_AT 4096u
#define HZ 2000000000ull
#define CLOCK_PAGE 0x3000u
#define EOI_AT 0x4ab4u

/* The header, as checkpoint.c has it. */
struct header {
    char magic[8];
    uint32_t version, vcpus;
    uint64_t cpuid, state_bytes, ram_bytes, digest;
};

static struct {
    uint8_t bytes[DISK_BYTES];
    uint64_t sectors;
    unsigned requests, fail_at; /* the request that fails, and all after it; 0: none */
} disk;

struct block_front *block_front_open(unsigned index) {
    return index == 1 ? (struct block_front *)(void *)&disk : NULL;
}

const struct bh_block_info *block_front_info(const struct block_front *block) {
    static struct bh_block_info info;
    (void)block;
    info.sectors = disk.sectors;
    return &info;
}

static bool request_fails(void) {
    disk.requests++;
    return disk.fail_at && disk.requests >= disk.fail_at;
}

enum bh_status block_front_flush(struct block_front *block) {
    (void)block;
    return request_fails() ? BH_IO_ERROR : BH_OK;
}

/* In pieces, each of which can be the one that fails. */
enum bh_status block_front_transfer(struct block_front *block, enum bh_block_operation operation,
                                    uint64_t sector, void *buffer, uint64_t bytes) {
    uint8_t *at = disk.bytes + sector * BH_SECTOR_BYTES, *next = buffer;
    (void)block;
    assert_true(bytes % BH_SECTOR_BYTES == 0);
    assert_true(sector + bytes / BH_SECTOR_BYTES <= disk.sectors);
    while (bytes > 0) {
        uint64_t piece = bytes < TRANSFER_BYTES ? bytes : TRANSFER_BYTES;
        if (request_fails())
            return BH_IO_ERROR;
        if (operation == BH_BLOCK_WRITE)
            memcpy(at, next, piece);
        else
            memcpy(next, at, piece);
        at += piece;
        next += piece;
        bytes -= piece;
    }
    return BH_OK;
}

uint64_t guest_wall_ns(void) {
    return 1000000000;
}

uint32_t machine_vcpus(void) {
    return 1;
}

struct vcpu *machine_vcpu(uint32_t index) {
    (void)index;
    return &guest_vcpu;
}

/* The machine's devices are unit vmm_state's. */
void machine_state(struct state *s) {
    clock_state(s);
    msr_state(s);
    vcpu_state(s, &guest_vcpu);
    if (s->loading && !s->wrong)
        state_check(s, clock_resume(&guest_vcpu), "its clock's page is not in RAM");
}

/* A fresh VMM, on this disk. */
static void begin(void) {
    static const struct bh_guest_info guest = {.checkpoint_disk = 1, .vcpus = 1};
    static const struct lapic_host host = {.tsc = clock_guest_tsc, .tsc_hz = HZ};
    struct bh_guest_ram ranges[] = {
        {0, LOW_BYTES, (uint64_t)guest_ram},
        {HIGH_GPA, RAM_BYTES - LOW_BYTES, (uint64_t)(guest_ram + 2 * LOW_BYTES)},
    };
    guest_reset();
    ram_init(ranges, 2);
    clock_init(HZ);
    clock_start(&guest_vcpu);
    lapic_reset(&guest_vcpu.lapic, &host, 0);
    disk.fail_at = 0;
    assert_null(checkpoint_open(&guest));
}

static void fill(uint8_t *bytes, size_t count, uint32_t seed) {
    for (size_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)((i + seed) * 2654435761u >> 13);
}

/* A guest that has run for a while. */
static void make_guest(void) {
    begin();
    fill(guest_ram, LOW_BYTES, 1);
    fill(guest_ram + 2 * LOW_BYTES, RAM_BYTES - LOW_BYTES, 2);
    struct bh_vcpu_state *state = vcpu_change(&guest_vcpu, BH_VCPU_ALL);
    for (unsigned i = 0; i < 16; i++)
        state->general[i] = 0x1111111111111111u * i;
    state->rip = 0xffffffff81000000;
    state->cr3 = 0x5000;
    state->efer = EFER_LME | EFER_LMA;
    state->lstar = 0xffffffff81800000;
    state->idtr.base = 0xfffffe0000000000;
    state->event = BH_EVENT_VALID | BH_EVENT_EXTERNAL | 0x31;
    guest_vcpu.halted = true;
    lapic_set_task_priority(&guest_vcpu.lapic, 5);
    assert_true(msr_write(&guest_vcpu, MSR_MTRR_FIXED_64K, 0x0504030201));
    assert_true(clock_set_system_time(&guest_vcpu, CLOCK_PAGE | 1));
    assert_true(msr_write(&guest_vcpu, MSR_KVM_PV_EOI, EOI_AT | 1));
    fpu_store(guest_vcpu.fpu);
}

static int saved(void **unused) {
    (void)unused;
    memset(&disk, 0, sizeof(disk));
    disk.sectors = DISK_BYTES / BH_SECTOR_BYTES;
    make_guest();
    assert_null(checkpoint_save());
    return 0;
}

static struct header *header(void) {
    return (struct header *)(void *)disk.bytes;
}

/* As if what is on the disk had been written so. */
static void sign(void) {
    header()->digest = 0;
    uint64_t digest = siphash((uint64_t[2]){0}, disk.bytes, sizeof(struct header));
    const uint64_t parts[] = {header()->state_bytes, LOW_BYTES, RAM_BYTES - LOW_BYTES};
    const uint8_t *next = disk.bytes + STATE_AT;
    for (unsigned i = 0; i < 3; i++)
        for (uint64_t at = 0; at < parts[i]; at += 4096, next += 4096)
            digest = siphash((uint64_t[2]){digest, at}, next, 4096);
    header()->digest = digest;
}

/* The reason; what is on the disk stays. */
static const char *refusal(void) {
    static uint8_t before[DISK_BYTES];
    memcpy(before, disk.bytes, DISK_BYTES);
    begin();
    const char *wrong = checkpoint_load();
    assert_non_null(wrong);
    assert_memory_equal(disk.bytes, before, DISK_BYTES);
    return wrong;
}

static void restored(void **unused) {
    static uint8_t ram[2 * LOW_BYTES + RAM_BYTES], fpu[FPU_BYTES];
    (void)unused;
    memcpy(ram, guest_ram, sizeof(ram));
    memcpy(fpu, guest_vcpu.fpu, sizeof(fpu));
    struct bh_vcpu_state page = guest_state;
    begin();
    assert_false(guest_vcpu.fpu_loads);
    assert_null(checkpoint_load());
    memcpy(ram + CLOCK_PAGE, guest_ram + CLOCK_PAGE, 32); /* told anew: see `clock` */
    assert_memory_equal(guest_ram, ram, sizeof(ram));
    assert_memory_equal(guest_vcpu.fpu, fpu, sizeof(fpu));
    page.tsc_offset = guest_state.tsc_offset;
    page.cr8 = page.exit_cr8 = 5;
    assert_memory_equal(&guest_state, &page, sizeof(page));
    assert_int_equal(guest_vcpu.modified, BH_VCPU_ALL);
    assert_true(guest_vcpu.halted && guest_vcpu.fpu_loads);
    uint64_t mtrr = 0;
    assert_true(msr_read(&guest_vcpu, MSR_MTRR_FIXED_64K, &mtrr) && mtrr == 0x0504030201);
    assert_int_equal(guest_vcpu.eoi_msr, EOI_AT | 1);
    assert_ptr_equal(guest_vcpu.eoi, guest_ram + EOI_AT);
}

static void once(void **unused) {
    (void)unused;
    begin();
    assert_null(checkpoint_load());
    assert_string_equal(refusal(), "there is none on its disk, or it has been used");
    make_guest();
    assert_null(checkpoint_save());
    begin();
    assert_null(checkpoint_forget());
    assert_string_equal(refusal(), "there is none on its disk, or it has been used");
}

struct told { /* pvclock_time */
    uint32_t version, reserved;
    uint64_t tsc, ns;
    uint32_t multiplier;
    int8_t shift;
    uint8_t flags;
};

static uint64_t ns_told(uint64_t tsc) {
    struct told t;
    memcpy(&t, guest_ram + CLOCK_PAGE, sizeof(t));
    uint64_t ticks = tsc - t.tsc;
    ticks = t.shift < 0 ? ticks >> -t.shift : ticks << t.shift;
    return t.ns + (uint64_t)((unsigned __int128)ticks * t.multiplier >> 32);
}

/* The guest's TSC, in the saved state: behind the section and the frequency. */
static uint64_t *tsc_saved(void) {
    return (uint64_t *)(void *)(disk.bytes + STATE_AT + STATE_SECTION_BYTES + 8);
}

/* Time goes on where it was, on a host that was started after the guest was, too. */
static void clock_goes_on(void **unused) {
    const uint64_t ages[] = {*tsc_saved(), 1ull << 62, 12345};
    (void)unused;
    for (unsigned i = 0; i < 3; i++) {
        saved(NULL);
        *tsc_saved() = ages[i];
        sign();
        uint64_t before_ns = ns_told(ages[i]), loading = tsc_read();
        begin();
        assert_null(checkpoint_load());
        uint64_t now = clock_guest_tsc(), passed = tsc_read() - loading;
        assert_true(now >= ages[i] && now - ages[i] <= passed);
        assert_int_equal(clock_host_tsc(now + 1000) - clock_host_tsc(now), 1000);
        assert_true(clock_host_tsc(now) <= tsc_read() && clock_host_tsc(now) >= loading);
        struct told t;
        memcpy(&t, guest_ram + CLOCK_PAGE, sizeof(t));
        assert_int_equal(t.flags, 3); /* stable; it was stopped */
        assert_int_equal(t.version, 4);
        assert_true(ns_told(now) >= before_ns);
        assert_true(ns_told(now) - before_ns <= passed);
    }
}

/* Each byte of the header and of what follows counts. */
static void damaged(void **unused) {
    (void)unused;
    uint64_t end = STATE_AT + header()->state_bytes + RAM_BYTES;
    for (uint64_t at = 0; at < end; at += at < sizeof(struct header) ? 1 : 1021) {
        if (at >= sizeof(struct header) && at < STATE_AT)
            continue;
        disk.bytes[at] ^= 0x40;
        const char *wrong = refusal();
        if (at >= STATE_AT)
            assert_string_equal(wrong, "it is damaged");
        disk.bytes[at] ^= 0x40;
    }
    begin();
    assert_null(checkpoint_load());
}

/* The machine fails while it saves, at any request: then there is no checkpoint, and the guest can
 * be told so; nor may one that was there before come back. */
static void cut_short(void **unused) {
    (void)unused;
    unsigned needed = disk.requests;
    for (unsigned fail_at = 3; fail_at < needed; fail_at++) { /* from the first flush on */
        saved(NULL);
        make_guest();
        disk.requests = 0;
        disk.fail_at = fail_at;
        assert_string_equal(checkpoint_save(), "the checkpoint disk fails");
        assert_string_equal(refusal(), "there is none on its disk, or it has been used");
    }
}

static void no_room(void **unused) {
    (void)unused;
    disk.sectors = RAM_BYTES / BH_SECTOR_BYTES;
    make_guest();
    assert_string_equal(checkpoint_save(),
                        "its checkpoint disk is too small: it takes its memory and 128 KiB");
    begin();
    assert_null(checkpoint_forget());
    assert_string_equal(refusal(), "there is none on its disk, or it has been used");
}

/* Signed, and nonsense. */
static void hostile_header(void **unused) {
    (void)unused;
    const struct header good = *header();
    header()->version++;
    assert_string_equal(refusal(), "it was made by another version");
    *header() = good;
    header()->vcpus = 2;
    assert_string_equal(refusal(), "it has another number of vCPUs");
    *header() = good;
    header()->cpuid++;
    assert_string_equal(refusal(), "it was made on another processor");
    const uint64_t lengths[] = {RAM_BYTES + 4096, RAM_BYTES - 1, ~0ull, 1ull << 63};
    for (unsigned i = 0; i < 4; i++) {
        *header() = good;
        header()->ram_bytes = lengths[i];
        assert_string_equal(refusal(), "it has more memory than the guest is given now");
        *header() = good;
        header()->state_bytes = lengths[i];
        assert_string_equal(refusal(), "it is longer than it can be");
    }
}

/* Where the state's bytes of these contents are. */
static uint8_t *find(const void *bytes, size_t count) {
    for (uint8_t *at = disk.bytes + STATE_AT;; at++) {
        assert_true(at < disk.bytes + STATE_AT + header()->state_bytes);
        if (memcmp(at, bytes, count) == 0)
            return at;
    }
}

static const char *with(uint8_t *at, const void *bytes, size_t count) {
    uint8_t before[64];
    memcpy(before, at, count);
    memcpy(at, bytes, count);
    sign();
    const char *wrong = refusal();
    memcpy(at, before, count);
    return wrong;
}

static void hostile_state(void **unused) {
    (void)unused;
    const uint64_t ones = ~0ull, zero = 0, twice = 2 * HZ, alone = 4;
    const uint64_t control[] = {guest_state.efer, guest_state.xcr0};
    uint8_t *efer = find(control, sizeof(control));
    assert_string_equal(with(efer, &ones, 8), "vcpu: an EFER that is none");
    assert_string_equal(with(efer + 8, &ones, 8), "vcpu: an XCR0 that is none");
    assert_string_equal(with(efer + 8, &alone, 8), "vcpu: an XCR0 that is none");
    uint8_t *fpu = find(guest_vcpu.fpu, FPU_BYTES);
    assert_string_equal(with(fpu + 24, &ones, 4), "vcpu: FPU registers that are none");
    for (unsigned at = 512; at < 576; at += 8) /* XSTATE_BV, XCOMP_BV, and what has to be 0 */
        assert_string_equal(with(fpu + at, &ones, 8), "vcpu: FPU registers that are none");
    uint8_t *hz = (uint8_t *)tsc_saved() - 8;
    assert_string_equal(with(hz, &zero, 8), "clock: its TSC runs at another rate");
    assert_string_equal(with(hz, &twice, 8), "clock: its TSC runs at another rate");
    const uint64_t page = CLOCK_PAGE;
    assert_string_equal(with(find(&page, 8), &ones, 8), "vcpu: its clock's page is not in RAM");
    const uint64_t eoi = EOI_AT | 1, nowhere = RAM_BYTES | 1; /* in the hole */
    assert_string_equal(with(find(&eoi, 8), &ones, 8), "vcpu: a place for PV EOI that is none");
    assert_string_equal(with(find(&eoi, 8), &nowhere, 8), "vcpu: a place for PV EOI that is none");
    header()->state_bytes = 0; /* and RAM where it was */
    memmove(disk.bytes + STATE_AT, disk.bytes + DISK_BYTES / 4, RAM_BYTES);
    sign();
    assert_string_equal(refusal(), "clock: the state ends too early");
}

/* Whatever the bytes are: loaded or refused; and what is loaded is a machine. */
static void random_state(void **unused) {
    (void)unused;
    uint64_t seed[2] = {1, 0};
    for (unsigned round = 0; round < 3000; round++) {
        saved(NULL);
        uint64_t bytes = header()->state_bytes < 2048 ? header()->state_bytes : 2048;
        for (unsigned i = 0; i < 1 + round % 4; i++) {
            seed[0] = siphash(seed, &round, sizeof(round));
            disk.bytes[STATE_AT + (seed[0] >> 8) % bytes] = (uint8_t)seed[0];
        }
        sign();
        begin();
        if (checkpoint_load())
            continue;
        assert_true(fpu_is_valid(guest_vcpu.fpu));
        assert_true(cpuid_admits_xcr0(guest_state.xcr0));
        fpu_load(guest_vcpu.fpu);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(restored, saved),       cmocka_unit_test_setup(once, saved),
        cmocka_unit_test_setup(clock_goes_on, saved),  cmocka_unit_test_setup(damaged, saved),
        cmocka_unit_test_setup(cut_short, saved),      cmocka_unit_test_setup(no_room, saved),
        cmocka_unit_test_setup(hostile_header, saved), cmocka_unit_test_setup(hostile_state, saved),
        cmocka_unit_test_setup(random_state, saved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
