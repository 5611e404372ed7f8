/* The first domain. It owns everything hv gave out, builds mgmt of a part of it, lends mgmt the
 * rest, and waits. When mgmt faults it reports why, takes everything back and builds it anew. It
 * must never do more than that: everybody trusts it. */
#include <stdbool.h>
#include <stddef.h>

#include "guestlib/hypercall.h"
#include "guestlib/tsc.h"
#include "mgmt/init/newc.h"
#include "mgmt/init/text.h"
#include "mgmt/layout.h"

/* Slots of init's own, above everything that hv fills. */
enum {
    SLOT_FAULT = 2048, /* init's Event with the badge that mgmt's faults set */
    SLOT_RAM_UNTYPED,  /* mgmt's RAM and its information page */
    SLOT_TABLE,
    SLOT_SPACE,
    SLOT_CONTEXT,
    SLOT_RAM,
    SLOT_INFO,
    SLOT_LOAD, /* the part of mgmt's RAM that init maps to write the image */
    SLOT_TEXT,
    SLOT_RODATA,
    SLOT_DATA,
    SLOT_STACK,
    SLOT_LOG,
};

#define OWN(slot) BH_REF(BH_INIT_TABLE, slot)
#define MGMT(slot) BH_REF(SLOT_TABLE, slot)

#define FAULT_BIT 1u

#define POOL_FOR_DEVICES 128u /* pages; also for the tables above the lowest level */

/* Where init maps what it reads and writes. */
#define VA_ARCHIVE MGMT_VA_ARCHIVE
#define VA_LOAD MGMT_VA_RAM
#define VA_INFO (MGMT_VA_RAM + 0x40000000ull)

#define FAILURES_MAX 5u
#define FAILURES_S 60u

static const struct bh_bootinfo *info;
static const struct bh_image_header *image; /* mgmt.bin in the archive, checked */
static uint64_t image_bytes;

void guest_start(const struct bh_bootinfo *bootinfo);

/* The compiler may call these for copies of structures. */
void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memset(void *to, int value, size_t bytes);

void *memcpy(void *restrict to, const void *restrict from, size_t bytes) {
    void *start = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
    return start;
}

void *memset(void *to, int value, size_t bytes) {
    void *start = to;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(value) : "memory");
    return start;
}

static _Noreturn void halt(void) {
    uint64_t bits, group;
    for (;;)
        hc_wait(0, BH_DEADLINE_NEVER, &bits, &group);
}

static _Noreturn void give_up(const char *what) {
    text_put("init: ");
    text_put(what);
    text_end();
    halt();
}

/* For steps that only fail when the machine is too small or init is wrong. */
static void need(enum bh_status status, const char *what) {
    if (status == BH_OK)
        return;
    text_put("init: cannot start mgmt: ");
    text_put(what);
    text_put(": status ");
    text_decimal(status);
    if (status == BH_NO_MEMORY)
        text_put(" (out of memory: give the machine more)");
    text_end();
    halt();
}

/* The header's segments fill the file exactly, and everything fits into mgmt's RAM with room for a
 * heap. */
static bool image_good(void) {
    const struct bh_image_header *h = image;
    if (image_bytes < sizeof(*h) || h->magic != BH_IMAGE_MAGIC || h->version != BH_IMAGE_VERSION)
        return false;
    uint64_t file_pages = (uint64_t)h->text_pages + h->rodata_pages + h->data_pages;
    uint64_t pages = file_pages + h->bss_pages + 1 + h->stack_pages;
    return h->text_pages > 0 && h->stack_pages > 0 && file_pages * BH_PAGE_BYTES == image_bytes &&
           pages < MGMT_RAM_PAGES && h->entry >= BH_IMAGE_VA &&
           h->entry < BH_IMAGE_VA + (uint64_t)h->text_pages * BH_PAGE_BYTES;
}

static bool is_boot(const char *name) {
    static const char boot[] = "boot";
    for (unsigned i = 0; i < sizeof(boot); i++)
        if (name[i] != boot[i])
            return false;
    return true;
}

