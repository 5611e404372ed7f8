/* What a VMM gets of its guest, on AMD: exits and what they say, events, time, doorbells. The
 * test's name is the claim's. */
#include "test/guest/machine.h"

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI };

static struct machine m;

/* --- Exits ---------------------------------------------------------------------------------------
 */

GUEST(guest_hlt, 16, "hlt; mov $0x1234, %ax; hlt")
GUEST(guest_cpuid, 16, "mov $7, %eax; mov $3, %ecx; cpuid; add %ebx, %eax; hlt")
GUEST(guest_ports, 16,
      "in $0x60, %al; mov $0x3f8, %dx; out %eax, %dx; in %dx, %ax; mov $2, %cx; rep outsb; hlt")
GUEST(guest_msrs, 32,
      "mov $0x8b, %ecx; rdmsr; xor %edx, %eax; mov $0xc0000080, %ecx; mov $5, %eax; mov $6, %edx;"
      "wrmsr; hlt")
GUEST(guest_own_msrs, 64,
      "mov $0xc0000102, %ecx; mov $0x11223344, %eax; mov $0x55, %edx; wrmsr;"
      "mov $0xc0000082, %ecx; wrmsr; mov $0x175, %ecx; wrmsr; hlt;"
      "mov $0xc0000102, %ecx; rdmsr; hlt")
GUEST(guest_mmio, 32,
      "movl %eax, 0x10000008; movl 0x10000010, %eax; movl $1, 0x20000000; mov $0x10000018, %eax;"
      "jmp *%eax")
GUEST(guest_instructions, 32, "vmmcall; wbinvd; invd; rdpmc; vmrun; clgi; skinit; stgi; hlt")
GUEST(guest_xsetbv, 64, "xor %ecx, %ecx; mov $3, %eax; xor %edx, %edx; xsetbv; hlt")
GUEST(guest_triple, 32, "ud2")

static void hlt_claims(void) {
    START(&m, 16, guest_hlt);
    bool good = machine_exits(&m, BH_EXIT_HLT) && m.state->rip == CODE_GPA;
    machine_skip(&m, 1);
    good = good && machine_exits(&m, BH_EXIT_HLT) && m.state->general[RAX] == 0x1234;
    check("svm.hlt", good);

    START(&m, 16, guest_cpuid);
    good = machine_exits(&m, BH_EXIT_CPUID) && m.state->general[RAX] == 7 &&
           m.state->general[RCX] == 3;
    m.state->general[RAX] = 0x10;
    m.state->general[RBX] = 0x20;
    machine_skip(&m, 2);
    check("svm.cpuid", good && machine_exits(&m, BH_EXIT_HLT) && m.state->general[RAX] == 0x30);
}

static bool port_exit(uint32_t port, uint32_t flags, unsigned width) {
    bool good = machine_exits(&m, BH_EXIT_PORT);
    uint64_t q = m.state->qualification;
    return good && (q & 0xffff) == port && (q & 0xf0000) == flags &&
           BH_EXIT_PORT_WIDTH(q) == width && m.state->next_rip > m.state->rip;
}

static void port_claims(void) {
    START(&m, 16, guest_ports);
    bool good = port_exit(0x60, BH_EXIT_PORT_IN, 1);
    m.state->general[RAX] = 0xab;
    machine_skip(&m, 0);
    good = good && port_exit(0x3f8, 0, 4) && m.state->general[RAX] == 0xab;
    machine_skip(&m, 0);
    good = good && port_exit(0x3f8, BH_EXIT_PORT_IN, 2);
    machine_skip(&m, 0);
    good = good && port_exit(0x3f8, BH_EXIT_PORT_STRING | BH_EXIT_PORT_REP, 1) &&
           (BH_EXIT_PORT_ADDRESS_SIZE(m.state->qualification) & ~2u) == 0; /* QEMU says 0 */
    machine_skip(&m, 0);
    check("svm.ports", good && machine_exits(&m, BH_EXIT_HLT));
}

