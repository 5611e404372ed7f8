/* The machine the native tests run on: see world.h. */
#include "test/unit/fake_arch/world.h"

#include <string.h>

struct world world;

static uint64_t boot_used;

static void must(uint64_t status) {
    if (status != BH_OK)
        arch_panic("world: a step of the set-up failed");
}

static void *boot_memory(uint64_t bytes) {
    boot_used = align_up(boot_used, PAGE_BYTES);
    void *memory = arch_object_pointer((struct pa){FAKE_OBJECT_BASE + boot_used});
    memset(memory, 0, bytes);
    boot_used += bytes;
    if (boot_used > W_BOOT_PAGES * PAGE_BYTES)
        arch_panic("world: boot memory");
    return memory;
}

static void *boot_object(uint32_t index, enum bh_type type, uint64_t size) {
    struct slot made;
    object_make(&made, type, boot_memory(object_bytes(type, size)), size, 0);
    if (index == W_TABLE) /* the table itself is the first object */
        world.table = made.object;
    world.table->slot[index] = made;
    slot_insert_root(&world.table->slot[index]);
    return made.object;
}

static void boot_root(uint32_t index, struct slot contents) {
    contents.rights = BH_RIGHTS_ALL;
    contents.flags = SLOT_ORIGINAL;
    world.table->slot[index] = contents;
    slot_insert_root(&world.table->slot[index]);
}

static void boot_untyped(uint32_t index, enum bh_kind kind, uint64_t base, uint64_t pages) {
    struct slot made;
    untyped_make(&made, kind, (struct pa){base}, pages, 0);
    boot_root(index, made);
}

void world_boot(uint64_t object_pages, uint64_t frame_pages) {
    fake_reset();
    boot_used = 0;
    world.table = boot_object(W_TABLE, BH_TYPE_CAPTABLE, W_TABLE_SLOTS);
    world.space = boot_object(W_SPACE, BH_TYPE_SPACE, 8);
    world.init = boot_object(W_CONTEXT, BH_TYPE_CONTEXT, 0);
    world.event = boot_object(W_EVENT, BH_TYPE_EVENT, 64);
    boot_root(W_SYSTEM, (struct slot){.type = BH_TYPE_SYSTEM});
    boot_root(W_PORTS, (struct slot){.type = BH_TYPE_PORTS, .ports = {W_PORT_FIRST, 0xff00}});
    for (uint32_t i = 0; i < FAKE_CPUS; i++)
        boot_root(W_CPU0 + i, (struct slot){.type = BH_TYPE_CPU,
                                            .object = cpus[i],
                                            .ref = {.badge = BH_PRIORITIES - 1}});
    boot_untyped(W_OBJECTS, BH_KIND_OBJECT, FAKE_OBJECT_BASE + W_BOOT_PAGES * PAGE_BYTES,
                 object_pages);
    boot_untyped(W_FRAMES, BH_KIND_FRAME, FAKE_FRAME_BASE, frame_pages);
    boot_untyped(W_SHARED, BH_KIND_SHARED, FAKE_SHARED_BASE, FAKE_SHARED_PAGES);
    boot_untyped(W_DEVICE, BH_KIND_DEVICE, FAKE_DEVICE_BASE, FAKE_DEVICE_PAGES);

    struct write_held held = lock_write(this_cpu());
    struct slot *init = world_slot(W_CONTEXT);
    must(bind(held, init, BH_BIND_CTX_SPACE, world_slot(W_SPACE)));
    must(bind(held, init, BH_BIND_CTX_TABLE, world_slot(W_TABLE)));
    must(bind(held, init, BH_BIND_CTX_EVENT, world_slot(W_EVENT)));
    world.init->arch.reg[BH_REG_RIP] = BH_USER_VA_MIN;
    world.init->priority = W_PRIORITY;
    sched_place(world.init, cpus[0]);
    context_unblock(world.init, BLOCK_STOPPED);
    unlock_write(held);
    world_exit();
}

struct context *world_exit(void) {
    struct cpu *cpu = this_cpu();
    if (cpu->reschedule)
        sched_next(cpu);
    return cpu->current;
}

uint64_t world_raw(struct context *caller, uint64_t number, const uint64_t argument[6]) {
    if (this_cpu()->current != caller)
        arch_panic("world: the caller does not run");
    memcpy(caller->arch.argument, argument, sizeof(caller->arch.argument));
    caller->arch.status = W_PENDING;
    fake_count_from_zero();
    hypercall(caller, number);
    return caller->arch.status;
}

uint64_t world_call(const uint64_t words[7]) {
    uint64_t status = world_raw(world.init, words[0], words + 1);
    world_exit();
    world_check();
    return status;
}

uint64_t world_finish(const uint64_t words[7]) {
    uint64_t status;
    do
        status = world_call(words);
    while (status == BH_AGAIN);
    return status;
}

uint64_t world_value(unsigned index) {
    return world.init->arch.value[index];
}

struct slot *world_slot(uint32_t index) {
    return &world.table->slot[index];
}

