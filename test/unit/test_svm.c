/* SVM's exits and clean bits on a processor that no emulator here is: with and without NRIP save
 * and decode assists, with clean bits believed, and with fields that hold nonsense. What a VMM sees
 * is the state page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "processor.h"

enum { RIP = 0x1000, NRIP = 0x1002, UNTOUCHED = 0x5a };

static struct test_vcpu v, other;

/* The next exit, as the test wants it. */
static struct {
    uint64_t code, info1, info2, nrip;
    uint8_t bytes, instruction[15];
} next;

static void exit_as_told(struct vmcb *vmcb) {
    vmcb->exitcode = next.code;
    vmcb->exitinfo1 = next.info1;
    vmcb->exitinfo2 = next.info2;
    vmcb->nrip = next.nrip;
    vmcb->instruction_bytes = next.bytes;
    memcpy(vmcb->instruction, next.instruction, sizeof(next.instruction));
}

static void start(bool nrip_save, bool decode_assists) {
    processor = (struct processor){.nrip_save = nrip_save,
                                   .decode_assists = decode_assists,
                                   .asids = 16,
                                   .guest = exit_as_told};
    processor_start();
    processor_vcpu(&v);
    processor_vcpu(&other);
    v.svm.vcpu.page->rip = RIP;
    memset(&next, 0, sizeof(next));
    next.nrip = NRIP;
}

static struct bh_vcpu_state *page(void) {
    return v.svm.vcpu.page;
}

/* The reason of one exit, after which the processor has nothing to complain of. */
static uint64_t exit_of(struct test_vcpu *vcpu, uint64_t groups) {
    uint64_t exit = BH_EXIT_COUNT;
    assert_int_equal(processor_run(vcpu, groups, &exit), BH_OK);
    assert_int_equal(exit, vcpu->svm.vcpu.page->exit);
    if (processor.complaint)
        fail_msg("%s", processor.complaint);
    return exit;
}

/* --- The next RIP --------------------------------------------------------------------------------
 */

static const struct {
    uint64_t code, info1;
    enum bh_exit exit;
} instructions[] = {
    {VMEXIT_CPUID, 0, BH_EXIT_CPUID},       {VMEXIT_HLT, 0, BH_EXIT_HLT},
    {VMEXIT_VMMCALL, 0, BH_EXIT_HYPERCALL}, {VMEXIT_INVD, 0, BH_EXIT_WBINVD},
    {VMEXIT_WBINVD, 0, BH_EXIT_WBINVD},     {VMEXIT_XSETBV, 0, BH_EXIT_XSETBV},
    {VMEXIT_MSR, 0, BH_EXIT_MSR_READ},      {VMEXIT_MSR, 1, BH_EXIT_MSR_WRITE},
};

static void next_rip_where_it_is_saved(void **state) {
    (void)state;
    for (int saved = 0; saved < 2; saved++)
        for (unsigned i = 0; i < COUNT(instructions); i++) {
            start(saved, false);
            next.code = instructions[i].code;
            next.info1 = instructions[i].info1;
            assert_int_equal(exit_of(&v, BH_VCPU_ALL), instructions[i].exit);
            assert_int_equal(page()->next_rip, saved ? NRIP : 0);
            assert_int_equal(page()->rip, RIP);
        }
}

/* hv does not act on it: what the processor says is the VMM's to judge. */
static void next_rip_is_only_told(void **state) {
    (void)state;
    static const uint64_t nonsense[] = {0, RIP, RIP - 1, RIP + 16, 1ull << 63, UINT64_MAX};
    for (unsigned i = 0; i < COUNT(nonsense); i++) {
        start(true, true);
        next.code = VMEXIT_CPUID;
        next.nrip = nonsense[i];
        assert_int_equal(exit_of(&v, BH_VCPU_ALL), BH_EXIT_CPUID);
        assert_int_equal(page()->next_rip, nonsense[i]);
        assert_int_equal(page()->rip, RIP);
        assert_int_equal(v.svm.vmcb.rip, RIP);
    }
}

