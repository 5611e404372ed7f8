/* One tiny guest for each claim about PV isolation (docs/threat-model.md), most of them expected to
 * be stopped. The test's name is the claim's. */
#include "test/guest/harness.h"
#include "test/guest/registers.h"

#define HV_IMAGE 0xffffffff80200000ull
#define HV_OBJECTS 0xffff800000200000ull

enum { VECTOR_DB = 1, VECTOR_BP = 3, VECTOR_UD = 6, VECTOR_GP = 13, VECTOR_PF = 14 };

/* --- Memory --------------------------------------------------------------------------------------
 */

static void reads(uint64_t address) {
    (void)*(volatile uint64_t *)address;
    child_exit(0);
}

static void writes(uint64_t address) {
    *(volatile uint64_t *)address = 1;
    child_exit(0);
}

static void jumps(uint64_t address) {
    ((void (*)(void))address)();
    child_exit(0);
}

/* Ended by `vector`, or by `other` where processors differ (0: they do not). */
static bool stopped_either(void (*entry)(uint64_t), uint64_t argument, uint64_t vector,
                           uint64_t other) {
    struct child child = child_make(0);
    child_start(child, entry, argument);
    bool good = child_ended(child, boot->tsc_hz);
    uint64_t ended = child_get(child, BH_REG_FAULT_VECTOR);
    if (!good || (ended != vector && (!other || ended != other))) {
        say("test: ended otherwise: vector ");
        say_number(ended);
        say(" address ");
        say_number(child_get(child, BH_REG_FAULT_ADDRESS));
        say("\n");
        good = false;
    }
    child_destroy(child);
    return good;
}

static bool stopped(void (*entry)(uint64_t), uint64_t argument, uint64_t vector) {
    return stopped_either(entry, argument, vector, 0);
}

static void memory_claims(void) {
    check("mem.read_hv", stopped(reads, HV_IMAGE, VECTOR_PF));
    check("mem.read_objects", stopped(reads, HV_OBJECTS, VECTOR_PF));
    check("mem.write_hv", stopped(writes, HV_IMAGE, VECTOR_PF));
    check("mem.jump_hv", stopped(jumps, HV_IMAGE, VECTOR_PF));
    check("mem.noncanonical", stopped(reads, 0x8000000000000000ull, VECTOR_GP));
    check("mem.null", stopped(reads, 8, VECTOR_PF));
    check("mem.write_text", stopped(writes, BH_IMAGE_VA, VECTOR_PF));
    check("mem.execute_data", stopped(jumps, CHILD_SCRATCH_VA, VECTOR_PF));
    check("mem.execute_stack", stopped(jumps, CHILD_STACK_VA, VECTOR_PF));
    check("mem.lapic", stopped(reads, 0xfee00020, VECTOR_PF));
    check("mem.beyond_user", stopped(jumps, 0x7fffffffffffull, VECTOR_PF));
}

/* --- Privileged instructions ---------------------------------------------------------------------
 */

#define INSTRUCTION(name, text)                                                                    \
    static void name(uint64_t argument) {                                                          \
        (void)argument;                                                                            \
        __asm__ volatile(text : : : "rax", "rcx", "rdx", "memory");                                \
        child_exit(0);                                                                             \
    }
