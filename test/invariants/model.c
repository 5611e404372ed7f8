/* The reference model: every hypercall, from the contract. See model.h. */
#include "test/invariants/model.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct model model;
bool tracing;

#define ERROR(status) (1u << (status))
#define CAP(number) (&model.cap[number])
#define OBJECT(number) (&model.object[number])

void model_trace(bool on) {
    tracing = on;
}

void model_fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "after %llu hypercalls: ", (unsigned long long)model.calls);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    abort();
}

/* --- Looking up ----------------------------------------------------------------------------------
 */

int m_find(int table, uint64_t index) {
    for (int i = 0; i < M_CAPS; i++)
        if (CAP(i)->used && CAP(i)->table == table && (uint64_t)CAP(i)->index == index)
            return i;
    return M_NONE;
}

int m_object_of(const void *real) {
    for (int i = 0; i < M_OBJECTS; i++)
        if (OBJECT(i)->used && OBJECT(i)->real == real)
            return i;
    return M_NONE;
}

int m_reference(int owner, int role) {
    for (int i = 0; i < M_CAPS; i++)
        if (CAP(i)->used && CAP(i)->table == M_NONE && CAP(i)->owner == owner &&
            CAP(i)->role == role)
            return i;
    return M_NONE;
}

bool m_has_children(int cap) {
    for (int i = 0; i < M_CAPS; i++)
        if (CAP(i)->used && CAP(i)->parent == cap)
            return true;
    return false;
}

unsigned m_depth(int cap) {
    unsigned depth = 0;
    for (; CAP(cap)->parent != M_NONE; cap = CAP(cap)->parent)
        depth++;
    return depth;
}

bool m_ready(const struct m_object *context) {
    return !context->stopped && !context->faulted && !context->waiting;
}

int m_table_of(const struct context *context) {
    int reference = m_reference(m_object_of(context), BH_BIND_CTX_TABLE);
    return reference == M_NONE ? M_NONE : CAP(reference)->object;
}

struct slot *m_slot(const struct m_cap *cap) {
    if (cap->table != M_NONE)
        return &((struct captable *)OBJECT(cap->table)->real)->slot[cap->index];
    if (cap->role == BH_BIND_IRQ_EVENT)
        return &((struct irq *)OBJECT(cap->owner)->real)->event;
    struct context *context = OBJECT(cap->owner)->real;
    struct slot *slots[] = {&context->space, &context->table, &context->event, &context->fault};
    return slots[cap->role];
}

/* --- Making ------------------------------------------------------------------------------------
 */

static int new_cap(struct m_cap contents) {
    for (int i = 0; i < M_CAPS; i++)
        if (!CAP(i)->used) {
            contents.used = true;
            *CAP(i) = contents;
            return i;
        }
    model_fail("the model is full of capabilities");
}

static int new_object(enum bh_type type, void *real, uint64_t size) {
    for (int i = 0; i < M_OBJECTS; i++)
        if (!OBJECT(i)->used) {
            *OBJECT(i) = (struct m_object){.used = true,
                                           .type = type,
                                           .real = real,
                                           .size = size,
                                           .stopped = type == BH_TYPE_CONTEXT,
                                           .cpu = M_NONE};
            return i;
        }
    model_fail("the model is full of objects");
}

static bool is_object(enum bh_type type) {
    return type == BH_TYPE_SPACE || type == BH_TYPE_CAPTABLE || type == BH_TYPE_CONTEXT ||
           type == BH_TYPE_EVENT || type == BH_TYPE_IRQ;
}

void model_boot(void) {
    memset(&model, 0, sizeof(model));
    int table = new_object(BH_TYPE_CAPTABLE, world.table, W_TABLE_SLOTS);
    for (int i = 0; i < W_TABLE_SLOTS; i++) {
        const struct slot *slot = &world.table->slot[i];
        if (slot->type == BH_TYPE_NONE)
            continue;
        struct m_cap cap = {.original = true,
                            .type = slot->type,
                            .rights = BH_RIGHTS_ALL,
                            .parent = M_NONE,
                            .table = table,
                            .index = i,
                            .object = M_NONE,
                            .space = M_NONE};
        if (slot->type == BH_TYPE_CAPTABLE)
            cap.object = table;
        else if (is_object(slot->type))
            cap.object = new_object(slot->type, slot->object, slot->type == BH_TYPE_SPACE ? 8 : 64);
        if (slot->type == BH_TYPE_UNTYPED) {
            cap.base = slot->base.raw;
            cap.pages = slot->untyped.pages;
            cap.kind = slot->untyped.kind;
        }
        if (slot->type == BH_TYPE_CPU)
            cap.badge = BH_PRIORITIES - 1;
        if (slot->type == BH_TYPE_PORTS) {
            cap.first = slot->ports.first;
            cap.count = slot->ports.count;
        }
        new_cap(cap);
    }
    struct m_object *init = OBJECT(m_object_of(world.init));
    init->stopped = false;
    init->cpu = 0;
    init->priority = W_PRIORITY;
    static const struct {
        int role, slot;
    } bound[] = {
        {BH_BIND_CTX_SPACE, W_SPACE}, {BH_BIND_CTX_TABLE, W_TABLE}, {BH_BIND_CTX_EVENT, W_EVENT}};
    for (size_t i = 0; i < sizeof(bound) / sizeof(bound[0]); i++) {
        int target = m_find(table, (uint64_t)bound[i].slot);
        struct m_cap hidden = *CAP(target);
        hidden.original = false;
        hidden.parent = target;
        hidden.table = M_NONE;
        hidden.owner = m_object_of(world.init);
        hidden.role = bound[i].role;
        new_cap(hidden);
    }
}

/* --- Events ------------------------------------------------------------------------------------
 */

static void expect_result(const struct m_object *context, uint64_t status, uint64_t value0,
                          uint64_t value1) {
    const struct context *real = context->real;
    if (real->arch.status != status || real->arch.value[0] != value0 ||
        real->arch.value[1] != value1)
        model_fail("a Context got %llu, %llx, %llu instead of %llu, %llx, %llu",
                   (unsigned long long)real->arch.status, (unsigned long long)real->arch.value[0],
                   (unsigned long long)real->arch.value[1], (unsigned long long)status,
                   (unsigned long long)value0, (unsigned long long)value1);
}

