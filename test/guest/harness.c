/* See harness.h. */
#include "test/guest/harness.h"

const struct bh_bootinfo *boot;

#define IMAGE ((const struct bh_image_header *)BH_IMAGE_VA)
#define OWN(slot) BH_REF(BH_INIT_TABLE, slot)
/* Power-off of QEMU's q35, where SLP_TYP of S5 is 0: ACPI 6.5, 4.8.3.2.1. */
enum { PM1A_CNT = 0x604, SLP_EN = 1 << 13 };
#define COPY_VA 0x40000000ull /* where the harness maps what it fills */

uint64_t now(void) {
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

void say(const char *text) {
    while (*text) {
        uint64_t packed = 0;
        for (unsigned i = 0; i < 8 && *text; i++)
            packed |= (uint64_t)(uint8_t)*text++ << 8 * i;
        uint64_t ignored;
        hc_system(BH_INIT_SYSTEM, BH_SYSTEM_OP_LOG, packed, &ignored);
    }
}

void say_number(uint64_t value) {
    char text[21], *p = text + sizeof(text) - 1;
    *p = 0;
    do {
        *--p = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    say(p);
}

void check(const char *name, bool good) {
    say("test: ");
    say(name);
    say(good ? " ok\n" : " FAILED\n");
}

void finish(void) {
    uint64_t ignored;
    say("test: done\n");
    hc_port_out(BH_INIT_PORTS, PM1A_CNT, 2, SLP_EN);
    for (;;)
        hc_wait(0, BH_DEADLINE_NEVER, &ignored, &ignored);
}

void give_up(const char *why) {
    say("test: harness: ");
    say(why);
    say(" FAILED\n");
    finish();
}

void expect_ok(enum bh_status status, const char *what) {
    if (status == BH_OK)
        return;
    say("test: harness: status ");
    say_number(status);
    say(" of ");
    give_up(what);
}

/* The largest Untyped of a kind. */
static const struct bh_boot_untyped *largest(uint32_t kind) {
    const struct bh_boot_untyped *best = NULL;
    for (uint32_t i = 0; i < boot->untyped_count; i++)
        if (boot->untyped[i].kind == kind && (!best || boot->untyped[i].pages > best->pages))
            best = &boot->untyped[i];
    if (!best)
        give_up("no memory of a kind");
    return best;
}

static void make_region(bh_slot untyped, uint64_t pages, bh_slot region) {
    expect_ok(hc_scrub_all(OWN(untyped)), "scrub");
    expect_ok(hc_retype_all(OWN(untyped), BH_TYPE_REGION, pages, OWN(region), 0), "region");
}

/* Maps a Region (through a copy in TEST slot CHILD_TEXT_TMP of the harness) and fills it. */
static void fill(bh_slot region, uint64_t offset_pages, const void *from, uint64_t bytes) {
    bh_ref tmp = OWN(TEST_SLOT - 1);
    uint64_t pages = (bytes + 4095) / 4096;
    expect_ok(hc_copy(OWN(region), tmp, BH_RIGHTS_ALL, offset_pages, pages), "copy");
    expect_ok(hc_map_all(tmp, OWN(BH_INIT_SPACE), COPY_VA, BH_REGION_READ | BH_REGION_WRITE),
              "map");
    volatile uint64_t *to = (uint64_t *)COPY_VA;
    const uint64_t *source = from;
    for (uint64_t i = 0; i < bytes / 8; i++)
        to[i] = source[i];
    expect_ok(hc_delete_all(tmp), "delete");
}

extern char image_bss[], image_end[], image_data[];

void harness_start(const struct bh_bootinfo *info) {
    boot = info;
    uint64_t code_pages = IMAGE->text_pages + IMAGE->rodata_pages;
    bh_slot frames = largest(BH_KIND_FRAME)->slot, objects = largest(BH_KIND_OBJECT)->slot;
    expect_ok(hc_retype_all(OWN(objects), BH_TYPE_UNTYPED, 1024, OWN(POOL_OBJECTS), 0), "pool");
    expect_ok(hc_retype_all(OWN(frames), BH_TYPE_UNTYPED, 4096, OWN(POOL_FRAMES), 0), "pool");
    expect_ok(hc_retype_all(OWN(frames), BH_TYPE_UNTYPED, code_pages, OWN(PROGRAM_UNTYPED), 0),
              "pool");
    make_region(PROGRAM_UNTYPED, code_pages, PROGRAM);
    fill(PROGRAM, 0, (const void *)BH_IMAGE_VA, code_pages * 4096);
}

bh_ref child_cap(struct child child, enum child_slot slot) {
    return OWN(child.slots + (bh_slot)slot);
}

bh_ref child_own(struct child child, unsigned slot) {
    return BH_REF(child.slots + CHILD_TABLE, slot);
}

static void child_map(struct child child, bh_ref source, unsigned slot, uint64_t first,
                      uint64_t pages, uint64_t va, uint32_t rights) {
    expect_ok(hc_copy(source, child_own(child, slot), rights, first, pages), "child copy");
    expect_ok(hc_map_all(child_own(child, slot), child_cap(child, CHILD_SPACE), va, rights),
              "child map");
}

struct child child_make(unsigned number) {
    struct child child = {number, CHILD_SLOT + number * CHILD_SLOTS};
    uint64_t data_pages = (uint64_t)(image_end - image_data) / 4096;
    uint64_t memory = data_pages + CHILD_STACK_PAGES + CHILD_SCRATCH_PAGES;
    bh_ref objects = child_cap(child, CHILD_OBJECTS);
    expect_ok(hc_retype_all(OWN(POOL_OBJECTS), BH_TYPE_UNTYPED, CHILD_OBJECT_PAGES, objects, 0),
              "objects");
    expect_ok(
        hc_retype_all(OWN(POOL_FRAMES), BH_TYPE_UNTYPED, memory, child_cap(child, CHILD_FRAMES), 0),
        "frames");
    expect_ok(hc_retype_all(objects, BH_TYPE_CAPTABLE, MY_SLOTS, child_cap(child, CHILD_TABLE), 0),
              "table");
    expect_ok(hc_retype_all(objects, BH_TYPE_SPACE, 24, child_cap(child, CHILD_SPACE), 0), "space");
    expect_ok(hc_retype_all(objects, BH_TYPE_CONTEXT, 0, child_cap(child, CHILD_CONTEXT), 0),
              "context");
    expect_ok(hc_retype_all(objects, BH_TYPE_EVENT, 64, child_cap(child, CHILD_EVENT), 0), "event");
    make_region(child.slots + CHILD_FRAMES, memory, child.slots + CHILD_MEMORY);
    fill(child.slots + CHILD_MEMORY, 0, image_data, (uint64_t)(image_bss - image_data));

    bh_ref memory_cap = child_cap(child, CHILD_MEMORY);
    child_map(child, OWN(PROGRAM), MY_TEXT, 0, IMAGE->text_pages, BH_IMAGE_VA,
              BH_REGION_READ | BH_REGION_EXEC);
    child_map(child, OWN(PROGRAM), MY_RODATA, IMAGE->text_pages, IMAGE->rodata_pages,
              BH_IMAGE_VA + IMAGE->text_pages * 4096ull, BH_REGION_READ);
    uint32_t rw = BH_REGION_READ | BH_REGION_WRITE;
    child_map(child, memory_cap, MY_DATA, 0, data_pages, (uint64_t)image_data, rw);
    child_map(child, memory_cap, MY_STACK, data_pages, CHILD_STACK_PAGES, CHILD_STACK_VA, rw);
    child_map(child, memory_cap, MY_SCRATCH, data_pages + CHILD_STACK_PAGES, CHILD_SCRATCH_PAGES,
              CHILD_SCRATCH_VA, rw);

    bh_ref event = OWN(BH_INIT_EVENT), context = child_cap(child, CHILD_CONTEXT);
    expect_ok(hc_copy(event, child_own(child, MY_PARENT), BH_EVENT_SIGNAL, 1 + number, 0), "copy");
    expect_ok(
        hc_copy(child_cap(child, CHILD_EVENT), child_own(child, MY_EVENT), BH_EVENT_SIGNAL, 0, 0),
        "copy");
    expect_ok(hc_bind(context, BH_BIND_CTX_SPACE, child_cap(child, CHILD_SPACE)), "bind space");
    expect_ok(hc_bind(context, BH_BIND_CTX_TABLE, child_cap(child, CHILD_TABLE)), "bind table");
    expect_ok(hc_bind(context, BH_BIND_CTX_EVENT, child_cap(child, CHILD_EVENT)), "bind event");
    bh_ref fault = OWN(child.slots + CHILD_TEXT_TMP);
    expect_ok(hc_copy(event, fault, BH_EVENT_SIGNAL, 32 + number, 0), "copy");
    expect_ok(hc_bind(context, BH_BIND_CTX_FAULT, fault), "bind fault");
    child_sched(child, 10, 0, 0, 0);
    return child;
}

void child_sched(struct child child, unsigned priority, uint64_t quantum, uint64_t budget,
                 uint64_t period) {
    expect_ok(hc_ctx_sched(child_cap(child, CHILD_CONTEXT), BH_INIT_CPU0, priority, quantum, budget,
                           period),
              "sched");
}

void child_start(struct child child, void (*entry)(uint64_t), uint64_t argument) {
    bh_ref context = child_cap(child, CHILD_CONTEXT);
    uint64_t stack = CHILD_STACK_VA + CHILD_STACK_PAGES * 4096 - 8;
    expect_ok(hc_ctx_set(context, BH_REG_RIP, (uint64_t)entry), "rip");
    expect_ok(hc_ctx_set(context, BH_REG_RSP, stack), "rsp");
    expect_ok(hc_ctx_set(context, BH_REG_RDI, argument), "rdi");
    expect_ok(hc_ctx_resume(context), "resume");
}

uint64_t child_get(struct child child, enum bh_reg reg) {
    uint64_t value = 0;
    expect_ok(hc_ctx_get(child_cap(child, CHILD_CONTEXT), reg, &value), "get");
    return value;
}

bool child_ended(struct child child, uint64_t ticks) {
    uint64_t bits, group, deadline = now() + ticks;
    /* An earlier child of this number may have left its bit pending. */
    while (child_get(child, BH_REG_STATE) != BH_CTX_FAULTED &&
           hc_wait(1ull << (32 + child.number), deadline, &bits, &group) == BH_OK)
        ;
    return child_get(child, BH_REG_STATE) == BH_CTX_FAULTED;
}

bool ended_with(struct child child, uint64_t vector) {
    return child_ended(child, boot->tsc_hz) && child_get(child, BH_REG_FAULT_VECTOR) == vector;
}

bool exited_with(struct child child, uint64_t code) {
    return ended_with(child, 6) && child_get(child, BH_REG_RDI) == code;
}

void child_destroy(struct child child) {
    expect_ok(hc_revoke_all(child_cap(child, CHILD_OBJECTS)), "revoke objects");
    expect_ok(hc_revoke_all(child_cap(child, CHILD_FRAMES)), "revoke frames");
    expect_ok(hc_delete_all(OWN(child.slots + CHILD_TEXT_TMP)), "delete fault event");
    expect_ok(hc_delete_all(child_cap(child, CHILD_OBJECTS)), "delete objects");
    expect_ok(hc_delete_all(child_cap(child, CHILD_FRAMES)), "delete frames");
}

void child_exit(uint64_t code) {
    __asm__ volatile("ud2" : : "D"(code));
    __builtin_unreachable();
}
