/* Guests and VMMs that mean harm, on AMD: states that no processor has, authority taken away while
 * it is used, registers that are not theirs. The test's name is the claim's. */
#include "test/guest/machine.h"
#include "test/guest/registers.h"

enum { RAX, RCX, RDX, RBX, RSP };
enum { MY_VCPU = 20 }; /* in a child's table */

GUEST(guest_hlt, 16, "hlt")
GUEST(guest_loop, 16, "cli; 1: incl 0x100; jmp 1b")
GUEST(guest_read, 32, "mov 0x20000000, %eax; hlt")
GUEST(guest_count, 64, "incq 0x8000; mov 0x8000, %rax; hlt")
GUEST(guest_marks, 64,
      "mov $0x5ec5ec5ec, %rax; movq %rax, %xmm0; movq %rax, %xmm13; movq %rax, %xmm15; fldpi; hlt")
GUEST(guest_watch, 64,
      "mov $0x20000000, %eax; mov %rax, %dr0; mov $0xf0003, %eax; mov %rax, %dr7; hlt")
GUEST(guest_tsc_aux, 64, "rdtscp; 1: jmp 1b")

/* A mark in every register that a guest can write without its VMM. MSRs: LSTAR, CSTAR, KERNEL_GS,
 * FS, GS, SYSENTER's, STAR, FMASK. */
#define GUEST_MSRS                                                                                 \
    "0xc0000082,0xc0000083,0xc0000102,0xc0000100,0xc0000101,0x174,0x175,0x176,0xc0000081,"         \
    "0xc0000084"
#define GENERAL "rax,rcx,rdx,rbx,rsp,rbp,rsi,rdi,r8,r9,r10,r11,r12,r13,r14,r15"
GUEST(guest_plant, 64,
      "mov $0x5ec5ec5e, %eax\n mov $0x5ec5, %edx\n"
      ".irp msr," GUEST_MSRS "\n mov $\\msr, %ecx\n wrmsr\n .endr\n"
      ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n movq %rax, %xmm\\n\n"
      "punpcklqdq %xmm\\n, %xmm\\n\n .endr\n .rept 8\n fldpi\n .endr\n"
      "movl $0x7f80, 0x9000\n ldmxcsr 0x9000\n"
      "mov %rax, %dr0\n mov %rax, %dr1\n mov %rax, %dr2\n mov %rax, %dr3\n mov %rax, %cr2\n"
      ".irp r,rcx,rdx,rbx,rsp,rbp,rsi,rdi,r8,r9,r10,r11,r12,r13,r14,r15\n mov %rax, %\\r\n .endr\n"
      "hlt")
/* Its own at its first instruction, to SEEN_GPA. */
#define SEEN_GPA 0x9000
#define SEEN_DEBUG 0x9080
#define SEEN_MSRS 0x90c0
#define SEEN_FXSAVE 0x9200
GUEST(guest_look, 64,
      ".set at, 0x9000\n .irp r," GENERAL "\n mov %\\r, at\n .set at, at + 8\n .endr\n"
      ".irp r,dr0,dr1,dr2,dr3,cr2\n mov %\\r, %rax\n mov %rax, at\n .set at, at + 8\n .endr\n"
      ".set at, 0x90c0\n .irp msr," GUEST_MSRS "\n mov $\\msr, %ecx\n rdmsr\n"
      "mov %eax, at\n mov %edx, at + 4\n .set at, at + 8\n .endr\n"
      "fxsave64 0x9200\n hlt")
enum { GENERALS = 16, DEBUGS = 5, MSRS = 10 };

static void let_run(uint64_t ticks) {
    uint64_t bits, group;
    hc_wait(0, now() + ticks, &bits, &group);
}

/* --- VMMs in domains of their own ----------------------------------------------------------------
 */

/* Ends with the status in bits 8 and up, and the exit. */
static void runs(uint64_t groups) {
    uint64_t exit;
    enum bh_status status = hc_vcpu_run(MY_VCPU, (uint32_t)groups, BH_DEADLINE_NEVER, 0, &exit);
    child_exit((uint64_t)status << 8 | exit);
}

static struct child vmm_make(const struct machine *m, unsigned number, uint8_t rights) {
    struct child child = child_make(number);
    expect_ok(hc_copy(machine_cap(m, M_VCPU), child_own(child, MY_VCPU), rights, 0, 0), "copy");
    return child;
}

