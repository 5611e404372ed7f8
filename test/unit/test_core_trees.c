/* Every derivation tree of up to seven nodes: what revoke leaves and takes, that delete refuses
 * inner nodes, and that a moved node keeps its place. Stands in for a proof over the linked list
 * (./dev prove says so). */
#include "test/unit/core_test.h"

enum { NODES_MAX = 7, FIRST = 20, SPARE = 40 };

/* Node 0 is an original; parent[i] < i is the node that node i is a copy of. */
struct tree {
    unsigned nodes;
    unsigned parent[NODES_MAX];
};

static bool descends(const struct tree *tree, unsigned node, unsigned from) {
    while (node > from)
        node = tree->parent[node];
    return node == from;
}

static bool has_children(const struct tree *tree, unsigned node) {
    for (unsigned i = node + 1; i < tree->nodes; i++)
        if (tree->parent[i] == node)
            return true;
    return false;
}

static void grow(const struct tree *tree) {
    OK(retype(W_OBJECTS, BH_TYPE_EVENT, 64, FIRST));
    for (unsigned i = 1; i < tree->nodes; i++)
        OK(call(BH_HC_COPY, OWN(FIRST + tree->parent[i]), OWN(FIRST + i), 3));
}

static void fell(void) {
    OK(finish(BH_HC_REVOKE, OWN(W_OBJECTS)));
}

static void assert_left(const struct tree *tree, unsigned revoked, unsigned moved) {
    for (unsigned i = 0; i < tree->nodes; i++) {
        bool gone = i != revoked && descends(tree, i, revoked);
        unsigned slot = i == moved ? (unsigned)SPARE : FIRST + i;
        assert_int_equal(world_slot(slot)->type, gone ? BH_TYPE_NONE : BH_TYPE_EVENT);
    }
}

static void revoke_each(const struct tree *tree) {
    for (unsigned i = 0; i < tree->nodes; i++) {
        grow(tree);
        OK(finish(BH_HC_REVOKE, OWN(FIRST + i)));
        assert_left(tree, i, tree->nodes);
        fell();
    }
}

static void delete_each(const struct tree *tree) {
    for (unsigned i = 0; i < tree->nodes; i++) {
        grow(tree);
        bool inner = has_children(tree, i);
        STATUS(inner ? BH_HAS_CHILDREN : BH_OK, finish(BH_HC_DELETE, OWN(FIRST + i)));
        assert_int_equal(world_slot(FIRST + i)->type, inner ? BH_TYPE_EVENT : BH_TYPE_NONE);
        fell();
    }
}

/* Each node elsewhere, and then each node revoked. */
static void move_each(const struct tree *tree) {
    for (unsigned moved = 0; moved < tree->nodes; moved++)
        for (unsigned i = 0; i < tree->nodes; i++) {
            grow(tree);
            OK(call(BH_HC_MOVE, OWN(FIRST + moved), OWN(SPARE)));
            OK(finish(BH_HC_REVOKE, OWN(i == moved ? (unsigned)SPARE : FIRST + i)));
            assert_left(tree, i, moved);
            fell();
        }
}

/* All ways to hang node `tree->nodes` and those after it. */
static void each_tree(struct tree *tree, unsigned nodes, void (*visit)(const struct tree *tree)) {
    if (tree->nodes == nodes) {
        visit(tree);
        return;
    }
    for (unsigned parent = 0; parent < tree->nodes; parent++) {
        tree->parent[tree->nodes++] = parent;
        each_tree(tree, nodes, visit);
        tree->nodes--;
    }
}

static void all_trees(void (*visit)(const struct tree *tree)) {
    for (unsigned nodes = 1; nodes <= NODES_MAX; nodes++) {
        struct tree tree = {.nodes = 1};
        each_tree(&tree, nodes, visit);
    }
}

static void test_revoke(void **state) {
    (void)state;
    all_trees(revoke_each);
}

static void test_delete(void **state) {
    (void)state;
    all_trees(delete_each);
}

static void test_move(void **state) {
    (void)state;
    all_trees(move_each);
}

/* What the prover takes for granted of arithmetic on bits. */
static void test_rights_only_shrink(void **state) {
    (void)state;
    for (unsigned rights = 0; rights <= UINT8_MAX; rights++)
        for (unsigned mask = 0; mask <= UINT8_MAX; mask++) {
            assert_int_equal(rights_narrowed((uint8_t)rights, mask) & ~rights, 0);
            assert_int_equal(rights_narrowed((uint8_t)rights, mask), rights & mask);
        }
    assert_int_equal(rights_narrowed(UINT8_MAX, ~0ull << 8), 0);
}

static void test_align_up(void **state) {
    (void)state;
    static const uint64_t powers[] = {64, PAGE_BYTES};
    for (unsigned p = 0; p < 2; p++)
        for (uint64_t value = 0; value <= 4 * PAGE_BYTES; value++) {
            uint64_t up = align_up(value, powers[p]);
            assert_true(up >= value && up - value < powers[p] && up % powers[p] == 0);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_revoke),
        TEST(test_delete),
        TEST(test_move),
        cmocka_unit_test(test_rights_only_shrink),
        cmocka_unit_test(test_align_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
