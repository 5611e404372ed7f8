/* Deletion and revocation: interior nodes, references, CapTables in every knot. */
#include "test/unit/core_test.h"

/* Nothing is left in the tree but the first Context's table and what refers to it. */
static void assert_all_slots_live(void) {
    for (const struct slot *slot = peek_tree(); slot; slot = slot->next)
        assert_true((slot >= world_slot(0) && slot < world_slot(W_TABLE_SLOTS)) ||
                    (slot->flags & SLOT_HIDDEN && slot->ref.owner == world.init));
}

static void test_interior_node_is_not_deleted(void **state) {
    (void)state;
    OK(call(BH_HC_COPY, OWN(W_EVENT), OWN(20), 3));
    OK(call(BH_HC_COPY, OWN(20), OWN(21), 3));
    STATUS(BH_HAS_CHILDREN, call(BH_HC_DELETE, OWN(20)));
    OK(finish(BH_HC_DELETE, OWN(21)));
    OK(finish(BH_HC_DELETE, OWN(20)));
    OK(finish(BH_HC_DELETE, OWN(20))); /* empty: no error */
}

static void test_revoke_spares_siblings_and_itself(void **state) {
    (void)state;
    OK(call(BH_HC_COPY, OWN(W_EVENT), OWN(20), 3));
    OK(call(BH_HC_COPY, OWN(20), OWN(21), 3));
    OK(call(BH_HC_COPY, OWN(W_EVENT), OWN(22), 3));
    OK(call(BH_HC_COPY, OWN(22), OWN(23), 3));
    OK(finish(BH_HC_REVOKE, OWN(20)));
    assert_int_equal(world_slot(20)->type, BH_TYPE_EVENT);
    assert_int_equal(world_slot(21)->type, BH_TYPE_NONE);
    assert_int_equal(world_slot(22)->type, BH_TYPE_EVENT);
    assert_int_equal(world_slot(23)->type, BH_TYPE_EVENT);
    OK(finish(BH_HC_REVOKE, OWN(99)));
}

static void test_long_revoke_is_cut_into_steps(void **state) {
    (void)state;
    OK(retype(W_OBJECTS, BH_TYPE_EVENT, 64, 20));
    OK(retype(W_OBJECTS, BH_TYPE_CAPTABLE, 2000, 21));
    for (uint32_t i = 1; i < 2000; i++)
        OK(call(BH_HC_COPY, OWN(20), BH_REF(21, i), 3));
    uint32_t steps = 0;
    uint64_t status;
    do {
        status = call(BH_HC_REVOKE, OWN(20));
        steps++;
    } while (status == BH_AGAIN);
    OK(status);
    assert_int_equal(steps, (1999 + REMOVE_WORK - 1) / REMOVE_WORK);
    assert_false(slot_has_children(world_slot(20)));
}

static void test_revoked_space_stops_its_context(void **state) {
    (void)state;
    struct context *other = world_spawn(20, 16, 5, 0);
    OK(call(BH_HC_COPY, OWN(21), OWN(30), BH_SPACE_BIND));
    OK(call(BH_HC_CTX_SUSPEND, OWN(20)));
    OK(call(BH_HC_BIND, OWN(20), BH_BIND_CTX_SPACE, OWN(30)));
    OK(call(BH_HC_CTX_RESUME, OWN(20)));
    OK(finish(BH_HC_REVOKE, OWN(30)));
    assert_true(other->blocked & BLOCK_STOPPED);
    assert_false(other->queued);
    STATUS(BH_NOT_READY, call(BH_HC_CTX_RESUME, OWN(20)));
    STATUS(BH_BUSY, call(BH_HC_BIND, OWN(W_CONTEXT), BH_BIND_CTX_SPACE, OWN(21)));
    OK(call(BH_HC_BIND, OWN(20), BH_BIND_CTX_SPACE, OWN(21)));
    OK(call(BH_HC_CTX_RESUME, OWN(20)));
}

