/* The longest single entry into hv, in init's place: hv keeps interrupts off from its entry to its
 * end, so that is how long an interrupt can wait. Long calls are repeated while hv answers AGAIN
 * and the longest step counts. Under -icount shift=0 the TSC counts instructions, the few of ring 3
 * around the call included. Prints "bench: ID VALUE" lines. */
#include "test/guest/machine.h"

enum { LEAVES = 512, SLEEPERS = 1024, IRQS = 256, PAGES = 2048, LARGE_PAGES = 72 * 512 };
enum { OBJECT_PAGES = 2048, TABLE_SLOTS = BH_CAPTABLE_SLOTS_MAX, DOORBELLS = BH_DOORBELLS_MAX };
enum { S_TABLE = TEST_SLOT, S_EVENT, S_FRAMES, S_REGION, S_SPACE, S_COPY, S_OBJECTS, S_POOL };
enum { DOORBELL_PORT = 0xc000, PRIORITY = 1 };
enum { SET_UP_TICKS = 50000000, AT_ONCE = 16, APART_TICKS = 20000 };

#define VA 0x80000000ull
#define LEAF(i) BH_REF(S_TABLE, (i) + 1) /* slot 0 holds nothing */
#define EVENT(i) BH_REF(S_TABLE, SLEEPERS + (i) + 1)

GUEST(guest_hlt, 64, "hlt")
GUEST(guest_out, 64, "mov $0xc000, %edx; out %ax, %dx; hlt")

/* A Context that waits until the deadline in RBX, and faults. */
__asm__(".pushsection .text\nsleeper: mov $2, %eax\nmov $1, %edi\nmov %rbx, %rsi\nsyscall\nud2\n"
        ".popsection");
_Static_assert(BH_HC_WAIT == 2, "sleeper");
extern const uint8_t sleeper[];

static struct machine m;

static void report(const char *id, uint64_t value) {
    say("bench: ");
    say(id);
    say(" ");
    say_number(value);
    say("\n");
}

static void measure(const char *id, enum bh_hypercall number, uint64_t a, uint64_t b, uint64_t c,
                    uint64_t d, uint64_t e) {
    uint64_t most = 0;
    enum bh_status status;
    do {
        uint64_t start = now();
        status = hc_do(number, a, b, c, d, e, 0);
        uint64_t took = now() - start;
        most = took > most ? took : most;
    } while (status == BH_AGAIN);
    expect_ok(status, id);
    report(id, most);
}

static void measure_retype(const char *id, enum bh_type type, uint64_t size, bh_ref to) {
    measure(id, BH_HC_RETYPE, OWN(S_OBJECTS), type, size, to, 0);
}

static void measure_guest(void) {
    m = machine_make(0);
    START(&m, 64, guest_hlt);
    bh_slot vcpu = machine_slot(&m, M_VCPU);
    measure("vcpu_run", BH_HC_VCPU_RUN, vcpu, BH_VCPU_ALL, BH_DEADLINE_NEVER, 0, 0);
    measure("vcpu_sync", BH_HC_VCPU_SYNC, vcpu, BH_VCPU_ALL, 0, 0, 0);

    /* The last of all doorbells, and the guest's end: two entries. */
    for (unsigned i = DOORBELLS; i-- > 0;)
        expect_ok(hc_doorbell(machine_cap(&m, M_SPACE), (uint16_t)(DOORBELL_PORT + 4 * i), 2,
                              OWN(S_COPY)),
                  "doorbell");
    START(&m, 64, guest_out);
    measure("vcpu_run_doorbell", BH_HC_VCPU_RUN, vcpu, BH_VCPU_ALL, BH_DEADLINE_NEVER, 0, 0);
    m.state->efer = ~0ull;
    measure("vcpu_run_refused", BH_HC_VCPU_RUN, vcpu, BH_VCPU_ALL, BH_DEADLINE_NEVER, 0, 0);
    measure("delete_vcpu", BH_HC_DELETE, machine_cap(&m, M_VCPU), 0, 0, 0, 0);
}

