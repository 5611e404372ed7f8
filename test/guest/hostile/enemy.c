/* In mgmt's place, with exactly what mgmt holds, and at war with hv: hypercalls by the grammar,
 * with references that mostly mean something, in any order. When it has made its calls it faults,
 * and init has to take everything back and start it again; each life says first what it was lent.
 *
 * It leaves alone what would only be its own end: its CapTable's and its Space's capability,
 * power-off and reset, and devices' registers (without an IOMMU a device can do anything). */
#include "abi/bootinfo.h"
#include "guestlib/hypercall.h"
#include "guestlib/tsc.h"

enum {
    CALLS = 300000,
    REPEATS = 2000, /* of a call that answers AGAIN */
    WORK = 512,     /* slots that it plays with: few, so that they meet */
    WORK_SLOTS = 96,
    INNER_SLOTS = 12, /* of tables that it makes */
    PLACES = 24,      /* where it maps: 2 MiB apart, and some pages into that */
};
#define PLACE_VA 0x300000000000ull

static const struct bh_bootinfo *info;
static uint64_t state;

_Noreturn void guest_start(const struct bh_bootinfo *bootinfo);

static void say(const char *text) {
    while (*text) {
        uint64_t packed = 0, ignored;
        for (unsigned i = 0; i < 8 && *text; i++)
            packed |= (uint64_t)(uint8_t)*text++ << 8 * i;
        hc_system(BH_INIT_SYSTEM, BH_SYSTEM_OP_LOG, packed, &ignored);
    }
}

