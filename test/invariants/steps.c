/* Random steps: see steps.h. Arguments are mostly sensible, because nonsense alone gets nowhere. */
#include "test/invariants/steps.h"

#include "test/invariants/model.h"

static struct source *source;
static struct context *caller;
static int caller_table;

/* 0 .. bound - 1. */
static uint32_t draw(uint32_t bound) {
    if (!source->data) {
        source->random ^= source->random << 13;
        source->random ^= source->random >> 7;
        source->random ^= source->random << 17;
        return (uint32_t)(source->random >> 32) % bound;
    }
    uint32_t value = 0;
    for (uint32_t reach = 1; reach < bound && source->left; reach <<= 8, source->left--)
        value = value << 8 | *source->data++;
    return value % bound;
}

static bool one_in(uint32_t n) {
    return draw(n) == 0;
}

static bool used_up(void) {
    return source->data && !source->left;
}

/* --- Arguments -----------------------------------------------------------------------------------
 */

/* A capability of this type (NONE: any) in this table, drawn evenly; M_NONE if there is none. */
static int any_cap(int table, enum bh_type type) {
    int chosen = M_NONE;
    uint32_t seen = 0, count = 0;
    for (int i = 0; i < M_CAPS; i++) {
        const struct m_cap *cap = &model.cap[i];
        count += cap->used && cap->table == table && (!type || cap->type == type);
    }
    if (!count)
        return M_NONE;
    uint32_t which = draw(count);
    for (int i = 0; i < M_CAPS; i++) {
        const struct m_cap *cap = &model.cap[i];
        if (cap->used && cap->table == table && (!type || cap->type == type) && seen++ == which)
            chosen = i;
    }
    return chosen;
}

static uint64_t nonsense(void) {
    static const uint64_t values[] = {0,
                                      1,
                                      2,
                                      63,
                                      64,
                                      4096,
                                      BH_REF(1, 0),
                                      BH_REF(1, 300),
                                      BH_REF(0, 5),
                                      0xffffffff,
                                      1ull << 32,
                                      1ull << 63,
                                      ~0ull};
    return values[draw(sizeof(values) / sizeof(values[0]))];
}

static uint64_t slot(enum bh_type type) {
    int cap = any_cap(caller_table, type);
    return cap == M_NONE || one_in(40) ? nonsense() : (uint64_t)model.cap[cap].index;
}

/* A table that the caller can name, and the object it is. */
static int reachable_table(uint64_t *index) {
    int cap = any_cap(caller_table, BH_TYPE_CAPTABLE);
    if (cap == M_NONE) {
        *index = 0;
        return caller_table;
    }
    *index = (uint64_t)model.cap[cap].index;
    return model.cap[cap].object;
}

static uint64_t full(enum bh_type type) {
    if (one_in(40))
        return nonsense();
    for (unsigned tries = 0; tries < 4; tries++) {
        uint64_t index;
        int cap = any_cap(reachable_table(&index), type);
        if (cap != M_NONE)
            return BH_REF(index, model.cap[cap].index);
    }
    return nonsense();
}

/* A capability to take something away from. Rarely one of those that the machine booted with:
 * without them nobody can do anything any more. */
static uint64_t victim(enum bh_type type) {
    for (;;) {
        uint64_t ref = full(type);
        int cap = any_cap(caller_table, BH_TYPE_CAPTABLE);
        bool own = cap == M_NONE || model.object[caller_table].real == world.table;
        if (!own || (ref & 0xffffffff) >= W_FREE || one_in(80) || used_up())
            return ref;
    }
}

static uint64_t empty(void) {
    if (one_in(40))
        return nonsense();
    uint64_t index, at = 1;
    int table = reachable_table(&index);
    uint32_t size = (uint32_t)model.object[table].size;
    for (unsigned tries = 0; tries < 4; tries++) {
        at = 1 + draw(size < 65 ? size - 1 : 64);
        if (m_find(table, at) == M_NONE)
            break;
    }
    return BH_REF(index, at);
}

static uint64_t rights(void) {
    return one_in(3) ? draw(256) : BH_RIGHTS_ALL;
}

/* --- Steps ---------------------------------------------------------------------------------------
 */

#define DO(...) (again = (const struct again){{__VA_ARGS__}}, make())
static struct again { uint64_t words[7]; } again;

static uint64_t make(void) {
    uint64_t status = model_call(caller, again.words[0], again.words + 1);
    model_compare(false);
    return status;
}

