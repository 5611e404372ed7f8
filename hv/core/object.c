/* Making objects: how large each is, and its first state. */
#include "hv/core/core.h"

struct cpu *cpus[CPUS_MAX];
uint32_t cpu_count;

enum { OBJECT_ALIGNMENT = 64 };

static uint64_t aligned(uint64_t bytes) {
    return align_up(bytes, OBJECT_ALIGNMENT);
}

uint64_t object_bytes(enum bh_type type, uint64_t size) {
    switch (type) {
    case BH_TYPE_UNTYPED:
        return size <= UNTYPED_PAGES_MAX ? size * PAGE_BYTES : 0;
    case BH_TYPE_REGION:
        return size <= REGION_PAGES_MAX ? size * PAGE_BYTES : 0;
    case BH_TYPE_SPACE:
        if (size < 1 || size > BH_SPACE_POOL_MAX)
            return 0;
        return size * PAGE_BYTES + aligned(sizeof(struct space));
    case BH_TYPE_CAPTABLE:
        if (size < 2 || size > BH_CAPTABLE_SLOTS_MAX)
            return 0;
        return sizeof(struct captable) + size * sizeof(struct slot);
    case BH_TYPE_EVENT:
        return size == 64 || size == 4096 ? aligned(sizeof(struct event) + size / 8) : 0;
    case BH_TYPE_CONTEXT:
        return size ? 0 : arch_context_bytes();
    case BH_TYPE_VCPU:
        return size ? 0 : arch_vcpu_bytes();
    case BH_TYPE_IRQ:
        return size ? 0 : aligned(sizeof(struct irq));
    default:
        return 0;
    }
}

uint64_t object_alignment(enum bh_type type) {
    const uint32_t paged =
        1u << BH_TYPE_UNTYPED | 1u << BH_TYPE_REGION | 1u << BH_TYPE_SPACE | 1u << BH_TYPE_VCPU;
    return paged >> type & 1 ? PAGE_BYTES : OBJECT_ALIGNMENT;
}

/* The pool comes first, because its pages must be aligned; the object follows it. */
static void *space_make(void *memory, uint64_t pool_pages, uint32_t kind) {
    struct space *space = (void *)((uint8_t *)memory + pool_pages * PAGE_BYTES);
    space->pool_pages = (uint32_t)pool_pages;
    space->kind = (uint8_t)kind;
    arch_space_init(space);
    return space;
}

void object_make(struct slot *slot, enum bh_type type, void *memory, uint64_t size, uint32_t kind) {
    void *object = memory;
    if (type == BH_TYPE_SPACE) {
        object = space_make(memory, size, kind);
    } else if (type == BH_TYPE_CAPTABLE) {
        ((struct captable *)memory)->count = (uint32_t)size;
    } else if (type == BH_TYPE_CONTEXT) {
        struct context *context = memory;
        context->blocked = BLOCK_STOPPED;
        context->fault_vector = ~0ull;
        arch_context_init(context);
    } else if (type == BH_TYPE_VCPU) {
        object = (uint8_t *)memory + PAGE_BYTES;
        arch_vcpu_init(object);
    } else if (type == BH_TYPE_EVENT) {
        ((struct event *)memory)->words = (uint16_t)(size / 64);
    }
    *slot = (struct slot){
        .type = (uint8_t)type, .rights = BH_RIGHTS_ALL, .flags = SLOT_ORIGINAL, .object = object};
}

void untyped_make(struct slot *slot, enum bh_kind kind, struct pa base, uint64_t pages,
                  uint64_t clean) {
    *slot = (struct slot){.type = BH_TYPE_UNTYPED,
                          .rights = BH_RIGHTS_ALL,
                          .flags = SLOT_ORIGINAL,
                          .base = base,
                          .untyped = {.pages = pages, .clean = clean, .kind = (uint8_t)kind}};
}

void region_make(struct slot *slot, enum bh_kind kind, struct pa base, uint32_t pages) {
    *slot = (struct slot){.type = BH_TYPE_REGION,
                          .rights = BH_RIGHTS_ALL,
                          .flags = SLOT_ORIGINAL,
                          .pages = pages,
                          .base = base,
                          .region = {.kind = (uint64_t)kind & 3}};
}