static void msr_claims(void) {
    START(&m, 32, guest_msrs);
    bool good = machine_exits(&m, BH_EXIT_MSR_READ) && m.state->general[RCX] == 0x8b;
    m.state->general[RAX] = m.state->general[RDX] = 9;
    machine_skip(&m, 2);
    good = good && machine_exits(&m, BH_EXIT_MSR_WRITE) && m.state->general[RCX] == 0xc0000080 &&
           m.state->general[RAX] == 5 && m.state->general[RDX] == 6;
    machine_skip(&m, 2);
    check("svm.msr", good && machine_exits(&m, BH_EXIT_HLT));

    START(&m, 64, guest_own_msrs);
    good = machine_exits(&m, BH_EXIT_HLT);
    expect_ok(hc_vcpu_sync(machine_slot(&m, M_VCPU), BH_VCPU_SYSCALL), "sync");
    good = good && m.state->kernel_gs_base == 0x5511223344 && m.state->lstar == 0x5511223344;
    m.state->kernel_gs_base = 0xffff800000000001ull;
    m.groups = BH_VCPU_SYSCALL;
    machine_skip(&m, 1);
    good = good && machine_exits(&m, BH_EXIT_HLT) && m.state->general[RAX] == 1 &&
           m.state->general[RDX] == 0xffff8000;
    check("svm.msrs_of_its_own", good);
}

static bool memory_exit(uint64_t address, uint64_t qualification) {
    return machine_exits(&m, BH_EXIT_MEMORY) && m.state->address == address &&
           m.state->qualification == qualification;
}

static void memory_claims(void) {
    bh_ref page = OWN(TEST_SLOT);
    expect_ok(hc_copy(machine_cap(&m, M_MEMORY), page, BH_RIGHTS_ALL, 15, 1), "copy");
    expect_ok(hc_map_all(page, machine_cap(&m, M_SPACE), 2 * NOTHING_GPA, BH_REGION_READ), "map");
    START(&m, 32, guest_mmio);
    bool good = memory_exit(NOTHING_GPA + 8, BH_EXIT_MEMORY_WRITE);
    machine_skip(&m, 5);
    good = good && memory_exit(NOTHING_GPA + 16, 0);
    machine_skip(&m, 5);
    good = good && memory_exit(2 * NOTHING_GPA, BH_EXIT_MEMORY_WRITE | BH_EXIT_MEMORY_PRESENT);
    machine_skip(&m, 10);
    good = good && memory_exit(NOTHING_GPA + 24, BH_EXIT_MEMORY_FETCH);
    check("svm.memory", good);
    expect_ok(hc_delete_all(page), "delete");
}

static void instruction_claims(void) {
    static const struct {
        enum bh_exit exit;
        unsigned length;
    } steps[] = {{BH_EXIT_HYPERCALL, 3},   {BH_EXIT_WBINVD, 2},      {BH_EXIT_WBINVD, 2},
                 {BH_EXIT_INSTRUCTION, 2}, {BH_EXIT_INSTRUCTION, 3}, {BH_EXIT_INSTRUCTION, 3},
                 {BH_EXIT_INSTRUCTION, 3}, {BH_EXIT_INSTRUCTION, 3}};
    START(&m, 32, guest_instructions);
    m.state->cr4 = 0x100; /* PCE: else RDPMC faults before it is intercepted */
    bool good = true;
    for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        good = good && machine_exits(&m, steps[i].exit);
        machine_skip(&m, steps[i].length);
    }
    check("svm.instructions", good && machine_exits(&m, BH_EXIT_HLT));

    START(&m, 64, guest_xsetbv);
    m.state->cr4 |= 1 << 18; /* OSXSAVE */
    /* QEMU 7.2 does not intercept it. Without XSAVE it is no instruction. */
    enum bh_status status =
        hc_vcpu_run(machine_slot(&m, M_VCPU), m.groups, now() + boot->tsc_hz, 0, &m.exit);
    m.groups = 0;
    expect_ok(hc_vcpu_sync(machine_slot(&m, M_VCPU), BH_VCPU_CONTROL), "sync");
    if (m.exit == BH_EXIT_XSETBV) {
        m.state->xcr0 = 3;
        m.groups = BH_VCPU_CONTROL;
        machine_skip(&m, 3);
        status = hc_vcpu_run(machine_slot(&m, M_VCPU), m.groups, now() + boot->tsc_hz, 0, &m.exit);
    }
    check("svm.xsetbv",
          status == BH_OK && ((m.exit == BH_EXIT_HLT && m.state->xcr0 == 3) ||
                              m.exit == BH_EXIT_SHUTDOWN || m.exit == BH_EXIT_INVALID_STATE));
}