static void find_image(void) {
    for (uint32_t i = 0; i < info->module_count; i++) {
        const struct bh_boot_module *module = &info->module[i];
        if (!is_boot(module->name))
            continue;
        need(hc_map_all(OWN(module->slot), OWN(BH_INIT_SPACE), VA_ARCHIVE, BH_REGION_READ),
             "mapping the boot archive");
        size_t bytes = 0;
        /* Contents begin at multiples of 4 bytes, and the header's 64-bit fields are read as such:
         * x86 allows it. */
        image =
            (const void *)newc_find((const uint8_t *)VA_ARCHIVE, module->bytes, "mgmt.bin", &bytes);
        image_bytes = bytes;
        if (!image)
            give_up("the module 'boot' holds no mgmt.bin; make the image again with ./dev image");
        if (!image_good())
            give_up("mgmt.bin is damaged; make the image again with ./dev image");
        return;
    }
    give_up("no module named 'boot'; the boot loader must load the boot archive under that name");
}

/* The largest Untyped of a kind. */
static const struct bh_boot_untyped *largest(enum bh_kind kind) {
    const struct bh_boot_untyped *best = NULL;
    for (uint32_t i = 0; i < info->untyped_count; i++) {
        const struct bh_boot_untyped *u = &info->untyped[i];
        if (u->kind == kind && (!best || u->pages > best->pages))
            best = u;
    }
    if (!best)
        give_up("the machine has too little memory");
    return best;
}

static uint64_t clamp(uint64_t value, uint64_t low, uint64_t high) {
    return value < low ? low : value > high ? high : value;
}

/* mgmt's table takes a sixteenth of the object memory: its size bounds how many guests there can
 * be. */
static uint64_t table_slots(void) {
    return clamp(largest(BH_KIND_OBJECT)->pages * (BH_PAGE_BYTES / 16) / info->slot_bytes, 4096,
                 BH_CAPTABLE_SLOTS_MAX - 1);
}

static uint64_t ram_pages(void) {
    return mgmt_ram_pages(table_slots());
}

/* mgmt's objects. Its page-table pool suffices for mapping all RAM and the boot modules in 4 KiB
 * pages, and all that a host's devices need. */
static void make_objects(void) {
    bh_ref from = OWN(largest(BH_KIND_OBJECT)->slot);
    uint64_t slots = table_slots();
    uint64_t mapped = info->ram_bytes;
    for (uint32_t i = 0; i < info->module_count; i++)
        mapped += info->module[i].bytes;
    uint64_t pool = clamp(mapped / BH_PAGE_BYTES / 512 + POOL_FOR_DEVICES, 0, BH_SPACE_POOL_MAX);
    need(hc_retype_all(from, BH_TYPE_CAPTABLE, slots, OWN(SLOT_TABLE), 0), "its CapTable");
    need(hc_retype_all(from, BH_TYPE_SPACE, pool, OWN(SLOT_SPACE), BH_SPACE_RING3), "its Space");
    need(hc_retype_all(from, BH_TYPE_CONTEXT, 0, OWN(SLOT_CONTEXT), 0), "its Context");
    /* The original goes to mgmt, which derives capabilities with badges of its choice from it. */
    need(hc_retype_all(from, BH_TYPE_EVENT, 4096, MGMT(BH_INIT_EVENT), 0), "its Event");
}

static void make_ram(void) {
    bh_ref from = OWN(largest(BH_KIND_FRAME)->slot);
    need(hc_retype_all(from, BH_TYPE_UNTYPED, ram_pages() + 1, OWN(SLOT_RAM_UNTYPED), 0),
         "its RAM");
    need(hc_scrub_all(OWN(SLOT_RAM_UNTYPED)), "cleaning its RAM");
    need(hc_retype_all(OWN(SLOT_RAM_UNTYPED), BH_TYPE_REGION, ram_pages(), OWN(SLOT_RAM), 0),
         "its RAM");
    need(hc_retype_all(OWN(SLOT_RAM_UNTYPED), BH_TYPE_REGION, 1, OWN(SLOT_INFO), 0),
         "its boot information");
}

/* Maps pages [first, first + pages) of mgmt's RAM into its Space. A page's place in RAM is that of
 * its address, so the page under the guard page stays unused. */
static uint64_t map_ram(bh_slot slot, uint64_t first, uint64_t pages, uint32_t rights) {
    if (pages > 0) {
        need(hc_copy(OWN(SLOT_RAM), OWN(slot), rights, first, pages), "a view of its RAM");
        need(hc_map_all(OWN(slot), OWN(SLOT_SPACE), BH_IMAGE_VA + first * BH_PAGE_BYTES, rights),
             "mapping its RAM");
    }
    return first + pages;
}