/* Not of what the VMM does not skip, even where the processor has written the field. */
static void no_next_rip_of_faults(void **state) {
    (void)state;
    static const uint64_t codes[] = {VMEXIT_NPF, VMEXIT_SHUTDOWN, VMEXIT_VINTR,
                                     VMEXIT_EXCP + VECTOR_DB, VMEXIT_EXCP + VECTOR_AC};
    for (unsigned i = 0; i < COUNT(codes); i++) {
        start(true, true);
        next.code = codes[i];
        exit_of(&v, BH_VCPU_ALL);
        assert_int_equal(page()->next_rip, 0);
    }
}

static void ports_tell_theirs_always(void **state) {
    (void)state;
    for (int saved = 0; saved < 2; saved++) {
        start(saved, saved);
        next.code = VMEXIT_IOIO;
        next.info1 = 0x3f8 << IOIO_PORT_SHIFT | 2 << IOIO_SIZE_SHIFT | 1 << IOIO_ADDRESS_SHIFT |
                     IOIO_TYPE_IN;
        next.info2 = RIP + 1;
        assert_int_equal(exit_of(&v, BH_VCPU_ALL), BH_EXIT_PORT);
        assert_int_equal(page()->next_rip, RIP + 1);
        assert_int_equal(page()->qualification & 0xfffff, 0x3f8 | BH_EXIT_PORT_IN);
        assert_int_equal(BH_EXIT_PORT_WIDTH(page()->qualification), 2);
        assert_int_equal(BH_EXIT_PORT_ADDRESS_SIZE(page()->qualification), 2);
    }
}

/* A doorbell, then HLT. */
static void ring_then_halt(struct vmcb *vmcb) {
    exit_as_told(vmcb);
    if (processor.entries == 1)
        return;
    vmcb->exitcode = VMEXIT_HLT;
}

static void doorbell_goes_on_behind(void **state) {
    (void)state;
    start(false, false);
    processor.guest = ring_then_halt;
    next.code = VMEXIT_IOIO;
    next.info1 = (uint64_t)DOORBELL_PORT << IOIO_PORT_SHIFT | 2 << IOIO_SIZE_SHIFT;
    next.info2 = NRIP;
    page()->interruptibility = BH_VCPU_SHADOW;
    assert_int_equal(exit_of(&v, BH_VCPU_ALL), BH_EXIT_HLT);
    assert_int_equal(processor.doorbells, 1);
    assert_int_equal(page()->rip, NRIP);
    assert_int_equal(page()->interruptibility, 0);
}

/* --- Decode assists ------------------------------------------------------------------------------
 */

static void fault_with_bytes(uint8_t bytes) {
    next.code = VMEXIT_NPF;
    next.info1 = NPF_WRITE;
    next.info2 = 0xfeb00010;
    next.bytes = bytes;
    for (unsigned i = 0; i < sizeof(next.instruction); i++)
        next.instruction[i] = (uint8_t)(0xc0 + i);
    memset(page()->instruction, UNTOUCHED, sizeof(page()->instruction));
    page()->instruction_bytes = 7;
    assert_int_equal(exit_of(&v, BH_VCPU_ALL), BH_EXIT_MEMORY);
    assert_int_equal(page()->address, 0xfeb00010);
    assert_int_equal(page()->qualification, BH_EXIT_MEMORY_WRITE);
}

static void bytes_where_there_are_assists(void **state) {
    (void)state;
    for (unsigned bytes = 0; bytes <= 15; bytes++) {
        start(true, true);
        fault_with_bytes((uint8_t)bytes);
        assert_int_equal(page()->instruction_bytes, bytes);
        assert_memory_equal(page()->instruction, next.instruction, bytes);
        assert_int_equal(page()->instruction[15], UNTOUCHED);
    }
}

/* Without them the field is reserved and may hold anything: the VMM fetches by itself. */
static void no_bytes_without(void **state) {
    (void)state;
    start(true, false);
    fault_with_bytes(0xff);
    assert_int_equal(page()->instruction_bytes, 0);
    for (unsigned i = 0; i < sizeof(page()->instruction); i++)
        assert_int_equal(page()->instruction[i], UNTOUCHED);
}

