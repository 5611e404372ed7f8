/* The life of domains, on the real core: what a domain is given and what mgmt keeps, and that
 * nothing is left of it in the end, however it ends. */
#include "test/unit/mgmt_world.h"

#include <stdio.h>

#include "mgmt/domain/domain.h"
#include "mgmt/host.h"
#include "mgmt/hv.h"
#include "mgmt/layout.h"
#include "mgmt/platform.h"

#define GUEST_SIGNAL_CONTROL 1u
#define GUEST_FAULT 31u

#define DEFINITION(name, memory, more)                                                             \
    "<domain type='bulkhead'>\n<name>" name "</name>\n<memory unit='KiB'>" memory "</memory>\n"    \
    "<os><type>pv</type><kernel>k.bin</kernel><cmdline>x y</cmdline></os>\n" more "</domain>"
#define DEVICES                                                                                    \
    "<devices><console/><disk type='volume'><source volume='disk:0'/><target dev='vda'/>"          \
    "<readonly/></disk><interface type='network'><mac address='52:54:00:00:00:01'/></interface>"   \
    "</devices>"

/* Text 2, rodata 1, data 1 pages in the file; bss 1, stack 2. */
#define FILE_PAGES 4u
static uint8_t kernel[FILE_PAGES * BH_PAGE_BYTES];
static char archive[1 << 17];
static size_t archive_bytes;

static void archive_add(const char *name, const void *contents, size_t bytes) {
    size_t name_bytes = strlen(name) + 1;
    archive_bytes += (size_t)sprintf(
        archive + archive_bytes, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", 1u,
        0100644u, 0u, 0u, 1u, 0u, (unsigned)bytes, 0u, 0u, 0u, 0u, (unsigned)name_bytes, 0u);
    memcpy(archive + archive_bytes, name, name_bytes);
    archive_bytes = (archive_bytes + name_bytes + 3) & ~(size_t)3;
    memcpy(archive + archive_bytes, contents, bytes);
    archive_bytes = (archive_bytes + bytes + 3) & ~(size_t)3;
}

static void archive_text(const char *name, const char *text) {
    archive_add(name, text, strlen(text));
}

static int boot(void **state) {
    struct bh_image_header header = {
        .magic = BH_IMAGE_MAGIC,
        .version = BH_IMAGE_VERSION,
        .text_pages = 2,
        .rodata_pages = 1,
        .data_pages = 1,
        .bss_pages = 1,
        .stack_pages = 2,
        .entry = BH_IMAGE_VA + 0x1040,
    };
    memset(kernel, 0x90, sizeof(kernel));
    memcpy(kernel, &header, sizeof(header));
    memset(archive, 0, sizeof(archive));
    archive_bytes = 0;
    archive_add("k.bin", kernel, sizeof(kernel));
    archive_text("a.xml", DEFINITION("a", "1024", DEVICES));
    archive_text("again.xml", DEFINITION("again", "1024", "<on_crash>restart</on_crash>"));
    archive_text("keep.xml", DEFINITION("keep", "2056",
                                        "<on_crash>preserve</on_crash>"
                                        "<bulkhead crashreport='no'/>"));
    archive_text("large.xml", DEFINITION("large", "99999999", ""));
    archive_text("small.xml", DEFINITION("small", "16", ""));
    archive_text("nokernel.xml", "<domain type='bulkhead'><name>n</name><memory>2048</memory><os>"
                                 "<type>pv</type>\n<kernel>gone.bin</kernel></os></domain>");
    archive_text("nodisk.xml",
                 DEFINITION("nodisk", "1024",
                            "<devices><console/><disk type='volume'>"
                            "<source volume='partition:missing'/><target dev='vda'/></disk>"
                            "</devices>"));
    mgmt_world_boot(state);
    domains_start((const uint8_t *)archive, archive_bytes);
    return 0;
}

static struct domain *define(const char *file) {
    struct domain_error error = {""};
    struct domain *d = domain_define(file, &error);
    if (!d)
        fail_msg("%s", error.text);
    return d;
}

