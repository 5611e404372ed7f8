/* The core's state against the model's, and the invariants of docs/design.md. See model.h. */
#include "test/invariants/model.h"

#include <string.h>

#define CAP(number) (&model.cap[number])
#define OBJECT(number) (&model.object[number])

/* --- From the core's pointers to the model's numbers ---------------------------------------------
 */

enum { HASH = 4096 };
static struct {
    const void *key;
    int value;
} hash[HASH];

static unsigned hash_of(const void *key) {
    return (unsigned)((uintptr_t)key / 8 * 2654435761u) % HASH;
}

static void remember(const void *key, int value) {
    unsigned at = hash_of(key);
    while (hash[at].key)
        at = (at + 1) % HASH;
    hash[at].key = key;
    hash[at].value = value;
}

static int recall(const void *key) {
    for (unsigned at = hash_of(key); hash[at].key; at = (at + 1) % HASH)
        if (hash[at].key == key)
            return hash[at].value;
    return M_NONE;
}

/* --- The tree ------------------------------------------------------------------------------------
 */

static void compare_slot(int number, const struct slot *slot) {
    const struct m_cap *cap = CAP(number);
    uint8_t flags = (cap->original ? SLOT_ORIGINAL : 0) | (cap->table == M_NONE ? SLOT_HIDDEN : 0);
    bool same = slot->type == cap->type && slot->rights == cap->rights && slot->flags == flags;
    if (cap->object != M_NONE)
        same &= slot->object == OBJECT(cap->object)->real;
    if (cap->type == BH_TYPE_EVENT || cap->type == BH_TYPE_CPU)
        same &= slot->ref.badge == cap->badge;
    if (cap->table == M_NONE)
        same &= slot->ref.owner == OBJECT(cap->owner)->real && slot->ref.role == cap->role;
    if (cap->type == BH_TYPE_UNTYPED) {
        same &= slot->base.raw == cap->base && slot->untyped.pages == cap->pages &&
                slot->untyped.kind == cap->kind;
        if (m_has_children(number))
            same &= slot->untyped.used == cap->watermark && slot->untyped.clean <= cap->clean;
        same &= slot->untyped.clean >= slot->untyped.used;
    }
    if (cap->type == BH_TYPE_REGION) {
        same &= slot->base.raw == cap->base && slot->pages == cap->pages &&
                slot->region.kind == cap->kind;
        if (cap->space == M_NONE)
            same &= !slot->region.space && slot->region.mapped == 0;
        else
            same &= slot->region.space == OBJECT(cap->space)->real &&
                    slot->region.mapped == cap->mapped &&
                    (uint64_t)slot->region.va_page << PAGE_SHIFT == cap->va;
    }
    if (cap->type == BH_TYPE_PORTS)
        same &= slot->ports.first == cap->first && slot->ports.count == cap->count;
    if (!same)
        model_fail("capability %d (type %d) is not what it should be", number, cap->type);
}

static void compare_tree(void) {
    int path[BH_DEPTH_MAX + 1];
    unsigned found = 0, expected = 0;
    memset(hash, 0, sizeof(hash));
    for (int i = 0; i < M_CAPS; i++)
        if (CAP(i)->used) {
            remember(m_slot(CAP(i)), i);
            expected++;
        }
    for (const struct slot *slot = peek_tree(); slot; slot = slot->next, found++) {
        int number = recall(slot);
        if (number == M_NONE)
            model_fail("the tree holds a slot that nobody knows");
        if (slot->depth > BH_DEPTH_MAX || found >= expected)
            model_fail("the tree is no tree");
        int parent = slot->depth ? path[slot->depth - 1] : M_NONE;
        if (CAP(number)->parent != parent)
            model_fail("capability %d hangs on %d instead of %d", number, parent,
                       CAP(number)->parent);
        path[slot->depth] = number;
        compare_slot(number, slot);
    }
    if (found != expected)
        model_fail("%u capabilities in the tree instead of %u", found, expected);
}

/* No table holds anything beyond what is in the tree. */
static void compare_tables(void) {
    for (int i = 0; i < M_OBJECTS; i++) {
        const struct captable *table = OBJECT(i)->real;
        if (!OBJECT(i)->used || OBJECT(i)->type != BH_TYPE_CAPTABLE)
            continue;
        for (uint64_t j = 0; j < OBJECT(i)->size; j++)
            if (table->slot[j].type != BH_TYPE_NONE && recall(&table->slot[j]) == M_NONE)
                model_fail("a table holds what is not in the tree");
    }
}