/* --- Modes and state -----------------------------------------------------------------------------
 */

/* From 16 bits by way of 32 bits to 64, as a kernel starts. Nothing of it leaves guest mode but the
 * write of EFER and the end. */
GUEST(guest_modes, 16,
      "cli; lgdtl %cs:(2f - guest_modes + 0x1000); mov %cr0, %eax; or $1, %al; mov %eax, %cr0;"
      "ljmpl $8, $(1f - guest_modes + 0x1000)\n.code32\n1: mov $16, %eax; mov %eax, %ss;"
      "mov %eax, %ds; mov %cr4, %eax; or $0x20, %eax; mov %eax, %cr4; mov $0x4000, %eax;"
      "mov %eax, %cr3; mov $0xc0000080, %ecx; mov $0x100, %eax; xor %edx, %edx; wrmsr;"
      "mov %cr0, %eax; or $0x80000000, %eax; mov %eax, %cr0;"
      "ljmpl $24, $(3f - guest_modes + 0x1000)\n.code64\n3: mov $0x123456789abcdef0, %rax; hlt\n"
      ".balign 8\n4: .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00209b0000000000\n"
      "2: .short 31; .long 4b - guest_modes + 0x1000")
GUEST(guest_debug, 64,
      "mov $0x1111, %eax; mov %rax, %dr0; mov $0x4444, %eax; mov %rax, %dr3; hlt;"
      "mov %dr0, %rbx; mov %dr3, %rcx; hlt")
GUEST(guest_watch, 64,
      "mov $0x8000, %eax; mov %rax, %dr0; mov $0xd0402, %eax; mov %rax, %dr7;"
      "movl $1, 0x8000; hlt")
GUEST(guest_step, 64, "pushfq; orl $0x100, (%rsp); popfq; nop; nop; hlt")
GUEST(guest_tsc, 64, "rdtsc; shl $32, %rdx; or %rdx, %rax; hlt")

static void mode_claims(void) {
    START(&m, 64, guest_modes); /* for its page tables; the rest is real mode's */
    static uint8_t tables[0x3000];
    for (unsigned i = 0; i < sizeof(tables); i++)
        tables[i] = m.memory[TABLES_GPA + i];
    START(&m, 16, guest_modes);
    for (unsigned i = 0; i < sizeof(tables); i++)
        m.memory[TABLES_GPA + i] = tables[i];
    bool good = machine_exits(&m, BH_EXIT_MSR_WRITE);
    expect_ok(hc_vcpu_sync(machine_slot(&m, M_VCPU), BH_VCPU_CONTROL | BH_VCPU_SEGMENTS), "sync");
    good = good && m.state->cr4 == 0x20 && m.state->cr3 == TABLES_GPA &&
           m.state->segment[BH_CS].selector == 8 && (m.state->segment[BH_SS].attributes & 0x4000);
    m.state->efer = 0x100;
    m.groups = BH_VCPU_CONTROL;
    machine_skip(&m, 2);
    good = good && machine_exits(&m, BH_EXIT_HLT) && m.state->general[RAX] == 0x123456789abcdef0;
    expect_ok(hc_vcpu_sync(machine_slot(&m, M_VCPU), BH_VCPU_CONTROL | BH_VCPU_SEGMENTS), "sync");
    check("svm.modes", good && m.state->efer == 0x500 &&
                           (m.state->cr0 & 0x80000001) == 0x80000001 &&
                           (m.state->segment[BH_CS].attributes & 0x2000));
}

