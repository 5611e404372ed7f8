/* How a structural call gets its arguments: decoded by the dispatcher's table (hypercall.c), acted
 * on in capability_calls.c, context_calls.c and device_calls.c. An act checks what the table cannot
 * say, then does it; it never looks up a slot itself. */
#pragma once

#include "hv/core/core.h"

struct call {
    struct write_held held;
    uint64_t value[6];    /* the arguments as they came */
    struct slot *slot[4]; /* what arguments 0 to 3 name, where the table says they name something */
};

/* What a call returns: RAX, RDX, RSI. */
struct result {
    enum bh_status status;
    uint64_t value0, value1;
};

/*@ assigns \nothing;
  @ ensures \result.status == status; */
static inline struct result answer(enum bh_status status) {
    return (struct result){.status = status};
}

typedef struct result act(const struct call *call);

act act_retype, act_copy, act_move, act_narrow, act_delete, act_revoke, act_scrub, act_map,
    act_unmap, act_bind, act_cap_info, act_region_address, act_region_dirty;
act act_ctx_sched, act_ctx_resume, act_ctx_suspend, act_ctx_get, act_ctx_set;
act act_irq_attach, act_system, act_doorbell;