/* A VMM whose guest counts for ever at guest-physical 100h. */
static struct child vmm_counting(struct machine *m, unsigned number) {
    START(m, 16, guest_loop);
    struct child child = vmm_make(m, number, BH_VCPU_RUN);
    child_start(child, runs, BH_VCPU_ALL);
    return child;
}

static uint32_t counted(const struct machine *m) {
    return *machine_32(m, 0x100);
}

static bool is_counting(const struct machine *m) {
    uint32_t before = counted(m);
    let_run(boot->tsc_hz / 100);
    return counted(m) != before;
}

static void revocation_claims(void) {
    static const struct {
        const char *name;
        enum machine_slot slot;
        bool delete;
        uint64_t end;
    } takes[] = {
        {"svm.take_memory", M_GUEST_MEMORY, true, BH_EXIT_MEMORY},
        {"svm.take_space", M_SPACE, false, (uint64_t)BH_NOT_READY << 8},
        {"svm.take_state_page", M_STATE, false, (uint64_t)BH_NOT_READY << 8},
        {"svm.take_vcpu", M_OBJECTS, false, (uint64_t)BH_NOT_READY << 8},
    };
    for (unsigned i = 0; i < sizeof(takes) / sizeof(takes[0]); i++) {
        struct machine m = machine_make(0);
        struct child vmm = vmm_counting(&m, 0);
        bool ran = is_counting(&m);
        bh_ref taken = machine_cap(&m, takes[i].slot);
        expect_ok(takes[i].delete ? hc_delete_all(taken) : hc_revoke_all(taken), "take");
        uint32_t before = counted(&m);
        bool ended = exited_with(vmm, takes[i].end);
        check(takes[i].name, ran && ended && counted(&m) == before);
        child_destroy(vmm);
        machine_destroy(&m);
    }
}

static void sharing_claims(void) {
    struct machine m = machine_make(0), other = machine_make(1);
    struct child vmm = vmm_counting(&m, 0);
    bool good = is_counting(&m);
    uint64_t exit;
    good = good && hc_vcpu_run(machine_slot(&m, M_VCPU), 0, 0, 0, &exit) == BH_BUSY &&
           hc_vcpu_sync(machine_slot(&m, M_VCPU), BH_VCPU_ALL) == BH_BUSY;
    check("svm.one_runner", good && is_counting(&m));

    expect_ok(hc_ctx_suspend(child_cap(vmm, CHILD_CONTEXT)), "suspend");
    good = !is_counting(&m);
    expect_ok(hc_ctx_resume(child_cap(vmm, CHILD_CONTEXT)), "resume");
    check("svm.suspended_vmm", good && is_counting(&m));

    struct child second = vmm_counting(&other, 1);
    child_sched(vmm, 10, boot->tsc_hz / 500, 0, 0);
    child_sched(second, 10, boot->tsc_hz / 500, 0, 0);
    check("svm.turns", is_counting(&m) && is_counting(&other) && is_counting(&m));
    child_sched(vmm, 10, 0, boot->tsc_hz / 1000, boot->tsc_hz / 100);
    child_sched(second, 9, 0, 0, 0);
    uint64_t before = child_get(vmm, BH_REG_CPU_TIME);
    good = is_counting(&other);
    let_run(boot->tsc_hz / 5);
    uint64_t share = (child_get(vmm, BH_REG_CPU_TIME) - before) * 1000 / (boot->tsc_hz / 5);
    check("svm.capped", good && share > 50 && share < 300); /* 100 */
    child_destroy(second);

    /* What runs it goes: another may run it, and finds its state. */
    child_destroy(vmm);
    m.groups = 0;
    *(volatile uint8_t *)(m.memory + CODE_GPA + (guest_loop_end - guest_loop) - 2) = 0xf4; /* HLT */
    check("svm.vmm_dies_in_guest", machine_exits(&m, BH_EXIT_HLT));

    /* Its state page is another's memory, at any time. */
    START(&m, 16, guest_loop);
    vmm = vmm_make(&m, 0, BH_VCPU_RUN);
    child_start(vmm, runs, BH_VCPU_ALL);
    for (unsigned i = 0; i < 200; i++) {
        for (unsigned word = 0; word < 512; word++)
            ((volatile uint64_t *)m.state)[word] = i * 0x9e3779b97f4a7c15ull + word;
        let_run(boot->tsc_hz / 5000);
    }
    child_destroy(vmm);
    machine_destroy(&other);
    START(&m, 16, guest_hlt);
    check("svm.page_scribbled", machine_exits(&m, BH_EXIT_HLT));
    machine_destroy(&m);
}

