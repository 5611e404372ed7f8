#include "mgmt/domain/memory.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

#include "mgmt/hv.h"

#define NONE UINT32_MAX
#define ORDERS 41u /* 2^40 pages reach beyond the 52 bits of a physical address */
#define KINDS 4u

enum node_state { NODE_UNUSED, NODE_FREE, NODE_SPLIT, NODE_USED };

/* Nodes come in pairs, the halves of one block: the buddy of n is n ^ 1. A root has no parent, and
 * its pair's other half is unused. */
struct node {
    uint64_t base;
    uint32_t parent;   /* NONE: a root */
    uint32_t children; /* NODE_SPLIT: the lower half; the other is children + 1 */
    uint32_t prev,
        next; /* NODE_FREE: among free nodes of this kind and order; unused pairs: next */
    uint8_t order;
    uint8_t kind;
    uint8_t state;
};

static struct node *nodes;
static uint32_t pairs_unused; /* list of pairs, by their first node */
static uint32_t root_nodes;   /* roots are the nodes 0, 2, 4 .. below this */
static bh_slot first_slot;
static uint32_t free_list[KINDS][ORDERS];
static struct memory_account account[KINDS];

static bh_slot slot_of(uint32_t n) {
    return first_slot + n;
}

static uint32_t node_of(chunk c) {
    assert(c >= first_slot);
    return c - first_slot;
}

static uint64_t bytes_of(unsigned order) {
    return (uint64_t)BH_PAGE_BYTES << order;
}

static uint32_t pair_take(void) {
    uint32_t n = pairs_unused;
    if (n != NONE)
        pairs_unused = nodes[n].next;
    return n;
}

static void pair_give(uint32_t n) {
    nodes[n].state = nodes[n + 1].state = NODE_UNUSED;
    nodes[n].next = pairs_unused;
    pairs_unused = n;
}

static void list_add(uint32_t n) {
    struct node *node = &nodes[n];
    uint32_t *head = &free_list[node->kind][node->order];
    node->state = NODE_FREE;
    node->prev = NONE;
    node->next = *head;
    if (*head != NONE)
        nodes[*head].prev = n;
    *head = n;
    account[node->kind].chunks_free++;
}

static void list_remove(uint32_t n) {
    struct node *node = &nodes[n];
    if (node->prev == NONE)
        free_list[node->kind][node->order] = node->next;
    else
        nodes[node->prev].next = node->next;
    if (node->next != NONE)
        nodes[node->next].prev = node->prev;
    account[node->kind].chunks_free--;
}

static void node_set(uint32_t n, uint32_t parent, uint64_t base, unsigned order, unsigned kind) {
    nodes[n] = (struct node){
        .base = base, .parent = parent, .order = (uint8_t)order, .kind = (uint8_t)kind};
}

/* Makes two free halves of a node that is in no list. */
static enum bh_status node_split(uint32_t n) {
    struct node *node = &nodes[n];
    unsigned order = node->order - 1u;
    uint32_t half = pair_take();
    if (half == NONE)
        return BH_NO_MEMORY;
    for (uint32_t i = 0; i < 2; i++) {
        enum bh_status status =
            hv_retype(OWN(slot_of(n)), BH_TYPE_UNTYPED, 1ull << order, OWN(slot_of(half + i)), 0);
        if (status) {
            if (i == 1)
                hv_delete(OWN(slot_of(half)));
            pair_give(half);
            return BH_NO_MEMORY;
        }
        node_set(half + i, n, node->base + i * bytes_of(order), order, node->kind);
    }
    node->state = NODE_SPLIT;
    node->children = half;
    list_add(half);
    list_add(half + 1);
    return BH_OK;
}

/* Frees a node that is in no list and whose Untyped has no descendants; merges upwards. */
static void node_release(uint32_t n) {
    while (nodes[n].parent != NONE && nodes[n ^ 1].state == NODE_FREE) {
        uint32_t parent = nodes[n].parent;
        list_remove(n ^ 1);
        /* The younger half first: then hv remembers what of the two is clean. */
        hv_delete(OWN(slot_of(n | 1)));
        hv_delete(OWN(slot_of(n & ~1u)));
        pair_give(n & ~1u);
        n = parent;
    }
    list_add(n);
}

/* Cuts a root Untyped, from its start upwards as its watermark moves, into naturally aligned
 * blocks. */
static enum bh_status root_add(const struct bh_boot_untyped *root) {
    uint64_t page = root->base / BH_PAGE_BYTES;
    uint64_t left = root->pages;
    while (left > 0) {
        unsigned order = page ? (unsigned)__builtin_ctzll(page) : ORDERS - 1;
        unsigned fits = 63u - (unsigned)__builtin_clzll(left);
        if (order > fits)
            order = fits;
        if (order > ORDERS - 1)
            order = ORDERS - 1;
        uint32_t n = pair_take();
        if (n == NONE)
            return BH_NO_MEMORY;
        enum bh_status status =
            hv_retype(OWN(root->slot), BH_TYPE_UNTYPED, 1ull << order, OWN(slot_of(n)), 0);
        if (status)
            return status;
        node_set(n, NONE, page * BH_PAGE_BYTES, order, root->kind);
        list_add(n);
        root_nodes = n + 2;
        account[root->kind].total += 1ull << order;
        account[root->kind].free += 1ull << order;
        page += 1ull << order;
        left -= 1ull << order;
    }
    return BH_OK;
}

