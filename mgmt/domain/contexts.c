#include "mgmt/domain/contexts.h"

#include "abi/image.h"
#include "guestlib/tsc.h"
#include "mgmt/domain/domain.h"
#include "mgmt/host.h"
#include "mgmt/hv.h"
#include "mgmt/layout.h"

/* A round of the scheduler gives a guest of weight 1,024 this much, all its vCPUs together. */
#define QUANTUM_US 5000u
#define QUANTUM_US_MIN 100u
#define WEIGHT_USUAL 1024u

uint32_t contexts_count(const struct bh_definition *definition) {
    return definition->guest_type == BH_GUEST_HVM ? definition->vcpus : 1;
}

static uint32_t count(const struct domain *d) {
    return contexts_count(&d->definition);
}

static bh_ref further(const struct domain *d, uint32_t slot) {
    return domain_further(d, DOMAIN_FURTHER_CONTEXT + slot);
}

bh_ref contexts_at(const struct domain *d, uint32_t index) {
    return index == 0 ? OWN(domain_slot(d, DOMAIN_SLOT_CONTEXT)) : further(d, 2 * (index - 1));
}

bh_ref contexts_event(const struct domain *d, uint32_t index) {
    return index == 0 ? OWN(domain_slot(d, DOMAIN_SLOT_EVENT)) : further(d, 2 * (index - 1) + 1);
}

uint64_t contexts_stack_pages(const struct bh_definition *definition) {
    return contexts_guard_page(contexts_count(definition));
}

uint64_t contexts_guard_page(uint32_t index) {
    return (index - 1) * (1ull + CONTEXT_STACK_PAGES);
}

uint64_t contexts_object_bytes(const struct bh_definition *definition) {
    const struct bh_bootinfo *info = host_info();
    /* Objects begin on cache lines. */
    return info->context_bytes + 64 +
           (contexts_count(definition) - 1ull) * (info->context_bytes + info->event_bytes + 128);
}

uint32_t contexts_further_slots(const struct bh_definition *definition) {
    return 2 * (contexts_count(definition) - 1);
}

enum bh_status contexts_make(const struct domain *d) {
    bh_ref objects = OWN(d->objects);
    enum bh_status status = hv_retype(objects, BH_TYPE_CONTEXT, 0, contexts_at(d, 0), 0);
    for (uint32_t i = 1; i < count(d) && !status; i++) {
        status = hv_retype(objects, BH_TYPE_CONTEXT, 0, contexts_at(d, i), 0);
        if (!status)
            status = hv_retype(objects, BH_TYPE_EVENT, 64, contexts_event(d, i), 0);
    }
    return status;
}

static enum bh_status bind(const struct domain *d, uint32_t index, bh_ref fault) {
    const struct {
        enum bh_binding what;
        bh_ref target;
    } bindings[] = {
        {BH_BIND_CTX_SPACE, OWN(domain_slot(d, DOMAIN_SLOT_SPACE))},
        {BH_BIND_CTX_TABLE, OWN(domain_slot(d, DOMAIN_SLOT_TABLE))},
        {BH_BIND_CTX_EVENT, contexts_event(d, index)},
        {BH_BIND_CTX_FAULT, fault},
    };
    enum bh_status status = BH_OK;
    for (unsigned i = 0; i < sizeof(bindings) / sizeof(bindings[0]) && !status; i++)
        status = hv_bind(contexts_at(d, index), bindings[i].what, bindings[i].target);
    return status;
}

static enum bh_status set_registers(const struct domain *d, uint32_t index, uint64_t shared_va,
                                    uint64_t stack_end) {
    const struct {
        enum bh_reg reg;
        uint64_t value;
    } registers[] = {
        {BH_REG_RIP, d->image.entry},
        {BH_REG_RDI, shared_va},
        {BH_REG_RSI, index},
        {BH_REG_RSP, stack_end - 8},
    };
    enum bh_status status = BH_OK;
    for (unsigned i = 0; i < sizeof(registers) / sizeof(registers[0]) && !status; i++)
        status = hv_context_set(contexts_at(d, index), registers[i].reg, registers[i].value);
    return status;
}

/* A guest's share and cap are divided among its vCPUs, so that it never gets more by having more of
 * them. */
static enum bh_status schedule(const struct domain *d, uint32_t index) {
    const struct bh_definition *definition = &d->definition;
    uint64_t hz = host_info()->tsc_hz;
    uint64_t quantum_us = (uint64_t)QUANTUM_US * definition->weight / WEIGHT_USUAL / count(d);
    if (quantum_us < QUANTUM_US_MIN)
        quantum_us = QUANTUM_US_MIN;
    uint64_t budget_ns = definition->quota_us * 1000ull / count(d);
    uint64_t period_us = definition->quota_us ? definition->period_us : 0;
    return hv_context_schedule(contexts_at(d, index),
                               BH_INIT_CPU0 + (d->number + index) % host_info()->cpus,
                               PRIORITY_GUEST, tsc_from_ns(quantum_us * 1000, hz),
                               tsc_from_ns(budget_ns, hz), tsc_from_ns(period_us * 1000, hz));
}

enum bh_status contexts_start(const struct domain *d, bh_ref fault, uint64_t shared_va,
                              uint64_t stacks_va) {
    uint64_t stack_end = BH_IMAGE_VA + d->image.stack_end * BH_PAGE_BYTES;
    enum bh_status status = BH_OK;
    for (uint32_t i = 0; i < count(d) && !status; i++) {
        if (i > 0) /* the next one's guard page is where this stack ends */
            stack_end = stacks_va + contexts_guard_page(i + 1) * BH_PAGE_BYTES;
        status = bind(d, i, fault);
        if (!status)
            status = set_registers(d, i, shared_va, stack_end);
        if (!status)
            status = schedule(d, i);
    }
    return status;
}

enum bh_status contexts_narrow(const struct domain *d, uint32_t rights) {
    enum bh_status status = BH_OK;
    for (uint32_t i = 0; i < count(d) && !status; i++) {
        status = hv_narrow(contexts_at(d, i), rights);
        if (!status && i > 0)
            status = hv_narrow(contexts_event(d, i), 0);
    }
    return status;
}

enum bh_status contexts_resume(const struct domain *d) {
    enum bh_status status = BH_OK;
    for (uint32_t i = 0; i < count(d) && !status; i++)
        status = hv_context_resume(contexts_at(d, i));
    return status;
}

void contexts_suspend(const struct domain *d) {
    for (uint32_t i = 0; i < count(d); i++)
        hv_context_suspend(contexts_at(d, i));
}

bool contexts_find_fault(const struct domain *d, uint32_t *index) {
    for (uint32_t i = 0; i < count(d); i++) {
        uint64_t state;
        if (hv_context_get(contexts_at(d, i), BH_REG_STATE, &state) || state != BH_CTX_FAULTED)
            continue;
        *index = i;
        return true;
    }
    return false;
}

uint64_t contexts_cpu_tsc_of(const struct domain *d, uint32_t index) {
    uint64_t ran = 0;
    if (hv_context_get(contexts_at(d, index), BH_REG_CPU_TIME, &ran))
        return 0;
    return ran;
}

uint64_t contexts_cpu_tsc(const struct domain *d) {
    uint64_t ran = 0;
    for (uint32_t i = 0; i < count(d); i++)
        ran += contexts_cpu_tsc_of(d, i);
    return ran;
}