static struct domain *started(const char *file) {
    struct domain *d = define(file);
    struct domain_error error = {""};
    if (!domain_start(d, &error))
        fail_msg("%s", error.text);
    assert_int_equal(d->state, DOMAIN_STARTING);
    mgmt_world_turn();
    if (d->state != DOMAIN_RUNNING)
        fail_msg("%s", mgmt_world_log());
    return d;
}

struct books {
    struct memory_account frames, objects;
    unsigned slots;
};

static struct books books(void) {
    return (struct books){memory_account(BH_KIND_FRAME), memory_account(BH_KIND_OBJECT),
                          mgmt_world_slots_used()};
}

static void assert_balanced(struct books before) {
    struct books after = books();
    assert_memory_equal(&before.frames, &after.frames, sizeof(before.frames));
    assert_memory_equal(&before.objects, &after.objects, sizeof(before.objects));
    assert_int_equal(before.slots, after.slots);
}

static uint64_t rights_of(bh_slot slot) {
    uint64_t word, badge;
    assert_int_equal(hv_cap_info(OWN(slot), 0, &word, &badge), BH_OK);
    assert_int_not_equal(word & 0xff, BH_TYPE_NONE);
    return word >> 8 & 0xff;
}

static void test_what_a_guest_is_told(void **state) {
    (void)state;
    struct domain *d = started("a.xml");
    const struct bh_domain_info *info = domain_info_page(d);
    assert_int_equal(info->magic, BH_DOMAIN_MAGIC);
    assert_string_equal(info->name, "a");
    assert_string_equal(info->arguments, "x y");
    assert_int_equal(info->arguments_bytes, 3);
    assert_int_equal(info->ram_va, BH_IMAGE_VA);
    assert_int_equal(info->heap_va, BH_IMAGE_VA + 8ull * BH_PAGE_BYTES);
    assert_int_equal(info->heap_va + info->heap_bytes, info->ram_va + (1 << 20));
    assert_int_equal(info->device_count, 4);
    assert_int_equal(info->device[2].class, BH_CLASS_BLOCK);
    assert_int_equal(info->device[2].block.sectors, 8);
    assert_int_equal(info->device[3].class, BH_CLASS_NET);
    assert_int_equal(info->device[3].net.mac[5], 1);
    assert_true(info->uuid[6] >> 4 == 4);
    /* The image, as the guest will find it. */
    assert_memory_equal((void *)(MGMT_VA_RAM + memory_base(d->ram[0])), kernel, sizeof(kernel));
}

static void assert_filled(const struct channel *channel, int with) {
    for (uint64_t at = 0; at < channel->window_bytes; at++)
        if (channel->window[at] != with)
            fail_msg("%s: byte %llu", channel->name, (unsigned long long)at);
}

/* The disk's window has a chunk of its own, the network card's of a guest this small has not. */
static void test_windows_are_apart(void **state) {
    (void)state;
    struct domain *d = started("a.xml");
    const struct bh_domain_info *info = domain_info_page(d);
    uint64_t end_va = 0;
    assert_int_equal(d->shared_chunks, 2);
    for (uint32_t i = 0; i < info->device_count; i++) {
        struct channel channel = domain_channel(d, i);
        assert_int_equal(channel.window_hpa.raw, (uintptr_t)channel.window - MGMT_VA_RAM);
        memset(channel.window, (int)i + 1, channel.window_bytes);
        if (info->device[i].window_va + channel.window_bytes > end_va)
            end_va = info->device[i].window_va + channel.window_bytes;
    }
    for (uint32_t i = 0; i < info->device_count; i++) {
        struct channel channel = domain_channel(d, i);
        assert_filled(&channel, (int)i + 1);
        assert_int_equal(channel.peer->state, BH_QUEUE_CLOSED);
    }
    assert_int_equal(info->magic, BH_DOMAIN_MAGIC);
    assert_int_equal(end_va, info->device[2].window_va + info->device[2].window_bytes);
}