/* --- Registers -----------------------------------------------------------------------------------
 */

static uint64_t xmm13(void) {
    uint64_t value;
    __asm__ volatile("movq %%xmm13, %0" : "=r"(value));
    return value;
}

/* Ends with whether XMM0 and XMM15 hold anything. */
__attribute__((naked)) static void looks_at_xmm(uint64_t argument __attribute__((unused))) {
    __asm__ volatile("movq %xmm0, %rdi\n\tmovq %xmm15, %rax\n\tor %rax, %rdi\n\tud2");
}

static void runs_and_touches(uint64_t groups) {
    uint64_t exit;
    enum bh_status status = hc_vcpu_run(MY_VCPU, (uint32_t)groups, BH_DEADLINE_NEVER, 0, &exit);
    *(volatile uint64_t *)CHILD_SCRATCH_VA = 1;
    child_exit((uint64_t)status << 8 | exit);
}

static bool cpu_has(uint32_t leaf, unsigned bit, bool ecx) {
    uint32_t a = leaf, b, c = 0, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return (ecx ? c : d) >> bit & 1;
}

static uint32_t tsc_aux(void) {
    uint32_t aux;
    __asm__ volatile("rdtscp" : "=c"(aux) : : "rax", "rdx");
    return aux;
}

static uint32_t xcr0(void) {
    uint32_t low;
    __asm__ volatile("xgetbv" : "=a"(low) : "c"(0) : "rdx");
    return low;
}

static bool zero_words(const struct machine *m, uint64_t gpa, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        if (*machine_64(m, gpa + 8 * i) != 0)
            return false;
    return true;
}

/* What the second guest found: what its VMM gave it, and nothing else. */
static bool found_nothing(const struct machine *m, const uint64_t *given) {
    for (unsigned i = 0; i < GENERALS; i++)
        if (*machine_64(m, SEEN_GPA + 8 * i) != given[i])
            return false;
    return zero_words(m, SEEN_DEBUG, DEBUGS) && zero_words(m, SEEN_MSRS, MSRS) &&
           registers_fxsave_marks(m->memory + SEEN_FXSAVE) == 0;
}

/* From one guest to another one of another VMM, to a PV guest, and to a guest that gets the memory
 * and the objects of the first. */
static void leak_claims(void) {
    struct machine m = machine_make(0), other = machine_make(1);
    uint64_t given[GENERALS];
    START(&m, 64, guest_plant);
    START(&other, 64, guest_look);
    for (unsigned i = 0; i < GENERALS; i++)
        given[i] = other.state->general[i];
    struct child vmm = vmm_make(&m, 0, BH_VCPU_RUN), second = vmm_make(&other, 1, BH_VCPU_RUN);
    struct child pv = child_make(2);
    child_start(vmm, runs, BH_VCPU_ALL);
    bool planted = exited_with(vmm, BH_EXIT_HLT);
    child_start(second, runs, BH_VCPU_ALL);
    bool looked = exited_with(second, BH_EXIT_HLT);
    check("svm.guests_leak_nothing", planted && looked && found_nothing(&other, given));

    m.state->rip = CODE_GPA; /* plants again */
    child_destroy(vmm);
    vmm = vmm_make(&m, 0, BH_VCPU_RUN);
    child_start(vmm, runs, BH_VCPU_ALL);
    planted = exited_with(vmm, BH_EXIT_HLT);
    child_start(pv, registers_look, 0);
    check("svm.guests_leak_nothing_to_pv", planted && exited_with(pv, 0));

    child_destroy(pv);
    child_destroy(second);
    child_destroy(vmm);
    machine_destroy(&m);
    m = machine_make(0);
    bool clean = true;
    for (uint64_t gpa = 0; gpa < MEMORY_PAGES * 4096; gpa += 8)
        clean = clean && *machine_64(&m, gpa) == 0;
    START(&m, 64, guest_look);
    vmm = vmm_make(&m, 0, BH_VCPU_RUN);
    child_start(vmm, runs, BH_VCPU_ALL);
    looked = exited_with(vmm, BH_EXIT_HLT);
    check("svm.nothing_left_for_the_next", clean && looked && found_nothing(&m, given));
    child_destroy(vmm);
    machine_destroy(&other);
    machine_destroy(&m);
}