/* Takes what the mask admits of the Event that a Context waits for. */
static bool take(int context, uint64_t mask, uint64_t *bits, uint64_t *group) {
    struct m_object *event = OBJECT(CAP(m_reference(context, BH_BIND_CTX_EVENT))->object);
    *group = 0;
    if (event->size == 64) {
        *bits = event->pending[0] & mask;
        event->pending[0] &= ~mask;
        return *bits != 0;
    }
    for (; *group < 64; ++*group)
        if ((mask >> *group & 1) && event->pending[*group]) {
            *bits = event->pending[*group];
            event->pending[*group] = 0;
            return true;
        }
    return false;
}

static void signal_event(int event, uint64_t badge) {
    OBJECT(event)->pending[badge / 64] |= 1ull << badge % 64;
    for (int i = 0; i < M_CAPS; i++) {
        const struct m_cap *reference = CAP(i);
        if (!reference->used || reference->table != M_NONE ||
            reference->role != BH_BIND_CTX_EVENT || reference->object != event)
            continue;
        struct m_object *waiter = OBJECT(reference->owner);
        uint64_t bits, group;
        if (waiter->waiting && take(reference->owner, waiter->mask, &bits, &group)) {
            waiter->waiting = false;
            expect_result(waiter, BH_OK, bits, group);
        }
    }
}

static void raise_irq(int irq) {
    struct m_object *object = OBJECT(irq);
    if (object->in_service) {
        object->again = true;
        return;
    }
    object->in_service = true;
    int reference = m_reference(irq, BH_BIND_IRQ_EVENT);
    if (reference != M_NONE)
        signal_event(CAP(reference)->object, CAP(reference)->badge);
}

/* --- Removal -----------------------------------------------------------------------------------
 */

typedef bool cap_set[M_CAPS];

/* Adds whatever goes when the members go: descendants; with an original the references inside its
 * object and what its table holds. */
static void close_set(cap_set set) {
    static bool goes[M_OBJECTS];
    for (bool changed = true; changed;) {
        changed = false;
        for (int i = 0; i < M_OBJECTS; i++)
            goes[i] = OBJECT(i)->used && OBJECT(i)->dying;
        for (int i = 0; i < M_CAPS; i++)
            if (set[i] && CAP(i)->original && CAP(i)->object != M_NONE)
                goes[CAP(i)->object] = true;
        for (int i = 0; i < M_CAPS; i++) {
            const struct m_cap *cap = CAP(i);
            if (!cap->used || set[i])
                continue;
            bool parent = cap->parent != M_NONE && set[cap->parent];
            if (parent || goes[cap->table != M_NONE ? cap->table : cap->owner])
                set[i] = changed = true;
        }
    }
}

/* What dying tables still take with them. */
static void backlog(cap_set set) {
    memset(set, 0, sizeof(cap_set));
    close_set(set);
}

static bool space_goes(const cap_set set, int space) {
    for (int i = 0; i < M_CAPS; i++)
        if (set[i] && CAP(i)->type == BH_TYPE_SPACE && CAP(i)->original && CAP(i)->object == space)
            return true;
    return false;
}

/* A reference has gone. */
static void drop_reference(const struct m_cap *hidden) {
    struct m_object *owner = OBJECT(hidden->owner);
    if (!owner->used)
        return;
    if (hidden->role == BH_BIND_CTX_SPACE || hidden->role == BH_BIND_CTX_TABLE)
        owner->stopped = true;
    if (hidden->role == BH_BIND_CTX_EVENT && owner->waiting) {
        owner->waiting = false;
        expect_result(owner, BH_NOT_READY, 0, 0);
    }
}

static bool is_gone(const struct m_cap *cap) {
    return m_slot(cap)->type == BH_TYPE_NONE;
}

/* Whether the watermark of an Untyped may have come down to `to`: by Untypeds made of it that have
 * gone, the youngest first. */
static bool given_back(int untyped, const cap_set gone, uint64_t to) {
    uint64_t at = CAP(untyped)->watermark;
    for (bool found = true; found && at > to;) {
        found = false;
        for (int i = 0; i < M_CAPS && !found; i++) {
            const struct m_cap *cap = CAP(i);
            found = gone[i] && cap->type == BH_TYPE_UNTYPED && cap->parent == untyped &&
                    cap->base + cap->pages * PAGE_BYTES == CAP(untyped)->base + at;
            if (found)
                at = cap->base - CAP(untyped)->base;
        }
    }
    bool children = false;
    for (int i = 0; i < M_CAPS; i++)
        children |= CAP(i)->used && !gone[i] && CAP(i)->parent == untyped;
    return at == to || (to == 0 && !children); /* a call that failed may have begun it anew */
}

/* Whatever the core then says is clean, check_clean looks at. */
static void observe_given_back(const cap_set gone) {
    for (int i = 0; i < M_CAPS; i++) {
        struct m_cap *cap = CAP(i);
        if (!cap->used || gone[i] || cap->type != BH_TYPE_UNTYPED)
            continue;
        const struct slot *slot = m_slot(cap);
        if (slot->untyped.used == cap->watermark)
            continue;
        if (!given_back(i, gone, slot->untyped.used))
            model_fail("the watermark of capability %d changed", i);
        cap->watermark = slot->untyped.used;
        cap->clean = slot->untyped.clean;
    }
}

/* Looks at what the core has removed. All of it must be in `may`, and together with each capability
 * its descendants; if `all`, everything in `may` must have gone. */
