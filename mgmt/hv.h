/* The hypercalls as mgmt uses them: on its own CapTable, long ones repeated until they are done. A
 * seam: mgmt/hv.c makes the calls; the native tests supply a model of hv instead. Rights, statuses
 * and bounds of each are those of abi/hypercall.h. */
#pragma once

#include <stdint.h>

#include "abi/bootinfo.h"
#include "abi/hypercall.h"

/* A slot of mgmt's own CapTable, named with the right to change structure. */
#define OWN(slot) BH_REF(BH_INIT_TABLE, slot)

enum bh_status hv_retype(bh_ref untyped, enum bh_type type, uint64_t size, bh_ref to,
                         uint64_t kind);
enum bh_status hv_copy(bh_ref from, bh_ref to, uint32_t rights, uint64_t a, uint64_t b);
enum bh_status hv_narrow(bh_ref slot, uint32_t rights);
enum bh_status hv_delete(bh_ref slot);
enum bh_status hv_revoke(bh_ref slot);
enum bh_status hv_map(bh_ref region, bh_ref space, uint64_t va, uint32_t rights);
enum bh_status hv_unmap(bh_ref region);
enum bh_status hv_bind(bh_ref object, enum bh_binding what, bh_ref target);
enum bh_status hv_cap_info(bh_ref slot, unsigned word, uint64_t *first, uint64_t *second);

/* One step, at most 64 KiB: OK (all clean) or AGAIN. The only long call that is not repeated here,
 * because cleaning a guest's RAM takes longer than mgmt may be away from its other clients. */
enum bh_status hv_scrub_step(bh_ref untyped);

enum bh_status hv_context_schedule(bh_ref context, bh_slot cpu, unsigned priority,
                                   uint64_t quantum_tsc, uint64_t budget_tsc, uint64_t period_tsc);
enum bh_status hv_context_resume(bh_ref context);
enum bh_status hv_context_suspend(bh_ref context);
enum bh_status hv_context_get(bh_ref context, enum bh_reg reg, uint64_t *value);
enum bh_status hv_context_set(bh_ref context, enum bh_reg reg, uint64_t value);

enum bh_status hv_irq_attach(bh_ref irq, uint64_t source, uint64_t *address, uint64_t *data);
enum bh_status hv_irq_acknowledge(bh_slot irq);
enum bh_status hv_signal(bh_slot event);
enum bh_status hv_system(enum bh_system operation, uint64_t argument, uint64_t *value);

uint32_t hv_port_in(uint16_t port, unsigned width_bytes);
void hv_port_out(uint16_t port, unsigned width_bytes, uint32_t value);