static void test_what_mgmt_keeps(void **state) {
    (void)state;
    struct domain *d = started("a.xml");
    assert_int_equal(rights_of(domain_slot(d, DOMAIN_SLOT_TABLE)), 0);
    assert_int_equal(rights_of(domain_slot(d, DOMAIN_SLOT_SPACE)), 0);
    for (uint32_t i = 0; i < d->ram_chunks; i++)
        assert_int_equal(rights_of(domain_slot(d, DOMAIN_SLOT_RAM + i)), 0);
    assert_int_equal(rights_of(domain_slot(d, DOMAIN_SLOT_CONTEXT)),
                     BH_CONTEXT_CONTROL | BH_CONTEXT_TIME | BH_CONTEXT_READ);
    /* With a handle nothing can be had: neither mapped, nor copied with more rights, nor taken
     * anew. */
    bh_ref region = OWN(domain_slot(d, DOMAIN_SLOT_RAM));
    assert_int_not_equal(hv_map(region, OWN(BH_INIT_SPACE), 0x10000000, BH_REGION_READ), BH_OK);
    assert_int_equal(hv_copy(region, OWN(3000), BH_RIGHTS_ALL, 0, 0), BH_OK);
    assert_int_equal(rights_of(3000), 0);
    assert_int_equal(hv_delete(OWN(3000)), BH_OK);
    assert_int_equal(hv_retype(OWN(d->ram[0]), BH_TYPE_REGION, 1, OWN(3000), 0), BH_NO_MEMORY);
    uint64_t value;
    assert_int_equal(hv_context_set(OWN(domain_slot(d, DOMAIN_SLOT_CONTEXT)), BH_REG_RIP, 0x400000),
                     BH_BAD_RIGHTS);

    struct domain *secret = started("keep.xml");
    assert_int_equal(rights_of(domain_slot(secret, DOMAIN_SLOT_CONTEXT)),
                     BH_CONTEXT_CONTROL | BH_CONTEXT_TIME);
    assert_int_equal(
        hv_context_get(OWN(domain_slot(secret, DOMAIN_SLOT_CONTEXT)), BH_REG_RIP, &value),
        BH_BAD_RIGHTS);
}

/* The memory is cleaned before the life is over. */
static void destroy(struct domain *d) {
    struct domain_error error;
    assert_true(domain_destroy(d, &error));
    assert_int_equal(d->state, DOMAIN_DYING);
    mgmt_world_turn();
}

static void test_a_hundred_lives_lose_nothing(void **state) {
    (void)state;
    struct domain *d = define("a.xml");
    struct domain_error error;
    struct books before = books();
    for (unsigned i = 0; i < 100; i++) {
        assert_true(domain_start(d, &error));
        mgmt_world_turn();
        assert_int_equal(d->state, DOMAIN_RUNNING);
        assert_int_equal(mgmt_world_attached, 2);
        destroy(d);
        assert_int_equal(d->state, DOMAIN_OFF);
        assert_int_equal(mgmt_world_attached, 0);
        assert_balanced(before);
    }
}

/* Whatever call fails for want of memory: a refusal, and all is given back. */
static void test_failures_are_undone(void **state) {
    (void)state;
    struct domain *d = define("a.xml");
    struct domain_error error;
    struct books before = books();
    unsigned failed = 0;
    for (unsigned n = 1; n < 100; n++) {
        mgmt_world_fail(n);
        if (domain_start(d, &error))
            mgmt_world_turn();
        mgmt_world_fail(0);
        if (d->state == DOMAIN_RUNNING)
            domain_destroy(d, &error);
        else
            failed++;
        mgmt_world_turn();
        assert_int_equal(d->state, DOMAIN_OFF);
        assert_balanced(before);
        assert_int_equal(mgmt_world_attached, 0);
    }
    assert_true(failed > 10);
}

static void test_destroy_while_starting(void **state) {
    (void)state;
    struct domain *d = define("a.xml");
    struct domain_error error;
    struct books before = books();
    assert_true(domain_start(d, &error));
    destroy(d);
    assert_int_equal(d->state, DOMAIN_OFF);
    assert_balanced(before);
    mgmt_world_turn();
    assert_int_equal(d->state, DOMAIN_OFF);
}