INSTRUCTION(do_cli, "cli")
INSTRUCTION(do_hlt, "hlt")
INSTRUCTION(do_in, "inb $0x80, %%al")
INSTRUCTION(do_out, "outb %%al, $0x80")
INSTRUCTION(do_rdmsr, "mov $0xc0000080, %%ecx; rdmsr")
INSTRUCTION(do_wrmsr, "mov $0xc0000080, %%ecx; xor %%eax, %%eax; xor %%edx, %%edx; wrmsr")
INSTRUCTION(do_read_cr3, "mov %%cr3, %%rax")
INSTRUCTION(do_write_cr0, "xor %%eax, %%eax; mov %%rax, %%cr0")
INSTRUCTION(do_write_dr7, "mov $0x400, %%eax; mov %%rax, %%dr7")
INSTRUCTION(do_invlpg, "invlpg (%%rsp)")
INSTRUCTION(do_lgdt, "lgdt (%%rsp)")
INSTRUCTION(do_lidt, "lidt (%%rsp)")
INSTRUCTION(do_ltr, "mov $0x28, %%ax; ltr %%ax")
INSTRUCTION(do_swapgs, "swapgs")
INSTRUCTION(do_sysretq, "sysretq")
INSTRUCTION(do_wbinvd, "wbinvd")
INSTRUCTION(do_xsetbv, "xor %%ecx, %%ecx; mov $1, %%eax; xor %%edx, %%edx; xsetbv")
INSTRUCTION(do_int80, "int $0x80")
INSTRUCTION(do_int_timer, "int $0xfe")
INSTRUCTION(do_far_jump, "pushq $0x8; pushq $0x400000; lretq")
INSTRUCTION(do_set_ds, "mov $0x10, %%eax; mov %%eax, %%ss")
INSTRUCTION(do_breakpoint, "int3")
INSTRUCTION(do_single_step, "pushfq; orl $0x100, (%%rsp); popfq; nop; nop")
INSTRUCTION(do_step_into_call, "pushfq; orl $0x100, (%%rsp); popfq; xor %%eax, %%eax; syscall")
INSTRUCTION(do_iopl, "pushfq; orl $0x3000, (%%rsp); popfq; cli")
INSTRUCTION(do_iret_ring0, "pushq $0x10; pushq %%rsp; pushfq; pushq $0x8; pushq $0x400000; iretq")

static void instruction_claims(void) {
    static const struct {
        const char *name;
        void (*entry)(uint64_t);
        uint64_t vector;
        uint64_t other;
    } tries[] = {
        {"cpu.cli", do_cli, VECTOR_GP, 0},
        {"cpu.hlt", do_hlt, VECTOR_GP, 0},
        {"cpu.in", do_in, VECTOR_GP, 0},
        {"cpu.out", do_out, VECTOR_GP, 0},
        {"cpu.rdmsr", do_rdmsr, VECTOR_GP, 0},
        {"cpu.wrmsr", do_wrmsr, VECTOR_GP, 0},
        {"cpu.read_cr3", do_read_cr3, VECTOR_GP, 0},
        {"cpu.write_cr0", do_write_cr0, VECTOR_GP, 0},
        {"cpu.write_dr7", do_write_dr7, VECTOR_GP, 0},
        {"cpu.invlpg", do_invlpg, VECTOR_GP, 0},
        {"cpu.lgdt", do_lgdt, VECTOR_GP, 0},
        {"cpu.lidt", do_lidt, VECTOR_GP, 0},
        {"cpu.ltr", do_ltr, VECTOR_GP, 0},
        {"cpu.swapgs", do_swapgs, VECTOR_GP, 0},
        {"cpu.sysret", do_sysretq, VECTOR_GP, 0},
        {"cpu.wbinvd", do_wbinvd, VECTOR_GP, 0},
        /* #UD without XSAVE */
        {"cpu.xsetbv", do_xsetbv, VECTOR_GP, VECTOR_UD},
        {"cpu.int80", do_int80, VECTOR_GP, 0},
        {"cpu.int_timer", do_int_timer, VECTOR_GP, 0},
        /* With SMAP the emulator faults on its own reading of the stack: QEMU 7.2, seg_helper.c. */
        {"cpu.far_jump_ring0", do_far_jump, VECTOR_GP, VECTOR_PF},
        {"cpu.load_ring0_stack", do_set_ds, VECTOR_GP, 0},
        {"cpu.iret_ring0", do_iret_ring0, VECTOR_GP, VECTOR_PF},
        {"cpu.breakpoint", do_breakpoint, VECTOR_BP, 0},
        {"cpu.single_step", do_single_step, VECTOR_DB, 0},
        {"cpu.step_into_hypercall", do_step_into_call, VECTOR_DB, 0},
        {"cpu.iopl", do_iopl, VECTOR_GP, 0},
    };
    for (unsigned i = 0; i < sizeof(tries) / sizeof(tries[0]); i++)
        check(tries[i].name, stopped_either(tries[i].entry, 0, tries[i].vector, tries[i].other));
}