static bool caller_runs(void) {
    return cpus[fake.cpu]->current == caller;
}

static void do_retype(void) {
    static const enum bh_type types[] = {
        BH_TYPE_UNTYPED,  BH_TYPE_UNTYPED, BH_TYPE_REGION, BH_TYPE_REGION,  BH_TYPE_SPACE,
        BH_TYPE_CAPTABLE, BH_TYPE_EVENT,   BH_TYPE_IRQ,    BH_TYPE_CONTEXT, BH_TYPE_CAPTABLE};
    enum bh_type type = one_in(50) ? draw(14) : types[draw(10)];
    uint64_t size = 0;
    if (type == BH_TYPE_UNTYPED)
        size = 1 + draw(one_in(3) ? 200 : 20);
    else if (type == BH_TYPE_REGION)
        size = one_in(6) ? 500 + draw(60) : 1 + draw(20);
    else if (type == BH_TYPE_SPACE)
        size = 3 + draw(20);
    else if (type == BH_TYPE_CAPTABLE)
        size = one_in(8) ? 600 : 2 + draw(30);
    else if (type == BH_TYPE_EVENT)
        size = one_in(2) ? 64 : 4096;
    if (one_in(60))
        size = nonsense();
    DO(BH_HC_RETYPE, full(BH_TYPE_UNTYPED), type, size, empty(), one_in(60) ? draw(4) : 0);
}

static void do_copy(void) {
    uint64_t from = full(one_in(2) ? BH_TYPE_NONE : 2 + draw(9));
    DO(BH_HC_COPY, from, empty(), rights(), one_in(30) ? nonsense() : draw(8),
       one_in(2) ? 0 : draw(8));
}

static void do_map(void) {
    static const uint64_t map_rights[] = {1, 1, 3, 3, 5, 0, 7};
    uint64_t va = one_in(4)    ? 0x40000000ull + draw(4) * 0x200000ull
                  : one_in(30) ? nonsense()
                               : 0x40000000ull + draw(2048) * PAGE_BYTES;
    DO(BH_HC_MAP, full(BH_TYPE_REGION), full(BH_TYPE_SPACE), va, map_rights[draw(7)]);
}

static void do_bind(void) {
    static const enum bh_type targets[] = {BH_TYPE_SPACE, BH_TYPE_CAPTABLE, BH_TYPE_EVENT,
                                           BH_TYPE_EVENT, BH_TYPE_EVENT};
    uint32_t what = draw(5);
    DO(BH_HC_BIND, full(what == BH_BIND_IRQ_EVENT ? BH_TYPE_IRQ : BH_TYPE_CONTEXT),
       one_in(40) ? nonsense() : what, one_in(8) ? 0 : full(targets[what]));
}

static void do_sched(void) {
    DO(BH_HC_CTX_SCHED, full(BH_TYPE_CONTEXT), slot(BH_TYPE_CPU), W_PRIORITY + draw(2),
       one_in(3) ? 0 : 1000 + draw(2000), one_in(3) ? 1000 + draw(1000) : 0, 2000 + draw(9000));
}

static void do_removal(void) {
    if (one_in(3))
        DO(BH_HC_REVOKE, victim(one_in(3) ? BH_TYPE_UNTYPED : BH_TYPE_NONE));
    else
        DO(BH_HC_DELETE, victim(BH_TYPE_NONE));
}