/* The object is only reached once the references to it are gone. */
static void test_revoking_the_memory_of_a_running_domain(void **state) {
    (void)state;
    OK(retype(W_OBJECTS, BH_TYPE_UNTYPED, 64, 40));
    OK(retype(40, BH_TYPE_CAPTABLE, 16, 41));
    OK(retype(40, BH_TYPE_SPACE, 4, 42));
    OK(retype(40, BH_TYPE_EVENT, 4096, 43));
    OK(retype(40, BH_TYPE_CONTEXT, 0, 44));
    OK(retype(40, BH_TYPE_IRQ, 0, 45));
    OK(call(BH_HC_BIND, OWN(44), BH_BIND_CTX_TABLE, OWN(41)));
    OK(call(BH_HC_BIND, OWN(44), BH_BIND_CTX_SPACE, OWN(42)));
    OK(call(BH_HC_BIND, OWN(44), BH_BIND_CTX_EVENT, OWN(43)));
    OK(call(BH_HC_BIND, OWN(44), BH_BIND_CTX_FAULT, OWN(43)));
    OK(call(BH_HC_BIND, OWN(45), BH_BIND_IRQ_EVENT, OWN(43)));
    OK(call(BH_HC_IRQ_ATTACH, OWN(45), W_SYSTEM, 3));
    OK(call(BH_HC_CTX_SET, OWN(44), BH_REG_RIP, BH_USER_VA_MIN));
    OK(call(BH_HC_CTX_SCHED, OWN(44), W_CPU0, 5, 0, 0, 0));
    OK(call(BH_HC_CTX_RESUME, OWN(44)));
    OK(finish(BH_HC_REVOKE, OWN(40)));
    assert_false(slot_has_children(world_slot(40)));
    assert_int_equal(fake.detached, 1);
    for (uint32_t i = 41; i <= 45; i++)
        assert_int_equal(world_slot(i)->type, BH_TYPE_NONE);
    assert_int_equal(cpus[0]->ready_bitmap, 0);
}

static void test_table_that_holds_itself(void **state) {
    (void)state;
    OK(retype(W_OBJECTS, BH_TYPE_UNTYPED, 64, 40));
    OK(retype(40, BH_TYPE_CAPTABLE, 16, 41));
    OK(call(BH_HC_COPY, OWN(41), BH_REF(41, 2), 3));
    OK(call(BH_HC_COPY, OWN(W_EVENT), BH_REF(41, 3), 3));
    OK(call(BH_HC_MOVE, OWN(41), BH_REF(41, 1)));
    assert_int_equal(world_slot(41)->type, BH_TYPE_NONE);
    OK(finish(BH_HC_REVOKE, OWN(40)));
    assert_false(slot_has_children(world_slot(40)));
    assert_null(peek_dying());
    assert_all_slots_live();
}

static void test_tables_in_a_ring(void **state) {
    (void)state;
    OK(retype(W_OBJECTS, BH_TYPE_UNTYPED, 64, 40));
    for (uint32_t i = 0; i < 3; i++)
        OK(retype(40, BH_TYPE_CAPTABLE, 16, 41 + i));
    OK(retype(40, BH_TYPE_EVENT, 64, 44));
    OK(call(BH_HC_MOVE, OWN(44), BH_REF(43, 9)));
    OK(call(BH_HC_COPY, OWN(41), OWN(50), 3));
    OK(call(BH_HC_MOVE, OWN(41), BH_REF(42, 1)));
    OK(call(BH_HC_MOVE, OWN(42), BH_REF(43, 1)));
    OK(call(BH_HC_MOVE, OWN(43), BH_REF(50, 1)));
    OK(finish(BH_HC_REVOKE, OWN(40)));
    assert_false(slot_has_children(world_slot(40)));
    assert_int_equal(world_slot(50)->type, BH_TYPE_NONE);
    assert_null(peek_dying());
}

static void test_table_that_holds_the_untyped_it_was_made_of(void **state) {
    (void)state;
    OK(retype(W_OBJECTS, BH_TYPE_UNTYPED, 64, 40));
    OK(retype(40, BH_TYPE_CAPTABLE, 16, 41));
    OK(call(BH_HC_MOVE, OWN(40), BH_REF(41, 5)));
    uint64_t status = finish(BH_HC_REVOKE, BH_REF(41, 5));
    assert_true(status == BH_OK || status == BH_BAD_CAP); /* its slot may die before its end */
    assert_int_equal(world_slot(41)->type, BH_TYPE_NONE);
    OK(retype(W_OBJECTS, BH_TYPE_EVENT, 64, 60)); /* clears up what has died first */
    OK(finish(BH_HC_DELETE, OWN(60)));
    assert_false(slot_has_children(world_slot(W_OBJECTS)));
    assert_null(peek_dying());
}

