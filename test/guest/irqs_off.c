/* The longest single entry into hv, in init's place: hv keeps interrupts off from its entry to its
 * end, so that is how long an interrupt can wait. Long calls are repeated while hv answers AGAIN
 * and the longest step counts. Under -icount shift=0 the TSC counts instructions, the few of ring 3
 * around the call included. Prints "bench: ID VALUE" lines. */
#include "test/guest/machine.h"

enum { LEAVES = 512, TABLE_SLOTS = 32768, PAGES = 2048, DOORBELLS = BH_DOORBELLS_MAX };
enum { S_TABLE = TEST_SLOT, S_EVENT, S_CONTEXTS, S_FRAMES, S_REGION, S_SPACE, S_COPY };

#define VA 0x80000000ull
#define LEAF(i) BH_REF(S_TABLE, (i) + 1) /* slot 0 holds nothing */

GUEST(guest_hlt, 64, "hlt")

static struct machine m;

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
    say("bench: ");
    say(id);
    say(" ");
    say_number(most);
    say("\n");
}

static void measure_guest(void) {
    m = machine_make(0);
    START(&m, 64, guest_hlt);
    bh_slot vcpu = machine_slot(&m, M_VCPU);
    measure("vcpu_run", BH_HC_VCPU_RUN, vcpu, BH_VCPU_ALL, BH_DEADLINE_NEVER, 0, 0);
    measure("vcpu_sync", BH_HC_VCPU_SYNC, vcpu, BH_VCPU_ALL, 0, 0, 0);
}

static void measure_events(void) {
    expect_ok(hc_retype_all(OWN(POOL_OBJECTS), BH_TYPE_EVENT, 4096, OWN(S_EVENT), 0), "event");
    for (unsigned i = 0; i < LEAVES; i++)
        expect_ok(hc_copy(OWN(S_EVENT), LEAF(i), BH_EVENT_SIGNAL, i, 0), "copy");
    measure("revoke_events", BH_HC_REVOKE, OWN(S_EVENT), 0, 0, 0, 0);
    for (unsigned i = 0; i < TABLE_SLOTS - 1; i++)
        expect_ok(hc_copy(OWN(S_EVENT), LEAF(i), BH_EVENT_SIGNAL, i % 4096, 0), "copy");
    measure("delete_full_table", BH_HC_DELETE, OWN(S_TABLE), 0, 0, 0, 0);
}

static void measure_contexts(void) {
    expect_ok(hc_retype_all(OWN(POOL_OBJECTS), BH_TYPE_CAPTABLE, LEAVES + 1, OWN(S_TABLE), 0),
              "table");
    expect_ok(hc_retype_all(OWN(POOL_OBJECTS), BH_TYPE_UNTYPED, 256, OWN(S_CONTEXTS), 0), "pool");
    unsigned made = 0;
    while (made < LEAVES &&
           hc_retype_all(OWN(S_CONTEXTS), BH_TYPE_CONTEXT, 0, LEAF(made), 0) == BH_OK)
        made++;
    for (unsigned i = 0; i < made; i++)
        expect_ok(hc_ctx_sched(LEAF(i), BH_INIT_CPU0, 1, 0, 0, 0), "sched");
    measure("revoke_contexts", BH_HC_REVOKE, OWN(S_CONTEXTS), 0, 0, 0, 0);
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
    measure("unmap", BH_HC_UNMAP, OWN(S_REGION), 0, 0, 0, 0);
    for (unsigned i = 0; i < LEAVES; i++) {
        expect_ok(hc_copy(OWN(S_REGION), LEAF(i), rw, i, 1), "copy");
        expect_ok(hc_map_all(LEAF(i), OWN(BH_INIT_SPACE), va + i * 4096ull, rw), "map");
    }
    measure("revoke_regions", BH_HC_REVOKE, OWN(S_REGION), 0, 0, 0, 0);
}

static void measure_guest_space(void) {
    measure("retype_space", BH_HC_RETYPE, OWN(POOL_OBJECTS), BH_TYPE_SPACE, 64, OWN(S_SPACE),
            BH_SPACE_GUEST);
    expect_ok(hc_copy(OWN(BH_INIT_EVENT), OWN(S_COPY), BH_EVENT_SIGNAL, 9, 0), "copy");
    for (uint64_t i = 0; i < DOORBELLS; i++)
        expect_ok(hc_doorbell(OWN(S_SPACE), (uint16_t)(0xc000 + 4 * i), 2, OWN(S_COPY)),
                  "doorbell");
    measure("doorbell", BH_HC_DOORBELL, OWN(S_SPACE), 0xc000, 2, OWN(S_COPY), 0);
    measure("map_guest", BH_HC_MAP, OWN(S_REGION), OWN(S_SPACE), small_pages_at(0),
            BH_REGION_READ | BH_REGION_WRITE, 0);
    measure("unmap_guest", BH_HC_UNMAP, OWN(S_REGION), 0, 0, 0, 0);
    measure("delete_space", BH_HC_DELETE, OWN(S_SPACE), 0, 0, 0, 0);
}

_Noreturn void guest_start(const struct bh_bootinfo *info) {
    harness_start(info);
    machines_start();
    measure_guest();
    measure("retype_table", BH_HC_RETYPE, OWN(POOL_OBJECTS), BH_TYPE_CAPTABLE, TABLE_SLOTS,
            OWN(S_TABLE), 0);
    measure_events();
    measure_contexts();
    measure_regions();
    measure_guest_space();
    measure("log", BH_HC_SYSTEM, BH_INIT_SYSTEM, BH_SYSTEM_OP_LOG, 0x0a2e2e2e2e2e2e2eull, 0, 0);
    finish();
}