/* A whole domain, each step of which may be refused. */
static void do_spawn(void) {
    uint64_t context = empty(), space, table, event, untyped = full(BH_TYPE_UNTYPED);
    if (DO(BH_HC_RETYPE, untyped, BH_TYPE_CONTEXT, 0, context) != BH_OK || !caller_runs())
        return;
    space = empty();
    DO(BH_HC_RETYPE, untyped, BH_TYPE_SPACE, 4, space);
    table = empty();
    DO(BH_HC_RETYPE, untyped, BH_TYPE_CAPTABLE, 8 + draw(40), table);
    event = empty();
    DO(BH_HC_RETYPE, untyped, BH_TYPE_EVENT, one_in(2) ? 64 : 4096, event);
    DO(BH_HC_BIND, context, BH_BIND_CTX_SPACE, space);
    DO(BH_HC_BIND, context, BH_BIND_CTX_TABLE, table);
    DO(BH_HC_BIND, context, BH_BIND_CTX_EVENT, event);
    DO(BH_HC_BIND, context, BH_BIND_CTX_FAULT, full(BH_TYPE_EVENT));
    /* What is in the new table: itself with MANAGE or the maker's own, memory, a processor. */
    int made = M_NONE;
    for (int i = 0; i < M_CAPS; i++)
        if (model.cap[i].used && model.cap[i].table == caller_table &&
            (uint64_t)model.cap[i].index == (table & 0xffffffff) &&
            model.cap[i].type == BH_TYPE_CAPTABLE)
            made = i;
    if (made != M_NONE) {
        uint64_t inside = (uint64_t)model.cap[made].index;
        DO(BH_HC_COPY, one_in(2) ? table : full(BH_TYPE_CAPTABLE), BH_REF(inside, 1),
           BH_RIGHTS_ALL);
        DO(BH_HC_RETYPE, full(BH_TYPE_UNTYPED), BH_TYPE_UNTYPED, 1 + draw(30), BH_REF(inside, 2));
        DO(BH_HC_COPY, full(BH_TYPE_CPU), BH_REF(inside, 3), BH_RIGHTS_ALL, W_PRIORITY + draw(2));
        DO(BH_HC_COPY, event, BH_REF(inside, 4), BH_RIGHTS_ALL, draw(64));
        DO(BH_HC_COPY, context, BH_REF(inside, 5), BH_RIGHTS_ALL);
        DO(BH_HC_MOVE, space, BH_REF(inside, 6));
    }
    if (!caller_runs())
        return;
    DO(BH_HC_CTX_SCHED, context, slot(BH_TYPE_CPU), W_PRIORITY, 1000 + draw(2000));
    if (caller_runs())
        DO(BH_HC_CTX_RESUME, context);
}

/* Many pieces of a Region in one Space, which then goes; or stays for others. */
static void do_crowd(void) {
    uint64_t region = full(BH_TYPE_REGION), space = full(BH_TYPE_SPACE);
    uint64_t va = 0x40000000ull + draw(2048) * PAGE_BYTES;
    for (uint64_t i = 0, pieces = 3 + draw(8); i < pieces && caller_runs(); i++) {
        uint64_t piece = empty();
        DO(BH_HC_COPY, region, piece, BH_RIGHTS_ALL, i, 1);
        DO(BH_HC_MAP, piece, space, va + 2 * i * PAGE_BYTES, BH_REGION_READ | BH_REGION_WRITE);
    }
    if (caller_runs() && one_in(2))
        DO(BH_HC_REVOKE, space);
    if (caller_runs() && one_in(2))
        DO(BH_HC_DELETE, space);
}

/* A long chain of copies, each of the one before. */
static void do_chain(void) {
    uint64_t from = full(one_in(2) ? BH_TYPE_EVENT : BH_TYPE_NONE);
    for (uint64_t i = 0, length = 10 + draw(60); i < length && caller_runs(); i++) {
        uint64_t to = empty();
        DO(BH_HC_COPY, from, to, rights() | BH_CAPTABLE_MANAGE, draw(4));
        from = to;
    }
}