/* --- Hypercalls ----------------------------------------------------------------------------------
 */

/* xorshift: the child's random numbers, from the seed in its argument. */
static uint64_t random_next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Random arguments, small ones more often: indices, rights, widths. */
static uint64_t random_argument(uint64_t *state) {
    uint64_t r = random_next(state);
    switch (r & 7) {
    case 0:
        return r;
    case 1:
        return BH_REF(r >> 8 & 15, r >> 16 & 63);
    case 2:
        return CHILD_SCRATCH_VA + (r >> 8 & 0xffff);
    default:
        return r >> 8 & 63;
    }
}

enum { FUZZ_CALLS = 20000 };

static void calls_nonsense(uint64_t seed) {
    uint64_t state = seed;
    for (unsigned i = 0; i < FUZZ_CALLS; i++) {
        uint64_t number = random_next(&state) % (BH_HC_COUNT + 5);
        struct hc_values values;
        if (number == BH_HC_WAIT) /* it may wait, but not for ever */
            hc_call(number, random_argument(&state), now() + 1000, 0, 0, 0, 0, &values);
        else
            hc_call((enum bh_hypercall)number, random_argument(&state), random_argument(&state),
                    random_argument(&state), random_argument(&state), random_argument(&state),
                    random_argument(&state), &values);
    }
    child_exit(77);
}

/* What can be seen of a child's table, as one number. */
static uint64_t table_sum(struct child child) {
    uint64_t sum = 0, first, second;
    for (unsigned slot = 1; slot < MY_SLOTS; slot++)
        for (unsigned word = 0; word < 2; word++) {
            expect_ok(hc_cap_info(child_own(child, slot), word, &first, &second), "info");
            sum = sum * 31 + first * 7 + second;
        }
    return sum;
}

/* The structural calls, tried with references to every table index. */
static void calls_structural(uint64_t argument) {
    (void)argument;
    for (uint64_t table = 0; table < MY_SLOTS; table++) {
        bh_ref text = BH_REF(table, MY_TEXT), free_slot = BH_REF(table, 40);
        uint64_t clean;
        bool refused = hc_retype(text, BH_TYPE_REGION, 1, free_slot, 0) != BH_OK &&
                       hc_copy(text, free_slot, BH_RIGHTS_ALL, 0, 0) != BH_OK &&
                       hc_move(text, free_slot) != BH_OK && hc_narrow(text, 0) != BH_OK &&
                       hc_delete(text) != BH_OK && hc_revoke(text) != BH_OK &&
                       hc_scrub(text, &clean) != BH_OK && hc_unmap(text) != BH_OK &&
                       hc_map(text, text, CHILD_SCRATCH_VA + 0x100000, BH_REGION_READ) != BH_OK &&
                       hc_bind(text, BH_BIND_CTX_EVENT, BH_REF(table, MY_EVENT)) != BH_OK;
        if (!refused)
            child_exit(1);
    }
    child_exit(78);
}

static void syscall_at_the_end(uint64_t address) {
    ((void (*)(void))address)();
}