enum bh_status memory_start(const struct bh_bootinfo *info, bh_slot slots_first, uint32_t slots) {
    slots &= ~1u;
    nodes = calloc(slots, sizeof(*nodes));
    if (!nodes)
        return BH_NO_MEMORY;
    first_slot = slots_first;
    root_nodes = 0;
    pairs_unused = NONE;
    for (uint32_t n = slots; n > 0; n -= 2)
        pair_give(n - 2);
    for (unsigned kind = 0; kind < KINDS; kind++) {
        account[kind] = (struct memory_account){0};
        for (unsigned order = 0; order < ORDERS; order++)
            free_list[kind][order] = NONE;
    }
    for (uint32_t i = 0; i < info->untyped_count; i++) {
        enum bh_status status = root_add(&info->untyped[i]);
        if (status)
            return status;
    }
    return BH_OK;
}

/* Splits a listed node until what is left has `order` and holds the page at `base`; takes it. */
static enum bh_status node_carve(uint32_t n, unsigned order, uint64_t base) {
    list_remove(n);
    while (nodes[n].order > order) {
        if (node_split(n)) {
            node_release(n);
            return BH_NO_MEMORY;
        }
        n = nodes[n].children;
        if (base >= nodes[n + 1].base)
            n++;
        list_remove(n);
    }
    nodes[n].state = NODE_USED;
    account[nodes[n].kind].chunks_used++;
    account[nodes[n].kind].free -= 1ull << order;
    return BH_OK;
}

/* The node without halves that holds `base`, from a root that does. */
static uint32_t node_find(uint32_t n, uint64_t base) {
    while (nodes[n].state == NODE_SPLIT) {
        n = nodes[n].children;
        if (base >= nodes[n + 1].base)
            n++;
    }
    return n;
}

enum bh_status memory_alloc(enum bh_kind kind, unsigned order, chunk *out) {
    for (unsigned from = order; from < ORDERS; from++) {
        uint32_t n = free_list[kind][from];
        if (n == NONE)
            continue;
        uint64_t base = nodes[n].base;
        enum bh_status status = node_carve(n, order, base);
        if (!status)
            *out = slot_of(node_find(n, base));
        return status;
    }
    return BH_NO_MEMORY;
}

enum bh_status memory_alloc_pages(uint64_t pages, chunk *chunks, uint32_t max, uint32_t *count) {
    unsigned order = 63u - (unsigned)__builtin_clzll(pages);
    while (pages > 0) {
        if (*count == max)
            return BH_NO_MEMORY;
        unsigned fits = 63u - (unsigned)__builtin_clzll(pages);
        if (order > fits)
            order = fits;
        if (*count == max - 1)
            order = memory_order_for(pages);
        while (memory_alloc(BH_KIND_FRAME, order, &chunks[*count])) {
            if (order == 0 || *count == max - 1)
                return BH_NO_MEMORY;
            order--;
        }
        ++*count;
        pages = pages > 1ull << order ? pages - (1ull << order) : 0;
    }
    return BH_OK;
}

enum bh_status memory_scrub_step(chunk c) {
    return hv_scrub_step(OWN(c));
}

void memory_scrub(chunk c) {
    while (memory_scrub_step(c) == BH_AGAIN)
        ;
}

void memory_revoke(chunk c) {
    hv_revoke(OWN(c));
}

void memory_free(chunk c) {
    uint32_t n = node_of(c);
    struct node *node = &nodes[n];
    assert(node->state == NODE_USED);
    memory_revoke(c);
    account[node->kind].chunks_used--;
    account[node->kind].free += 1ull << node->order;
    node_release(n);
}

enum bh_status memory_device(uint64_t base, uint64_t pages, chunk *out, bool *fresh) {
    for (uint32_t root = 0; root < root_nodes; root += 2) {
        struct node *node = &nodes[root];
        if (node->kind != BH_KIND_DEVICE || base < node->base ||
            base - node->base >= bytes_of(node->order))
            continue;
        uint32_t n = node_find(root, base);
        *fresh = nodes[n].state == NODE_FREE;
        if (*fresh) {
            unsigned order = 63u - (unsigned)__builtin_clzll(pages);
            while (order > nodes[n].order || base % bytes_of(order) != 0)
                order--;
            enum bh_status status = node_carve(n, order, base);
            if (status)
                return status;
            n = node_find(n, base);
        }
        *out = slot_of(n);
        return BH_OK;
    }
    return BH_BAD_ARG;
}

uint64_t memory_base(chunk c) {
    return nodes[node_of(c)].base;
}

uint64_t memory_pages(chunk c) {
    return 1ull << nodes[node_of(c)].order;
}

unsigned memory_order(chunk c) {
    return nodes[node_of(c)].order;
}

unsigned memory_order_for(uint64_t pages) {
    return pages <= 1 ? 0 : 64u - (unsigned)__builtin_clzll(pages - 1);
}

int memory_largest(enum bh_kind kind) {
    int order = (int)ORDERS - 1;
    while (order >= 0 && free_list[kind][order] == NONE)
        order--;
    return order;
}

struct memory_account memory_account(enum bh_kind kind) {
    return account[kind];
}