static void debug_claims(void) {
    START(&m, 64, guest_debug);
    bool good = machine_exits(&m, BH_EXIT_HLT);
    expect_ok(hc_vcpu_sync(machine_slot(&m, M_VCPU), BH_VCPU_DEBUG), "sync");
    good = good && m.state->dr[0] == 0x1111 && m.state->dr[3] == 0x4444;
    machine_skip(&m, 1);
    check("svm.debug_registers", good && machine_exits(&m, BH_EXIT_HLT) &&
                                     m.state->general[RBX] == 0x1111 &&
                                     m.state->general[RCX] == 0x4444);

    uint32_t db = BH_EVENT_VALID | BH_EVENT_EXCEPTION | 1;
    START(&m, 64, guest_watch);
    good = machine_exits(&m, BH_EXIT_EXCEPTION) && m.state->event == db;
    expect_ok(hc_vcpu_sync(machine_slot(&m, M_VCPU), BH_VCPU_DEBUG), "sync");
    good = good && (m.state->dr6 & 1) && m.memory[DATA_GPA] == 1;
    m.state->event = 0;
    check("svm.watchpoint", good && machine_exits(&m, BH_EXIT_HLT));

    START(&m, 64, guest_step);
    good = machine_exits(&m, BH_EXIT_EXCEPTION) && m.state->event == db;
    m.state->event = 0;
    m.state->rflags &= ~0x100ull;
    check("svm.single_step", good && machine_exits(&m, BH_EXIT_HLT));
}

static void tsc_claims(void) {
    START(&m, 64, guest_tsc);
    m.state->tsc_offset = 0x1000000000000ull;
    uint64_t before = now();
    bool good = machine_exits(&m, BH_EXIT_HLT);
    uint64_t tsc = m.state->general[RAX] - 0x1000000000000ull;
    check("svm.tsc_offset", good && tsc >= before && tsc <= now());
}

/* --- Events --------------------------------------------------------------------------------------
 */

/* The handler is at offset 16. */
GUEST(guest_interrupt, 16,
      "cli; nop; sti; nop; nop; nop; mov $0x55, %bl; hlt\n.org guest_interrupt + 16\n"
      "mov $0x77, %bh; iret")
GUEST(guest_fault, 64, "nop; hlt\n.org guest_fault + 16\npop %rax; hlt")
/* Its handlers: of NMI at 32, of vector 0x30 at 48. */
GUEST(guest_nmi, 64,
      "cli; hlt; inc %ebx; hlt; jmp guest_nmi\n.org guest_nmi + 32\ninc %ecx; hlt; iretq\n")

static void interrupt_claims(void) {
    START(&m, 16, guest_interrupt);
    machine_gate_16(&m, 0x20, 16);
    m.state->want = BH_VCPU_WANT_INTERRUPT;
    /* After STI one more instruction is executed before the window opens. */
    bool good = machine_exits(&m, BH_EXIT_INTERRUPT_WINDOW) && m.state->rip == CODE_GPA + 4 &&
                m.state->exit_rflags_if;
    m.state->want = 0;
    m.state->event = BH_EVENT_VALID | BH_EVENT_EXTERNAL | 0x20;
    good = good && machine_exits(&m, BH_EXIT_HLT) && (m.state->general[RBX] & 0xffff) == 0x7755 &&
           !m.state->event;
    check("svm.interrupt_window", good);

    START(&m, 16, guest_interrupt);
    m.state->rip += 3;
    m.state->rflags |= 0x200;
    m.state->cr8 = 5;
    m.state->want = BH_VCPU_WANT_INTERRUPT;
    m.state->window_priority = 4; /* 5 is too low as well, but not for QEMU 7.2 */
    good = machine_exits(&m, BH_EXIT_HLT) && m.state->exit_cr8 == 5;
    m.state->rip = CODE_GPA + 3;
    m.state->window_priority = 6;
    check("svm.window_priority", good && machine_exits(&m, BH_EXIT_INTERRUPT_WINDOW));

    START(&m, 64, guest_fault);
    machine_gate_64(&m, 13, 16);
    m.state->event = BH_EVENT_VALID | BH_EVENT_EXCEPTION | BH_EVENT_ERROR_CODE | 13;
    m.state->event_error_code = 0xabcd;
    check("svm.exception_with_code",
          machine_exits(&m, BH_EXIT_HLT) && m.state->general[RAX] == 0xabcd);

    /* The vector lies where there is no memory: the event comes back, and stays. */
    START(&m, 64, guest_fault);
    machine_gate_64(&m, 13, 16);
    m.state->idtr.base = NOTHING_GPA;
    m.state->event = BH_EVENT_VALID | BH_EVENT_EXTERNAL | 13;
    good = machine_exits(&m, BH_EXIT_MEMORY) &&
           m.state->event == (BH_EVENT_VALID | BH_EVENT_EXTERNAL | 13);
    m.state->idtr.base = IDT_GPA;
    m.groups = BH_VCPU_TABLES;
    check("svm.undelivered_event", good && machine_exits(&m, BH_EXIT_HLT) &&
                                       m.state->general[RAX] == CODE_GPA &&
                                       m.state->rip == CODE_GPA + 17);

    /* Its gate lies where the guest's tables have no page: the fault is the guest's, and while its
     * handler has interrupts off nothing comes, but perhaps back to the VMM. */
    START(&m, 64, guest_fault);
    uint64_t idt = 0x200000 + 4096 - 32 * 16, table = DATA_GPA + 0x2000, page = DATA_GPA + 0x1000;
    *machine_64(&m, TABLES_GPA + 0x2000 + 8) = table | 7;
    *machine_64(&m, table) = page | 7;
    machine_gate_64(&m, 14, 16);
    for (uint64_t i = 0; i < 16; i += 8)
        *machine_64(&m, page + idt % 4096 + 14 * 16 + i) = *machine_64(&m, IDT_GPA + 14 * 16 + i);
    m.state->idtr.base = idt;
    m.state->rflags |= 0x200;
    m.state->event = BH_EVENT_VALID | BH_EVENT_EXTERNAL | 0x40;
    uint32_t event = m.state->event;
    check("svm.event_that_faults", machine_exits(&m, BH_EXIT_HLT) &&
                                       (!m.state->event || m.state->event == event) &&
                                       m.state->general[RAX] == 0 &&
                                       m.state->rip == CODE_GPA + 17 && !(m.state->rflags & 0x200));
}