static void hypercall_claims(void) {
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct child child = child_make(0);
        uint64_t before = table_sum(child);
        child_start(child, calls_nonsense, seed * 0x9e3779b97f4a7c15ull);
        bool ended = child_ended(child, 60 * boot->tsc_hz) && exited_with(child, 77);
        check("call.nonsense", ended && table_sum(child) == before);
        child_destroy(child);
    }
    struct child child = child_make(0);
    uint64_t before = table_sum(child);
    child_start(child, calls_structural, 0);
    check("call.no_structure", exited_with(child, 78) && table_sum(child) == before);
    child_destroy(child);

    /* SYSCALL in the last two mappable bytes: the return address is the first that is not. */
    child = child_make(0);
    bh_ref memory = child_cap(child, CHILD_MEMORY), page = BH_REF(BH_INIT_TABLE, TEST_SLOT);
    expect_ok(hc_copy(memory, page, BH_RIGHTS_ALL, 0, 1), "copy");
    expect_ok(hc_map_all(page, BH_REF(BH_INIT_TABLE, BH_INIT_SPACE), 0x50000000,
                         BH_REGION_READ | BH_REGION_WRITE),
              "map");
    *(volatile uint16_t *)(0x50000000 + 4094) = 0x050f;
    expect_ok(hc_unmap_all(page), "unmap");
    expect_ok(hc_map_all(page, child_cap(child, CHILD_SPACE), BH_USER_VA_END - 4096,
                         BH_REGION_READ | BH_REGION_EXEC),
              "map");
    child_start(child, syscall_at_the_end, BH_USER_VA_END - 2);
    check("call.last_address",
          ended_with(child, VECTOR_PF) && child_get(child, BH_REG_RIP) == BH_USER_VA_END);
    child_destroy(child);
}

/* --- Registers -----------------------------------------------------------------------------------
 */

/* Faults with a RIP that hv must not return to, whatever its creator says. */
static bool resume_is_checked(void) {
    struct child child = child_make(0);
    child_start(child, jumps, 0x8000000000000000ull);
    bool good = child_ended(child, boot->tsc_hz);
    enum bh_status status = hc_ctx_resume(child_cap(child, CHILD_CONTEXT));
    /* A processor that checks the target before the jump leaves RIP at the jump: it faults again.
     */
    good = good && (status == BH_NOT_READY || (status == BH_OK && ended_with(child, VECTOR_GP)));
    child_destroy(child);
    return good;
}

static uint64_t *const shared_word = (uint64_t *)CHILD_SCRATCH_VA;

static bool ends_clean(struct child child, const char *what) {
    bool good = exited_with(child, 0);
    if (!good) {
        say("test: registers of ");
        say(what);
        say(": ");
        say_number(child_get(child, BH_REG_RDI));
        say("\n");
    }
    return good;
}

static void register_claims(void) {
    struct child first = child_make(0);
    child_start(first, registers_plant, 0x1234567812345678ull);
    bool marked = ended_with(first, VECTOR_UD);
    struct child second = child_make(1);
    child_start(second, registers_look, 0);
    check("reg.fresh", marked && ends_clean(second, "a fresh Context"));
    child_destroy(second);
    child_destroy(first); /* and of one that lies where a dead one lay */
    first = child_make(0);
    child_start(first, registers_look, 0);
    check("reg.fresh_in_used_memory", ends_clean(first, "a Context in used memory"));
    child_destroy(first);

    first = child_make(0);
    second = child_make(1);
    child_start(first, registers_hold, 0x1111222233334444ull);
    child_start(second, registers_hold, 0x5555666677778889ull);
    bool kept = ends_clean(first, "the first of two");
    check("reg.fpu_is_private", ends_clean(second, "the second of two") && kept);
    child_destroy(second);
    child_destroy(first);

    check("reg.resume_is_checked", resume_is_checked());

    first = child_make(0);
    bh_ref context = child_cap(first, CHILD_CONTEXT);
    uint64_t flags = 0;
    bool good = hc_ctx_set(context, BH_REG_RIP, 0x8000000000000000ull) == BH_BAD_ARG &&
                hc_ctx_set(context, BH_REG_RIP, BH_USER_VA_END) == BH_BAD_ARG &&
                hc_ctx_set(context, BH_REG_GS_BASE, 0xffff800000000000ull) == BH_BAD_ARG &&
                hc_ctx_set(context, BH_REG_FAULT_VECTOR, 0) == BH_BAD_ARG &&
                hc_ctx_set(context, BH_REG_RFLAGS, ~0ull) == BH_OK &&
                hc_ctx_get(context, BH_REG_RFLAGS, &flags) == BH_OK;
    /* IF set; TF, IOPL, NT, RF, VM, AC clear. */
    check("reg.set_is_checked", good && (flags & 0x200) && !(flags & 0x77100));
    child_destroy(first);
}