static void observe_removal(const cap_set may, bool all) {
    static cap_set gone;
    unsigned count = 0;
    for (int i = 0; i < M_CAPS; i++) {
        gone[i] = CAP(i)->used && is_gone(CAP(i));
        count += gone[i];
        if (gone[i] && !may[i])
            model_fail("capability %d was removed and must not be", i);
        if (CAP(i)->used && !gone[i] && all && may[i])
            model_fail("capability %d survived", i);
    }
    model.removed += count;
    if (count > REMOVE_WORK + 1) /* the last takes what is left */
        model_fail("%u capabilities removed in one call", count);
    for (int i = 0; i < M_CAPS; i++)
        if (CAP(i)->used && !gone[i] && CAP(i)->parent != M_NONE && gone[CAP(i)->parent])
            model_fail("capability %d outlived the one it was derived from", i);

    for (int i = 0; i < M_CAPS; i++) { /* what is still mapped, and what no longer */
        struct m_cap *cap = CAP(i);
        if (!cap->used || cap->type != BH_TYPE_REGION || cap->space == M_NONE)
            continue;
        uint64_t mapped = gone[i] ? 0 : m_slot(cap)->region.mapped;
        bool may_shrink = may[i] || space_goes(may, cap->space);
        if (mapped > cap->mapped || (mapped < cap->mapped && !may_shrink))
            model_fail("mapping of capability %d changed", i);
        if (mapped && space_goes(gone, cap->space))
            model_fail("capability %d is still mapped in a Space that is gone", i);
        cap->mapped = mapped;
        if (!mapped)
            cap->space = M_NONE;
    }
    observe_given_back(gone);
    static struct m_cap before[M_CAPS];
    memcpy(before, model.cap, sizeof(before));
    for (int i = 0; i < M_CAPS; i++) {
        if (!gone[i])
            continue;
        CAP(i)->used = false;
        if (CAP(i)->original && is_object(CAP(i)->type)) {
            struct m_object *object = OBJECT(CAP(i)->object);
            object->used = object->type == BH_TYPE_CAPTABLE;
            object->dying = object->type == BH_TYPE_CAPTABLE;
        }
    }
    for (int i = 0; i < M_CAPS; i++)
        if (gone[i] && before[i].table == M_NONE)
            drop_reference(&before[i]);
    for (int i = 0; i < M_OBJECTS; i++) {
        struct m_object *table = OBJECT(i);
        if (!table->used || !table->dying)
            continue;
        bool empty = true;
        for (int j = 0; j < M_CAPS && empty; j++)
            empty = !CAP(j)->used || CAP(j)->table != i;
        if (!empty && !peek_dying())
            model_fail("a dying table was forgotten");
        if (empty && !peek_dying())
            table->used = table->dying = false;
    }
}

/* --- Decoding ----------------------------------------------------------------------------------
 */

struct call {
    struct context *caller;
    int table; /* the caller's */
    const uint64_t *argument;
    uint64_t status; /* what the core said */
    uint32_t errors; /* statuses that the arguments call for */
    bool backlog;    /* CapTables were dying before the call */
};

static void error(struct call *call, bool condition, enum bh_status status) {
    if (condition)
        call->errors |= ERROR(status);
}

/* A capability in the caller's own table. */
static int own(struct call *call, uint64_t index, enum bh_type type, uint32_t rights) {
    int cap = index ? m_find(call->table, index) : M_NONE;
    if (cap == M_NONE || CAP(cap)->type != type) {
        error(call, true, BH_BAD_CAP);
        return M_NONE;
    }
    error(call, rights & ~(uint32_t)CAP(cap)->rights, BH_BAD_RIGHTS);
    return cap;
}

struct place {
    int table; /* M_NONE: there is no such place */
    uint64_t index;
    int cap; /* what is there, M_NONE: nothing */
};

static struct place place_of(struct call *call, uint64_t ref, bool structural) {
    struct place nowhere = {M_NONE, 0, M_NONE};
    int table = call->table;
    uint32_t before = call->errors;
    if (structural || ref >> 32) {
        int cap = own(call, ref >> 32, BH_TYPE_CAPTABLE, BH_CAPTABLE_MANAGE);
        if (cap == M_NONE || call->errors != before)
            return nowhere;
        table = CAP(cap)->object;
    }
    uint64_t index = ref & 0xffffffff;
    if (index == 0 || index >= OBJECT(table)->size) {
        error(call, true, BH_BAD_CAP);
        return nowhere;
    }
    return (struct place){table, index, m_find(table, index)};
}

static int named(struct call *call, uint64_t ref, bool structural, enum bh_type type,
                 uint32_t rights) {
    struct place place = place_of(call, ref, structural);
    if (place.table == M_NONE)
        return M_NONE;
    if (place.cap == M_NONE || CAP(place.cap)->type != type) {
        error(call, true, BH_BAD_CAP);
        return M_NONE;
    }
    error(call, rights & ~(uint32_t)CAP(place.cap)->rights, BH_BAD_RIGHTS);
    return place.cap;
}

/* Does the core's status fit? True when the call has to have done its work. */
static bool agreed(const struct call *call) {
    if (call->errors) {
        if (call->status > BH_NOT_READY || !(call->errors >> call->status & 1))
            model_fail("status %llu, allowed are (bit set) %x", (unsigned long long)call->status,
                       call->errors);
        return false;
    }
    if (call->status != BH_OK)
        model_fail("status %llu instead of OK", (unsigned long long)call->status);
    return true;
}

static void expect_values(const struct call *call, uint64_t value0, uint64_t value1) {
    if (call->caller->arch.value[0] != value0 || call->caller->arch.value[1] != value1)
        model_fail("values %llx, %llx instead of %llx, %llx",
                   (unsigned long long)call->caller->arch.value[0],
                   (unsigned long long)call->caller->arch.value[1], (unsigned long long)value0,
                   (unsigned long long)value1);
}

/* --- Hot calls ---------------------------------------------------------------------------------
 */

static void m_signal(struct call *call) {
    int cap = own(call, call->argument[0], BH_TYPE_EVENT, BH_EVENT_SIGNAL);
    if (agreed(call))
        signal_event(CAP(cap)->object, CAP(cap)->badge);
}

static void m_wait(struct call *call) {
    int context = m_object_of(call->caller);
    struct m_object *object = OBJECT(context);
    uint64_t mask = call->argument[0], deadline = call->argument[1], bits, group;
    if (m_reference(context, BH_BIND_CTX_EVENT) == M_NONE) {
        expect_result(object, BH_NOT_READY, 0, 0);
    } else if (take(context, mask, &bits, &group)) {
        expect_result(object, BH_OK, bits, group);
    } else if (deadline != BH_DEADLINE_NEVER && deadline <= fake.now) {
        expect_result(object, BH_TIMEOUT, 0, 0);
    } else {
        if (call->status != W_PENDING)
            model_fail("WAIT returned %llu", (unsigned long long)call->status);
        object->waiting = true;
        object->mask = mask;
        object->deadline = deadline;
    }
}

static void m_irq_ack(struct call *call) {
    int cap = own(call, call->argument[0], BH_TYPE_IRQ, BH_IRQ_ACK);
    error(call, cap != M_NONE && !OBJECT(CAP(cap)->object)->attached, BH_NOT_READY);
    if (!agreed(call))
        return;
    struct m_object *irq = OBJECT(CAP(cap)->object);
    irq->in_service = false;
    if (irq->again) {
        irq->again = false;
        raise_irq(CAP(cap)->object);
    }
}