static enum bh_status run_until(uint64_t deadline, uint64_t mask) {
    uint32_t groups = m.groups;
    m.groups = 0;
    return hc_vcpu_run(machine_slot(&m, M_VCPU), groups, deadline, mask, &m.exit);
}

static void nmi_claims(void) {
    START(&m, 64, guest_nmi);
    machine_gate_64(&m, 2, 32);
    bool good = machine_exits(&m, BH_EXIT_HLT);
    machine_skip(&m, 1);
    m.state->event = BH_EVENT_VALID | BH_EVENT_NMI | 2;
    good = good && machine_exits(&m, BH_EXIT_HLT) && m.state->rip == CODE_GPA + 34 &&
           (m.state->interruptibility & BH_VCPU_NMI_BLOCKED);
    machine_skip(&m, 1);
    m.state->want = BH_VCPU_WANT_NMI;
    good = good && machine_exits(&m, BH_EXIT_NMI_WINDOW) && m.state->rip == CODE_GPA + 2 &&
           !(m.state->interruptibility & BH_VCPU_NMI_BLOCKED) && !(m.state->rflags & 0x100);
    check("svm.nmi_window", good);
    m.state->event = BH_EVENT_VALID | BH_EVENT_NMI | 2;
    m.state->want = 0;
    good = machine_exits(&m, BH_EXIT_HLT) && m.state->general[RCX] == 2;
    machine_skip(&m, 1);
    good = good && machine_exits(&m, BH_EXIT_HLT) && m.state->general[RBX] == 1 &&
           !(m.state->interruptibility & BH_VCPU_NMI_BLOCKED);
    check("svm.nmi", good);

    /* IRET returns to itself: the NMI came just before another handler's. No trace of the step. */
    START(&m, 64, guest_nmi);
    machine_gate_64(&m, 2, 32);
    m.state->event = BH_EVENT_VALID | BH_EVENT_NMI | 2;
    good = machine_exits(&m, BH_EXIT_HLT);
    machine_skip(&m, 1);
    volatile uint64_t *first = machine_64(&m, m.state->general[RSP]);
    volatile uint64_t *second = machine_64(&m, DATA_GPA);
    for (unsigned i = 0; i < 5; i++)
        second[i] = first[i];
    second[0] = CODE_GPA + 2;
    first[0] = m.state->rip;
    first[3] = DATA_GPA;
    check("svm.nmi_returns_to_iret", good && machine_exits(&m, BH_EXIT_HLT) &&
                                         m.state->general[RBX] == 1 &&
                                         !(m.state->interruptibility & BH_VCPU_NMI_BLOCKED));

    /* IRET faults: its RIP is not canonical. The guest gets the #GP, and no trace of the step. */
    START(&m, 64, guest_nmi);
    machine_gate_64(&m, 2, 32);
    machine_gate_64(&m, 13, 32);
    m.state->event = BH_EVENT_VALID | BH_EVENT_NMI | 2;
    good = machine_exits(&m, BH_EXIT_HLT);
    machine_skip(&m, 1);
    *machine_64(&m, m.state->general[RSP]) = 0x100000000000000ull;
    good = good && machine_exits(&m, BH_EXIT_HLT) && m.state->general[RCX] == 2;
    uint64_t flags = *machine_64(&m, m.state->general[RSP] + 24);
    check("svm.nmi_return_faults", good && !(m.state->interruptibility & BH_VCPU_NMI_BLOCKED) &&
                                       !((m.state->rflags | flags) & 0x100));
}