/* Bits 4 to 7 of the length are reserved: what they hold makes it no longer than there is room. */
static void never_more_than_fifteen(void **state) {
    (void)state;
    for (unsigned bytes = 16; bytes <= UINT8_MAX; bytes++) {
        start(true, true);
        fault_with_bytes((uint8_t)bytes);
        assert_int_equal(page()->instruction_bytes, bytes % 16);
        assert_int_equal(page()->instruction[15], UNTOUCHED);
        assert_int_equal(page()->instruction_reserved, 0);
    }
}

/* Of an exit without bytes none of an earlier one's are left to be taken for its own. */
static void bytes_do_not_stay(void **state) {
    (void)state;
    start(true, true);
    fault_with_bytes(15);
    next.bytes = 0;
    assert_int_equal(exit_of(&v, 0), BH_EXIT_MEMORY);
    assert_int_equal(page()->instruction_bytes, 0);
}

static void what_the_access_was(void **state) {
    (void)state;
    static const struct {
        uint64_t info, qualification;
    } faults[] = {{0, 0},
                  {NPF_P, BH_EXIT_MEMORY_PRESENT},
                  {NPF_FETCH, BH_EXIT_MEMORY_FETCH},
                  {NPF_TABLE | NPF_WRITE, BH_EXIT_MEMORY_TABLE | BH_EXIT_MEMORY_WRITE},
                  {~(NPF_P | NPF_WRITE | NPF_FETCH | NPF_TABLE), 0}};
    for (unsigned i = 0; i < COUNT(faults); i++) {
        start(true, true);
        next.code = VMEXIT_NPF;
        next.info1 = faults[i].info;
        assert_int_equal(exit_of(&v, BH_VCPU_ALL), BH_EXIT_MEMORY);
        assert_int_equal(page()->qualification, faults[i].qualification);
    }
}

/* --- Other exits ---------------------------------------------------------------------------------
 */

/* What no list names is an instruction for the VMM; nothing else of the page changes at an exit
 * than what the exit writes. */
static void unlisted_exits(void **state) {
    (void)state;
    start(true, true);
    exit_of(&v, BH_VCPU_ALL); /* code 0: a read of CR0, which is not intercepted */
    for (uint64_t code = 0; code < 0x500; code++) {
        bool listed = code == VMEXIT_NPF || (code >= VMEXIT_DR_READ && code <= VMEXIT_DR_LAST) ||
                      (code >= VMEXIT_EXCP && code <= VMEXIT_VINTR) || code == VMEXIT_IRET ||
                      code == VMEXIT_IOIO || code == VMEXIT_SHUTDOWN || code == VMEXIT_MSR;
        for (unsigned i = 0; i < COUNT(instructions); i++)
            listed = listed || code == instructions[i].code;
        if (listed)
            continue;
        next.code = code;
        struct bh_vcpu_state before = *page();
        assert_int_equal(exit_of(&v, 0), BH_EXIT_INSTRUCTION);
        assert_int_equal(page()->qualification, code);
        assert_memory_equal(&page()->want, &before.want,
                            sizeof(before) - offsetof(struct bh_vcpu_state, want));
        assert_memory_equal(page()->instruction, before.instruction, sizeof(before.instruction));
    }
}

/* An interrupt of the host, then HLT. */
static void interrupt_then_halt(struct vmcb *vmcb) {
    static const uint64_t codes[] = {VMEXIT_INTR, VMEXIT_NMI, VMEXIT_SMI, VMEXIT_INIT, VMEXIT_HLT};
    vmcb->exitcode = codes[processor.entries - 1];
}

static void host_interrupts_are_hvs(void **state) {
    (void)state;
    start(true, true);
    processor.guest = interrupt_then_halt;
    assert_int_equal(exit_of(&v, BH_VCPU_ALL), BH_EXIT_HLT);
    assert_int_equal(processor.interrupts, 4);
    assert_int_equal(processor.entries, 5);
}

/* A failed entry leaves -1, in 64 bits or 32, and who knows what in the state: none of it is shown,
 * and none is kept. */
static void garbage_and_fail(struct vmcb *vmcb) {
    memset(&vmcb->es, 0xee, sizeof(*vmcb) - offsetof(struct vmcb, es));
    vmcb->exitcode = next.code;
}