/* Memory is not taken back before the last back end has let go. */
static void test_slow_back_ends(void **state) {
    (void)state;
    struct domain *d = define("a.xml");
    struct domain_error error;
    struct books before = books();
    assert_true(domain_start(d, &error));
    mgmt_world_turn();
    mgmt_world_hold_detach = true;
    assert_true(domain_destroy(d, &error));
    assert_int_equal(d->state, DOMAIN_DYING);
    assert_int_equal(rights_of(d->shared_chunk[0]), BH_UNTYPED_RETYPE | BH_RIGHTS_ALL);
    assert_false(domain_start(d, &error));
    assert_false(domain_destroy(d, &error));
    mgmt_world_turn();
    assert_int_equal(d->state, DOMAIN_DYING);
    mgmt_world_finish_detach();
    mgmt_world_turn();
    assert_int_equal(d->state, DOMAIN_OFF);
    assert_balanced(before);
}

static void test_refusals(void **state) {
    (void)state;
    static const struct {
        const char *file, *message;
    } cases[] = {
        {"large.xml", "guests/large.xml:3: memory 95.4 GiB: host has "},
        {"small.xml",
         "guests/small.xml:3: memory 16 KiB: k.bin alone needs 32 KiB; raise <memory>"},
        {"nokernel.xml", "guests/nokernel.xml:2: <kernel>: gone.bin: no such file"},
    };
    struct domain_error error;
    struct books before = books();
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct domain *d = domain_define(cases[i].file, &error);
        if (d)
            assert_false(domain_start(d, &error));
        if (strncmp(error.text, cases[i].message, strlen(cases[i].message)) != 0 &&
            !strstr(error.text, "1 MiB to 1 TiB"))
            fail_msg("%s", error.text);
        assert_balanced(before);
    }
    assert_null(domain_define("gone.xml", &error));
    assert_non_null(strstr(error.text, "guests/gone.xml: no such file"));
    struct domain *d = define("nodisk.xml");
    assert_true(domain_start(d, &error));
    mgmt_world_turn();
    assert_int_equal(d->state, DOMAIN_OFF);
    assert_non_null(
        strstr(mgmt_world_log(), "guests/nodisk.xml:5: <disk>: no partition 'missing'"));
    assert_balanced(before);
}

static void test_pause_and_resume(void **state) {
    (void)state;
    struct domain *d = started("a.xml");
    struct domain_error error;
    uint64_t cpu_state;
    bh_ref context = OWN(domain_slot(d, DOMAIN_SLOT_CONTEXT));
    assert_false(domain_resume(d, &error));
    assert_true(domain_pause(d, &error));
    assert_int_equal(hv_context_get(context, BH_REG_STATE, &cpu_state), BH_OK);
    assert_int_equal(cpu_state, BH_CTX_STOPPED);
    assert_false(domain_pause(d, &error));
    assert_false(domain_shutdown(d, 0, &error));
    assert_true(domain_resume(d, &error));
    assert_int_equal(hv_context_get(context, BH_REG_STATE, &cpu_state), BH_OK);
    assert_int_equal(cpu_state, BH_CTX_READY);
}

/* The guest's end of one of its devices. */
static struct queue_end client(const struct domain *d, uint32_t device) {
    const struct shared_device *s = &d->shared.device[device];
    uint8_t *base = (uint8_t *)domain_info_page(d);
    struct queue_end q;
    assert_int_equal(queue_client_open(&q,
                                       (struct bh_queue_header *)(void *)(base + s->client_offset),
                                       s->client_units,
                                       (struct bh_queue_header *)(void *)(base + s->server_offset),
                                       s->server_units, s->window_bytes),
                     BH_OK);
    return q;
}

static void submit(const struct domain *d, struct queue_end *q, uint32_t device,
                   struct bh_request request, struct bh_segment segment) {
    assert_true(queue_push(q, &request, &segment));
    queue_publish(q);
    mgmt_world_signal(domain_slot(d, DOMAIN_SLOT_TABLE), 1 + device);
    mgmt_world_turn();
}

static void write_console(const struct domain *d, struct queue_end *q, const char *text) {
    uint8_t *window = (uint8_t *)domain_info_page(d) + d->shared.device[1].window_offset;
    size_t bytes = strlen(text);
    for (size_t i = 0; i < bytes; i++)
        window[i] = (uint8_t)text[i];
    submit(d, q, 1, (struct bh_request){.operation = 0, .segments = 1, .tag = 7},
           (struct bh_segment){.bytes = (uint32_t)bytes});
    struct bh_completion completion;
    assert_true(queue_take_completion(q, &completion));
    assert_int_equal(completion.status, BH_OK);
    assert_int_equal(completion.value, bytes);
}