#define RFLAGS_TF 0x100u
#define DR6_BS 0x4000u

/* An NMI whose handler is IRET, then HLT; a run that ends anywhere in between shows no trace of the
 * step. True: it ended in between. */
static bool nmi_cut_short(uint64_t cycles, bool *good) {
    m.state->rip = CODE_GPA + 1;
    m.state->event = BH_EVENT_VALID | BH_EVENT_NMI | 2;
    enum bh_status status = run_until(now() + cycles, 0);
    bool cut = status == BH_OK && m.exit == BH_EXIT_NONE;
    bool before_iret = m.state->rip == CODE_GPA + 35 && !m.state->event;
    bool blocked = m.state->interruptibility & BH_VCPU_NMI_BLOCKED;
    *good = *good && !(m.state->rflags & RFLAGS_TF) && (!before_iret || blocked);
    *good = *good && (!cut || run_until(now() + boot->tsc_hz, 0) == BH_OK);
    m.groups = BH_VCPU_DEBUG;
    *good = *good && m.exit == BH_EXIT_HLT && m.state->rip == CODE_GPA + 1;
    *good = *good && hc_vcpu_sync(machine_slot(&m, M_VCPU), BH_VCPU_DEBUG) == BH_OK;
    *good = *good && (m.state->dr6 & DR6_BS);
    return cut && before_iret;
}

static void nmi_deadline_claim(void) {
    START(&m, 64, guest_nmi);
    machine_gate_64(&m, 2, 35);
    m.state->dr6 |= DR6_BS;
    bool good = true;
    unsigned cut = 0;
    uint64_t began = now();
    nmi_cut_short(boot->tsc_hz, &good);
    uint64_t whole = 2 * (now() - began);
    for (unsigned i = 0; i < 4000; i++)
        cut += nmi_cut_short(whole * (i % 400) / 400, &good);
    check("svm.nmi_return_cut_short", good && cut > 0);
}

/* --- Time and Events of the VMM ------------------------------------------------------------------
 */

GUEST(guest_loop, 16, "cli; 1: incl 0x100; jmp 1b")
GUEST(guest_doorbell, 16, "mov $0xc000, %dx; out %ax, %dx; out %al, %dx; out %ax, %dx; hlt")

