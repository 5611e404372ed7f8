/* What the core asks of a processor architecture. hv/x86/ implements it; test/unit/fake_arch.c does
 * for the tests on the build machine. `struct arch_space`, `arch_context`, `arch_irq` and
 * `arch_cpu` come from the architecture's hv_arch_types.h.
 *
 * Unless said otherwise these are called with interrupts off and cannot fail. */
#pragma once

#include "abi/vcpu.h"
#include "hv/core/object.h"

/* --- Memory ------------------------------------------------------------------------------------
 */

/* Object memory and shared memory, always mapped. */
/*@ assigns \nothing; */
void *arch_object_pointer(struct pa address);
struct pa arch_object_address(const void *object);

/* Zeroes frame memory through this CPU's window. pages <= ARCH_SCRUB_PAGES. */
#define ARCH_SCRUB_PAGES 16u
void arch_scrub(struct pa address, uint32_t pages);

/* --- Spaces ------------------------------------------------------------------------------------
 */

/* The first page of the pool becomes the root table. */
void arch_space_init(struct space *space);

/* Maps up to `pages` pages, at most ARCH_MAP_ENTRIES entries, from va on; large pages where
 * possible. Prepares (counts the table pages needed, looks for entries in use) before it writes
 * anything. *done = pages mapped. Returns OK, BUSY (the first address is in use), NO_MEMORY (pool);
 * with a status other than OK, *done pages (maybe 0) before the trouble have been mapped. Takes
 * table pages with space_pool_take. rights: BH_REGION_*; memory of kind DEVICE is mapped uncached.
 */
#define ARCH_MAP_ENTRIES 64u /* bounds the time with interrupts off */
enum bh_status arch_space_map(struct space *space, uint64_t va, struct pa address, uint64_t pages,
                              uint32_t rights, enum bh_kind kind, uint64_t *done);

/* Unmaps up to `pages` pages ENDING at va_end, at most *entries entries, which it counts down;
 * returns how many pages. They are all mapped, by calls of arch_space_map whose range began at or
 * before va_end - pages. */
uint64_t arch_space_unmap(struct space *space, uint64_t va_end, uint64_t pages, uint32_t *entries);

/* Of up to `pages` mapped pages from va on: which have been written since the last call, the first
 * in bit 0, and how many they are: at most ARCH_DIRTY_PAGES, or one large page, which is one bit.
 * 0: va is inside a large page. They count as not written once the Space has been flushed. */
#define ARCH_DIRTY_PAGES 64u
uint64_t arch_space_take_dirty(struct space *space, uint64_t va, uint64_t pages, uint64_t *bits);

/* No CPU uses a translation of this Space that has been unmapped, or was taken for written. */
void arch_space_flush(struct space *space);

/* No CPU has it loaded any more. */
void arch_space_retire(struct space *space);

/* One past the last guest-physical address that can be mapped. */
/*@ assigns \nothing;
  @ ensures \result <= 0x1000000000000; */
uint64_t arch_guest_end(void);

/* --- Guest mode --------------------------------------------------------------------------------
 *
 * A Context whose `vcpu` is set runs in guest mode: the architecture enters the guest instead of
 * ring 3 and calls vcpu_exit() when its VMM is needed. */

/*@ assigns \nothing; */
bool arch_guest_mode(void);     /* the processor can; else there are no Vcpus and guest Spaces */
uint64_t arch_vcpu_bytes(void); /* the processor's page and the object behind it */
void arch_vcpu_init(struct vcpu *vcpu);

/* No CPU holds anything of it. */
void arch_vcpu_retire(struct vcpu *vcpu);

/* From the state page: GENERAL, EVENT and `groups`; each field is read once. False if a value could
 * hurt the host (the page's exit and qualification say so). */
bool arch_vcpu_load(struct vcpu *vcpu, uint32_t groups);
/* To the state page: groups on demand; at an exit GENERAL, EVENT and what of EXIT is not the exit's
 * own, but nothing after INVALID_STATE. */
void arch_vcpu_store(struct vcpu *vcpu, uint32_t groups);
void arch_vcpu_store_exit(struct vcpu *vcpu, enum bh_exit exit);

/* --- Contexts ----------------------------------------------------------------------------------
 */

uint64_t arch_context_bytes(void); /* sizeof(struct context) and the FPU area, a multiple of 64 */
void arch_context_init(struct context *context);

/* No CPU holds anything of this Context (FPU state, for one) that it would still write back, and
 * nothing of its registers stays in memory. */
void arch_context_retire(struct context *context);

/* Hypercall registers: argument 0..5, and the results. */
uint64_t arch_argument(const struct context *context, unsigned index);
void arch_set_result(struct context *context, uint64_t status, uint64_t value0, uint64_t value1);

/* Registers up to BH_REG_GS_BASE. set: BAD_ARG unless the value is safe to load in ring 3. */
uint64_t arch_get_register(const struct context *context, uint32_t reg);
enum bh_status arch_set_register(struct context *context, uint32_t reg, uint64_t value);

/* --- Time, interrupts, ports, board --------------------------------------------------------------
 */

uint64_t arch_now(void); /* TSC */
/* deadline: TSC; ~0: none. Calls timer_interrupt() then or soon after. */
void arch_timer_set(uint64_t deadline);

/* source as in IRQ_ATTACH. OK (and, for MSI, address and data), BAD_ARG, BUSY, NO_MEMORY. Delivery
 * calls irq_deliver(irq). */
enum bh_status arch_irq_attach(struct irq *irq, uint64_t source, uint64_t *address, uint64_t *data);
void arch_irq_detach(struct irq *irq); /* on return it is delivered no more */
/* Pins are masked by arch before irq_deliver; MSI: nothing. */
void arch_irq_unmask(struct irq *irq);

uint32_t arch_port_in(uint16_t port, unsigned width_bytes);
void arch_port_out(uint16_t port, unsigned width_bytes, uint32_t value);

enum bh_status arch_reset(void); /* returns NOT_READY if it knows no way */

/* A bug of hv's own: says so, with registers and build id, and stops the machine. */
/*@ assigns \nothing;
  @ ensures \false; */
_Noreturn void arch_panic(const char *reason);

void arch_log(const char *text, size_t bytes); /* to the log ring and the serial line */

struct cpu *this_cpu(void);
void arch_relax(void); /* inside a spin loop */

/* All ones if index < bound, else 0, computed without a branch, so that it holds under speculation.
 */
/*@ assigns \nothing;
  @ ensures index < bound ==> \forall uint64_t x; (x & \result) == x;
  @ ensures index >= bound ==> \result == 0; */
uint64_t arch_bounds_mask(uint64_t index, uint64_t bound);
#include "hv_arch_inline.h" /* this_cpu(), arch_now(), accessors that must be inline on hot paths */