static void measure_events(void) {
    measure_retype("retype_table", BH_TYPE_CAPTABLE, TABLE_SLOTS, OWN(S_TABLE));
    measure_retype("retype_event", BH_TYPE_EVENT, 4096, OWN(S_EVENT));
    for (unsigned i = 0; i < LEAVES; i++)
        expect_ok(hc_copy(OWN(S_EVENT), LEAF(i), BH_EVENT_SIGNAL, i, 0), "copy");
    measure("revoke_events", BH_HC_REVOKE, OWN(S_EVENT), 0, 0, 0, 0);
    expect_ok(hc_copy(OWN(S_EVENT), LEAF(0), BH_EVENT_SIGNAL, 0, 0), "copy");
    for (unsigned i = 1; i < BH_DEPTH_MAX - 2; i++)
        expect_ok(hc_copy(LEAF(i - 1), LEAF(i), BH_EVENT_SIGNAL, 0, 0), "copy");
    measure("revoke_chain", BH_HC_REVOKE, OWN(S_EVENT), 0, 0, 0, 0);
    for (unsigned i = 0; i < TABLE_SLOTS - 1; i++)
        expect_ok(hc_copy(OWN(S_EVENT), LEAF(i), BH_EVENT_SIGNAL, i % 4096, 0), "copy");
    measure("delete_full_table", BH_HC_DELETE, OWN(S_TABLE), 0, 0, 0, 0);
}

static void measure_irqs(void) {
    for (unsigned i = 0; i < IRQS; i++)
        expect_ok(hc_retype_all(OWN(S_OBJECTS), BH_TYPE_IRQ, 0, LEAF(i), 0), "irq");
    unsigned attached = 0;
    uint64_t address, data;
    while (hc_irq_attach(LEAF(attached), BH_INIT_SYSTEM, BH_IRQ_SOURCE_MSI, &address, &data) ==
           BH_OK)
        expect_ok(hc_bind(LEAF(attached++), BH_BIND_IRQ_EVENT, OWN(S_COPY)), "bind");
    expect_ok(hc_delete_all(LEAF(attached - 1)), "delete");
    measure("irq_attach", BH_HC_IRQ_ATTACH, LEAF(attached), BH_INIT_SYSTEM, BH_IRQ_SOURCE_MSI, 0,
            0);
    measure("revoke_irqs", BH_HC_REVOKE, OWN(S_OBJECTS), 0, 0, 0, 0);
}

/* Contexts with every reference, asleep: AT_ONCE, what one interrupt wakes, until each moment. */
static void make_sleepers(uint64_t deadline) {
    expect_ok(hc_retype_all(OWN(POOL_OBJECTS), BH_TYPE_CAPTABLE, 2 * SLEEPERS + 1, OWN(S_TABLE), 0),
              "table");
    measure_retype("retype_context", BH_TYPE_CONTEXT, 0, LEAF(0));
    for (unsigned i = 0; i < SLEEPERS; i++) {
        if (i)
            expect_ok(hc_retype_all(OWN(S_OBJECTS), BH_TYPE_CONTEXT, 0, LEAF(i), 0), "context");
        expect_ok(hc_retype_all(OWN(S_OBJECTS), BH_TYPE_EVENT, 64, EVENT(i), 0), "event");
        expect_ok(hc_bind(LEAF(i), BH_BIND_CTX_SPACE, OWN(BH_INIT_SPACE)), "space");
        expect_ok(hc_bind(LEAF(i), BH_BIND_CTX_TABLE, OWN(BH_INIT_TABLE)), "table");
        expect_ok(hc_bind(LEAF(i), BH_BIND_CTX_EVENT, EVENT(i)), "event");
        expect_ok(hc_bind(LEAF(i), BH_BIND_CTX_FAULT, OWN(S_COPY)), "fault");
        expect_ok(hc_ctx_set(LEAF(i), BH_REG_RIP, (uint64_t)sleeper), "rip");
        expect_ok(
            hc_ctx_set(LEAF(i), BH_REG_RBX, deadline + i * 7919 % SLEEPERS / AT_ONCE * APART_TICKS),
            "deadline");
        expect_ok(hc_ctx_sched(LEAF(i), BH_INIT_CPU0, PRIORITY, 0, 0, 0), "sched");
        expect_ok(hc_ctx_resume(LEAF(i)), "resume");
    }
    uint64_t ignored;
    while (hc_wait(0, now() + SET_UP_TICKS / 10, &ignored, &ignored) != BH_TIMEOUT)
        ;
    for (unsigned i = 0; i < SLEEPERS; i++) {
        uint64_t state = 0;
        expect_ok(hc_ctx_get(LEAF(i), BH_REG_STATE, &state), "state");
        if (state != BH_CTX_WAITING)
            give_up("not all Contexts sleep");
    }
}

