/* The structural calls on interrupt sources and on the board. */
#include "hv/core/call.h"

struct result act_irq_attach(const struct call *call) {
    struct irq *irq = call->slot[0]->object;
    struct result result = {.status = BH_BUSY};
    if (irq->attached)
        return result;
    result.status = arch_irq_attach(irq, call->value[2], &result.value0, &result.value1);
    irq->attached = result.status == BH_OK;
    return result;
}

/* Up to 8 characters, the lowest byte first; the first zero byte ends them. */
static void log_packed(uint64_t packed) {
    size_t length = 0;
    while (length < sizeof(packed) && (packed >> 8 * length & 0xff))
        length++;
    arch_log((const char *)&packed, length);
}

struct result act_system(const struct call *call) {
    /* Right that each operation needs, by enum bh_system; 0: there is none of that number. */
    static const uint8_t rights[] = {BH_SYSTEM_RESET, 0, BH_SYSTEM_LOG, BH_SYSTEM_INFO};
    uint64_t operation = call->value[1], argument = call->value[2];
    if (operation >= sizeof(rights) || !rights[operation])
        return answer(BH_BAD_ARG);
    if (rights[operation] & ~call->slot[0]->rights)
        return answer(BH_BAD_RIGHTS);
    switch (operation) {
    case BH_SYSTEM_OP_RESET:
        return answer(arch_reset());
    case BH_SYSTEM_OP_LOG:
        log_packed(argument);
        return answer(BH_OK);
    default: /* BH_SYSTEM_OP_COUNTER */
        if (argument >= BH_COUNTER_COUNT)
            return answer(BH_BAD_ARG);
        return (struct result){BH_OK, call->held.cpu->counter[argument], 0};
    }
}