static void m_port(struct call *call, uint32_t rights) {
    uint64_t port = call->argument[1], width = call->argument[2];
    int cap = own(call, call->argument[0], BH_TYPE_PORTS, rights);
    error(call, width != 1 && width != 2 && width != 4, BH_BAD_ARG);
    if (cap != M_NONE) {
        uint64_t end = CAP(cap)->first + CAP(cap)->count;
        error(call, port < CAP(cap)->first || port >= end || width > end - port, BH_BAD_ARG);
    }
    if (fake.ports_done != (call->errors ? 0u : 1u))
        model_fail("a port was touched, or not");
    agreed(call);
}

/* --- Memory ------------------------------------------------------------------------------------
 */

static void restart(struct m_cap *untyped, int number) {
    if (untyped->watermark && !m_has_children(number))
        untyped->watermark = untyped->clean = 0;
}

/* Bytes and alignment of a new object; 0: BAD_ARG. */
static uint64_t size_of(uint64_t type, uint64_t size, uint64_t *alignment) {
    *alignment = PAGE_BYTES;
    if (type == BH_TYPE_UNTYPED || type == BH_TYPE_REGION)
        return size < 1ull << 27 ? size * PAGE_BYTES : ~0ull; /* larger than all memory here */
    *alignment = type == BH_TYPE_SPACE ? PAGE_BYTES : 64;
    bool good = type == BH_TYPE_SPACE      ? size >= 1 && size <= BH_SPACE_POOL_MAX
                : type == BH_TYPE_CAPTABLE ? size >= 2 && size <= BH_CAPTABLE_SLOTS_MAX
                : type == BH_TYPE_EVENT    ? size == 64 || size == 4096
                                           : size == 0;
    return good ? object_bytes((enum bh_type)type, size) : 0;
}

static void m_retype(struct call *call) {
    static cap_set may;
    uint64_t type = call->argument[1], size = call->argument[2], alignment;
    int untyped = named(call, call->argument[0], true, BH_TYPE_UNTYPED, BH_UNTYPED_RETYPE);
    struct place to = place_of(call, call->argument[3], true);
    bool object = type <= BH_TYPE_DEVICE && is_object((enum bh_type)type);
    bool paged = type == BH_TYPE_UNTYPED || type == BH_TYPE_REGION;
    error(call, (!object && !paged) || call->argument[4] != 0, BH_BAD_ARG);
    uint64_t bytes = object || paged ? size_of(type, size, &alignment) : 0;
    error(call, bytes == 0, BH_BAD_ARG);
    error(call, bytes == ~0ull, BH_BAD_ARG); /* a Region so large: either will do */
    error(call, type == BH_TYPE_VCPU || call->argument[4] == BH_SPACE_GUEST, BH_NOT_READY);
    if (call->backlog) { /* clears up first, or sees an error before */
        backlog(may);
        observe_removal(may, false);
        if (call->status != BH_AGAIN)
            agreed(call);
        return;
    }
    uint64_t start = 0;
    struct m_cap *from = untyped == M_NONE ? NULL : CAP(untyped);
    if (from) {
        if (call->errors == 0)
            restart(from, untyped);
        error(call, type == BH_TYPE_REGION && from->kind == BH_KIND_OBJECT, BH_BAD_ARG);
        error(call, object && from->kind != BH_KIND_OBJECT, BH_BAD_ARG);
        error(call, m_depth(untyped) >= BH_DEPTH_MAX, BH_TOO_DEEP);
        if (bytes) {
            uint64_t total = from->pages * PAGE_BYTES;
            start = align_up(from->watermark, alignment);
            error(call, start > total || bytes > total - start, BH_NO_MEMORY);
            error(call,
                  type == BH_TYPE_REGION && from->kind != BH_KIND_DEVICE &&
                      start + bytes > from->clean,
                  BH_DIRTY);
        }
    }
    error(call, to.table != M_NONE && to.cap != M_NONE, BH_BUSY);
    if (call->status == BH_AGAIN && !call->errors) {
        uint64_t clean = m_slot(from)->untyped.clean;
        if (!object || clean <= from->clean)
            model_fail("RETYPE says AGAIN and has cleaned nothing");
        from->clean = clean;
        return;
    }
    if (!agreed(call))
        return;
    struct m_cap cap = {.original = true,
                        .type = (enum bh_type)type,
                        .rights = BH_RIGHTS_ALL,
                        .parent = untyped,
                        .table = to.table,
                        .index = (int)to.index,
                        .object = M_NONE,
                        .space = M_NONE};
    if (paged) {
        cap.base = from->base + start;
        cap.pages = size;
        cap.kind = from->kind;
        uint64_t clean = min_u64(from->clean, start + bytes);
        cap.clean = type == BH_TYPE_UNTYPED && clean > start ? clean - start : 0;
    } else {
        void *real = m_slot(&cap)->object; /* cppcheck-suppress AssignmentIntegerToAddress */
        uint64_t pa = arch_object_address(real).raw;
        if (pa < from->base + start || pa >= from->base + start + bytes)
            model_fail("an object lies outside its memory");
        if (m_object_of(real) != M_NONE)
            model_fail("an object lies where another is");
        cap.object = new_object((enum bh_type)type, real, size);
    }
    from->watermark = start + bytes;
    if (from->clean < from->watermark)
        from->clean = from->watermark;
    new_cap(cap);
}

static void m_scrub(struct call *call) {
    static cap_set may;
    int untyped = named(call, call->argument[0], true, BH_TYPE_UNTYPED, BH_UNTYPED_RETYPE);
    if (call->backlog) {
        backlog(may);
        observe_removal(may, false);
        if (call->status == BH_AGAIN)
            return;
        error(call, true, BH_BAD_CAP);
        agreed(call);
        return;
    }
    if (untyped != M_NONE) {
        enum bh_kind kind = CAP(untyped)->kind;
        error(call, kind == BH_KIND_OBJECT || kind == BH_KIND_DEVICE, BH_BAD_ARG);
    }
    if (call->errors) {
        agreed(call);
        return;
    }
    struct m_cap *cap = CAP(untyped);
    restart(cap, untyped);
    uint64_t total = cap->pages * PAGE_BYTES;
    cap->clean = min_u64(total, cap->clean + ARCH_SCRUB_PAGES * PAGE_BYTES);
    if (call->status != (cap->clean == total ? BH_OK : BH_AGAIN))
        model_fail("SCRUB says %llu", (unsigned long long)call->status);
    expect_values(call, cap->clean, 0);
}