static void register_claims(void) {
    struct machine m = machine_make(0);
    START(&m, 64, guest_marks);
    struct child vmm = vmm_make(&m, 0, BH_VCPU_RUN), other = child_make(1);
    __asm__ volatile("movq %0, %%xmm13" ::"r"(0x1117ull));
    child_start(vmm, runs, BH_VCPU_ALL);
    bool good = exited_with(vmm, BH_EXIT_HLT);
    uint64_t own = xmm13();
    child_start(other, looks_at_xmm, 0);
    check("svm.fpu_is_the_vmms", good && own == 0x1117 && exited_with(other, 0));
    child_destroy(vmm);

    START(&m, 64, guest_watch); /* of the address that its VMM then touches */
    vmm = vmm_make(&m, 0, BH_VCPU_RUN);
    child_start(vmm, runs_and_touches, BH_VCPU_ALL);
    check("svm.watchpoints_end_with_the_guest", exited_with(vmm, BH_EXIT_HLT));
    child_destroy(vmm);

    bool has_aux = cpu_has(0x80000001, 27, false);
    START(&m, 64, guest_tsc_aux);
    m.state->tsc_aux = has_aux ? 0x1234 : 0;
    vmm = vmm_make(&m, 0, BH_VCPU_RUN);
    child_start(vmm, runs, BH_VCPU_ALL);
    let_run(boot->tsc_hz / 100);
    good = !has_aux || (m.state->general[RCX] == 0x1234 && tsc_aux() == 0);
    check("svm.tsc_aux", good);
    child_destroy(vmm);

    bool xsave = cpu_has(1, 27, true);
    uint32_t before = xsave ? xcr0() : 0;
    vmm = vmm_counting(&m, 0); /* with XCR0 1 */
    good = is_counting(&m);
    check("svm.xcr0", good && (!xsave || xcr0() == before));
    child_destroy(vmm);
    child_destroy(other);
    machine_destroy(&m);
}

/* --- States that are refused ---------------------------------------------------------------------
 */

static bool refused(struct machine *m, uint64_t qualification) {
    bool good = machine_exits(m, BH_EXIT_INVALID_STATE) &&
                m->state->qualification == qualification && m->state->rip == CODE_GPA;
    START(m, 64, guest_count);
    return good && machine_exits(m, BH_EXIT_HLT) && m->state->general[RAX] == 1;
}

#define REFUSED(name, change, qualification)                                                       \
    do {                                                                                           \
        START(&m, 64, guest_count);                                                                \
        m.state->change;                                                                           \
        check(name, refused(&m, qualification));                                                   \
    } while (0)

static void state_claims(void) {
    struct machine m = machine_make(0);
    REFUSED("svm.no_svme", efer |= 1 << 12, BH_VCPU_CONTROL);
    REFUSED("svm.no_unknown_efer", efer |= 1ull << 40, BH_VCPU_CONTROL);
    REFUSED("svm.no_xcr0_without_x87", xcr0 = 2, BH_VCPU_CONTROL);
    REFUSED("svm.no_xcr0_avx_without_sse", xcr0 = 5, BH_VCPU_CONTROL);
    REFUSED("svm.no_unknown_xcr0", xcr0 = 1ull << 62 | 3, BH_VCPU_CONTROL);
    REFUSED("svm.no_bad_pat", pat = 0x0007040600070402ull, BH_VCPU_OTHER);
    REFUSED("svm.no_xss", xss = 1, BH_VCPU_OTHER);
    REFUSED("svm.no_ratio_0", tsc_ratio = 0, BH_VCPU_TSC);
    REFUSED("svm.no_huge_ratio", tsc_ratio = 1ull << 40, BH_VCPU_TSC);
    REFUSED("svm.no_software_event", event = BH_EVENT_VALID | 0x400 | 3, BH_VCPU_GENERAL);
    REFUSED("svm.no_odd_event_type", event = BH_EVENT_VALID | 0x700 | 3, BH_VCPU_GENERAL);
    REFUSED("svm.no_exception_32", event = BH_EVENT_VALID | BH_EVENT_EXCEPTION | 32,
            BH_VCPU_GENERAL);
    REFUSED("svm.no_exception_2", event = BH_EVENT_VALID | BH_EVENT_EXCEPTION | 2, BH_VCPU_GENERAL);
    REFUSED("svm.no_nw_without_cd", cr0 |= 1 << 29, 0);
    REFUSED("svm.no_reserved_cr4", cr4 |= 1ull << 63, 0);
    REFUSED("svm.no_high_dr7", dr7 |= 1ull << 63, 0);

    uint64_t exit;
    bh_slot vcpu = machine_slot(&m, M_VCPU);
    check("svm.no_unknown_group", hc_vcpu_run(vcpu, 0x200, 0, 0, &exit) == BH_BAD_ARG &&
                                      hc_vcpu_sync(vcpu, 0x80000000) == BH_BAD_ARG);
    machine_destroy(&m);

    m = machine_make(0);
    START(&m, 16, guest_hlt);
    m.groups = 0; /* of a new Vcpu */
    check("svm.no_state_at_first", machine_exits(&m, BH_EXIT_INVALID_STATE));
    machine_destroy(&m);
}

