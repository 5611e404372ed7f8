/* Hypercalls as C functions: thin, typed, one for each call of abi/hypercall.h, where rights,
 * statuses and bounds are described. Values come back by pointer and are only meaningful on BH_OK.
 * hc_X makes one call; hc_X_all repeats it while hv answers BH_AGAIN. No state, no library behind
 * it: init uses this file alone. */
#pragma once

#include <stdint.h>

#include "abi/hypercall.h"

struct hc_values {
    uint64_t first;  /* RDX */
    uint64_t second; /* RSI */
};

static inline enum bh_status hc_call(enum bh_hypercall number, uint64_t a, uint64_t b, uint64_t c,
                                     uint64_t d, uint64_t e, uint64_t f, struct hc_values *values) {
    uint64_t status = number, rdx = c, rsi = b;
    register uint64_t r10 __asm__("r10") = d;
    register uint64_t r8 __asm__("r8") = e;
    register uint64_t r9 __asm__("r9") = f;
    /* The memory clobber makes every call a compiler barrier: other domains run meanwhile. */
    __asm__ volatile("syscall"
                     : "+a"(status), "+d"(rdx), "+S"(rsi)
                     : "D"(a), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    values->first = rdx;
    values->second = rsi;
    return (enum bh_status)status;
}

/* For the calls without values. */
static inline enum bh_status hc_do(enum bh_hypercall number, uint64_t a, uint64_t b, uint64_t c,
                                   uint64_t d, uint64_t e, uint64_t f) {
    struct hc_values ignored;
    return hc_call(number, a, b, c, d, e, f, &ignored);
}

/* For the calls with one value. */
static inline enum bh_status hc_get(enum bh_hypercall number, uint64_t a, uint64_t b, uint64_t c,
                                    uint64_t *value) {
    struct hc_values values;
    enum bh_status status = hc_call(number, a, b, c, 0, 0, 0, &values);
    *value = values.first;
    return status;
}

static inline enum bh_status hc_null(uint64_t *abi_version) {
    return hc_get(BH_HC_NULL, 0, 0, 0, abi_version);
}

static inline enum bh_status hc_signal(bh_slot event) {
    return hc_do(BH_HC_SIGNAL, event, 0, 0, 0, 0, 0);
}

static inline enum bh_status hc_wait(uint64_t mask, uint64_t deadline_tsc, uint64_t *bits,
                                     uint64_t *group) {
    struct hc_values values;
    enum bh_status status = hc_call(BH_HC_WAIT, mask, deadline_tsc, 0, 0, 0, 0, &values);
    *bits = values.first;
    *group = values.second;
    return status;
}

static inline enum bh_status hc_yield(void) {
    return hc_do(BH_HC_YIELD, 0, 0, 0, 0, 0, 0);
}

static inline enum bh_status hc_irq_ack(bh_slot irq) {
    return hc_do(BH_HC_IRQ_ACK, irq, 0, 0, 0, 0, 0);
}

static inline enum bh_status hc_port_in(bh_slot ports, uint16_t port, unsigned width_bytes,
                                        uint32_t *value) {
    uint64_t raw;
    enum bh_status status = hc_get(BH_HC_PORT_IN, ports, port, width_bytes, &raw);
    *value = (uint32_t)raw;
    return status;
}

static inline enum bh_status hc_port_out(bh_slot ports, uint16_t port, unsigned width_bytes,
                                         uint32_t value) {
    return hc_do(BH_HC_PORT_OUT, ports, port, width_bytes, value, 0, 0);
}

static inline enum bh_status hc_retype(bh_ref untyped, enum bh_type type, uint64_t size,
                                       bh_ref destination, unsigned kind) {
    return hc_do(BH_HC_RETYPE, untyped, type, size, destination, kind, 0);
}

static inline enum bh_status hc_copy(bh_ref source, bh_ref destination, uint32_t rights, uint64_t a,
                                     uint64_t b) {
    return hc_do(BH_HC_COPY, source, destination, rights, a, b, 0);
}

static inline enum bh_status hc_move(bh_ref source, bh_ref destination) {
    return hc_do(BH_HC_MOVE, source, destination, 0, 0, 0, 0);
}

static inline enum bh_status hc_narrow(bh_ref slot, uint32_t rights) {
    return hc_do(BH_HC_NARROW, slot, rights, 0, 0, 0, 0);
}

static inline enum bh_status hc_delete(bh_ref slot) {
    return hc_do(BH_HC_DELETE, slot, 0, 0, 0, 0, 0);
}

static inline enum bh_status hc_revoke(bh_ref slot) {
    return hc_do(BH_HC_REVOKE, slot, 0, 0, 0, 0, 0);
}

static inline enum bh_status hc_scrub(bh_ref untyped, uint64_t *clean_bytes) {
    return hc_get(BH_HC_SCRUB, untyped, 0, 0, clean_bytes);
}

static inline enum bh_status hc_map(bh_ref region, bh_ref space, uint64_t va, uint32_t rights) {
    return hc_do(BH_HC_MAP, region, space, va, rights, 0, 0);
}

static inline enum bh_status hc_unmap(bh_ref region) {
    return hc_do(BH_HC_UNMAP, region, 0, 0, 0, 0, 0);
}

static inline enum bh_status hc_bind(bh_ref object, enum bh_binding binding, bh_ref target) {
    return hc_do(BH_HC_BIND, object, binding, target, 0, 0, 0);
}

static inline enum bh_status hc_ctx_sched(bh_ref context, bh_slot cpu, unsigned priority,
                                          uint64_t quantum_tsc, uint64_t budget_tsc,
                                          uint64_t period_tsc) {
    return hc_do(BH_HC_CTX_SCHED, context, cpu, priority, quantum_tsc, budget_tsc, period_tsc);
}

static inline enum bh_status hc_ctx_resume(bh_ref context) {
    return hc_do(BH_HC_CTX_RESUME, context, 0, 0, 0, 0, 0);
}

static inline enum bh_status hc_ctx_suspend(bh_ref context) {
    return hc_do(BH_HC_CTX_SUSPEND, context, 0, 0, 0, 0, 0);
}

static inline enum bh_status hc_ctx_get(bh_ref context, enum bh_reg reg, uint64_t *value) {
    return hc_get(BH_HC_CTX_GET, context, reg, 0, value);
}

static inline enum bh_status hc_ctx_set(bh_ref context, enum bh_reg reg, uint64_t value) {
    return hc_do(BH_HC_CTX_SET, context, reg, value, 0, 0, 0);
}

static inline enum bh_status hc_cap_info(bh_ref slot, unsigned word, uint64_t *first,
                                         uint64_t *second) {
    struct hc_values values;
    enum bh_status status = hc_call(BH_HC_CAP_INFO, slot, word, 0, 0, 0, 0, &values);
    *first = values.first;
    *second = values.second;
    return status;
}

static inline enum bh_status hc_region_address(bh_ref region, uint64_t *hpa) {
    return hc_get(BH_HC_REGION_ADDRESS, region, 0, 0, hpa);
}

/* *bits: page `page` in bit 0; *pages: how many they are of. */
static inline enum bh_status hc_region_dirty(bh_ref region, uint64_t page, uint64_t *bits,
                                             uint64_t *pages) {
    struct hc_values values;
    enum bh_status status = hc_call(BH_HC_REGION_DIRTY, region, page, 0, 0, 0, 0, &values);
    *bits = values.first;
    *pages = values.second;
    return status;
}

static inline enum bh_status hc_irq_attach(bh_ref irq, bh_slot system, uint64_t source,
                                           uint64_t *msi_address, uint64_t *msi_data) {
    struct hc_values values;
    enum bh_status status = hc_call(BH_HC_IRQ_ATTACH, irq, system, source, 0, 0, 0, &values);
    *msi_address = values.first;
    *msi_data = values.second;
    return status;
}

static inline enum bh_status hc_system(bh_slot system, enum bh_system operation, uint64_t argument,
                                       uint64_t *value) {
    return hc_get(BH_HC_SYSTEM, system, operation, argument, value);
}

/* --- repeated until the work is done ------------------------------------------------------------
 */

static inline enum bh_status hc_retype_all(bh_ref untyped, enum bh_type type, uint64_t size,
                                           bh_ref destination, unsigned kind) {
    enum bh_status status;
    do
        status = hc_retype(untyped, type, size, destination, kind);
    while (status == BH_AGAIN);
    return status;
}

static inline enum bh_status hc_delete_all(bh_ref slot) {
    enum bh_status status;
    do
        status = hc_delete(slot);
    while (status == BH_AGAIN);
    return status;
}

static inline enum bh_status hc_revoke_all(bh_ref slot) {
    enum bh_status status;
    do
        status = hc_revoke(slot);
    while (status == BH_AGAIN);
    return status;
}

static inline enum bh_status hc_scrub_all(bh_ref untyped) {
    enum bh_status status;
    uint64_t clean_bytes;
    do
        status = hc_scrub(untyped, &clean_bytes);
    while (status == BH_AGAIN);
    return status;
}

static inline enum bh_status hc_map_all(bh_ref region, bh_ref space, uint64_t va, uint32_t rights) {
    enum bh_status status;
    do
        status = hc_map(region, space, va, rights);
    while (status == BH_AGAIN);
    return status;
}

static inline enum bh_status hc_unmap_all(bh_ref region) {
    enum bh_status status;
    do
        status = hc_unmap(region);
    while (status == BH_AGAIN);
    return status;
}

static inline enum bh_status hc_vcpu_run(bh_slot vcpu, uint32_t groups, uint64_t deadline_tsc,
                                         uint64_t mask, uint64_t *exit) {
    struct hc_values values;
    enum bh_status status =
        hc_call(BH_HC_VCPU_RUN, vcpu, groups, deadline_tsc, mask, 0, 0, &values);
    *exit = values.first;
    return status;
}

static inline enum bh_status hc_vcpu_sync(bh_slot vcpu, uint32_t groups) {
    return hc_do(BH_HC_VCPU_SYNC, vcpu, groups, 0, 0, 0, 0);
}

static inline enum bh_status hc_doorbell(bh_ref space, uint16_t port, unsigned width_bytes,
                                         bh_ref event) {
    return hc_do(BH_HC_DOORBELL, space, port, width_bytes, event, 0, 0);
}