/* --- Removal of rights ---------------------------------------------------------------------------
 */

static void touches_for_ever(uint64_t address) {
    for (volatile uint64_t *p = (uint64_t *)address;; (*p)++)
        ;
}

static void waits_for_ever(uint64_t argument) {
    (void)argument;
    uint64_t bits, group;
    child_exit(hc_wait(~0ull, BH_DEADLINE_NEVER, &bits, &group));
}

static void let_run(uint64_t ticks) {
    uint64_t bits, group;
    hc_wait(0, now() + ticks, &bits, &group);
}

static void removal_claims(void) {
    uint64_t short_while = boot->tsc_hz / 100;
    struct child child = child_make(0);
    child_start(child, touches_for_ever, CHILD_SCRATCH_VA);
    let_run(short_while);
    bool ran = child_get(child, BH_REG_STATE) == BH_CTX_READY;
    expect_ok(hc_revoke_all(child_cap(child, CHILD_MEMORY)), "revoke");
    check("revoke.region_in_use",
          ran && ended_with(child, VECTOR_PF) &&
              child_get(child, BH_REG_FAULT_ADDRESS) / 4096 == CHILD_SCRATCH_VA / 4096);
    child_destroy(child);

    static const struct {
        const char *name;
        enum child_slot slot;
    } references[] = {{"revoke.space_in_use", CHILD_SPACE}, {"revoke.table_in_use", CHILD_TABLE}};
    for (unsigned i = 0; i < 2; i++) {
        child = child_make(0);
        child_start(child, touches_for_ever, CHILD_SCRATCH_VA);
        let_run(short_while);
        expect_ok(hc_revoke_all(child_cap(child, references[i].slot)), "revoke");
        uint64_t time = child_get(child, BH_REG_CPU_TIME);
        let_run(short_while);
        check(references[i].name,
              child_get(child, BH_REG_STATE) == BH_CTX_STOPPED &&
                  child_get(child, BH_REG_CPU_TIME) == time &&
                  hc_ctx_resume(child_cap(child, CHILD_CONTEXT)) == BH_NOT_READY);
        child_destroy(child);
    }

    child = child_make(0);
    child_start(child, waits_for_ever, 0);
    let_run(short_while);
    expect_ok(hc_revoke_all(child_cap(child, CHILD_EVENT)), "revoke");
    check("revoke.event_waited_for", exited_with(child, BH_NOT_READY));
    child_destroy(child);
}

/* --- Memory comes back whole and clean
 * ------------------------------------------------------------ */

static void writes_marker(uint64_t marker) {
    for (uint64_t i = 0; i < CHILD_SCRATCH_PAGES * 512; i++)
        shared_word[i] = marker;
    child_exit(80);
}

static void looks_for_marker(uint64_t marker) {
    (void)marker;
    for (uint64_t i = 0; i < CHILD_SCRATCH_PAGES * 512; i++)
        if (shared_word[i])
            child_exit(1);
    child_exit(81);
}

static uint64_t free_pages(bh_slot untyped) {
    uint64_t pages, left;
    expect_ok(hc_cap_info(BH_REF(BH_INIT_TABLE, untyped), 1, &pages, &left), "info");
    return left;
}