static void refused_states(void **state) {
    (void)state;
    static const uint64_t codes[] = {UINT64_MAX, VMEXIT_INVALID};
    for (unsigned i = 0; i < COUNT(codes); i++) {
        start(true, true);
        next.code = codes[i];
        processor.guest = garbage_and_fail;
        struct bh_vcpu_state before = *page();
        assert_int_equal(exit_of(&v, BH_VCPU_ALL), BH_EXIT_INVALID_STATE);
        assert_int_equal(page()->qualification, 0);
        assert_memory_equal(page()->general, before.general, sizeof(before.general));
        assert_memory_equal(&page()->event, &before.event,
                            sizeof(before) - offsetof(struct bh_vcpu_state, event));
        assert_int_equal(v.svm.vmcb.cr0, 0);
        assert_int_equal(v.svm.vmcb.kernel_gs_base, 0);
    }
}

static void machine_checks_stop_the_machine(void **state) {
    (void)state;
    uint64_t exit;
    start(true, true);
    next.code = VMEXIT_EXCP + VECTOR_MC;
    assert_int_equal(processor_run(&v, BH_VCPU_ALL, &exit), PROCESSOR_PANIC);
    start(true, true);
    next.code = VMEXIT_SHUTDOWN;
    assert_int_equal(exit_of(&v, BH_VCPU_ALL), BH_EXIT_SHUTDOWN);
    processor.mcg_status = MCG_STATUS_MCIP;
    assert_int_equal(processor_run(&v, 0, &exit), PROCESSOR_PANIC);
}

/* --- Clean bits ----------------------------------------------------------------------------------
 */

/* What changes nothing lets the processor keep all. exit_of() looks for too much. */
static void clean_when_nothing_changed(void **state) {
    (void)state;
    start(true, true);
    next.code = VMEXIT_CPUID;
    exit_of(&v, BH_VCPU_ALL);
    assert_int_equal(processor.believed, 0);
    page()->rip = NRIP;
    page()->general[0] = 1;
    exit_of(&v, 0);
    assert_int_equal(processor.believed, CLEAN_ALL);
}

/* Each field of each group, alone. */
static void what_the_vmm_changes_is_read(void **state) {
    (void)state;
    start(true, true);
    next.code = VMEXIT_CPUID;
    exit_of(&v, BH_VCPU_ALL);
    struct bh_vcpu_state *p = page();
    uint64_t *words[] = {&p->cr0,        &p->cr2,    &p->cr3,   &p->cr4,    &p->dr6,
                         &p->tsc_offset, &p->lstar,  &p->cr8,   &p->rflags, &p->segment[0].base,
                         &p->gdtr.base,  &p->sfmask, &p->dr[1], &p->star,   &p->idtr.base};
    for (unsigned i = 0; i < COUNT(words); i++) {
        *words[i] ^= 4;
        assert_int_equal(exit_of(&v, BH_VCPU_ALL), BH_EXIT_CPUID);
        exit_of(&v, 0);
        assert_int_equal(processor.believed, CLEAN_ALL);
    }
    uint32_t *wishes[] = {&p->want, &p->window_priority, &p->interruptibility, &p->event};
    static const uint32_t wish[] = {BH_VCPU_WANT_INTERRUPT, 4, BH_VCPU_NMI_BLOCKED,
                                    BH_EVENT_VALID | BH_EVENT_EXTERNAL | 0x40};
    for (unsigned i = 0; i < COUNT(wish); i++) {
        *wishes[i] = wish[i];
        assert_int_equal(exit_of(&v, 0), BH_EXIT_CPUID);
    }
}

static void another_vcpu_in_between(void **state) {
    (void)state;
    start(true, true);
    next.code = VMEXIT_CPUID;
    exit_of(&v, BH_VCPU_ALL);
    exit_of(&other, BH_VCPU_ALL);
    exit_of(&v, 0);
    assert_int_equal(processor.believed, 0);
    exit_of(&other, 0);
    assert_int_equal(processor.believed, 0);
}