/* The longest time in which this loop did not go on. */
static uint64_t longest_gap(uint64_t end) {
    uint64_t most = 0, last = now();
    while (last < end) {
        uint64_t at = now();
        most = at - last > most ? at - last : most;
        last = at;
    }
    return most;
}

static void measure_contexts(void) {
    uint64_t deadline = now() + SET_UP_TICKS;
    make_sleepers(deadline);
    measure("ctx_sched", BH_HC_CTX_SCHED, LEAF(SLEEPERS / 2), BH_INIT_CPU0, PRIORITY, 0, 0);
    measure("ctx_suspend", BH_HC_CTX_SUSPEND, LEAF(0), 0, 0, 0, 0);
    measure("bind", BH_HC_BIND, LEAF(0), BH_BIND_CTX_FAULT, OWN(S_COPY), 0, 0);
    report("timer_interrupt", longest_gap(deadline + SLEEPERS / AT_ONCE * APART_TICKS));
    measure("revoke_ready", BH_HC_REVOKE, OWN(S_OBJECTS), 0, 0, 0, 0);
    expect_ok(hc_delete_all(OWN(S_TABLE)), "delete");
    make_sleepers(BH_DEADLINE_NEVER / 2);
    measure("revoke_sleepers", BH_HC_REVOKE, OWN(S_OBJECTS), 0, 0, 0, 0);
    for (unsigned i = 0; i < SLEEPERS; i++)
        expect_ok(hc_retype_all(OWN(S_OBJECTS), BH_TYPE_CONTEXT, 0, LEAF(i), 0), "context");
    measure("revoke_contexts", BH_HC_REVOKE, OWN(S_OBJECTS), 0, 0, 0, 0);
}

/* Of the boot's own Untypeds: the largest of a kind. */
static bh_ref take_memory(enum bh_kind kind, uint64_t pages, bh_slot slot) {
    const struct bh_boot_untyped *best = NULL;
    for (uint32_t i = 0; i < boot->untyped_count; i++)
        if (boot->untyped[i].kind == kind && (!best || boot->untyped[i].pages > best->pages))
            best = &boot->untyped[i];
    if (!best)
        give_up("no memory of a kind");
    expect_ok(hc_retype_all(OWN(best->slot), BH_TYPE_UNTYPED, pages, OWN(slot), 0), "memory");
    return OWN(slot);
}

/* An address at which no large page fits. */
static uint64_t small_pages_at(uint64_t va) {
    uint64_t hpa = 0;
    expect_ok(hc_region_address(OWN(S_REGION), &hpa), "address");
    return va + ((hpa + 4096) & 0x1fffff);
}