static void memory_return_claims(void) {
    uint64_t objects = free_pages(POOL_OBJECTS), frames = free_pages(POOL_FRAMES);
    bool clean = true;
    for (unsigned i = 0; i < 20; i++) {
        struct child child = child_make(0);
        child_start(child, writes_marker, 0xdeadbeefcafebabeull);
        clean = clean && exited_with(child, 80);
        child_destroy(child);
        child = child_make(0);
        child_start(child, looks_for_marker, 0);
        clean = clean && exited_with(child, 81);
        child_destroy(child);
    }
    check("memory.clean_when_reused", clean);
    check("memory.all_returned",
          free_pages(POOL_OBJECTS) == objects && free_pages(POOL_FRAMES) == frames);

    bh_ref dirty = BH_REF(BH_INIT_TABLE, TEST_SLOT);
    struct child child = child_make(0);
    child_destroy(child);
    expect_ok(hc_retype_all(BH_REF(BH_INIT_TABLE, POOL_FRAMES), BH_TYPE_UNTYPED, 16, dirty, 0),
              "retype");
    check("memory.dirty_is_refused",
          hc_retype(dirty, BH_TYPE_REGION, 1, BH_REF(BH_INIT_TABLE, TEST_SLOT + 1), 0) == BH_DIRTY);
    expect_ok(hc_delete_all(dirty), "delete");
}

/* One page after the other at one address of a Space that is in use: what is seen there is the page
 * that is mapped, not the one before. */
static bool unmapped_at_once(struct child child) {
    bh_ref page = BH_REF(BH_INIT_TABLE, TEST_SLOT), space = BH_REF(BH_INIT_TABLE, BH_INIT_SPACE);
    volatile uint64_t *seen = (uint64_t *)0x50000000;
    bool good = true;
    for (uint64_t i = 0; i < 8; i++) {
        expect_ok(hc_copy(child_cap(child, CHILD_MEMORY), page, BH_RIGHTS_ALL, 20 - i, 1), "copy");
        expect_ok(hc_map_all(page, space, (uint64_t)seen, BH_REGION_READ | BH_REGION_WRITE), "map");
        good = good && *seen == 0;
        *seen = 1;
        expect_ok(i & 1 ? hc_unmap_all(page) : BH_OK, "unmap");
        expect_ok(hc_delete_all(page), "delete");
    }
    return good;
}

static void mapping_claims(void) {
    struct child child = child_make(0);
    bh_ref region = BH_REF(BH_INIT_TABLE, TEST_SLOT), space = child_cap(child, CHILD_SPACE);
    expect_ok(hc_copy(child_cap(child, CHILD_MEMORY), region, BH_RIGHTS_ALL, 0, 2), "copy");
    uint32_t rw = BH_REGION_READ | BH_REGION_WRITE;
    check("map.never_writable_and_executable",
          hc_map(region, space, 0x30000000, rw | BH_REGION_EXEC) == BH_BAD_ARG &&
              hc_map(region, space, 0x30000000, BH_REGION_WRITE) == BH_BAD_ARG);
    check("map.only_user_addresses",
          hc_map(region, space, HV_IMAGE, rw) == BH_BAD_ARG &&
              hc_map(region, space, BH_USER_VA_END - 4096, rw) == BH_BAD_ARG &&
              hc_map(region, space, 0, rw) == BH_BAD_ARG &&
              hc_map(region, space, 0x30000001, rw) == BH_BAD_ARG);
    check("map.no_overlap", hc_map(region, space, CHILD_STACK_VA, rw) == BH_BUSY &&
                                hc_map(region, space, CHILD_STACK_VA - 4096, rw) != BH_OK);
    expect_ok(hc_delete_all(region), "delete");
    check("unmap.at_once", unmapped_at_once(child));
    uint64_t lapic = 0xfee00000, ioapic = 0xfec00000;
    bool reachable = false;
    for (uint32_t i = 0; i < boot->untyped_count; i++) {
        const struct bh_boot_untyped *u = &boot->untyped[i];
        uint64_t end = u->base + u->pages * 4096;
        reachable |= (u->base <= lapic && lapic < end) || (u->base <= ioapic && ioapic < end);
    }
    check("map.no_interrupt_controller", !reachable);
    child_destroy(child);
}

