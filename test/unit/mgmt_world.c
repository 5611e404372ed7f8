#include "test/unit/mgmt_world.h"

#include <stdio.h>
#include <sys/mman.h>

/* mgmt and the core both have an event_signal: mgmt's is compiled under another name here. */
#undef event_signal
#define event_signal mgmt_event_signal
#include "guestlib/loop.h"
#include "mgmt/backend.h"
#include "mgmt/domain/memory.h"
#include "mgmt/host.h"
#include "mgmt/hv.h"
#include "mgmt/layout.h"
#undef OWN
#undef event_signal
#include "test/unit/fake_arch/world.h"

/* Slots of the first Context, who stands for init. */
enum { I_TABLE = 20, I_SPACE, I_CONTEXT };

static struct {
    struct context *context;
    struct bh_bootinfo info;
    unsigned fail_in;
    char log[65536];
    size_t log_bytes;
    uint64_t now_ns;
    struct {
        loop_handler handler;
        void *context;
    } on[LOOP_BITS_MAX];
    struct loop_timer *timers;
    struct loop_work *work;
} mgmt;

static bh_ref mgmt_slot(bh_slot slot) {
    return BH_REF(I_TABLE, slot);
}

static void must(uint64_t status) {
    assert_int_equal(status, BH_OK);
}

const struct bh_bootinfo *mgmt_world_info(void) {
    return &mgmt.info;
}

static void lend_untyped(uint32_t from, enum bh_kind kind, uint64_t base, uint64_t pages) {
    must(call(BH_HC_CAP_INFO, OWN(from), 1));
    uint64_t free_pages = world_value(1);
    bh_slot slot = 600 + from;
    must(finish(BH_HC_RETYPE, OWN(from), BH_TYPE_UNTYPED, free_pages, mgmt_slot(slot), 0));
    mgmt.info.untyped[mgmt.info.untyped_count++] = (struct bh_boot_untyped){
        .base = base + (pages - free_pages) * BH_PAGE_BYTES,
        .pages = free_pages,
        .slot = slot,
        .kind = kind,
    };
}