/* `other` revokes `ref` as long as it can, while the first Context waits. True: it has died of
 * that, or lost what it needs for it, before hv was done. */
static bool revoke_is_cut_short(struct context *other, uint64_t ref) {
    uint64_t status;
    STATUS(W_PENDING, call(BH_HC_WAIT, 1, BH_DEADLINE_NEVER));
    do {
        assert_ptr_equal(cpus[0]->current, other);
        status = world_raw(other, BH_HC_REVOKE, (const uint64_t[6]){ref});
        world_exit();
        world_check();
    } while (status == BH_AGAIN && cpus[0]->current == other);
    event_signal(world.event, 0);
    assert_ptr_equal(world_exit(), world.init);
    return status != BH_OK;
}

/* All of an Untyped in slot `untyped` can be given out again, and nothing is left of what was. */
static void assert_all_is_back(uint32_t untyped, uint64_t pages) {
    assert_false(slot_has_children(world_slot(untyped)));
    OK(retype(untyped, BH_TYPE_UNTYPED, pages, 60));
    OK(finish(BH_HC_DELETE, OWN(60)));
    assert_null(peek_dying());
    assert_all_slots_live();
}

/* What an Untyped holds beside the Context that revokes it: more than a step removes, made before
 * the Context (which goes first) and after it. */
static struct context *spawn_of(uint32_t untyped, uint32_t leaves) {
    uint64_t table = 48;
    OK(retype(untyped, BH_TYPE_CAPTABLE, leaves + 1, 30));
    OK(retype(untyped, BH_TYPE_EVENT, 64, 31));
    for (uint32_t i = 1; i <= leaves; i++)
        OK(call(BH_HC_COPY, OWN(31), BH_REF(30, i), 3));
    OK(call(BH_HC_MOVE, OWN(W_OBJECTS), OWN(59)));
    OK(call(BH_HC_MOVE, OWN(untyped), OWN(W_OBJECTS))); /* world_spawn takes from there */
    struct context *other = world_spawn(20, table, 5, 0);
    OK(call(BH_HC_MOVE, OWN(W_OBJECTS), OWN(untyped)));
    OK(call(BH_HC_MOVE, OWN(59), OWN(W_OBJECTS)));
    for (uint32_t i = 4; i < table; i++)
        OK(call(BH_HC_COPY, OWN(23), BH_REF(22, i), 3));
    return other;
}

/* Who can name the slot goes on where the caller was when it died. */
static void test_caller_dies_and_another_goes_on(void **state) {
    (void)state;
    OK(retype(W_OBJECTS, BH_TYPE_UNTYPED, 64, 40));
    struct context *other = spawn_of(40, 300);
    OK(call(BH_HC_COPY, OWN(W_TABLE), BH_REF(22, 1), BH_CAPTABLE_MANAGE));
    assert_true(revoke_is_cut_short(other, BH_REF(1, 40)));
    assert_true(slot_has_children(world_slot(40)));
    STATUS(BH_NO_MEMORY, retype(40, BH_TYPE_UNTYPED, 64, 60));
    OK(finish(BH_HC_REVOKE, OWN(40)));
    assert_all_is_back(40, 64);
}

/* The slot lies in the caller's own table and dies with it: an ancestor's holder goes on. */
static void test_caller_dies_with_the_slot_it_revokes(void **state) {
    (void)state;
    OK(retype(W_OBJECTS, BH_TYPE_UNTYPED, 64, 40));
    struct context *other = spawn_of(40, 300);
    struct captable *table = world_object(22);
    OK(call(BH_HC_COPY, OWN(22), BH_REF(22, 1), 3));
    OK(call(BH_HC_MOVE, OWN(40), BH_REF(22, 2)));
    assert_true(revoke_is_cut_short(other, BH_REF(1, 2)));
    OK(finish(BH_HC_REVOKE, OWN(W_OBJECTS)));
    assert_int_equal(table->slot[2].type, BH_TYPE_NONE);
    assert_all_is_back(W_OBJECTS, 1024);
}