/* --- Time ----------------------------------------------------------------------------------------
 */

static void signals_for_ever(uint64_t slot) {
    for (;;)
        hc_signal((bh_slot)slot);
}

static void waits_oddly(uint64_t argument) {
    (void)argument;
    uint64_t bits, group;
    bool good = hc_wait(~0ull, 0, &bits, &group) == BH_TIMEOUT &&
                hc_wait(~0ull, 1, &bits, &group) == BH_TIMEOUT &&
                hc_wait(0, now() + 1000, &bits, &group) == BH_TIMEOUT;
    hc_signal(MY_EVENT);
    good = good && hc_wait(~1ull, 1, &bits, &group) == BH_TIMEOUT &&
           hc_wait(1, ~0ull - 1, &bits, &group) == BH_OK && bits == 1 &&
           hc_wait(1, 1, &bits, &group) == BH_TIMEOUT;
    child_exit(good ? 82 : 1);
}

/* a : b is as 2 : 1 within 3 %. */
static bool two_to_one(uint64_t a, uint64_t b) {
    return a * 100 > b * 194 && a * 100 < b * 206;
}

static void time_claims(void) {
    uint64_t hz = boot->tsc_hz;
    struct child child = child_make(0);
    child_start(child, signals_for_ever, MY_PARENT);
    let_run(hz / 50);
    uint64_t before = now(), bits, group;
    enum bh_status muted = hc_wait(1ull << 31, before + hz / 50, &bits, &group);
    uint64_t late = now() - (before + hz / 50);
    check("time.flood_is_muted", muted == BH_TIMEOUT && late < hz / 100);
    check("time.flood_stays_pending", hc_wait(2, 1, &bits, &group) == BH_OK && bits == 2);
    child_destroy(child);
    hc_wait(2, 1, &bits, &group);

    child = child_make(0);
    child_start(child, waits_oddly, 0);
    check("time.odd_deadlines", exited_with(child, 82));
    child_destroy(child);

    child = child_make(0);
    child_sched(child, 10, 0, hz / 400, hz / 100);
    child_start(child, touches_for_ever, CHILD_SCRATCH_VA);
    let_run(hz / 2);
    uint64_t share = child_get(child, BH_REG_CPU_TIME) * 1000 / (hz / 2);
    check("time.cap_25_percent", share > 230 && share < 270);
    child_destroy(child);

    struct child heavy = child_make(0), light = child_make(1);
    child_sched(heavy, 10, hz / 500, 0, 0);
    child_sched(light, 10, hz / 1000, 0, 0);
    child_start(heavy, touches_for_ever, CHILD_SCRATCH_VA);
    child_start(light, touches_for_ever, CHILD_SCRATCH_VA);
    let_run(hz / 2);
    check("time.weights_2_to_1",
          two_to_one(child_get(heavy, BH_REG_CPU_TIME), child_get(light, BH_REG_CPU_TIME)));
    child_destroy(light);
    child_destroy(heavy);

    check("time.priority_is_bounded",
          hc_ctx_sched(BH_REF(BH_INIT_TABLE, BH_INIT_CONTEXT), BH_INIT_CPU0, BH_PRIORITIES, 0, 0,
                       0) == BH_BAD_ARG);
}

_Noreturn void guest_start(const struct bh_bootinfo *info) {
    harness_start(info);
    say("test: start\n");
    memory_claims();
    instruction_claims();
    hypercall_claims();
    register_claims();
    removal_claims();
    memory_return_claims();
    mapping_claims();
    time_claims();
    finish();
}