/* Is a page of a Space in use by a mapping other than that of `cap`? */
static bool page_in_use(int space, uint64_t va, int cap) {
    for (int i = 0; i < M_CAPS; i++)
        if (i != cap && CAP(i)->used && CAP(i)->type == BH_TYPE_REGION && CAP(i)->space == space &&
            va >= CAP(i)->va && va < CAP(i)->va + CAP(i)->mapped * PAGE_BYTES)
            return true;
    return false;
}

static void m_map(struct call *call) {
    uint64_t va = call->argument[2], rights = call->argument[3];
    int region = named(call, call->argument[0], true, BH_TYPE_REGION, 0);
    int space_cap = named(call, call->argument[1], true, BH_TYPE_SPACE, BH_SPACE_MAP);
    error(call,
          rights != BH_REGION_READ && rights != (BH_REGION_READ | BH_REGION_WRITE) &&
              rights != (BH_REGION_READ | BH_REGION_EXEC),
          BH_BAD_ARG);
    error(call, va % PAGE_BYTES || va < BH_USER_VA_MIN || va >= BH_USER_VA_END, BH_BAD_ARG);
    if (region == M_NONE || space_cap == M_NONE) {
        agreed(call);
        return;
    }
    struct m_cap *cap = CAP(region);
    int space = CAP(space_cap)->object;
    error(call, va < BH_USER_VA_END && cap->pages > (BH_USER_VA_END - va) / PAGE_BYTES, BH_BAD_ARG);
    error(call, rights & ~(uint64_t)cap->rights, BH_BAD_RIGHTS);
    bool elsewhere = cap->space != M_NONE && (cap->space != space || cap->va != va);
    error(call, elsewhere || (cap->space != M_NONE && cap->mapped == cap->pages), BH_BUSY);
    if (call->errors) {
        agreed(call);
        return;
    }
    uint64_t before = cap->space == M_NONE ? 0 : cap->mapped;
    uint64_t mapped = m_slot(cap)->region.space ? m_slot(cap)->region.mapped : 0;
    uint64_t free_pages = OBJECT(space)->size - ((struct space *)OBJECT(space)->real)->pool_used;
    bool good = mapped >= before && fake.entries <= fake.map_entries;
    if (call->status == BH_OK)
        good &= mapped == cap->pages;
    else if (call->status == BH_AGAIN)
        good &= mapped > before && mapped < cap->pages;
    else if (call->status == BH_BUSY)
        good &= page_in_use(space, va + mapped * PAGE_BYTES, region);
    else
        good &= call->status == BH_NO_MEMORY && free_pages < 3;
    if (!good)
        model_fail("MAP says %llu: %llu pages before, %llu now", (unsigned long long)call->status,
                   (unsigned long long)before, (unsigned long long)mapped);
    if (!mapped)
        return;
    cap->map_rights = (uint32_t)rights | (before ? cap->map_rights : 0);
    cap->space = space;
    cap->va = va;
    cap->mapped = mapped;
}

static void m_unmap(struct call *call) {
    int region = named(call, call->argument[0], true, BH_TYPE_REGION, 0);
    if (region == M_NONE || call->errors) {
        agreed(call);
        return;
    }
    struct m_cap *cap = CAP(region);
    uint64_t mapped = m_slot(cap)->region.mapped;
    bool again = call->status == BH_AGAIN && mapped && cap->space != M_NONE && mapped < cap->mapped;
    if (!again && (call->status != BH_OK || mapped))
        model_fail("UNMAP says %llu", (unsigned long long)call->status);
    cap->mapped = mapped;
    if (!mapped)
        cap->space = M_NONE;
}

/* --- Capabilities ------------------------------------------------------------------------------
 */

static void m_copy(struct call *call) {
    struct place from = place_of(call, call->argument[0], true);
    struct place to = place_of(call, call->argument[1], true);
    uint64_t a = call->argument[3], b = call->argument[4];
    error(call, from.table != M_NONE && from.cap == M_NONE, BH_BAD_CAP);
    error(call, to.table != M_NONE && to.cap != M_NONE, BH_BUSY);
    if (from.cap == M_NONE) {
        agreed(call);
        return;
    }
    const struct m_cap *source = CAP(from.cap);
    struct m_cap copy = *source;
    error(call, m_depth(from.cap) >= BH_DEPTH_MAX, BH_TOO_DEEP);
    error(call, source->type == BH_TYPE_UNTYPED, BH_BAD_ARG);
    if (source->type == BH_TYPE_EVENT && source->original) {
        error(call, a >= OBJECT(source->object)->size, BH_BAD_ARG);
        copy.badge = a;
    }
    if (source->type == BH_TYPE_CPU) {
        error(call, a > source->badge, BH_BAD_ARG);
        copy.badge = a;
    }
    if (source->type == BH_TYPE_REGION && b) {
        error(call, a >= source->pages || b > source->pages - a, BH_BAD_ARG);
        copy.base = source->base + a * PAGE_BYTES;
        copy.pages = b;
    }
    if (source->type == BH_TYPE_PORTS && b) {
        uint64_t end = source->first + source->count;
        error(call, a < source->first || a >= end || b > end - a, BH_BAD_ARG);
        copy.first = a;
        copy.count = b;
    }
    if (!agreed(call))
        return;
    copy.rights = source->rights & (uint8_t)call->argument[2];
    copy.original = false;
    copy.parent = from.cap;
    copy.table = to.table;
    copy.index = (int)to.index;
    copy.space = M_NONE;
    copy.mapped = 0;
    new_cap(copy);
}

static void m_move(struct call *call) {
    struct place from = place_of(call, call->argument[0], true);
    struct place to = place_of(call, call->argument[1], true);
    error(call, from.table != M_NONE && from.cap == M_NONE, BH_BAD_CAP);
    error(call, to.table != M_NONE && to.cap != M_NONE, BH_BUSY);
    if (!agreed(call))
        return;
    CAP(from.cap)->table = to.table;
    CAP(from.cap)->index = (int)to.index;
}

static void m_narrow(struct call *call) {
    struct place place = place_of(call, call->argument[0], true);
    error(call, place.table != M_NONE && place.cap == M_NONE, BH_BAD_CAP);
    if (agreed(call))
        CAP(place.cap)->rights &= (uint8_t)call->argument[1];
}