static void time_claims(void) {
    START(&m, 16, guest_loop);
    uint64_t hz = boot->tsc_hz, bits, group, start = now();
    bool good = run_until(start + hz / 50, 0) == BH_OK && m.exit == BH_EXIT_NONE;
    uint64_t took = now() - start;
    check("svm.deadline", good && took >= hz / 50 && took < hz / 25);
    good = run_until(0, 0) == BH_OK && m.exit == BH_EXIT_NONE;
    check("svm.deadline_passed", good && run_until(now(), 0) == BH_OK && m.exit == BH_EXIT_NONE);

    bh_ref event = OWN(TEST_SLOT);
    expect_ok(hc_copy(OWN(BH_INIT_EVENT), event, BH_EVENT_SIGNAL, 9, 0), "copy");
    hc_signal(TEST_SLOT);
    start = now();
    good = run_until(start + hz / 2, 1 << 9) == BH_OK && m.exit == BH_EXIT_NONE &&
           now() - start < hz / 4;
    good = good && run_until(now() + hz / 50, 1 << 8) == BH_OK && now() - start >= hz / 50;
    check("svm.pending_event", good && hc_wait(1 << 9, 1, &bits, &group) == BH_OK);

    START(&m, 16, guest_doorbell);
    bh_ref space = machine_cap(&m, M_SPACE);
    expect_ok(hc_doorbell(space, 0xc000, 2, event), "doorbell");
    good = port_exit(0xc000, 0, 1) && hc_wait(1 << 9, 1, &bits, &group) == BH_OK;
    machine_skip(&m, 0);
    good = good && machine_exits(&m, BH_EXIT_HLT) && hc_wait(1 << 9, 1, &bits, &group) == BH_OK;
    check("svm.doorbell", good);

    START(&m, 16, guest_doorbell);
    good = run_until(now() + hz, 1 << 9) == BH_OK && m.exit == BH_EXIT_NONE &&
           m.state->rip == CODE_GPA + 4 && hc_wait(1 << 9, 1, &bits, &group) == BH_OK;
    check("svm.doorbell_of_own", good);
    expect_ok(hc_revoke_all(OWN(TEST_SLOT)), "revoke");
    START(&m, 16, guest_doorbell);
    check("svm.doorbell_revoked", port_exit(0xc000, 0, 2));

    expect_ok(hc_doorbell(space, 0xc000, 2, event), "doorbell");
    expect_ok(hc_doorbell(space, 0xc000, 2, 0), "no doorbell");
    START(&m, 16, guest_doorbell);
    good = port_exit(0xc000, 0, 2);
    for (unsigned i = 0; i < BH_DOORBELLS_MAX; i++)
        good = good && hc_doorbell(space, (uint16_t)i, 4, event) == BH_OK;
    check("svm.doorbells_bounded", good && hc_doorbell(space, 0x100, 4, event) == BH_NO_MEMORY &&
                                       hc_doorbell(space, 5, 4, event) == BH_OK &&
                                       hc_doorbell(space, 5, 3, event) == BH_BAD_ARG &&
                                       hc_doorbell(OWN(BH_INIT_SPACE), 5, 4, event) == BH_BAD_ARG);
    expect_ok(hc_delete_all(event) == BH_HAS_CHILDREN ? BH_OK : BH_BUSY, "delete");
}

/* --- Large pages ---------------------------------------------------------------------------------
 */

GUEST(guest_write, 32, "movl $1, 0x9000; mov 0xa000, %eax; movl $1, 0xb123; hlt")
GUEST(guest_touch, 32, "mov 0x40001000, %eax; mov %eax, 0x40100000; mov 0x401ff000, %eax; hlt")

static uint64_t dirty_of(bh_ref region, uint64_t page) {
    uint64_t bits = 0, pages;
    hc_region_dirty(region, page, &bits, &pages);
    return bits;
}

/* Pages that were written show, once, in the account of who wrote them; others do not. */
static void dirty_claims(void) {
    bh_ref own = machine_cap(&m, M_MEMORY), guest = machine_cap(&m, M_GUEST_MEMORY);
    uint64_t bits, pages;
    START(&m, 32, guest_write);
    bool good = hc_region_dirty(guest, 0, &bits, &pages) == BH_OK && bits == 0xffff &&
                pages == MEMORY_PAGES && dirty_of(guest, 0) == 0;
    for (unsigned i = 0; i < 2; i++) {
        START(&m, 32, guest_write);
        dirty_of(own, 0);
        good = good && machine_exits(&m, BH_EXIT_HLT) && dirty_of(own, 0) == 0 &&
               dirty_of(guest, 0) == (1 << 9 | 1 << 11) && dirty_of(guest, 0) == 0;
    }
    check("svm.dirty", good);

    m.memory[DATA_GPA] = 1;
    good = dirty_of(guest, 0) == 0 && dirty_of(own, 0) == 1 << 8 && dirty_of(own, 0) == 0;
    m.memory[DATA_GPA] = 2;
    check("svm.dirty_by_vmm", good && dirty_of(own, 0) == 1 << 8);

    bh_ref copy = OWN(TEST_SLOT + 5);
    good = hc_region_dirty(guest, MEMORY_PAGES, &bits, &pages) == BH_BAD_ARG &&
           hc_region_dirty(guest, ~0ull, &bits, &pages) == BH_BAD_ARG;
    expect_ok(hc_copy(guest, copy, BH_RIGHTS_ALL & ~BH_REGION_DIRTY, 0, 0), "copy");
    check("svm.dirty_is_fenced",
          good && hc_region_dirty(copy, 0, &bits, &pages) == BH_BAD_RIGHTS &&
              hc_region_dirty(machine_cap(&m, M_SPACE), 0, &bits, &pages) == BH_BAD_CAP);
    expect_ok(hc_delete_all(copy), "delete");
}

