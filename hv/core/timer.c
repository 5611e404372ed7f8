/* Deadlines of one CPU in a leftist heap: the smallest at the root, every operation O(log n), no
 * memory but the nodes themselves. `rank` is the length of the right spine below a node. */
#include "hv/core/core.h"

static uint32_t rank(const struct timer *t) {
    return t ? t->rank : 0;
}

/* Makes "left rank >= right rank" hold in one node whose children are right. True if its own rank
 * has changed. */
static bool settle(struct timer *t) {
    if (rank(t->left) < rank(t->right)) {
        struct timer *left = t->left;
        t->left = t->right;
        t->right = left;
    }
    uint32_t old = t->rank;
    t->rank = rank(t->right) + 1;
    return t->rank != old;
}

/* Merges two heaps along their right spines; returns the root, whose parent is NULL. */
static struct timer *merge(struct timer *a, struct timer *b) {
    struct timer *root, **link = &root, *parent = NULL;
    while (a && b) {
        if (b->deadline < a->deadline) {
            struct timer *t = a;
            a = b;
            b = t;
        }
        *link = a;
        a->parent = parent;
        parent = a;
        link = &a->right;
        a = a->right;
    }
    *link = a ? a : b;
    if (*link)
        (*link)->parent = parent;
    /* Every rank along the merged spine may have changed. */
    for (; parent; parent = parent->parent)
        settle(parent);
    return root;
}

void timer_arm(struct cpu *cpu, struct timer *timer, uint64_t deadline) {
    timer_cancel(cpu, timer);
    *timer = (struct timer){.deadline = deadline, .rank = 1, .armed = true};
    cpu->timers = merge(cpu->timers, timer);
}

void timer_cancel(struct cpu *cpu, struct timer *timer) {
    if (!timer->armed)
        return;
    timer->armed = false;
    struct timer *below = merge(timer->left, timer->right), *parent = timer->parent;
    struct timer **link = &cpu->timers;
    if (parent)
        link = parent->left == timer ? &parent->left : &parent->right;
    *link = below;
    if (below)
        below->parent = parent;
    while (parent && settle(parent))
        parent = parent->parent;
}