/* Writes the image and maps everything. Returns the end of the stack. */
static uint64_t load(void) {
    need(hc_copy(OWN(SLOT_RAM), OWN(SLOT_LOAD), BH_REGION_READ | BH_REGION_WRITE, 0,
                 image_bytes / BH_PAGE_BYTES),
         "a view of its image");
    need(hc_map_all(OWN(SLOT_LOAD), OWN(BH_INIT_SPACE), VA_LOAD, BH_REGION_READ | BH_REGION_WRITE),
         "mapping its image");
    memcpy((void *)VA_LOAD, image, image_bytes);
    need(hc_delete_all(OWN(SLOT_LOAD)), "unmapping its image");

    uint64_t page = 0;
    page = map_ram(SLOT_TEXT, page, image->text_pages, BH_REGION_READ | BH_REGION_EXEC);
    page = map_ram(SLOT_RODATA, page, image->rodata_pages, BH_REGION_READ);
    page = map_ram(SLOT_DATA, page, (uint64_t)image->data_pages + image->bss_pages,
                   BH_REGION_READ | BH_REGION_WRITE);
    page++; /* guard */
    map_ram(SLOT_STACK, page, ram_pages() - page, BH_REGION_READ | BH_REGION_WRITE);
    return BH_IMAGE_VA + (page + image->stack_pages) * BH_PAGE_BYTES;
}

/* Gives mgmt a copy of each capability, in the same slot, with no right that it has no use for. */
static void lend(void) {
    need(hc_copy(OWN(SLOT_TABLE), MGMT(BH_INIT_TABLE), BH_CAPTABLE_MANAGE, 0, 0), "its CapTable");
    need(hc_copy(OWN(SLOT_SPACE), MGMT(BH_INIT_SPACE), BH_SPACE_MAP, 0, 0), "its Space");
    need(hc_copy(OWN(SLOT_CONTEXT), MGMT(BH_INIT_CONTEXT), BH_CONTEXT_TIME, 0, 0), "its Context");
    need(hc_copy(OWN(BH_INIT_SYSTEM), MGMT(BH_INIT_SYSTEM), BH_RIGHTS_ALL, 0, 0), "System");
    need(hc_copy(OWN(BH_INIT_PORTS), MGMT(BH_INIT_PORTS), BH_RIGHTS_ALL, 0, 0), "Ports");
    need(hc_copy(OWN(BH_INIT_LOG), OWN(SLOT_LOG), BH_REGION_READ, 0, 0), "the log");
    need(hc_map_all(OWN(SLOT_LOG), OWN(SLOT_SPACE), BH_LOG_VA, BH_REGION_READ), "the log");
    for (uint32_t i = 0; i < info->cpus; i++)
        need(
            hc_copy(OWN(BH_INIT_CPU0 + i), MGMT(BH_INIT_CPU0 + i), BH_RIGHTS_ALL, PRIORITY_MGMT, 0),
            "a Cpu");
    for (uint32_t i = 0; i < info->module_count; i++)
        need(hc_copy(OWN(info->module[i].slot), MGMT(info->module[i].slot), BH_REGION_READ, 0, 0),
             "a boot module");
}

/* Lends all memory that is left: one child for each Untyped, in the same slot, because an Untyped
 * cannot be copied. `out` is told where each begins now. */
static void lend_memory(struct bh_bootinfo *out) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < info->untyped_count; i++) {
        const struct bh_boot_untyped *u = &info->untyped[i];
        uint64_t pages, free_pages;
        need(hc_cap_info(OWN(u->slot), 1, &pages, &free_pages), "an Untyped");
        if (free_pages == 0)
            continue;
        need(hc_retype_all(OWN(u->slot), BH_TYPE_UNTYPED, free_pages, MGMT(u->slot), 0),
             "an Untyped");
        out->untyped[count] = *u;
        out->untyped[count].base += (pages - free_pages) * BH_PAGE_BYTES;
        out->untyped[count].pages = free_pages;
        count++;
    }
    out->untyped_count = count;
}

/* mgmt's boot information: hv's, but for the memory. */
static void lend_information(void) {
    need(hc_map_all(OWN(SLOT_INFO), OWN(BH_INIT_SPACE), VA_INFO, BH_REGION_READ | BH_REGION_WRITE),
         "its boot information");
    struct bh_bootinfo *out = (struct bh_bootinfo *)VA_INFO;
    *out = *info;
    lend_memory(out);
    need(hc_unmap_all(OWN(SLOT_INFO)), "its boot information");
    need(hc_map_all(OWN(SLOT_INFO), OWN(SLOT_SPACE), BH_BOOTINFO_VA, BH_REGION_READ),
         "its boot information");
}