static void binding_claims(void) {
    struct machine m = machine_make(0);
    bh_ref vcpu = machine_cap(&m, M_VCPU), space = machine_cap(&m, M_SPACE);
    bh_ref two = OWN(TEST_SLOT), read = OWN(TEST_SLOT + 1), weak = OWN(TEST_SLOT + 2);
    expect_ok(hc_copy(OWN(SHARED_POOL), two, BH_RIGHTS_ALL, 0, 2), "copy");
    expect_ok(hc_copy(OWN(SHARED_POOL), read, BH_REGION_READ, 0, 1), "copy");
    expect_ok(hc_copy(vcpu, weak, BH_VCPU_BIND, 0, 0), "copy");
    struct child child = child_make(0);
    uint64_t exit;
    check("svm.bind_checks",
          hc_bind(vcpu, BH_BIND_VCPU_SPACE, OWN(BH_INIT_SPACE)) == BH_BAD_ARG &&
              hc_bind(child_cap(child, CHILD_CONTEXT), BH_BIND_CTX_SPACE, space) == BH_BAD_ARG &&
              hc_bind(vcpu, BH_BIND_VCPU_STATE, two) == BH_BAD_ARG &&
              hc_bind(vcpu, BH_BIND_VCPU_STATE, read) == BH_BAD_RIGHTS &&
              hc_bind(vcpu, BH_BIND_VCPU_STATE, OWN(BH_INIT_LOG)) == BH_BAD_RIGHTS &&
              hc_bind(vcpu, BH_BIND_VCPU_STATE, space) == BH_BAD_CAP &&
              hc_bind(vcpu, 7, space) == BH_BAD_ARG &&
              hc_vcpu_run(TEST_SLOT + 2, 0, 0, 0, &exit) == BH_BAD_RIGHTS &&
              hc_vcpu_run(BH_INIT_CONTEXT, 0, 0, 0, &exit) == BH_BAD_CAP);
    expect_ok(hc_bind(vcpu, BH_BIND_VCPU_STATE, 0), "unbind");
    check("svm.no_run_without_page",
          hc_vcpu_run(machine_slot(&m, M_VCPU), 0, 0, 0, &exit) == BH_NOT_READY &&
              hc_vcpu_sync(machine_slot(&m, M_VCPU), 0) == BH_NOT_READY);
    child_destroy(child);
    for (unsigned i = 0; i < 3; i++)
        expect_ok(hc_delete_all(OWN(TEST_SLOT + i)), "delete");
    machine_destroy(&m);
}

/* --- Translations --------------------------------------------------------------------------------
 */

enum { MANY = 40, ROUNDS = 5 };