static void m_delete(struct call *call) {
    static cap_set may;
    struct place place = place_of(call, call->argument[0], true);
    if (call->errors) {
        agreed(call);
        return;
    }
    backlog(may);
    if (place.cap != M_NONE && !may[place.cap]) {
        bool children = false;
        for (int i = 0; i < M_CAPS; i++)
            children |= CAP(i)->used && CAP(i)->parent == place.cap && !may[i];
        if (children && call->status != BH_AGAIN)
            error(call, true, BH_HAS_CHILDREN);
        if (!children)
            may[place.cap] = true;
    }
    close_set(may);
    observe_removal(may, call->status != BH_AGAIN);
    if (call->status != BH_AGAIN)
        agreed(call);
}

static void m_revoke(struct call *call) {
    static cap_set may;
    struct place place = place_of(call, call->argument[0], true);
    if (call->errors) {
        agreed(call);
        return;
    }
    backlog(may);
    for (int i = 0; i < M_CAPS; i++)
        if (CAP(i)->used && place.cap != M_NONE && CAP(i)->parent == place.cap)
            may[i] = true;
    close_set(may);
    observe_removal(may, call->status != BH_AGAIN);
    if (call->status != BH_AGAIN)
        agreed(call);
}

static void m_cap_info(struct call *call) {
    struct place place = place_of(call, call->argument[0], false);
    error(call, call->argument[1] > 1, BH_BAD_ARG);
    if (!agreed(call))
        return;
    if (place.cap == M_NONE) {
        expect_values(call, 0, 0);
        return;
    }
    const struct m_cap *cap = CAP(place.cap);
    bool memory = cap->type == BH_TYPE_UNTYPED || cap->type == BH_TYPE_REGION;
    bool badged = cap->type == BH_TYPE_EVENT || cap->type == BH_TYPE_CPU;
    uint64_t size = cap->object == M_NONE ? 0 : OBJECT(cap->object)->size;
    if (call->argument[1] == 0)
        expect_values(call,
                      cap->type | (uint64_t)cap->rights << 8 | (uint64_t)m_depth(place.cap) << 16 |
                          (uint64_t)cap->original << 24 | (memory ? (uint64_t)cap->kind << 32 : 0),
                      badged ? cap->badge : 0);
    else if (cap->type == BH_TYPE_UNTYPED)
        expect_values(call, cap->pages,
                      m_has_children(place.cap)
                          ? cap->pages - align_up(cap->watermark, PAGE_BYTES) / PAGE_BYTES
                          : cap->pages);
    else if (cap->type == BH_TYPE_REGION)
        expect_values(call, cap->pages, cap->space == M_NONE ? 0 : cap->mapped);
    else if (cap->type == BH_TYPE_CAPTABLE)
        expect_values(call, size, 0);
    else if (cap->type == BH_TYPE_SPACE)
        expect_values(call, size, size - ((struct space *)OBJECT(cap->object)->real)->pool_used);
    else if (cap->type == BH_TYPE_PORTS)
        expect_values(call, cap->first, cap->count);
    else
        expect_values(call, 0, 0);
}

static void m_region_address(struct call *call) {
    int cap = named(call, call->argument[0], false, BH_TYPE_REGION, BH_REGION_ADDR);
    if (agreed(call))
        expect_values(call, CAP(cap)->base, 0);
}

/* The processor writes nothing here: unit `core_region` does. */
static void m_region_dirty(struct call *call) {
    int cap = named(call, call->argument[0], false, BH_TYPE_REGION, BH_REGION_DIRTY);
    uint64_t page = call->argument[1], left = 0;
    if (cap != M_NONE && CAP(cap)->space != M_NONE && page < CAP(cap)->mapped) {
        left = CAP(cap)->mapped - page;
        uint64_t va = CAP(cap)->va + page * PAGE_BYTES;
        bool large = fake_translate(OBJECT(CAP(cap)->space)->real, va).large;
        error(call, large && va % (FAKE_LARGE_PAGES * PAGE_BYTES), BH_BAD_ARG);
    }
    error(call, left == 0, BH_BAD_ARG);
    if (!agreed(call))
        return;
    uint64_t bits = call->caller->arch.value[0], told = call->caller->arch.value[1];
    if (!told || told > left || (told > ARCH_DIRTY_PAGES && told != FAKE_LARGE_PAGES) ||
        (told < ARCH_DIRTY_PAGES && bits >> told))
        model_fail("REGION_DIRTY told of %llu pages of %llu", (unsigned long long)told,
                   (unsigned long long)left);
}

/* --- Contexts ----------------------------------------------------------------------------------
 */

static void m_bind(struct call *call) {
    static const struct {
        enum bh_type object, target;
        uint32_t object_rights, target_rights;
    } rules[] = {
        {BH_TYPE_CONTEXT, BH_TYPE_SPACE, BH_CONTEXT_BIND, BH_SPACE_BIND},
        {BH_TYPE_CONTEXT, BH_TYPE_CAPTABLE, BH_CONTEXT_BIND, BH_CAPTABLE_BIND},
        {BH_TYPE_CONTEXT, BH_TYPE_EVENT, BH_CONTEXT_BIND, BH_EVENT_RECEIVE},
        {BH_TYPE_CONTEXT, BH_TYPE_EVENT, BH_CONTEXT_BIND, BH_EVENT_SIGNAL},
        {BH_TYPE_IRQ, BH_TYPE_EVENT, BH_IRQ_BIND, BH_EVENT_SIGNAL},
    };
    uint64_t role = call->argument[1];
    struct place object = place_of(call, call->argument[0], true);
    struct place target = {M_NONE, 0, M_NONE};
    if (call->argument[2])
        target = place_of(call, call->argument[2], true);
    error(call, role > BH_BIND_VCPU_STATE, BH_BAD_ARG);
    if (role > BH_BIND_IRQ_EVENT) { /* there are no Vcpus */
        error(call, true, BH_BAD_CAP);
        agreed(call);
        return;
    }
    bool object_good = object.cap != M_NONE && CAP(object.cap)->type == rules[role].object;
    bool target_good = target.cap != M_NONE && CAP(target.cap)->type == rules[role].target;
    error(call, !object_good || (call->argument[2] && !target_good), BH_BAD_CAP);
    if (object_good)
        error(call, rules[role].object_rights & ~(uint32_t)CAP(object.cap)->rights, BH_BAD_RIGHTS);
    if (target_good) {
        error(call, rules[role].target_rights & ~(uint32_t)CAP(target.cap)->rights, BH_BAD_RIGHTS);
        error(call, m_depth(target.cap) >= BH_DEPTH_MAX, BH_TOO_DEEP);
    }
    int owner = object_good ? CAP(object.cap)->object : M_NONE;
    if (object_good && role != BH_BIND_IRQ_EVENT)
        error(call, !OBJECT(owner)->stopped && !OBJECT(owner)->faulted, BH_BUSY);
    if (object_good && target_good && role == BH_BIND_CTX_EVENT)
        for (int i = 0; i < M_CAPS; i++)
            error(call,
                  CAP(i)->used && CAP(i)->table == M_NONE && CAP(i)->role == BH_BIND_CTX_EVENT &&
                      CAP(i)->object == CAP(target.cap)->object && CAP(i)->owner != owner,
                  BH_BUSY);
    if (!agreed(call))
        return;
    int old = m_reference(owner, (int)role);
    if (old != M_NONE) {
        CAP(old)->used = false;
        drop_reference(CAP(old));
    }
    if (target.cap == M_NONE)
        return;
    struct m_cap hidden = *CAP(target.cap);
    hidden.original = false;
    hidden.parent = target.cap;
    hidden.table = M_NONE;
    hidden.owner = owner;
    hidden.role = (int)role;
    new_cap(hidden);
    if (role == BH_BIND_IRQ_EVENT && OBJECT(owner)->in_service)
        signal_event(hidden.object, hidden.badge);
}