static void measure_regions(void) {
    uint32_t rw = BH_REGION_READ | BH_REGION_WRITE;
    expect_ok(hc_retype_all(OWN(POOL_FRAMES), BH_TYPE_UNTYPED, PAGES, OWN(S_FRAMES), 0), "frames");
    measure("scrub", BH_HC_SCRUB, OWN(S_FRAMES), 0, 0, 0, 0);
    measure("retype_region", BH_HC_RETYPE, OWN(S_FRAMES), BH_TYPE_REGION, PAGES, OWN(S_REGION), 0);
    uint64_t va = small_pages_at(VA);
    measure("map", BH_HC_MAP, OWN(S_REGION), OWN(BH_INIT_SPACE), va, rw, 0);
    measure("region_dirty", BH_HC_REGION_DIRTY, OWN(S_REGION), 0, 0, 0, 0);
    measure("unmap", BH_HC_UNMAP, OWN(S_REGION), 0, 0, 0, 0);
    for (unsigned i = 0; i < LEAVES; i++) {
        expect_ok(hc_copy(OWN(S_REGION), LEAF(i), rw, i, 1), "copy");
        expect_ok(hc_map_all(LEAF(i), OWN(BH_INIT_SPACE), va + i * 4096ull, rw), "map");
    }
    measure("revoke_regions", BH_HC_REVOKE, OWN(S_REGION), 0, 0, 0, 0);
}

static void measure_large_pages(void) {
    uint64_t hpa = 0;
    bh_ref frames = take_memory(BH_KIND_FRAME, LARGE_PAGES, S_POOL), region = OWN(S_REGION);
    expect_ok(hc_scrub_all(frames), "scrub");
    expect_ok(hc_delete_all(region), "delete");
    expect_ok(hc_retype_all(frames, BH_TYPE_REGION, LARGE_PAGES, region, 0), "region");
    expect_ok(hc_region_address(region, &hpa), "address");
    measure("map_large", BH_HC_MAP, region, OWN(BH_INIT_SPACE), VA + (hpa & 0x1fffff),
            BH_REGION_READ | BH_REGION_WRITE, 0);
    measure("unmap_large", BH_HC_UNMAP, region, 0, 0, 0, 0);
}

static void measure_guest_space(void) {
    measure_retype("retype_vcpu", BH_TYPE_VCPU, 0, OWN(S_EVENT));
    measure_retype("retype_space", BH_TYPE_SPACE, 128, OWN(S_SPACE));
    expect_ok(hc_revoke_all(OWN(S_OBJECTS)), "revoke");
    measure("retype_guest_space", BH_HC_RETYPE, OWN(S_OBJECTS), BH_TYPE_SPACE, 128, OWN(S_SPACE),
            BH_SPACE_GUEST);
    for (uint64_t i = 0; i < DOORBELLS; i++)
        expect_ok(hc_doorbell(OWN(S_SPACE), (uint16_t)(DOORBELL_PORT + 4 * i), 2, OWN(S_COPY)),
                  "doorbell");
    measure("doorbell", BH_HC_DOORBELL, OWN(S_SPACE), DOORBELL_PORT, 2, OWN(S_COPY), 0);
    measure("map_guest", BH_HC_MAP, OWN(S_REGION), OWN(S_SPACE), small_pages_at(0),
            BH_REGION_READ | BH_REGION_WRITE, 0);
    measure("unmap_guest", BH_HC_UNMAP, OWN(S_REGION), 0, 0, 0, 0);
    measure("delete_space", BH_HC_DELETE, OWN(S_SPACE), 0, 0, 0, 0);
}

_Noreturn void guest_start(const struct bh_bootinfo *info) {
    harness_start(info);
    machines_start();
    expect_ok(hc_copy(OWN(BH_INIT_EVENT), OWN(S_COPY), BH_EVENT_SIGNAL, 9, 0), "copy");
    take_memory(BH_KIND_OBJECT, OBJECT_PAGES, S_OBJECTS);
    measure_guest();
    measure_events();
    expect_ok(hc_delete_all(OWN(S_EVENT)), "delete");
    measure_contexts();
    measure_irqs();
    measure_regions();
    measure_large_pages();
    measure_guest_space();
    measure("log", BH_HC_SYSTEM, BH_INIT_SYSTEM, BH_SYSTEM_OP_LOG, 0x0a2e2e2e2e2e2e2eull, 0, 0);
    finish();
}