static void start_mgmt(void) {
    make_objects();
    make_ram();
    uint64_t stack_end = load();
    lend();
    lend_information();
    bh_ref context = OWN(SLOT_CONTEXT);
    need(hc_bind(context, BH_BIND_CTX_SPACE, OWN(SLOT_SPACE)), "binding its Space");
    need(hc_bind(context, BH_BIND_CTX_TABLE, OWN(SLOT_TABLE)), "binding its CapTable");
    need(hc_bind(context, BH_BIND_CTX_EVENT, MGMT(BH_INIT_EVENT)), "binding its Event");
    need(hc_bind(context, BH_BIND_CTX_FAULT, OWN(SLOT_FAULT)), "binding its fault Event");
    need(hc_ctx_set(context, BH_REG_RIP, image->entry), "its entry point");
    need(hc_ctx_set(context, BH_REG_RDI, BH_BOOTINFO_VA), "its argument");
    need(hc_ctx_set(context, BH_REG_RSP, stack_end - 8), "its stack");
    need(hc_ctx_sched(context, BH_INIT_CPU0, PRIORITY_MGMT, 0, 0, 0), "its priority");
    need(hc_ctx_resume(context), "starting it");
}

static void report_register(const char *name, enum bh_reg reg) {
    uint64_t value = 0;
    hc_ctx_get(OWN(SLOT_CONTEXT), reg, &value);
    text_put(name);
    text_hex(value);
}

static void report(void) {
    static const char *const names[] = {" rax ", " rbx ", " rcx ", " rdx ", " rsi ", " rdi ",
                                        " rbp ", " rsp ", " r8  ", " r9  ", " r10 ", " r11 ",
                                        " r12 ", " r13 ", " r14 ", " r15 "};
    report_register("init: mgmt faulted: vector ", BH_REG_FAULT_VECTOR);
    report_register(" error ", BH_REG_FAULT_ERROR);
    report_register(" address ", BH_REG_FAULT_ADDRESS);
    text_end();
    report_register("init:   rip ", BH_REG_RIP);
    report_register(" rflags ", BH_REG_RFLAGS);
    for (unsigned reg = BH_REG_RAX; reg <= BH_REG_R15; reg++) {
        if (reg % 4 == 0) {
            text_end();
            text_put("init:  ");
        }
        report_register(names[reg], (enum bh_reg)reg);
    }
    text_end();
}

/* Takes back everything mgmt was built of and everything it made: guests, mappings, interrupts. */
static void stop_mgmt(void) {
    for (uint32_t i = 0; i < info->untyped_count; i++)
        need(hc_revoke_all(OWN(info->untyped[i].slot)), "taking its memory back");
    need(hc_delete_all(OWN(SLOT_LOG)), "taking the log back");
}

void guest_start(const struct bh_bootinfo *bootinfo) {
    info = bootinfo;
    if (info->magic != BH_BOOTINFO_MAGIC || info->version != BH_BOOTINFO_VERSION)
        give_up("hv speaks another version of the boot information; build both anew");
    need(hc_copy(OWN(BH_INIT_EVENT), OWN(SLOT_FAULT), BH_EVENT_SIGNAL, FAULT_BIT, 0),
         "the fault Event");
    find_image();
    uint64_t failed_at[FAILURES_MAX] = {0}; /* TSC; 0: not yet */
    for (unsigned failures = 0;; failures++) {
        start_mgmt();
        uint64_t bits, group;
        while (hc_wait(1ull << FAULT_BIT, BH_DEADLINE_NEVER, &bits, &group))
            ;
        report();
        stop_mgmt();
        uint64_t now = tsc_read();
        failed_at[failures % FAILURES_MAX] = now;
        uint64_t oldest = failed_at[(failures + 1) % FAILURES_MAX];
        if (oldest && now - oldest < FAILURES_S * info->tsc_hz)
            give_up("mgmt failed 5 times within a minute; not starting it again. "
                    "Its reports are above; reset the machine to try again");
        text_put("init: all guests are gone; starting mgmt again");
        text_end();
    }
}