/* Nobody goes on, but its CapTable was dying: that is finished before memory is given out. */
static void test_caller_dies_of_a_delete(void **state) {
    (void)state;
    OK(retype(W_OBJECTS, BH_TYPE_UNTYPED, 64, 40));
    struct context *other = spawn_of(40, 1);
    OK(call(BH_HC_COPY, OWN(W_TABLE), BH_REF(22, 1), BH_CAPTABLE_MANAGE));
    OK(retype(W_OBJECTS, BH_TYPE_CAPTABLE, 400, 50));
    OK(call(BH_HC_MOVE, OWN(40), BH_REF(50, 300)));
    STATUS(W_PENDING, call(BH_HC_WAIT, 1, BH_DEADLINE_NEVER));
    uint64_t status;
    do
        status = world_raw(other, BH_HC_DELETE, (const uint64_t[6]){BH_REF(1, 50)});
    while (status == BH_AGAIN && world_exit() == other);
    STATUS(BH_AGAIN, status);
    assert_non_null(peek_dying());
    event_signal(world.event, 0);
    assert_ptr_equal(world_exit(), world.init);
    OK(retype(W_OBJECTS, BH_TYPE_EVENT, 64, 60));
    assert_null(peek_dying());
    OK(finish(BH_HC_DELETE, OWN(60)));
    assert_all_is_back(W_OBJECTS, 1024);
}

/* A table's memory is not given out before the table is empty, though its Untyped has no
 * descendant any more. */
static void test_retype_waits_for_dying_tables(void **state) {
    (void)state;
    OK(retype(W_OBJECTS, BH_TYPE_UNTYPED, 64, 40));
    OK(retype(40, BH_TYPE_CAPTABLE, 1500, 41));
    OK(call(BH_HC_COPY, OWN(W_EVENT), BH_REF(41, 1400), 3));
    STATUS(BH_AGAIN, call(BH_HC_DELETE, OWN(41)));
    assert_false(slot_has_children(world_slot(40)));
    STATUS(BH_AGAIN, call(BH_HC_RETYPE, OWN(40), BH_TYPE_CAPTABLE, 1500, OWN(41)));
    OK(retype(40, BH_TYPE_CAPTABLE, 1500, 41));
    assert_null(peek_dying());
    assert_false(slot_has_children(world_slot(W_EVENT)) && world_slot(W_EVENT)->next->flags == 0);
}

/* What a RETYPE's arguments name may die of the clearing up that the same call does first. */
static void test_retype_into_a_table_that_dies_meanwhile(void **state) {
    (void)state;
    OK(retype(W_OBJECTS, BH_TYPE_CAPTABLE, 600, 40)); /* holds the original of ... */
    OK(retype(W_OBJECTS, BH_TYPE_CAPTABLE, 16, 41));  /* ... this one */
    OK(call(BH_HC_COPY, OWN(41), OWN(42), 3));
    OK(call(BH_HC_MOVE, OWN(41), BH_REF(40, 590)));
    struct captable *victim = world_object(42);
    STATUS(BH_AGAIN, call(BH_HC_DELETE, OWN(40)));
    assert_int_equal(world_slot(42)->type, BH_TYPE_CAPTABLE);
    uint64_t status;
    while ((status = call(BH_HC_RETYPE, OWN(W_OBJECTS), BH_TYPE_EVENT, 64, BH_REF(42, 3))) ==
           BH_AGAIN)
        ;
    STATUS(BH_BAD_CAP, status);
    assert_int_equal(victim->slot[3].type, BH_TYPE_NONE);
    for (const struct slot *slot = peek_tree(); slot; slot = slot->next)
        assert_true(slot != &victim->slot[3]);
}

static void test_retype_from_an_untyped_that_dies_meanwhile(void **state) {
    (void)state;
    OK(retype(W_OBJECTS, BH_TYPE_CAPTABLE, 600, 40));
    OK(retype(W_OBJECTS, BH_TYPE_CAPTABLE, 16, 41));
    OK(retype(W_OBJECTS, BH_TYPE_UNTYPED, 4, 43));
    OK(call(BH_HC_COPY, OWN(41), OWN(42), 3));
    OK(call(BH_HC_MOVE, OWN(43), BH_REF(42, 3)));
    OK(call(BH_HC_MOVE, OWN(41), BH_REF(40, 590)));
    STATUS(BH_AGAIN, call(BH_HC_DELETE, OWN(40)));
    STATUS(BH_BAD_CAP, finish(BH_HC_RETYPE, BH_REF(42, 3), BH_TYPE_EVENT, 64, OWN(50)));
    assert_int_equal(world_slot(50)->type, BH_TYPE_NONE);
}