static void translation_claims(void) {
    static struct machine many[MANY];
    bool good = true;
    for (unsigned i = 0; i < MANY; i++) {
        many[i] = machine_make(i);
        START(&many[i], 64, guest_count);
        *machine_64(&many[i], DATA_GPA) = i * 1000;
    }
    for (unsigned round = 1; round <= ROUNDS; round++)
        for (unsigned i = 0; i < MANY; i++) {
            many[i].state->rip = CODE_GPA;
            good = good && machine_exits(&many[i], BH_EXIT_HLT) &&
                   many[i].state->general[RAX] == i * 1000 + round;
        }
    check("svm.more_vcpus_than_asids", good);
    for (unsigned i = 1; i < MANY; i++)
        machine_destroy(&many[i]);

    /* Another page at the same address: nothing of the old one is seen. */
    struct machine *m = &many[0];
    bh_ref page = OWN(TEST_SLOT), space = machine_cap(m, M_SPACE);
    good = true;
    START(m, 32, guest_read);
    for (uint32_t i = 0; i < 100; i++) {
        *machine_32(m, (8 + i % 2) * 4096ull) = i;
        expect_ok(hc_copy(machine_cap(m, M_MEMORY), page, BH_RIGHTS_ALL, 8 + i % 2, 1), "copy");
        expect_ok(hc_map_all(page, space, 0x20000000, BH_REGION_READ), "map");
        m->state->rip = CODE_GPA;
        good = good && machine_exits(m, BH_EXIT_HLT) && m->state->general[RAX] == i;
        expect_ok(hc_delete_all(page), "delete");
        m->state->rip = CODE_GPA;
        good = good && machine_exits(m, BH_EXIT_MEMORY);
    }
    check("svm.unmapped_is_gone", good);
    machine_destroy(m);
}

/* --- Nonsense ------------------------------------------------------------------------------------
 */

static uint64_t random_state = 0x9e3779b97f4a7c15ull;

static uint64_t random_next(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void start_somehow(struct machine *m) {
    switch (random_next() % 3) {
    case 0:
        START(m, 16, guest_loop);
        break;
    case 1:
        START(m, 32, guest_read);
        break;
    default:
        START(m, 64, guest_count);
    }
}

/* QEMU 7.2 does not load the host's CR0 at an exit with EFER.LME set, CR0.PG and CR4.PAE clear:
 * do_vmexit updates CR0 before CR4. A processor has no such trouble; here it would end the test. */
static void spare_the_emulator(struct machine *m) {
    if (m->state->efer & 0x100)
        m->state->cr4 |= 0x20;
}

static void run_shortly(struct machine *m) {
    uint64_t exit, ticks = boot->tsc_hz / 20000;
    uint32_t groups = (uint32_t)random_next() & BH_VCPU_ALL;
    spare_the_emulator(m);
    hc_vcpu_run(machine_slot(m, M_VCPU), groups, now() + ticks, 0, &exit);
    hc_vcpu_run(machine_slot(m, M_VCPU), m->groups, now() + ticks, 0, &exit);
    hc_vcpu_sync(machine_slot(m, M_VCPU), BH_VCPU_ALL);
}

enum { STATE_WORDS = sizeof(struct bh_vcpu_state) / 8, FUZZ_ROUNDS = 6000, CODE_ROUNDS = 3000 };

static void nonsense_claims(void) {
    struct machine m = machine_make(0);
    volatile uint64_t *words = (volatile uint64_t *)m.state;
    for (unsigned i = 0; i < FUZZ_ROUNDS; i++) {
        start_somehow(&m);
        unsigned changes = i % 8 ? 1 + i % 4 : 4 * STATE_WORDS;
        for (unsigned change = 0; change < changes; change++) {
            uint64_t word = random_next() % STATE_WORDS, value = random_next();
            words[word] = i % 3 ? words[word] ^ 1ull << value % 64 : value;
        }
        run_shortly(&m);
    }
    START(&m, 64, guest_count);
    check("svm.nonsense_state", machine_exits(&m, BH_EXIT_HLT));

    for (unsigned i = 0; i < CODE_ROUNDS; i++) {
        start_somehow(&m);
        for (unsigned byte = 0; byte < 64; byte++)
            m.memory[CODE_GPA + byte] = (uint8_t)random_next();
        m.state->general[RDX] = random_next();
        m.state->general[RCX] = i % 2 ? random_next() : 0xc0000080 + random_next() % 8;
        run_shortly(&m);
    }
    START(&m, 64, guest_count);
    check("svm.nonsense_code", machine_exits(&m, BH_EXIT_HLT));
    machine_destroy(&m);
}

_Noreturn void guest_start(const struct bh_bootinfo *info) {
    harness_start(info);
    machines_start();
    say("test: start\n");
    revocation_claims();
    sharing_claims();
    register_claims();
    leak_claims();
    state_claims();
    binding_claims();
    translation_claims();
    nonsense_claims();
    finish();
}