/* --- Memory --------------------------------------------------------------------------------------
 */

static void check_ranges(void) {
    for (int i = 0; i < M_CAPS; i++) {
        const struct m_cap *cap = CAP(i);
        if (!cap->used || (cap->type != BH_TYPE_UNTYPED && cap->type != BH_TYPE_REGION))
            continue;
        uint64_t end = cap->base + cap->pages * PAGE_BYTES;
        const struct m_cap *parent = cap->parent == M_NONE ? NULL : CAP(cap->parent);
        if (parent && (cap->base < parent->base || cap->kind != parent->kind ||
                       end > parent->base + parent->pages * PAGE_BYTES))
            model_fail("capability %d leaves its parent's range", i);
        for (int j = 0; j < i; j++) {
            const struct m_cap *other = CAP(j);
            if (other->used && other->original && cap->original && other->parent == cap->parent &&
                (other->type == BH_TYPE_UNTYPED || other->type == BH_TYPE_REGION) &&
                cap->base < other->base + other->pages * PAGE_BYTES && other->base < end)
                model_fail("capabilities %d and %d overlap", i, j);
        }
    }
}

/* All that counts as clean is zero. */
static void check_clean(void) {
    for (int i = 0; i < M_CAPS; i++) {
        const struct m_cap *cap = CAP(i);
        if (!cap->used || cap->type != BH_TYPE_UNTYPED || cap->kind == BH_KIND_DEVICE)
            continue;
        const struct slot *slot = m_slot(cap);
        uint64_t from = slot->untyped.used, to = slot->untyped.clean;
        if (from == to || (from && !m_has_children(i)))
            continue;
        if (cap->kind == BH_KIND_OBJECT) {
            const uint8_t *memory = arch_object_pointer((struct pa){cap->base});
            if (memory[from] || memcmp(memory + from, memory + from + 1, to - from - 1) != 0)
                model_fail("clean object memory of capability %d is not zero", i);
            continue;
        }
        for (; from < to; from += PAGE_BYTES)
            if (*fake_frame(cap->base + from))
                model_fail("a clean frame of capability %d is not zero", i);
    }
}

/* --- Mappings ------------------------------------------------------------------------------------
 */

struct mappings {
    int space;
    uint64_t pages;
};

static void check_entry(void *closure, uint64_t va, uint64_t pages, struct fake_page page) {
    struct mappings *mappings = closure;
    mappings->pages += pages;
    for (int i = 0; i < M_CAPS; i++) {
        const struct m_cap *cap = CAP(i);
        if (!cap->used || cap->type != BH_TYPE_REGION || cap->space != mappings->space ||
            va < cap->va || va >= cap->va + cap->mapped * PAGE_BYTES)
            continue;
        if (va + pages * PAGE_BYTES > cap->va + cap->mapped * PAGE_BYTES ||
            page.pa != cap->base + (va - cap->va) || page.kind != cap->kind ||
            page.rights & ~cap->map_rights)
            model_fail("%llx is mapped wrongly", (unsigned long long)va);
        if (page.pa >= FAKE_OBJECT_BASE && page.pa < FAKE_FRAME_BASE)
            model_fail("object memory is mapped");
        return;
    }
    model_fail("%llx is mapped by no capability", (unsigned long long)va);
}

static void check_spaces(void) {
    for (int i = 0; i < M_OBJECTS; i++) {
        if (!OBJECT(i)->used || OBJECT(i)->type != BH_TYPE_SPACE)
            continue;
        const struct space *space = OBJECT(i)->real;
        struct mappings mappings = {.space = i};
        fake_walk(space, check_entry, &mappings);
        unsigned listed = 0, expected = 0;
        for (int j = 0; j < M_CAPS; j++)
            if (CAP(j)->used && CAP(j)->type == BH_TYPE_REGION && CAP(j)->space == i) {
                expected++;
                mappings.pages -= CAP(j)->mapped;
            }
        if (mappings.pages)
            model_fail("a mapped page is in no table");
        for (const struct slot *slot = space->mapped; slot; slot = slot->region.space_next) {
            int number = recall(slot);
            if (number == M_NONE || CAP(number)->space != i || ++listed > expected)
                model_fail("a Space's list of mappings is wrong");
        }
        if (listed != expected)
            model_fail("a Space's list of mappings is short");
    }
}

/* --- Contexts, Events, Irqs ----------------------------------------------------------------------
 */

