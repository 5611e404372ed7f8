/* slot.c and remove.c as the tests build them: with a view of their private state. */
#include "hv/core/slot.c"   /* NOLINT(bugprone-suspicious-include) */
#include "hv/core/remove.c" /* NOLINT(bugprone-suspicious-include) */

#include "test/unit/fake_arch/fake_arch.h"

struct slot *peek_tree(void) {
    return head.next;
}

struct captable *peek_dying(void) {
    return dying;
}

void peek_reset(void) {
    head = (struct slot){0};
    dying = NULL;
}