void *world_object(uint32_t index) {
    return world.table->slot[index].object;
}

uint64_t retype(uint32_t untyped, enum bh_type type, uint64_t size, uint32_t destination) {
    return finish(BH_HC_RETYPE, OWN(untyped), type, size, OWN(destination), 0);
}

uint64_t scrub(uint32_t untyped) {
    return finish(BH_HC_SCRUB, OWN(untyped));
}

struct context *world_spawn(uint32_t first, uint64_t slots, uint64_t priority, uint64_t quantum) {
    must(retype(W_OBJECTS, BH_TYPE_CONTEXT, 0, first));
    must(retype(W_OBJECTS, BH_TYPE_SPACE, 8, first + 1));
    must(retype(W_OBJECTS, BH_TYPE_CAPTABLE, slots, first + 2));
    must(retype(W_OBJECTS, BH_TYPE_EVENT, 64, first + 3));
    must(call(BH_HC_BIND, OWN(first), BH_BIND_CTX_SPACE, OWN(first + 1)));
    must(call(BH_HC_BIND, OWN(first), BH_BIND_CTX_TABLE, OWN(first + 2)));
    must(call(BH_HC_BIND, OWN(first), BH_BIND_CTX_EVENT, OWN(first + 3)));
    must(call(BH_HC_CTX_SET, OWN(first), BH_REG_RIP, BH_USER_VA_MIN));
    must(call(BH_HC_CTX_SCHED, OWN(first), W_CPU0, priority, quantum, 0, 0));
    must(call(BH_HC_CTX_RESUME, OWN(first)));
    return world_object(first);
}

/* --- What must hold at any time ----------------------------------------------------------------
 */

static void check_tree(void) {
    const struct slot *before = NULL;
    for (const struct slot *slot = peek_tree(); slot; slot = slot->next) {
        if (slot->type == BH_TYPE_NONE)
            arch_panic("world: an empty slot is in the tree");
        if (slot->depth > BH_DEPTH_MAX || slot->depth > (before ? before->depth + 1 : 0))
            arch_panic("world: depths are no pre-order");
        if (before && slot->prev != before)
            arch_panic("world: the list's links do not match");
        before = slot;
    }
}

static uint32_t check_timers(const struct timer *timer, const struct timer *parent) {
    if (!timer)
        return 0;
    uint32_t left = check_timers(timer->left, timer), right = check_timers(timer->right, timer);
    if (!timer->armed || timer->parent != parent || timer->rank != right + 1 || left < right ||
        (parent && timer->deadline < parent->deadline))
        arch_panic("world: the timers are no leftist heap");
    return timer->rank;
}

static void check_cpu(const struct cpu *cpu) {
    for (unsigned priority = 0; priority < BH_PRIORITIES; priority++) {
        const struct context *first = cpu->ready[priority], *at = first;
        while (at) {
            if (!at->queued || at->blocked || at->cpu != cpu || at->priority != priority ||
                at == cpu->current || at->ready_next->ready_prev != at)
                arch_panic("world: a ready queue is wrong");
            at = at->ready_next != first ? at->ready_next : NULL;
        }
        if ((cpu->ready_bitmap >> priority & 1) != (first != NULL))
            arch_panic("world: the set of ready priorities is wrong");
    }
    if (cpu->current && cpu->current->queued)
        arch_panic("world: who runs is queued");
    if (cpu->current && cpu->current->blocked && !cpu->reschedule)
        arch_panic("world: who runs is blocked");
    check_timers(cpu->timers, NULL);
}

static void check_contexts(void) {
    for (const struct slot *slot = peek_tree(); slot; slot = slot->next) {
        if (slot->type != BH_TYPE_CONTEXT || !(slot->flags & SLOT_ORIGINAL))
            continue;
        const struct context *context = slot->object;
        bool runs = context->cpu && context->cpu->current == context;
        if (!context->blocked && !runs && !context->queued)
            arch_panic("world: a ready Context is in no queue");
        if (!context->blocked &&
            (context->space.type == BH_TYPE_NONE || context->table.type == BH_TYPE_NONE))
            arch_panic("world: a ready Context lacks its Space or CapTable");
        if ((context->blocked & BLOCK_WAIT) &&
            ((context->blocked & BLOCK_BUDGET) || context->event.type == BH_TYPE_NONE))
            arch_panic("world: a wait for nothing");
        if ((context->blocked & BLOCK_BUDGET) && !context->timer.armed)
            arch_panic("world: throttled for ever");
        if (!(context->blocked & (BLOCK_WAIT | BLOCK_BUDGET)) && context->timer.armed)
            arch_panic("world: a timer for nothing");
    }
}

void world_check(void) {
    check_tree();
    for (uint32_t i = 0; i < cpu_count; i++)
        check_cpu(cpus[i]);
    check_contexts();
    if (fake.stale_count)
        arch_panic("world: a translation outlives its mapping");
    if (fake.clean_unseen)
        arch_panic("world: a page that was told is written without a trace");
}