static void compare_context(int number) {
    const struct m_object *object = OBJECT(number);
    const struct context *context = object->real;
    if (!!(context->blocked & BLOCK_STOPPED) != object->stopped ||
        !!(context->blocked & BLOCK_FAULT) != object->faulted ||
        !!(context->blocked & BLOCK_WAIT) != object->waiting)
        model_fail("Context %d: blocked %x", number, context->blocked);
    if (context->cpu != (object->cpu == M_NONE ? NULL : cpus[object->cpu]) ||
        (context->cpu && context->priority != object->priority))
        model_fail("Context %d is placed wrongly", number);
    bool deadline = object->waiting && object->deadline != BH_DEADLINE_NEVER;
    if (deadline && (!context->timer.armed || context->timer.deadline != object->deadline))
        model_fail("Context %d has lost its deadline", number);
    if ((context->blocked & BLOCK_BUDGET) && context->budget_left)
        model_fail("Context %d is throttled with a budget left", number);
    if (m_ready(object) && context->cpu && !(context->blocked & BLOCK_BUDGET) &&
        (!context->cpu->current || context->cpu->current->priority < context->priority))
        model_fail("Context %d should run", number);
}

static void compare_objects(void) {
    uint32_t attached = 0;
    for (int i = 0; i < M_OBJECTS; i++) {
        const struct m_object *object = OBJECT(i);
        if (!object->used)
            continue;
        if (object->type == BH_TYPE_CONTEXT)
            compare_context(i);
        if (object->type == BH_TYPE_EVENT) {
            const struct event *event = object->real;
            uint64_t waiting = 0;
            for (uint64_t word = 0; word < object->size / 64; word++) {
                if (event->word[word] != object->pending[word])
                    model_fail("Event %d: wrong bits", i);
                waiting |= (uint64_t)(event->word[word] != 0) << word;
            }
            if (object->size > 64 && event->summary != waiting)
                model_fail("Event %d: wrong summary", i);
            int waiter = event->waiter ? m_object_of(event->waiter) : M_NONE;
            int reference = waiter == M_NONE ? M_NONE : m_reference(waiter, BH_BIND_CTX_EVENT);
            if (event->waiter && (reference == M_NONE || CAP(reference)->object != i))
                model_fail("Event %d: wrong waiter", i);
        }
        if (object->type == BH_TYPE_IRQ) {
            const struct irq *irq = object->real;
            attached += object->attached;
            if (irq->attached != object->attached || irq->in_service != object->in_service ||
                irq->again != object->again)
                model_fail("Irq %d", i);
        }
    }
    if (attached + fake.vectors_free != FAKE_VECTORS)
        model_fail("an interrupt source is attached to nothing");
    for (uint32_t i = 0; i < FAKE_CPUS; i++) { /* no dangling pointers; world_check does the rest */
        const struct cpu *cpu = cpus[i];
        if (cpu->current &&
            (m_object_of(cpu->current) == M_NONE || !m_ready(OBJECT(m_object_of(cpu->current)))))
            model_fail("what runs is no ready Context");
        for (unsigned j = 0; j < BH_PRIORITIES; j++)
            for (const struct context *at = cpu->ready[j]; at;) {
                if (m_object_of(at) == M_NONE)
                    model_fail("a ready queue holds what is no Context");
                at = at->ready_next != cpu->ready[j] ? at->ready_next : NULL;
            }
    }
}

static unsigned count_timers(const struct timer *timer) {
    if (!timer)
        return 0;
    const void *context = (const uint8_t *)timer - offsetof(struct context, timer);
    if (m_object_of(context) == M_NONE)
        model_fail("a timer is in no Context");
    return 1 + count_timers(timer->left) + count_timers(timer->right);
}

static void compare_timers(void) {
    unsigned armed = 0;
    for (int i = 0; i < M_OBJECTS; i++)
        if (OBJECT(i)->used && OBJECT(i)->type == BH_TYPE_CONTEXT)
            armed += ((struct context *)OBJECT(i)->real)->timer.armed;
    for (uint32_t i = 0; i < FAKE_CPUS; i++)
        armed -= count_timers(cpus[i]->timers);
    if (armed)
        model_fail("armed timers are not in a heap");
}

void model_compare(bool thorough) {
    world_check();
    compare_tree();
    compare_objects();
    compare_timers();
    check_spaces();
    if (!thorough)
        return;
    compare_tables();
    check_ranges();
    check_clean();
}
