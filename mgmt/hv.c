/* The calls behind mgmt/hv.h. Nothing is decided here. */
#include "mgmt/hv.h"

#include "guestlib/hypercall.h"

enum bh_status hv_retype(bh_ref untyped, enum bh_type type, uint64_t size, bh_ref to,
                         uint64_t kind) {
    return hc_retype_all(untyped, type, size, to, (unsigned)kind);
}

enum bh_status hv_copy(bh_ref from, bh_ref to, uint32_t rights, uint64_t a, uint64_t b) {
    return hc_copy(from, to, rights, a, b);
}

enum bh_status hv_narrow(bh_ref slot, uint32_t rights) {
    return hc_narrow(slot, rights);
}

enum bh_status hv_delete(bh_ref slot) {
    return hc_delete_all(slot);
}

enum bh_status hv_revoke(bh_ref slot) {
    return hc_revoke_all(slot);
}

enum bh_status hv_map(bh_ref region, bh_ref space, uint64_t va, uint32_t rights) {
    return hc_map_all(region, space, va, rights);
}

enum bh_status hv_unmap(bh_ref region) {
    return hc_unmap_all(region);
}

enum bh_status hv_bind(bh_ref object, enum bh_binding what, bh_ref target) {
    return hc_bind(object, what, target);
}

enum bh_status hv_cap_info(bh_ref slot, unsigned word, uint64_t *first, uint64_t *second) {
    return hc_cap_info(slot, word, first, second);
}

enum bh_status hv_scrub_step(bh_ref untyped) {
    uint64_t clean_bytes;
    return hc_scrub(untyped, &clean_bytes);
}

enum bh_status hv_context_schedule(bh_ref context, bh_slot cpu, unsigned priority,
                                   uint64_t quantum_tsc, uint64_t budget_tsc, uint64_t period_tsc) {
    return hc_ctx_sched(context, cpu, priority, quantum_tsc, budget_tsc, period_tsc);
}

enum bh_status hv_context_resume(bh_ref context) {
    return hc_ctx_resume(context);
}

enum bh_status hv_context_suspend(bh_ref context) {
    return hc_ctx_suspend(context);
}

enum bh_status hv_context_get(bh_ref context, enum bh_reg reg, uint64_t *value) {
    return hc_ctx_get(context, reg, value);
}

enum bh_status hv_context_set(bh_ref context, enum bh_reg reg, uint64_t value) {
    return hc_ctx_set(context, reg, value);
}

enum bh_status hv_irq_attach(bh_ref irq, uint64_t source, uint64_t *address, uint64_t *data) {
    return hc_irq_attach(irq, BH_INIT_SYSTEM, source, address, data);
}

enum bh_status hv_irq_acknowledge(bh_slot irq) {
    return hc_irq_ack(irq);
}

enum bh_status hv_signal(bh_slot event) {
    return hc_signal(event);
}

enum bh_status hv_system(enum bh_system operation, uint64_t argument, uint64_t *value) {
    return hc_system(BH_INIT_SYSTEM, operation, argument, value);
}

uint32_t hv_port_in(uint16_t port, unsigned width_bytes) {
    uint32_t value = 0;
    if (hc_port_in(BH_INIT_PORTS, port, width_bytes, &value))
        return ~0u; /* what a bus without a device answers */
    return value;
}

void hv_port_out(uint16_t port, unsigned width_bytes, uint32_t value) {
    hc_port_out(BH_INIT_PORTS, port, width_bytes, value);
}