static void map_host_memory(void) {
    static bool mapped;
    if (mapped)
        return;
    mapped = true;
    void *va = (void *)(MGMT_VA_RAM + FAKE_FRAME_BASE);
    assert_ptr_equal(mmap(va, FAKE_FRAME_PAGES * BH_PAGE_BYTES, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
                     va);
}

/* What init.c does, in short. */
int mgmt_world_boot(void **state) {
    (void)state;
    memset(&mgmt, 0, sizeof(mgmt));
    mgmt.now_ns = 1000000000;
    mgmt_world_hold_detach = false;
    mgmt_world_attached = 0;
    map_host_memory();
    memset((void *)(MGMT_VA_RAM + FAKE_FRAME_BASE), 0xa5, FAKE_FRAME_PAGES * BH_PAGE_BYTES);
    world_boot(MGMT_WORLD_OBJECTS, MGMT_WORLD_FRAMES);
    must(retype(W_OBJECTS, BH_TYPE_CAPTABLE, MGMT_WORLD_SLOTS, I_TABLE));
    must(retype(W_OBJECTS, BH_TYPE_SPACE, 64, I_SPACE));
    must(retype(W_OBJECTS, BH_TYPE_CONTEXT, 0, I_CONTEXT));
    must(finish(BH_HC_RETYPE, OWN(W_OBJECTS), BH_TYPE_EVENT, 4096, mgmt_slot(BH_INIT_EVENT), 0));
    must(call(BH_HC_COPY, OWN(I_TABLE), mgmt_slot(BH_INIT_TABLE), BH_CAPTABLE_MANAGE));
    must(call(BH_HC_COPY, OWN(I_SPACE), mgmt_slot(BH_INIT_SPACE), BH_SPACE_MAP));
    must(call(BH_HC_COPY, OWN(I_CONTEXT), mgmt_slot(BH_INIT_CONTEXT), BH_CONTEXT_TIME));
    must(call(BH_HC_COPY, OWN(W_SYSTEM), mgmt_slot(BH_INIT_SYSTEM), BH_RIGHTS_ALL));
    must(call(BH_HC_COPY, OWN(W_CPU0), mgmt_slot(BH_INIT_CPU0), BH_RIGHTS_ALL, PRIORITY_MGMT));
    mgmt.info = (struct bh_bootinfo){
        .magic = BH_BOOTINFO_MAGIC,
        .tsc_hz = 1000000000,
        .cpus = 1,
        .context_bytes = (uint32_t)arch_context_bytes(),
        .slot_bytes = sizeof(struct slot),
        .space_bytes = (uint32_t)(object_bytes(BH_TYPE_SPACE, 1) - BH_PAGE_BYTES),
        .event_bytes = (uint32_t)object_bytes(BH_TYPE_EVENT, 64),
        .event_large_bytes = (uint32_t)object_bytes(BH_TYPE_EVENT, 4096),
        .irq_bytes = (uint32_t)object_bytes(BH_TYPE_IRQ, 0),
    };
    lend_untyped(W_OBJECTS, BH_KIND_OBJECT, FAKE_OBJECT_BASE + W_BOOT_PAGES * BH_PAGE_BYTES,
                 MGMT_WORLD_OBJECTS);
    lend_untyped(W_FRAMES, BH_KIND_FRAME, FAKE_FRAME_BASE, MGMT_WORLD_FRAMES);
    lend_untyped(W_DEVICE, BH_KIND_DEVICE, FAKE_DEVICE_BASE, FAKE_DEVICE_PAGES);
    must(call(BH_HC_BIND, OWN(I_CONTEXT), BH_BIND_CTX_SPACE, OWN(I_SPACE)));
    must(call(BH_HC_BIND, OWN(I_CONTEXT), BH_BIND_CTX_TABLE, OWN(I_TABLE)));
    must(call(BH_HC_BIND, OWN(I_CONTEXT), BH_BIND_CTX_EVENT, mgmt_slot(BH_INIT_EVENT)));
    must(call(BH_HC_CTX_SCHED, OWN(I_CONTEXT), W_CPU0, PRIORITY_MGMT, 0, 0, 0));
    must(call(BH_HC_CTX_RESUME, OWN(I_CONTEXT)));
    mgmt.context = world_object(I_CONTEXT);
    must(host_start(&mgmt.info));
    return 0;
}

/* --- mgmt/hv.h ---------------------------------------------------------------------------------
 */

void mgmt_world_fail(unsigned n) {
    mgmt.fail_in = n;
}

static bool fails_now(void) {
    return mgmt.fail_in > 0 && --mgmt.fail_in == 0;
}

static enum bh_status once(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                           uint64_t e, uint64_t f) {
    const uint64_t arguments[6] = {a, b, c, d, e, f};
    uint64_t status = world_raw(mgmt.context, number, arguments);
    world_exit();
    return (enum bh_status)status;
}

static enum bh_status all(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                          uint64_t e) {
    enum bh_status status;
    do
        status = once(number, a, b, c, d, e, 0);
    while (status == BH_AGAIN);
    world_check();
    return status;
}

enum bh_status hv_retype(bh_ref untyped, enum bh_type type, uint64_t size, bh_ref to,
                         uint64_t kind) {
    return fails_now() ? BH_NO_MEMORY : all(BH_HC_RETYPE, untyped, type, size, to, kind);
}

enum bh_status hv_copy(bh_ref from, bh_ref to, uint32_t rights, uint64_t a, uint64_t b) {
    return all(BH_HC_COPY, from, to, rights, a, b);
}

enum bh_status hv_narrow(bh_ref slot, uint32_t rights) {
    return all(BH_HC_NARROW, slot, rights, 0, 0, 0);
}

enum bh_status hv_delete(bh_ref slot) {
    return all(BH_HC_DELETE, slot, 0, 0, 0, 0);
}

enum bh_status hv_revoke(bh_ref slot) {
    return all(BH_HC_REVOKE, slot, 0, 0, 0, 0);
}

enum bh_status hv_map(bh_ref region, bh_ref space, uint64_t va, uint32_t rights) {
    return fails_now() ? BH_NO_MEMORY : all(BH_HC_MAP, region, space, va, rights, 0);
}

enum bh_status hv_unmap(bh_ref region) {
    return all(BH_HC_UNMAP, region, 0, 0, 0, 0);
}

enum bh_status hv_bind(bh_ref object, enum bh_binding what, bh_ref target) {
    return all(BH_HC_BIND, object, what, target, 0, 0);
}

enum bh_status hv_cap_info(bh_ref slot, unsigned word, uint64_t *first, uint64_t *second) {
    enum bh_status status = all(BH_HC_CAP_INFO, slot, word, 0, 0, 0);
    *first = mgmt.context->arch.value[0];
    *second = mgmt.context->arch.value[1];
    return status;
}

/* The core's memory is only a mark for each page: clean what mgmt sees of it, too. */
enum bh_status hv_scrub_step(bh_ref untyped) {
    enum bh_status status = once(BH_HC_SCRUB, untyped, 0, 0, 0, 0, 0);
    if (status == BH_OK)
        memset((void *)(MGMT_VA_RAM + memory_base((chunk)untyped)), 0,
               memory_pages((chunk)untyped) * BH_PAGE_BYTES);
    return status;
}

enum bh_status hv_context_schedule(bh_ref context, bh_slot cpu, unsigned priority,
                                   uint64_t quantum_tsc, uint64_t budget_tsc, uint64_t period_tsc) {
    return once(BH_HC_CTX_SCHED, context, cpu, priority, quantum_tsc, budget_tsc, period_tsc);
}

enum bh_status hv_context_resume(bh_ref context) {
    return all(BH_HC_CTX_RESUME, context, 0, 0, 0, 0);
}

enum bh_status hv_context_suspend(bh_ref context) {
    return all(BH_HC_CTX_SUSPEND, context, 0, 0, 0, 0);
}

enum bh_status hv_context_get(bh_ref context, enum bh_reg reg, uint64_t *value) {
    enum bh_status status = all(BH_HC_CTX_GET, context, reg, 0, 0, 0);
    *value = mgmt.context->arch.value[0];
    return status;
}

enum bh_status hv_context_set(bh_ref context, enum bh_reg reg, uint64_t value) {
    return all(BH_HC_CTX_SET, context, reg, value, 0, 0);
}

enum bh_status hv_irq_attach(bh_ref irq, uint64_t source, uint64_t *address, uint64_t *data) {
    enum bh_status status = all(BH_HC_IRQ_ATTACH, irq, BH_INIT_SYSTEM, source, 0, 0);
    *address = mgmt.context->arch.value[0];
    *data = mgmt.context->arch.value[1];
    return status;
}

enum bh_status hv_irq_acknowledge(bh_slot irq) {
    return all(BH_HC_IRQ_ACK, irq, 0, 0, 0, 0);
}

enum bh_status hv_signal(bh_slot event) {
    return all(BH_HC_SIGNAL, event, 0, 0, 0, 0);
}

enum bh_status hv_system(enum bh_system operation, uint64_t argument, uint64_t *value) {
    enum bh_status status = all(BH_HC_SYSTEM, BH_INIT_SYSTEM, operation, argument, 0, 0);
    *value = mgmt.context->arch.value[0];
    return status;
}

uint32_t hv_port_in(uint16_t port, unsigned width_bytes) {
    (void)port;
    (void)width_bytes;
    return 0;
}

void hv_port_out(uint16_t port, unsigned width_bytes, uint32_t value) {
    (void)port;
    (void)width_bytes;
    (void)value;
}

/* --- What guests do ----------------------------------------------------------------------------
 */

static struct slot *slot_of(bh_slot index) {
    struct captable *table = world_object(I_TABLE);
    return &table->slot[index];
}

void mgmt_world_fault(bh_slot context, uint64_t vector) {
    context_fault(slot_of(context)->object, vector, 6, 0xdead000);
    world_exit();
}

void mgmt_world_signal(bh_slot table, uint32_t index) {
    struct captable *guest = slot_of(table)->object;
    struct slot *slot = &guest->slot[index];
    assert_int_equal(slot->type, BH_TYPE_EVENT);
    event_signal(slot->object, slot->ref.badge);
}

unsigned mgmt_world_slots_used(void) {
    unsigned used = 0;
    for (bh_slot i = 0; i < MGMT_WORLD_SLOTS; i++)
        used += slot_of(i)->type != BH_TYPE_NONE;
    return used;
}

/* --- The event loop ----------------------------------------------------------------------------
 */

void loop_on_event(unsigned bit, loop_handler handler, void *context) {
    mgmt.on[bit].handler = handler;
    mgmt.on[bit].context = context;
}

void loop_timer_set(struct loop_timer *timer, uint64_t deadline_ns, loop_handler handler,
                    void *context) {
    loop_timer_cancel(timer);
    *timer = (struct loop_timer){deadline_ns, handler, context, mgmt.timers, true};
    mgmt.timers = timer;
}

void loop_timer_cancel(struct loop_timer *timer) {
    struct loop_timer **link = &mgmt.timers;
    while (*link && *link != timer)
        link = &(*link)->next;
    if (*link)
        *link = timer->next;
    timer->set = false;
}

void loop_post(struct loop_work *work) {
    if (work->posted)
        return;
    struct loop_work **link = &mgmt.work;
    while (*link)
        link = &(*link)->next;
    work->posted = true;
    work->next = NULL;
    *link = work;
}

uint64_t loop_now_ns(void) {
    return mgmt.now_ns;
}

static bool run_event(void) {
    struct event *event = slot_of(BH_INIT_EVENT)->object;
    uint64_t bits, group;
    if (!event_take(event, ~0ull, &bits, &group))
        return false;
    for (; bits; bits &= bits - 1) {
        unsigned bit = (unsigned)(group * 64) + (unsigned)__builtin_ctzll(bits);
        if (mgmt.on[bit].handler)
            mgmt.on[bit].handler(mgmt.on[bit].context);
    }
    return true;
}

void mgmt_world_turn(void) {
    do {
        while (mgmt.work) {
            struct loop_work *work = mgmt.work;
            mgmt.work = work->next;
            work->posted = false;
            work->handler(work->context);
        }
    } while (run_event() || mgmt.work);
}

void mgmt_world_time(uint64_t ns) {
    mgmt.now_ns += ns;
    for (struct loop_timer *timer = mgmt.timers; timer;) {
        if (timer->deadline_ns > mgmt.now_ns) {
            timer = timer->next;
            continue;
        }
        loop_timer_cancel(timer);
        timer->handler(timer->context);
        timer = mgmt.timers;
    }
    mgmt_world_turn();
}

/* --- Back ends and the log ---------------------------------------------------------------------
 */

bool mgmt_world_hold_detach;
unsigned mgmt_world_attached;

#define HELD_MAX 16
static struct {
    void (*done)(void *context);
    void *context;
} held[HELD_MAX];
static unsigned held_count;

static void detach(void (*done)(void *context), void *context) {
    mgmt_world_attached--;
    if (!mgmt_world_hold_detach) {
        done(context);
        return;
    }
    held[held_count].done = done;
    held[held_count++].context = context;
}

void mgmt_world_finish_detach(void) {
    while (held_count > 0) {
        held_count--;
        held[held_count].done(held[held_count].context);
    }
}

struct block_client {
    int unused;
};
struct net_client {
    int unused;
};
static struct block_client a_block_client;
static struct net_client a_net_client;

struct block_client *block_attach(const struct channel *channel,
                                  const struct block_settings *settings, struct bh_block_info *info,
                                  enum bh_status *status, char *error, size_t error_bytes) {
    assert_int_equal(channel->window_hpa.raw % BH_PAGE_BYTES, 0);
    if (strcmp(settings->source, "partition:missing") == 0) {
        *status = BH_BAD_ARG;
        snprintf(error, error_bytes, "no partition 'missing'");
        return NULL;
    }
    *status = BH_OK;
    info->sectors = 8;
    mgmt_world_attached++;
    return &a_block_client;
}

void block_service(struct block_client *client) {
    assert_ptr_equal(client, &a_block_client);
}

void block_detach(struct block_client *client, void (*done)(void *context), void *context) {
    assert_ptr_equal(client, &a_block_client);
    detach(done, context);
}

struct net_client *net_attach(const struct channel *channel, const struct net_settings *settings,
                              struct bh_net_info *info, enum bh_status *status, char *error,
                              size_t error_bytes) {
    (void)error;
    (void)error_bytes;
    assert_true(channel->window_bytes > 0);
    memcpy(info->mac, settings->mac, sizeof(info->mac));
    *status = BH_OK;
    mgmt_world_attached++;
    return &a_net_client;
}

void net_service(struct net_client *client) {
    assert_ptr_equal(client, &a_net_client);
}

void net_detach(struct net_client *client, void (*done)(void *context), void *context) {
    assert_ptr_equal(client, &a_net_client);
    detach(done, context);
}

void log_line(const char *part, const char *format, ...) {
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    int used = snprintf(mgmt.log + mgmt.log_bytes, sizeof(mgmt.log) - mgmt.log_bytes, "%s: %s\n",
                        part, line);
    mgmt.log_bytes += (size_t)used;
    assert_true(mgmt.log_bytes < sizeof(mgmt.log));
}

const char *mgmt_world_log(void) {
    return mgmt.log;
}