static void test_crash_report(void **state) {
    (void)state;
    struct domain *d = started("a.xml");
    struct queue_end console = client(d, 1);
    write_console(d, &console, "about to\ndie here");
    mgmt_world_fault(domain_slot(d, DOMAIN_SLOT_CONTEXT), 14);
    mgmt_world_turn();
    assert_int_equal(d->state, DOMAIN_OFF);
    assert_int_equal(d->crashes, 1);
    const char *log = mgmt_world_log();
    assert_non_null(strstr(log, "mgmt: guest a crashed: fault 14, error 6, address dead000\n"));
    assert_non_null(strstr(log, "rip 0000000000401040"));
    assert_non_null(strstr(log, "a: | about to\na: | die here\n"));
    assert_int_equal(mgmt_world_attached, 0);
}

static void test_crash_policies(void **state) {
    (void)state;
    struct domain *keep = started("keep.xml");
    mgmt_world_fault(domain_slot(keep, DOMAIN_SLOT_CONTEXT), 6);
    mgmt_world_turn();
    assert_int_equal(keep->state, DOMAIN_CRASHED);
    assert_null(strstr(mgmt_world_log(), "rip")); /* its registers are its own */
    destroy(keep);
    assert_int_equal(keep->state, DOMAIN_OFF);

    struct domain *again = started("again.xml");
    for (unsigned i = 0; i < 5; i++) {
        mgmt_world_fault(domain_slot(again, DOMAIN_SLOT_CONTEXT), 6);
        mgmt_world_turn();
        assert_int_equal(again->state, DOMAIN_RUNNING);
    }
    mgmt_world_fault(domain_slot(again, DOMAIN_SLOT_CONTEXT), 6);
    mgmt_world_turn();
    assert_int_equal(again->state, DOMAIN_OFF);
    assert_non_null(strstr(mgmt_world_log(), "it stays off"));
}

static void tell_end(struct domain *d, uint64_t argument) {
    struct queue_end control = client(d, 0);
    submit(d, &control, 0, (struct bh_request){.operation = BH_CONTROL_EXIT, .argument = argument},
           (struct bh_segment){0});
    mgmt_world_turn();
}

/* What a VMM tells of its guest leads to the action that the definition names for it. */
static void test_causes(void **state) {
    (void)state;
    static const struct {
        uint64_t argument;
        enum domain_state keep, again; /* on_crash: preserve; restart */
        const char *words;
    } ends[] = {
        {BH_CONTROL_EXIT_ARGUMENT(BH_CAUSE_STATUS, 0), DOMAIN_OFF, DOMAIN_OFF, "exit status 0"},
        {BH_CONTROL_EXIT_ARGUMENT(BH_CAUSE_STATUS, 7), DOMAIN_CRASHED, DOMAIN_RUNNING, ""},
        {BH_CONTROL_EXIT_ARGUMENT(BH_CAUSE_REBOOT, 0), DOMAIN_RUNNING, DOMAIN_RUNNING, ""},
        {BH_CONTROL_EXIT_ARGUMENT(BH_CAUSE_PANIC, 0), DOMAIN_CRASHED, DOMAIN_RUNNING, ""},
        {BH_CONTROL_EXIT_ARGUMENT(BH_CAUSE_TRIPLE_FAULT, 0), DOMAIN_CRASHED, DOMAIN_RUNNING, ""},
        /* It was given no watchdog. */
        {BH_CONTROL_EXIT_ARGUMENT(BH_CAUSE_WATCHDOG, 0), DOMAIN_CRASHED, DOMAIN_RUNNING, ""},
        /* What is to go on is not started again, whatever the definition says. */
        {BH_CONTROL_EXIT_ARGUMENT(BH_CAUSE_SAVED, 0), DOMAIN_OFF, DOMAIN_OFF, "saved"},
        {BH_CONTROL_EXIT_ARGUMENT(BH_CAUSE_REFUSED, 0), DOMAIN_OFF, DOMAIN_OFF,
         "its checkpoint was refused"},
        /* Causes that there are not. */
        {BH_CONTROL_EXIT_ARGUMENT(BH_CAUSE_REFUSED + 1, 0), DOMAIN_OFF, DOMAIN_OFF,
         "exit status 0"},
        {~0ull, DOMAIN_CRASHED, DOMAIN_OFF, "exit status 4294967295"},
    };
    struct domain_error error;
    for (unsigned i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        struct domain *keep = started("keep.xml"), *again = started("again.xml");
        tell_end(keep, ends[i].argument);
        assert_int_equal(keep->state, ends[i].keep);
        if (keep->state != DOMAIN_OFF)
            destroy(keep);
        if (i + 1 == sizeof(ends) / sizeof(ends[0]))
            break; /* `again` has been started again five times */
        tell_end(again, ends[i].argument);
        assert_int_equal(again->state, ends[i].again);
        if (*ends[i].words)
            assert_string_equal(again->last_words, ends[i].words);
        if (again->state != DOMAIN_OFF)
            assert_true(domain_destroy(again, &error));
        mgmt_world_turn();
    }
    const char *log = mgmt_world_log();
    assert_non_null(strstr(log, "mgmt: guest keep kept as it is: its kernel panicked\n"));
    assert_non_null(strstr(log, "mgmt: guest again ended: its kernel panicked\n"));
    assert_non_null(strstr(log, "mgmt: guest again ended: triple fault\n"));
    assert_non_null(strstr(log, "mgmt: guest again ended: its watchdog was not served\n"));
}