static int m_context(struct call *call, uint32_t rights) {
    return named(call, call->argument[0], false, BH_TYPE_CONTEXT, rights);
}

static void m_ctx_sched(struct call *call) {
    int cap = m_context(call, BH_CONTEXT_CONTROL);
    int cpu = own(call, call->argument[1], BH_TYPE_CPU, BH_CPU_SCHEDULE);
    uint64_t priority = call->argument[2], quantum = call->argument[3];
    uint64_t budget = call->argument[4], period = call->argument[5];
    error(call, cpu != M_NONE && priority > CAP(cpu)->badge, BH_BAD_ARG);
    error(call, (quantum && quantum < 1000) || (budget && budget < 1000) || budget > period,
          BH_BAD_ARG);
    error(call, period > INT64_MAX, BH_BAD_ARG);
    if (!agreed(call))
        return;
    struct m_object *context = OBJECT(CAP(cap)->object);
    context->cpu = m_slot(CAP(cpu))->object == cpus[0] ? 0 : 1;
    context->priority = (uint32_t)priority;
}

static void m_ctx_resume(struct call *call) {
    int cap = m_context(call, BH_CONTEXT_CONTROL);
    if (cap != M_NONE) {
        int context = CAP(cap)->object;
        const struct context *real = OBJECT(context)->real;
        error(call,
              m_reference(context, BH_BIND_CTX_SPACE) == M_NONE ||
                  m_reference(context, BH_BIND_CTX_TABLE) == M_NONE ||
                  OBJECT(context)->cpu == M_NONE || real->arch.reg[BH_REG_RIP] >= BH_USER_VA_END,
              BH_NOT_READY);
    }
    if (agreed(call))
        OBJECT(CAP(cap)->object)->stopped = OBJECT(CAP(cap)->object)->faulted = false;
}

static void m_ctx_suspend(struct call *call) {
    int cap = m_context(call, BH_CONTEXT_CONTROL);
    if (agreed(call))
        OBJECT(CAP(cap)->object)->stopped = true;
}

static uint64_t state_of(const struct m_object *context) {
    if (context->faulted)
        return BH_CTX_FAULTED;
    if (context->stopped)
        return BH_CTX_STOPPED;
    if (context->waiting)
        return BH_CTX_WAITING;
    return ((struct context *)context->real)->blocked ? BH_CTX_THROTTLED : BH_CTX_READY;
}

static void m_ctx_get(struct call *call) {
    uint64_t reg = call->argument[1];
    error(call, reg >= BH_REG_COUNT, BH_BAD_ARG);
    int cap = m_context(call, 0);
    bool time = reg == BH_REG_CPU_TIME || reg == BH_REG_STATE;
    error(call,
          cap != M_NONE && !(CAP(cap)->rights & BH_CONTEXT_READ) &&
              !(time && (CAP(cap)->rights & BH_CONTEXT_TIME)),
          BH_BAD_RIGHTS);
    if (agreed(call) && reg == BH_REG_STATE)
        expect_values(call, state_of(OBJECT(CAP(cap)->object)), 0);
}

static void m_ctx_set(struct call *call) {
    int cap = m_context(call, BH_CONTEXT_WRITE);
    uint64_t reg = call->argument[1], value = call->argument[2];
    error(call, reg > BH_REG_GS_BASE, BH_BAD_ARG);
    error(call, reg >= BH_REG_RIP && reg != BH_REG_RFLAGS && value >= BH_USER_VA_END, BH_BAD_ARG);
    if (cap != M_NONE) {
        const struct m_object *context = OBJECT(CAP(cap)->object);
        error(call, !context->stopped && !context->faulted, BH_BUSY);
        if (agreed(call) && ((struct context *)context->real)->arch.reg[reg] != value &&
            context->real != call->caller)
            model_fail("CTX_SET did not");
        return;
    }
    agreed(call);
}

static void m_irq_attach(struct call *call, uint32_t vectors_before) {
    int cap = named(call, call->argument[0], false, BH_TYPE_IRQ, BH_IRQ_BIND);
    own(call, call->argument[1], BH_TYPE_SYSTEM, BH_SYSTEM_IRQ);
    uint64_t source = call->argument[2];
    error(call, source != BH_IRQ_SOURCE_MSI && (source & ~BH_IRQ_GSI_LEVEL) >= FAKE_GSIS,
          BH_BAD_ARG);
    error(call, cap != M_NONE && OBJECT(CAP(cap)->object)->attached, BH_BUSY);
    error(call, vectors_before == 0, BH_NO_MEMORY);
    if (agreed(call))
        OBJECT(CAP(cap)->object)->attached = true;
}