static void say_number(const char *text, uint64_t value) {
    char digits[21], *p = digits + sizeof(digits) - 1;
    *p = 0;
    do {
        *--p = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    say(text);
    say(p);
}

static uint64_t next(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static uint64_t below(uint64_t bound) {
    return (next() >> 16) % bound;
}

static bh_slot some_untyped(void) {
    return info->untyped[below(info->untyped_count)].slot;
}

static bh_slot some_work(void) {
    return WORK + (bh_slot)below(WORK_SLOTS);
}

/* A slot of its own table. */
static bh_slot some_slot(void) {
    static const bh_slot lent[] = {BH_INIT_SPACE,  BH_INIT_CONTEXT, BH_INIT_EVENT,
                                   BH_INIT_SYSTEM, BH_INIT_PORTS,   BH_INIT_CPU0};
    switch (below(16)) {
    case 0:
        return lent[below(sizeof(lent) / sizeof(lent[0]))];
    case 1:
    case 2:
        return some_untyped();
    case 3:
        return (bh_slot)below(600);
    default:
        return some_work();
    }
}

static bh_ref some_ref(void) {
    switch (below(16)) {
    case 0:
        return next();
    case 1:
        return BH_OWN(some_slot());
    case 2:
    case 3:
    case 4:
        return BH_REF(some_work(), 1 + below(INNER_SLOTS));
    case 5:
        return BH_REF(some_slot(), some_slot());
    default:
        return BH_REF(BH_INIT_TABLE, some_slot());
    }
}

/* What may be deleted, moved and narrowed without ending the game. */
static bh_ref some_victim(void) {
    bh_ref ref = some_ref();
    bh_slot index = (bh_slot)ref;
    return index == BH_INIT_TABLE || index == BH_INIT_SPACE || index == BH_INIT_SYSTEM
               ? BH_REF(BH_INIT_TABLE, some_work())
               : ref;
}

static uint64_t some_size(void) {
    switch (below(8)) {
    case 0:
        return next();
    case 1:
        return 1ull << below(30);
    default:
        return 1 + below(40);
    }
}

static uint64_t some_va(void) {
    switch (below(8)) {
    case 0:
        return next();
    case 1:
        return BH_USER_VA_END - below(600) * BH_PAGE_BYTES;
    default:
        return PLACE_VA + (below(PLACES) << 21) + (below(2) ? below(512) * BH_PAGE_BYTES : 0);
    }
}

static enum bh_status some_retype(void) {
    static const uint64_t sizes[] = {0, 0, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0};
    uint64_t type = below(BH_TYPE_DEVICE + 2);
    uint64_t size = below(4) || type > BH_TYPE_DEVICE ? some_size() : sizes[type];
    bh_slot from = below(2) ? some_untyped() : some_work();
    return hc_retype(BH_REF(BH_INIT_TABLE, from), (enum bh_type)type, size,
                     below(8) ? BH_REF(BH_INIT_TABLE, some_work()) : some_ref(),
                     (unsigned)(below(8) ? 0 : next()));
}

static enum bh_status some_schedule(void) {
    /* Not its own priority: whoever loops there would not let it go on, which harms nobody else. */
    unsigned priority = (unsigned)below(40);
    return hc_ctx_sched(some_ref(), below(4) ? BH_INIT_CPU0 : some_slot(),
                        priority == 20 ? 0 : priority, some_size() * 100, some_size() * 100,
                        some_size() * 1000);
}

static enum bh_status some_wait(void) {
    uint64_t bits, group;
    return hc_wait(next(), tsc_read() + below(100000), &bits, &group);
}

static enum bh_status some_call(void) {
    uint64_t value, more;
    uint32_t in;
    switch (below(30)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
        return some_retype();
    case 5:
    case 6:
    case 7:
        return hc_copy(some_ref(), below(4) ? BH_REF(BH_INIT_TABLE, some_work()) : some_ref(),
                       (uint32_t)(below(2) ? BH_RIGHTS_ALL : next()), some_size(), some_size());
    case 8:
    case 9:
        return hc_move(some_victim(), some_victim());
    case 10:
        return hc_narrow(some_victim(), (uint32_t)next() | (uint32_t)next());
    case 11:
    case 12:
        return hc_delete(some_victim());
    case 13:
        return hc_revoke(below(16) ? BH_REF(BH_INIT_TABLE, some_work()) : some_ref());
    case 14:
        return hc_scrub(BH_REF(BH_INIT_TABLE, below(2) ? some_untyped() : some_work()), &value);
    case 15:
    case 16:
    case 17:
        return hc_map(some_ref(), below(2) ? BH_REF(BH_INIT_TABLE, BH_INIT_SPACE) : some_ref(),
                      some_va(), (uint32_t)(below(4) ? 1 + below(3) * 2 : next()));
    case 18:
        return hc_unmap(some_ref());
    case 19:
    case 20:
    case 21:
        return hc_bind(some_ref(), (enum bh_binding)below(6), below(8) ? some_ref() : 0);
    case 22:
        return some_schedule();
    case 23:
        return below(2) ? hc_ctx_resume(some_ref()) : hc_ctx_suspend(some_ref());
    case 24:
        return below(2)
                   ? hc_ctx_get(some_ref(), (enum bh_reg)below(30), &value)
                   : hc_ctx_set(some_ref(), (enum bh_reg)below(30), below(2) ? some_va() : next());
    case 25:
        hc_region_address(some_ref(), &value);
        hc_region_dirty(some_ref(), below(2) ? below(1024) : next(), &value, &more);
        return hc_cap_info(some_ref(), (unsigned)below(3), &value, &more);
    case 26:
        return below(2) ? hc_irq_attach(some_ref(), below(4) ? BH_INIT_SYSTEM : some_slot(),
                                        below(2) ? below(40) : next() | next(), &value, &more)
                        : hc_irq_ack(some_slot());
    case 27: /* QEMU stops when its serial port is read in words */
        return below(2)
                   ? hc_port_in(some_slot(), (uint16_t)(0x3f9 + below(7)), below(2) ? 1 : 3, &in)
                   : hc_port_out(some_slot(), 0x3ff, 1, (uint32_t)next());
    case 28:
        return below(2) ? hc_signal(some_slot())
                        : hc_system(some_slot(), (enum bh_system)(BH_SYSTEM_OP_COUNTER + below(6)),
                                    next() & 15, &value);
    default:
        return below(3) ? some_wait() : hc_yield();
    }
}

/* Calls with any arguments at all; numbers that end the machine left out. */
static enum bh_status any_call(void) {
    struct hc_values values;
    uint64_t number = below(BH_HC_COUNT + 4);
    if (number == BH_HC_SYSTEM || number == BH_HC_WAIT || number == BH_HC_PORT_OUT ||
        number == BH_HC_PORT_IN || number == BH_HC_CTX_SCHED)
        return BH_OK;
    return hc_call((enum bh_hypercall)number, some_victim(), next(), some_victim(), some_victim(),
                   next(), next(), &values);
}

/* The command line's seed=N, and how often it has lived: by the log, which outlives it. */
static uint64_t seed_now(uint64_t *life) {
    const struct bh_log *log = (const struct bh_log *)BH_LOG_VA;
    static const char mark[] = "enemy: seed", option[] = "seed=";
    uint64_t kept = log->written < log->bytes ? log->written : log->bytes, seed = 0;
    *life = 0;
    for (uint64_t at = 0; at + sizeof(mark) <= kept; at++) {
        unsigned i = 0;
        while (mark[i] && log->text[at + i] == mark[i])
            i++;
        *life += mark[i] == 0;
    }
    for (const char *c = info->command_line; *c; c++) {
        unsigned i = 0;
        while (option[i] && c[i] == option[i])
            i++;
        for (const char *digit = c + i; !option[i] && *digit >= '0' && *digit <= '9'; digit++)
            seed = seed * 10 + (uint64_t)(*digit - '0');
    }
    return seed;
}

/* What it was lent, all of it free; and how much, for the test to compare. */
static void say_lent(void) {
    uint64_t pages[4] = {0};
    for (uint32_t i = 0; i < info->untyped_count; i++) {
        uint64_t all = 0, free = 0;
        hc_cap_info(BH_REF(BH_INIT_TABLE, info->untyped[i].slot), 1, &all, &free);
        if (all != info->untyped[i].pages || all != free)
            say("enemy: an Untyped is not whole FAILED\n");
        pages[info->untyped[i].kind & 3] += free;
    }
    say_number("enemy: lent object ", pages[BH_KIND_OBJECT]);
    say_number(" frame ", pages[BH_KIND_FRAME]);
    say_number(" device ", pages[BH_KIND_DEVICE]);
    say("\n");
}

void guest_start(const struct bh_bootinfo *bootinfo) {
    info = bootinfo;
    uint64_t life, seed = seed_now(&life), good = 0;
    state = (seed + life + 1) * 0x9e3779b97f4a7c15ull;
    say_number("enemy: seed ", seed);
    say_number(" life ", life);
    say("\n");
    say_lent();
    for (unsigned call = 0; call < CALLS; call++) {
        uint64_t before = state;
        enum bh_status status = below(16) ? some_call() : any_call();
        for (unsigned i = 0; status == BH_AGAIN && i < REPEATS && (before & 7); i++) {
            state = before;
            status = below(16) ? some_call() : any_call();
        }
        good += status == BH_OK;
    }
    say_number("enemy: done, of calls that worked ", good);
    say("\n");
    __asm__ volatile("ud2");
    __builtin_unreachable();
}