/* The definition's own action for a watchdog, whatever on_crash says. */
static void test_watchdog(void **state) {
    (void)state;
    static const enum domain_state ends[] = {[BH_ACTION_DESTROY] = DOMAIN_OFF,
                                             [BH_ACTION_RESTART] = DOMAIN_RUNNING,
                                             [BH_ACTION_PRESERVE] = DOMAIN_CRASHED};
    for (uint8_t action = BH_ACTION_DESTROY; action <= BH_ACTION_PRESERVE; action++) {
        struct domain *d = started("a.xml");
        d->definition.watchdog = 1;
        d->definition.on_watchdog = action;
        tell_end(d, BH_CONTROL_EXIT_ARGUMENT(BH_CAUSE_WATCHDOG, 0));
        assert_int_equal(d->state, ends[action]);
        assert_int_equal(d->crashes, 0);
        if (d->state != DOMAIN_OFF)
            destroy(d);
    }
}

/* A guest that is kept is not taken away when the time of an earlier wish is up. */
static void test_kept_after_a_wish(void **state) {
    (void)state;
    struct domain_error error;
    struct domain *keep = started("keep.xml");
    assert_true(domain_shutdown(keep, 1000, &error));
    tell_end(keep, BH_CONTROL_EXIT_ARGUMENT(BH_CAUSE_PANIC, 0));
    mgmt_world_time(2000);
    mgmt_world_turn();
    assert_int_equal(keep->state, DOMAIN_CRASHED);
}

static void test_a_spurious_fault_signal(void **state) {
    (void)state;
    struct domain *d = started("a.xml");
    mgmt_world_signal(domain_slot(d, DOMAIN_SLOT_TABLE), GUEST_FAULT);
    mgmt_world_turn();
    assert_int_equal(d->state, DOMAIN_RUNNING);
}