static void m_system(struct call *call) {
    static const uint32_t rights[] = {BH_SYSTEM_RESET, 0, BH_SYSTEM_LOG, BH_SYSTEM_INFO};
    uint64_t operation = call->argument[1];
    bool exists = operation <= BH_SYSTEM_OP_COUNTER && operation != BH_SYSTEM_OP_RESERVED;
    error(call, !exists, BH_BAD_ARG);
    own(call, call->argument[0], BH_TYPE_SYSTEM, exists ? rights[operation] : 0);
    error(call, operation == BH_SYSTEM_OP_COUNTER && call->argument[2] >= BH_COUNTER_COUNT,
          BH_BAD_ARG);
    error(call, operation == BH_SYSTEM_OP_RESET, BH_NOT_READY);
    agreed(call);
}

/* --- One step ----------------------------------------------------------------------------------
 */

static void leave_hv(void) {
    for (uint32_t i = 0; i < FAKE_CPUS; i++)
        if (fake.cpus[i].reschedule) {
            uint32_t before = fake.cpu;
            fake.cpu = i;
            sched_next(&fake.cpus[i]);
            fake.cpu = before;
        }
}

static void dispatch(struct call *call, uint64_t number, uint32_t vectors_before) {
    switch (number) {
    case BH_HC_NULL:
        if (agreed(call))
            expect_values(call, BH_ABI_VERSION, 0);
        return;
    case BH_HC_YIELD:
        agreed(call);
        return;
    case BH_HC_SIGNAL:
        m_signal(call);
        return;
    case BH_HC_WAIT:
        m_wait(call);
        return;
    case BH_HC_IRQ_ACK:
        m_irq_ack(call);
        return;
    case BH_HC_PORT_IN:
        m_port(call, BH_PORTS_IN);
        return;
    case BH_HC_PORT_OUT:
        m_port(call, BH_PORTS_OUT);
        return;
    case BH_HC_IRQ_ATTACH:
        m_irq_attach(call, vectors_before);
        return;
    /* The model's processor has no guest mode. */
    case BH_HC_VCPU_RUN:
    case BH_HC_VCPU_SYNC:
        error(call, true, BH_BAD_CAP);
        agreed(call);
        return;
    case BH_HC_DOORBELL:
        error(call, true, BH_BAD_CAP);
        error(call, true, BH_BAD_RIGHTS);
        error(call, true, BH_BAD_ARG);
        agreed(call);
        return;
    default:
        break;
    }
    static void (*const calls[])(struct call *) = {
        [BH_HC_RETYPE] = m_retype,
        [BH_HC_COPY] = m_copy,
        [BH_HC_MOVE] = m_move,
        [BH_HC_NARROW] = m_narrow,
        [BH_HC_DELETE] = m_delete,
        [BH_HC_REVOKE] = m_revoke,
        [BH_HC_SCRUB] = m_scrub,
        [BH_HC_MAP] = m_map,
        [BH_HC_UNMAP] = m_unmap,
        [BH_HC_BIND] = m_bind,
        [BH_HC_CTX_SCHED] = m_ctx_sched,
        [BH_HC_CTX_RESUME] = m_ctx_resume,
        [BH_HC_CTX_SUSPEND] = m_ctx_suspend,
        [BH_HC_CTX_GET] = m_ctx_get,
        [BH_HC_CTX_SET] = m_ctx_set,
        [BH_HC_CAP_INFO] = m_cap_info,
        [BH_HC_REGION_ADDRESS] = m_region_address,
        [BH_HC_SYSTEM] = m_system,
        [BH_HC_REGION_DIRTY] = m_region_dirty,
    };
    if (number >= BH_HC_COUNT || !calls[number]) {
        error(call, true, BH_BAD_CALL);
        agreed(call);
        return;
    }
    calls[number](call);
}

uint64_t model_call(struct context *caller, uint64_t number, const uint64_t argument[6]) {
    struct call call = {.caller = caller,
                        .table = m_table_of(caller),
                        .argument = argument,
                        .backlog = peek_dying() != NULL};
    uint32_t vectors_before = fake.vectors_free;
    if (call.table == M_NONE)
        model_fail("a Context runs without a CapTable");
    fake.ports_done = 0;
    model.calls++;
    if (tracing)
        fprintf(stderr, "%llu: cpu %u: call %llu (%llx, %llx, %llx, %llx, %llx, %llx)",
                (unsigned long long)model.calls, fake.cpu, (unsigned long long)number,
                (unsigned long long)argument[0], (unsigned long long)argument[1],
                (unsigned long long)argument[2], (unsigned long long)argument[3],
                (unsigned long long)argument[4], (unsigned long long)argument[5]);
    call.status = world_raw(caller, number, argument);
    if (tracing)
        fprintf(stderr, " -> %llu\n", (unsigned long long)call.status);
    uint32_t most = REMOVE_WORK > fake.map_entries ? REMOVE_WORK : fake.map_entries;
    if (fake.entries > most || fake.scrubbed_pages > ARCH_SCRUB_PAGES)
        model_fail("unbounded work: %u entries, %u pages scrubbed", fake.entries,
                   fake.scrubbed_pages);
    model.oks += call.status == BH_OK;
    model.agains += call.status == BH_AGAIN;
    dispatch(&call, number, vectors_before);
    leave_hv();
    return call.status;
}

void model_fault(struct context *context) {
    int number = m_object_of(context), reference = m_reference(number, BH_BIND_CTX_FAULT);
    if (tracing)
        fprintf(stderr, "fault\n");
    context_fault(context, 14, 2, 0x5000);
    OBJECT(number)->faulted = true;
    if (reference != M_NONE)
        signal_event(CAP(reference)->object, CAP(reference)->badge);
    leave_hv();
}

void model_time(uint64_t ticks) {
    uint32_t before = fake.cpu;
    if (tracing)
        fprintf(stderr, "%llu ticks\n", (unsigned long long)ticks);
    fake.now += ticks;
    for (fake.cpu = 0; fake.cpu < FAKE_CPUS; fake.cpu++)
        for (unsigned i = 0; i < M_OBJECTS / 16; i++)
            timer_interrupt();
    fake.cpu = before;
    for (int i = 0; i < M_OBJECTS; i++) {
        struct m_object *context = OBJECT(i);
        if (context->used && context->type == BH_TYPE_CONTEXT && context->waiting &&
            context->deadline != BH_DEADLINE_NEVER && context->deadline <= fake.now) {
            context->waiting = false;
            expect_result(context, BH_TIMEOUT, 0, 0);
        }
    }
    leave_hv();
}

void model_interrupt(int irq) {
    if (tracing)
        fprintf(stderr, "interrupt\n");
    irq_deliver(OBJECT(irq)->real);
    raise_irq(irq);
    leave_hv();
}