/* A flush is another ASID; when all have been used, the processor forgets all translations. */
static void another_asid_is_read(void **state) {
    (void)state;
    start(true, true);
    next.code = VMEXIT_CPUID;
    exit_of(&v, BH_VCPU_ALL);
    unsigned forgotten = 0;
    for (uint32_t i = 0; i < processor.asids; i++) {
        uint32_t before = v.svm.vmcb.asid;
        processor_flush();
        exit_of(&v, 0);
        assert_int_equal(processor.believed, 0);
        assert_int_not_equal(v.svm.vmcb.asid, before);
        if (v.svm.vmcb.asid < before) {
            assert_int_equal(v.svm.vmcb.tlb_control, TLB_CONTROL_FLUSH_ALL);
            forgotten++;
        }
    }
    assert_int_equal(forgotten, 1);
    exit_of(&v, 0);
    assert_int_equal(v.svm.vmcb.tlb_control, TLB_CONTROL_NOTHING);
}

/* An interrupt goes in as a virtual one where there is no NRIP save. */
static void take_virtual(struct vmcb *vmcb) {
    vmcb->virtual_interrupt &= ~V_IRQ;
    vmcb->rip = 0x2000;
    vmcb->exitcode = VMEXIT_CPUID;
}

static void virtual_interrupts_are_read(void **state) {
    (void)state;
    start(false, false);
    next.code = VMEXIT_CPUID;
    page()->rflags |= RFLAGS_IF;
    exit_of(&v, BH_VCPU_ALL);
    page()->event = BH_EVENT_VALID | BH_EVENT_EXTERNAL | 0x40;
    processor.guest = take_virtual;
    exit_of(&v, 0);
    assert_int_equal(processor.believed, CLEAN_ALL & ~(CLEAN_INTERCEPTS | CLEAN_VIRTUAL));
    processor.guest = exit_as_told;
    exit_of(&v, 0);
    assert_int_equal(processor.believed, CLEAN_ALL & ~(CLEAN_INTERCEPTS | CLEAN_VIRTUAL));
}

/* The return from an NMI, in its steps: IRET, its single step, and what comes behind. */
static void return_from_nmi(struct vmcb *vmcb) {
    switch (processor.entries) {
    case 1:
        vmcb->exitcode = VMEXIT_IRET;
        break;
    case 2:
        assert_true(vmcb->rflags & RFLAGS_TF);
        vmcb->rip = 0x2000;
        vmcb->rflags = RFLAGS_FIXED;
        vmcb->dr6 |= DR6_BS;
        vmcb->exitcode = VMEXIT_EXCP + VECTOR_DB;
        break;
    default:
        assert_false(vmcb->dr6 & DR6_BS);
        vmcb->exitcode = VMEXIT_CPUID;
    }
}

static void nmi_steps_are_read(void **state) {
    (void)state;
    start(true, true);
    processor.guest = return_from_nmi;
    page()->event = BH_EVENT_VALID | BH_EVENT_NMI | VECTOR_NMI;
    assert_int_equal(exit_of(&v, BH_VCPU_ALL), BH_EXIT_CPUID);
    assert_int_equal(processor.entries, 3);
    assert_int_equal(page()->interruptibility, 0);
    assert_int_equal(page()->event, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(next_rip_where_it_is_saved),
        cmocka_unit_test(next_rip_is_only_told),
        cmocka_unit_test(no_next_rip_of_faults),
        cmocka_unit_test(ports_tell_theirs_always),
        cmocka_unit_test(doorbell_goes_on_behind),
        cmocka_unit_test(bytes_where_there_are_assists),
        cmocka_unit_test(no_bytes_without),
        cmocka_unit_test(never_more_than_fifteen),
        cmocka_unit_test(bytes_do_not_stay),
        cmocka_unit_test(what_the_access_was),
        cmocka_unit_test(unlisted_exits),
        cmocka_unit_test(host_interrupts_are_hvs),
        cmocka_unit_test(refused_states),
        cmocka_unit_test(machine_checks_stop_the_machine),
        cmocka_unit_test(clean_when_nothing_changed),
        cmocka_unit_test(what_the_vmm_changes_is_read),
        cmocka_unit_test(another_vcpu_in_between),
        cmocka_unit_test(another_asid_is_read),
        cmocka_unit_test(virtual_interrupts_are_read),
        cmocka_unit_test(nmi_steps_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