static void test_deleting_the_last_of_a_nest_of_tables(void **state) {
    (void)state;
    uint32_t outer = 40;
    OK(retype(W_OBJECTS, BH_TYPE_CAPTABLE, 300, outer));
    for (uint32_t i = 1; i < 10; i++) {
        OK(retype(W_OBJECTS, BH_TYPE_CAPTABLE, 300, 40 + i));
        OK(call(BH_HC_MOVE, OWN(40 + i - 1), BH_REF(40 + i, 299)));
    }
    unsigned steps = 0;
    uint64_t status;
    do {
        status = call(BH_HC_DELETE, OWN(49));
        steps++;
    } while (status == BH_AGAIN);
    OK(status);
    assert_true(steps >= 300 * 10 / REMOVE_WORK);
    assert_null(peek_dying());
    assert_false(slot_has_children(world_slot(W_OBJECTS)));
}

/* --- All small trees ----------------------------------------------------------------------------
 */

enum { NODES = 7 };

/* Node 0 is an Event's original in slot 100; node i hangs on parent[i] < i. */
static void build(const unsigned *parent, unsigned nodes) {
    OK(retype(W_OBJECTS, BH_TYPE_EVENT, 64, 100));
    for (unsigned i = 1; i < nodes; i++)
        OK(call(BH_HC_COPY, OWN(100 + parent[i]), OWN(100 + i), 3));
}

static bool below(const unsigned *parent, unsigned node, unsigned ancestor) {
    while (node > ancestor)
        node = parent[node];
    return node == ancestor;
}

static void check_revoke(const unsigned *parent, unsigned nodes, unsigned at) {
    build(parent, nodes);
    OK(finish(BH_HC_REVOKE, OWN(100 + at)));
    for (unsigned i = 0; i < nodes; i++)
        assert_int_equal(world_slot(100 + i)->type == BH_TYPE_NONE,
                         i != at && below(parent, i, at));
    OK(finish(BH_HC_REVOKE, OWN(100)));
    OK(finish(BH_HC_DELETE, OWN(100)));
}

static void check_delete(const unsigned *parent, unsigned nodes, unsigned at) {
    build(parent, nodes);
    bool leaf = true;
    for (unsigned i = at + 1; i < nodes; i++)
        leaf &= parent[i] != at;
    STATUS(leaf ? BH_OK : BH_HAS_CHILDREN, finish(BH_HC_DELETE, OWN(100 + at)));
    for (unsigned i = 0; i < nodes; i++)
        assert_int_equal(world_slot(100 + i)->type == BH_TYPE_NONE, leaf && i == at);
    if (nodes > 1 || !leaf)
        OK(finish(BH_HC_REVOKE, OWN(100)));
    OK(finish(BH_HC_DELETE, OWN(100)));
}

/* Every way of hanging node i on one of the nodes before it: (nodes - 1)! trees. */
static void for_all_trees(unsigned *parent, unsigned made, unsigned nodes) {
    if (made == nodes) {
        for (unsigned at = 0; at < nodes; at++) {
            check_revoke(parent, nodes, at);
            check_delete(parent, nodes, at);
        }
        return;
    }
    for (parent[made] = 0; parent[made] < made; parent[made]++)
        for_all_trees(parent, made + 1, nodes);
}

static void test_all_small_trees(void **state) {
    (void)state;
    unsigned parent[NODES] = {0};
    for (unsigned nodes = 1; nodes <= NODES; nodes++)
        for_all_trees(parent, 1, nodes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_interior_node_is_not_deleted),
        TEST(test_revoke_spares_siblings_and_itself),
        TEST(test_long_revoke_is_cut_into_steps),
        TEST(test_revoked_space_stops_its_context),
        TEST(test_revoking_the_memory_of_a_running_domain),
        TEST(test_table_that_holds_itself),
        TEST(test_tables_in_a_ring),
        TEST(test_table_that_holds_the_untyped_it_was_made_of),
        TEST(test_caller_dies_and_another_goes_on),
        TEST(test_caller_dies_with_the_slot_it_revokes),
        TEST(test_caller_dies_of_a_delete),
        TEST(test_retype_waits_for_dying_tables),
        TEST(test_retype_into_a_table_that_dies_meanwhile),
        TEST(test_retype_from_an_untyped_that_dies_meanwhile),
        TEST(test_deleting_the_last_of_a_nest_of_tables),
        TEST(test_all_small_trees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