/* 2 MiB of frames, aligned or not by a page. */
#define LARGE_GPA 0x40000000ull

static bool large_mapping(uint64_t first_page) {
    bh_ref untyped = OWN(TEST_SLOT + 1), region = OWN(TEST_SLOT + 2), part = OWN(TEST_SLOT + 3);
    expect_ok(hc_retype_all(OWN(POOL_FRAMES), BH_TYPE_UNTYPED, 1536, untyped, 0), "untyped");
    expect_ok(hc_scrub_all(untyped), "scrub");
    expect_ok(hc_retype_all(untyped, BH_TYPE_REGION, 1536, region, 0), "region");
    uint64_t address, pages, before, after;
    expect_ok(hc_region_address(region, &address), "address");
    uint64_t skip = (512 - address / 4096 % 512) % 512;
    expect_ok(hc_copy(region, part, BH_RIGHTS_ALL, skip + first_page, 512), "copy");
    bh_ref space = machine_cap(&m, M_SPACE);
    expect_ok(hc_cap_info(space, 1, &pages, &before), "info");
    expect_ok(hc_map_all(part, space, LARGE_GPA, BH_REGION_READ | BH_REGION_WRITE | BH_REGION_EXEC),
              "map");
    expect_ok(hc_cap_info(space, 1, &pages, &after), "info");
    /* A page of 2 MiB is told of as one, small ones each. */
    uint64_t bits, told;
    bool good = dirty_of(part, 0) == (first_page ? ~0ull : 1) && dirty_of(part, 0) == 0;
    enum bh_status middle = hc_region_dirty(part, 256, &bits, &told);
    good = good && middle == (first_page ? BH_OK : BH_BAD_ARG);
    START(&m, 32, guest_touch);
    good = good && machine_exits(&m, BH_EXIT_HLT) && dirty_of(part, first_page ? 256 : 0) == 1;
    expect_ok(hc_unmap_all(part), "unmap");
    START(&m, 32, guest_touch);
    good = good && memory_exit(LARGE_GPA + 0x1000, 0);
    expect_ok(hc_revoke_all(untyped), "revoke");
    expect_ok(hc_delete_all(untyped), "delete");
    return good && before - after == (first_page ? 1 : 1);
}

static void mapping_claims(void) {
    check("svm.map_2mib", large_mapping(0));
    check("svm.map_4kib", large_mapping(1));
    bh_ref memory = OWN(TEST_SLOT + 4);
    expect_ok(hc_copy(machine_cap(&m, M_MEMORY), memory, BH_RIGHTS_ALL, 0, 2), "copy");
    check("svm.map_only_guest_addresses",
          hc_map(memory, machine_cap(&m, M_SPACE), 1ull << 47, BH_REGION_READ) == BH_BAD_ARG &&
              hc_map(memory, machine_cap(&m, M_SPACE), (1ull << 47) - 4096, BH_REGION_READ) ==
                  BH_BAD_ARG &&
              hc_map(memory, machine_cap(&m, M_SPACE), 0, BH_REGION_READ) == BH_BUSY);
    expect_ok(hc_delete_all(memory), "delete");
}

_Noreturn void guest_start(const struct bh_bootinfo *info) {
    harness_start(info);
    machines_start();
    say("test: start\n");
    m = machine_make(0);
    hlt_claims();
    port_claims();
    msr_claims();
    memory_claims();
    instruction_claims();
    mode_claims();
    debug_claims();
    tsc_claims();
    interrupt_claims();
    nmi_claims();
    nmi_deadline_claim();
    time_claims();
    mapping_claims();
    dirty_claims();
    /* Last: it ends Bochs 2.7, which does not know the intercept. */
    START(&m, 32, guest_triple);
    check("svm.shutdown", machine_exits(&m, BH_EXIT_SHUTDOWN));
    machine_destroy(&m);
    finish();
}