static void hypercall_step(void) {
    uint32_t which = draw(128);
    if (which < 20)
        do_retype();
    else if (which < 38)
        do_copy();
    else if (which < 44)
        DO(BH_HC_MOVE, victim(BH_TYPE_NONE), empty());
    else if (which < 47)
        DO(BH_HC_NARROW, victim(BH_TYPE_NONE), rights());
    else if (which < 56)
        do_removal();
    else if (which < 62)
        DO(BH_HC_SCRUB, full(BH_TYPE_UNTYPED));
    else if (which < 72)
        do_map();
    else if (which < 75)
        DO(BH_HC_UNMAP, full(BH_TYPE_REGION));
    else if (which < 81)
        do_bind();
    else if (which < 84)
        do_sched();
    else if (which < 88)
        DO(BH_HC_CTX_RESUME, full(BH_TYPE_CONTEXT));
    else if (which < 90)
        DO(BH_HC_CTX_SUSPEND, victim(BH_TYPE_CONTEXT));
    else if (which < 92)
        DO(BH_HC_CTX_GET, full(BH_TYPE_CONTEXT), one_in(2) ? BH_REG_STATE : draw(27));
    else if (which < 94)
        DO(BH_HC_CTX_SET, full(BH_TYPE_CONTEXT), draw(27), one_in(4) ? nonsense() : 0x20000);
    else if (which < 98)
        DO(BH_HC_CAP_INFO, full(BH_TYPE_NONE), draw(8) % 3);
    else if (which < 99 && one_in(2))
        DO(BH_HC_REGION_ADDRESS, full(BH_TYPE_REGION));
    else if (which < 99)
        DO(BH_HC_REGION_DIRTY, full(BH_TYPE_REGION), one_in(2) ? 0 : draw(600));
    else if (which < 101)
        DO(BH_HC_IRQ_ATTACH, full(BH_TYPE_IRQ), slot(BH_TYPE_SYSTEM),
           one_in(2) ? BH_IRQ_SOURCE_MSI : draw(26));
    else if (which < 102)
        DO(BH_HC_SYSTEM, slot(BH_TYPE_SYSTEM), draw(5), draw(9));
    else if (which < 107)
        DO(BH_HC_SIGNAL, slot(BH_TYPE_EVENT));
    else if (which < 111)
        DO(BH_HC_WAIT, one_in(2) ? ~0ull : draw(256),
           one_in(2) ? BH_DEADLINE_POLL : fake.now + draw(3000));
    else if (which < 112)
        DO(BH_HC_WAIT, ~0ull,
           caller == world.init && !one_in(20) ? fake.now + 5000 : BH_DEADLINE_NEVER);
    else if (which < 115)
        DO(BH_HC_YIELD);
    else if (which < 116)
        DO(BH_HC_IRQ_ACK, slot(BH_TYPE_IRQ));
    else if (which < 118)
        DO(draw(2) ? BH_HC_PORT_IN : BH_HC_PORT_OUT, slot(BH_TYPE_PORTS),
           one_in(4) ? 0xfffc + draw(6) : 0x100 + draw(16), 1u << draw(4));
    else if (which < 119)
        DO(draw(40), nonsense(), nonsense(), nonsense(), nonsense(), nonsense(), nonsense());
    else if (which < 121)
        do_crowd();
    else if (which < 122)
        do_chain();
    else
        do_spawn();
}

static void interrupt_step(void) {
    int irq = M_NONE;
    for (int i = 0; i < M_OBJECTS; i++)
        if (model.object[i].used && model.object[i].type == BH_TYPE_IRQ &&
            model.object[i].attached && (irq == M_NONE || one_in(2)))
            irq = i;
    if (irq != M_NONE)
        model_interrupt(irq);
}

/* A domain writes wherever it can: frames that come back are dirty. */
static void soil(void *closure, uint64_t va, uint64_t pages, struct fake_page page) {
    (void)closure;
    (void)va;
    for (uint64_t i = 0; i < pages; i++) {
        uint8_t *frame = fake_frame(page.pa + i * PAGE_BYTES);
        if (frame && page.rights & BH_REGION_WRITE)
            *frame = 1;
    }
}

static void other_step(void) {
    uint32_t which = draw(8);
    if (which < 4)
        model_time(draw(4000));
    else if (which < 6)
        interrupt_step();
    else if (which == 6 && cpus[fake.cpu]->current && cpus[fake.cpu]->current != world.init)
        model_fault(cpus[fake.cpu]->current);
    else
        for (int i = 0; i < M_OBJECTS; i++)
            if (model.object[i].used && model.object[i].type == BH_TYPE_SPACE)
                fake_walk(model.object[i].real, soil, NULL);
    model_compare(false);
}

/* Who makes the next call; false: nobody runs. */
static bool choose_caller(void) {
    uint32_t first = draw(FAKE_CPUS);
    for (uint32_t i = 0; i < FAKE_CPUS; i++) {
        fake.cpu = (first + i) % FAKE_CPUS;
        caller = cpus[fake.cpu]->current;
        if (caller) {
            caller_table = m_table_of(caller);
            return true;
        }
    }
    return false;
}

void steps_run(struct source *from, unsigned steps) {
    source = from;
    world_boot(300, 1500);
    fake.map_entries = 2 + draw(40);
    model_boot();
    unsigned idle = 0;
    for (unsigned step = 0; step < steps && !used_up() && idle < 20; step++) {
        if (!choose_caller()) {
            idle++; /* somebody may have a deadline */
            model_time(1000);
            continue;
        }
        idle = 0;
        if (again.words[0] && caller->arch.status == BH_AGAIN && !one_in(4))
            make(); /* again, unless it is distracted */
        else if (one_in(12))
            other_step();
        else
            hypercall_step();
        if (step % 8 == 0)
            model_compare(true);
    }
    again = (struct again){{0}};
    model_compare(true);
}