static void test_shutdown(void **state) {
    (void)state;
    struct domain *d = started("a.xml");
    struct domain_error error;
    struct queue_end control = client(d, 0);
    struct bh_completion completion;
    submit(d, &control, 0, (struct bh_request){.operation = BH_CONTROL_LISTEN, .tag = 1},
           (struct bh_segment){0});
    assert_false(queue_take_completion(&control, &completion));
    submit(d, &control, 0, (struct bh_request){.operation = BH_CONTROL_READY, .tag = 2},
           (struct bh_segment){0});
    assert_true(queue_take_completion(&control, &completion));
    assert_true(d->ready);
    assert_true(domain_shutdown(d, 1000, &error));
    assert_int_equal(d->state, DOMAIN_STOPPING);
    assert_true(queue_take_completion(&control, &completion));
    assert_int_equal(completion.tag, 1);
    assert_int_equal(completion.flags, BH_CONTROL_SHUTDOWN);
    submit(d, &control, 0, (struct bh_request){.operation = BH_CONTROL_EXIT, .tag = 3},
           (struct bh_segment){0});
    assert_int_equal(d->state, DOMAIN_OFF);
    assert_string_equal(d->last_words, "exit status 0");

    /* One that does not listen is destroyed when its time is up. */
    d = started("a.xml");
    assert_true(domain_shutdown(d, 1000, &error));
    mgmt_world_time(999);
    assert_int_equal(d->state, DOMAIN_STOPPING);
    mgmt_world_time(2);
    mgmt_world_turn();
    assert_int_equal(d->state, DOMAIN_OFF);
}

static void test_nonsense_from_a_guest(void **state) {
    (void)state;
    struct domain *d = started("a.xml");
    struct queue_end control = client(d, 0), console = client(d, 1);
    struct bh_completion completion;
    submit(d, &control, 0, (struct bh_request){.operation = 99, .tag = 1}, (struct bh_segment){0});
    assert_true(queue_take_completion(&control, &completion));
    assert_int_equal(completion.status, BH_BAD_CALL);
    submit(d, &console, 1, (struct bh_request){.operation = 0, .segments = 1, .tag = 1},
           (struct bh_segment){.offset = ~0ull, .bytes = 16});
    assert_true(queue_take_completion(&console, &completion));
    assert_int_equal(completion.status, BH_BAD_ARG);
    submit(d, &console, 1, (struct bh_request){.operation = 1, .tag = 2}, (struct bh_segment){0});
    assert_true(queue_take_completion(&console, &completion));
    assert_int_equal(completion.status, BH_BAD_ARG);
    /* An index that runs away costs it this device, and nothing else. */
    control.own->tail += 1000000;
    mgmt_world_signal(domain_slot(d, DOMAIN_SLOT_TABLE), GUEST_SIGNAL_CONTROL);
    mgmt_world_turn();
    assert_int_equal(control.peer->state, BH_QUEUE_BROKEN);
    assert_int_equal(d->state, DOMAIN_RUNNING);
    write_console(d, &console, "still here\n");
}

static void test_redefinition(void **state) {
    (void)state;
    struct domain_error error;
    struct domain *d = started("a.xml");
    assert_null(domain_define("guests/a.xml", &error));
    assert_non_null(strstr(error.text, "there is a guest named a already"));
    destroy(d);
    assert_ptr_equal(domain_define("guests/a.xml", &error), d);
    assert_ptr_equal(domain_at(0), d);
    assert_null(domain_at(1));
}

static void test_closing(void **state) {
    (void)state;
    struct domain_error error;
    struct domain *a = started("a.xml"), *keep = started("keep.xml");
    domain_pause(keep, &error);
    domains_close(1000);
    mgmt_world_turn();
    assert_int_equal(keep->state, DOMAIN_OFF);
    assert_false(domains_all_off());
    mgmt_world_fault(domain_slot(a, DOMAIN_SLOT_CONTEXT), 6);
    mgmt_world_turn();
    assert_true(domains_all_off());
    assert_false(domain_start(a, &error));
}

#define TEST(function) cmocka_unit_test_setup(function, boot)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_what_a_guest_is_told),
        TEST(test_windows_are_apart),
        TEST(test_what_mgmt_keeps),
        TEST(test_a_hundred_lives_lose_nothing),
        TEST(test_failures_are_undone),
        TEST(test_destroy_while_starting),
        TEST(test_slow_back_ends),
        TEST(test_refusals),
        TEST(test_pause_and_resume),
        TEST(test_crash_report),
        TEST(test_crash_policies),
        TEST(test_causes),
        TEST(test_watchdog),
        TEST(test_kept_after_a_wish),
        TEST(test_a_spurious_fault_signal),
        TEST(test_shutdown),
        TEST(test_nonsense_from_a_guest),
        TEST(test_redefinition),
        TEST(test_closing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
