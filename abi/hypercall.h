/* Hypercalls: one instruction (SYSCALL), one dispatcher. Version 1. Append only.
 *
 * Registers on entry:  RAX number; arguments in RDI, RSI, RDX, R10, R8, R9.
 * Registers on return: RAX status (status.h); values in RDX and RSI (0 unless stated); RCX and R11
 * are overwritten; all others keep their contents. Every call may return BH_BAD_CALL (unknown
 * number), and, when it names a slot, BH_BAD_CAP and BH_BAD_RIGHTS.
 *
 * docs/abi.md's reference is generated from the comments of this file: keep the form
 * "NAME(arguments) -> values", then Rights, Statuses, Bound.
 */
#pragma once

#include "abi/cap.h"
#include "abi/status.h"

#define BH_ABI_VERSION 1u

#define BH_DEADLINE_POLL 0ull     /* wait: do not sleep */
#define BH_DEADLINE_NEVER (~0ull) /* wait: sleep until a bit is set */

enum bh_hypercall {
    /* NULL() -> BH_ABI_VERSION
     * Does nothing. Rights: none. Statuses: OK. Bound: constant. */
    BH_HC_NULL = 0,

    /* SIGNAL(slot event)
     * Sets the bit that is the capability's badge; wakes the bound Context if it waits for it.
     * Rights: EVENT_SIGNAL. Statuses: OK. Bound: constant. */
    BH_HC_SIGNAL = 1,

    /* WAIT(mask, deadline_tsc) -> bits, group
     * Waits until a bit that `mask` admits is pending in the Event bound to the calling Context,
     * takes it and returns it. 64-bit Event: mask admits bits, group is 0. 4,096-bit Event: mask
     * admits groups of 64 bits; all pending bits of the lowest admitted group are taken. Bits that
     * are not admitted stay pending and wake nobody. deadline_tsc is an absolute TSC value.
     * Rights: none beyond the binding. Statuses: OK, TIMEOUT, NOT_READY (no Event bound).
     * Bound: logarithmic in the number of sleeping Contexts of this CPU. */
    BH_HC_WAIT = 2,

    /* YIELD()
     * Ends the quantum: goes behind all Contexts of the same priority.
     * Rights: none. Statuses: OK. Bound: constant. */
    BH_HC_YIELD = 3,

    /* IRQ_ACK(slot irq)
     * Allows the next interrupt of this source to be signalled; unmasks a pin.
     * Rights: IRQ_ACK. Statuses: OK, NOT_READY (not attached). Bound: constant. */
    BH_HC_IRQ_ACK = 4,

    /* PORT_IN(slot ports, port, width_bytes) -> value
     * Rights: PORTS_IN. Statuses: OK, BAD_ARG (width not 1, 2, 4; port outside the range).
     * Bound: constant. */
    BH_HC_PORT_IN = 5,

    /* PORT_OUT(slot ports, port, width_bytes, value)
     * Rights: PORTS_OUT. Statuses: OK, BAD_ARG. Bound: constant. */
    BH_HC_PORT_OUT = 6,

    /* VCPU_RUN(slot vcpu, groups, deadline_tsc, mask) -> exit
     * Enters the guest on the calling Context, with the state page's `groups` (BH_VCPU_*, vcpu.h;
     * GENERAL and EVENT always). Returns when the guest needs its VMM, with the reason (bh_exit);
     * with BH_EXIT_NONE as soon as a bit that `mask` admits is pending in the Context's Event (as
     * in WAIT, but it stays pending), at deadline_tsc, and maybe without any cause. NOT_READY: no
     * Space or state page is bound, or one was taken away meanwhile. Rights: VCPU_RUN. Statuses:
     * OK, BAD_ARG (unknown group), BUSY (another Context runs it), NOT_READY. Bound: constant. */
    BH_HC_VCPU_RUN = 7,

    /* RETYPE(ref untyped, type, size, ref destination, kind)
     * Makes one object at the Untyped's watermark (aligned up as the type needs) and puts its
     * original capability, with all rights, into the empty destination slot. An Untyped without
     * descendants starts again at its beginning. size: UNTYPED, REGION pages (1 and up); SPACE
     * pages of its page-table pool (1..BH_SPACE_POOL_MAX); CAPTABLE slots
     * (2..BH_CAPTABLE_SLOTS_MAX); EVENT bits (64 or 4,096); CONTEXT, IRQ, VCPU 0. kind: SPACE its
     * bh_space_kind, otherwise 0. VCPU and guest Spaces: NOT_READY on a processor without guest
     * mode. UNTYPED takes any kind of memory; REGION frame, shared (scrubbed: else DIRTY) and
     * device memory; all others object memory (else BAD_ARG). New objects are zeroed; a call on
     * dirty object memory returns AGAIN while it cleans it. Rights: UNTYPED_RETYPE, CAPTABLE_MANAGE
     * of both tables. Statuses: OK, AGAIN, BAD_ARG, BUSY (destination occupied), NO_MEMORY, DIRTY,
     * TOO_DEEP, NOT_READY. Bound: 64 KiB zeroed, or what DELETE does,
     * a call. */
    BH_HC_RETYPE = 8,

    /* COPY(ref source, ref destination, rights, a, b)
     * Derives a capability whose rights are the source's AND `rights`. EVENT: badge `a` when the
     * source is an original, else inherited. CPU: highest priority `a`, at most the source's.
     * REGION: `b` pages from page `a` on; PORTS: `b` ports from port `a` on (absolute); b = 0: all.
     * UNTYPED cannot be copied (BAD_ARG): retype it. The copy is unmapped.
     * Rights: CAPTABLE_MANAGE of both tables. Statuses: OK, BAD_ARG, BUSY, TOO_DEEP.
     * Bound: constant. */
    BH_HC_COPY = 9,

    /* MOVE(ref source, ref destination)
     * The capability keeps its place in the derivation tree, its mapping and its originality.
     * Rights: CAPTABLE_MANAGE of both tables. Statuses: OK, BUSY. Bound: constant. */
    BH_HC_MOVE = 10,

    /* NARROW(ref slot, rights)
     * Takes rights away in place, down to none: a handle for revocation. A mapping that exists
     * stays. Rights: CAPTABLE_MANAGE. Statuses: OK. Bound: constant. */
    BH_HC_NARROW = 11,

    /* DELETE(ref slot)
     * Empties the slot; the object dies if this was its original. A mapped Region is unmapped. An
     * empty slot is no error, so that the call can be repeated after AGAIN. Rights:
     * CAPTABLE_MANAGE. Statuses: OK, AGAIN, HAS_CHILDREN. Bound: 48 slots, references or page-table
     * entries a call (a Context is 4 more). */
    BH_HC_DELETE = 12,

    /* REVOKE(ref slot)
     * Removes all capabilities derived from this one, wherever they are, and all that dies with
     * them. On OK no CPU can use any of them. An empty slot is no error. The caller, or a table
     * that it names the slot by, may be among what dies; then it cannot make the call again. What
     * is left are capabilities like all others: whoever revokes the slot, or one above it, goes on
     * there; CapTables that were dying are emptied by any DELETE or REVOKE, and before RETYPE hands
     * out memory. Rights: CAPTABLE_MANAGE. Statuses: OK, AGAIN. Bound: as DELETE. */
    BH_HC_REVOKE = 13,

    /* SCRUB(ref untyped) -> clean_bytes
     * Zeroes frame memory of the Untyped that is not yet given out. Device memory: BAD_ARG.
     * Rights: UNTYPED_RETYPE, CAPTABLE_MANAGE. Statuses: OK (all clean), AGAIN, BAD_ARG.
     * Bound: as RETYPE. */
    BH_HC_SCRUB = 14,

    /* MAP(ref region, ref space, va, rights)
     * Maps the whole Region at va (page-aligned, BH_USER_VA_MIN..BH_USER_VA_END), 2 MiB pages where
     * both addresses allow. rights: READ, READ|WRITE or READ|EXEC, a subset of the capability's.
     * Guest Space: va is a guest-physical address from 0 to the processor's limit, 1 GiB pages as
     * well, and READ|WRITE|EXEC too. After AGAIN the same call goes on; until OK a part of the
     * range may already be accessible, and stays so after a failure until UNMAP. Rights: SPACE_MAP,
     * CAPTABLE_MANAGE of both tables. Statuses: OK, AGAIN, BAD_ARG, BUSY (mapped elsewhere, or an
     * address in use), NO_MEMORY (page-table pool). Bound: 64 page-table entries a call. */
    BH_HC_MAP = 15,

    /* UNMAP(ref region)
     * On OK no CPU can access it by this mapping. Page-table pages stay with the Space.
     * Rights: CAPTABLE_MANAGE. Statuses: OK (also when it was not mapped), AGAIN.
     * Bound: 48 page-table entries a call. */
    BH_HC_UNMAP = 16,

    /* BIND(ref object, enum bh_binding, ref target)
     * Replaces the object's reference; the target's cap lends its badge. target 0 unbinds. An
     * interrupt that came before its Event was bound is signalled now.
     * Rights: see bh_binding; CAPTABLE_MANAGE of both tables.
     * Statuses: OK, BAD_ARG, BUSY (Context runs, or Event bound to another), TOO_DEEP.
     * Bound: constant. */
    BH_HC_BIND = 17,

    /* CTX_SCHED(ref context, slot cpu, priority, quantum_tsc, budget_tsc, period_tsc)
     * Places a Context on a CPU. budget 0: no cap; else it runs at most budget in each period.
     * quantum 0: no round robin. Rights: CONTEXT_CONTROL, CPU_SCHEDULE.
     * Statuses: OK, BAD_ARG (priority above the Cpu capability's, budget > period,
     * period above 2^63 - 1, budget or quantum below 1,000 ticks). Bound: constant. */
    BH_HC_CTX_SCHED = 18,

    /* CTX_RESUME(ref context)
     * Lets a stopped Context run (again). Rights: CONTEXT_CONTROL.
     * Statuses: OK, NOT_READY (no Space, CapTable or Cpu; RIP not below BH_USER_VA_END).
     * Bound: constant. */
    BH_HC_CTX_RESUME = 19,

    /* CTX_SUSPEND(ref context)
     * Stops it wherever it is; a wait goes on at resume. Rights: CONTEXT_CONTROL.
     * Statuses: OK. Bound: constant. */
    BH_HC_CTX_SUSPEND = 20,

    /* CTX_GET(ref context, enum bh_reg) -> value
     * Rights: CONTEXT_READ (CONTEXT_TIME suffices for BH_REG_CPU_TIME and BH_REG_STATE).
     * Statuses: OK, BAD_ARG. Bound: constant. */
    BH_HC_CTX_GET = 21,

    /* CTX_SET(ref context, enum bh_reg, value)
     * Only while stopped. RIP must be below BH_USER_VA_END, RFLAGS keep only the arithmetic flags
     * and DF, bases must be canonical user addresses. Fault and time registers: BAD_ARG.
     * Rights: CONTEXT_WRITE. Statuses: OK, BAD_ARG, BUSY. Bound: constant. */
    BH_HC_CTX_SET = 22,

    /* CAP_INFO(ref slot, word) -> value, value
     * word 0: type | rights << 8 | depth << 16 | original << 24 | kind << 32, and badge (Event,
     * Cpu); word 1: Untyped pages, free pages; Region pages, mapped pages; CapTable slots, 0; Space
     * pool pages, free pool pages; Ports first, count; others 0, 0. An empty slot is no error: type
     * 0. Rights: CAPTABLE_MANAGE, or the caller's own table. Statuses: OK, BAD_ARG. Bound:
     * constant. */
    BH_HC_CAP_INFO = 23,

    /* REGION_ADDRESS(ref region) -> host-physical address
     * Rights: REGION_ADDR. Statuses: OK. Bound: constant. */
    BH_HC_REGION_ADDRESS = 24,

    /* IRQ_ATTACH(ref irq, slot system, source) -> msi_address, msi_data
     * source: a global system interrupt number (values 0), or BH_IRQ_SOURCE_MSI.
     * Rights: IRQ_BIND, SYSTEM_IRQ.
     * Statuses: OK, BAD_ARG (no such pin), BUSY (attached already), NO_MEMORY (no vector left).
     * Bound: constant. */
    BH_HC_IRQ_ATTACH = 25,

    /* SYSTEM(slot system, enum bh_system, argument) -> value
     * Rights: the operation's, see bh_system. Statuses: OK, BAD_ARG, NOT_READY. Bound: constant. */
    BH_HC_SYSTEM = 26,

    /* VCPU_SYNC(slot vcpu, groups)
     * Stores groups that VCPU_RUN does not store by itself to the state page.
     * Rights: VCPU_RUN. Statuses: OK, BAD_ARG (unknown group), BUSY (it runs), NOT_READY (no state
     * page). Bound: constant. */
    BH_HC_VCPU_SYNC = 27,

    /* DOORBELL(ref space, port, width_bytes, ref event)
     * From now on an OUT of that width to that I/O port by a guest on this Space signals the Event
     * (with the capability's badge) and the guest goes on without an exit. Replaces the port's
     * doorbell; event 0 removes it. The first doorbell takes a page of the Space's pool.
     * Rights: SPACE_MAP, EVENT_SIGNAL; CAPTABLE_MANAGE of both tables.
     * Statuses: OK, BAD_ARG (no guest Space, port, width), NO_MEMORY (BH_DOORBELLS_MAX, pool),
     * TOO_DEEP. Bound: constant. */
    BH_HC_DOORBELL = 28,

    /* REGION_DIRTY(ref region, page) -> bits, pages
     * What has been written through this mapping of a Region since the last call that told of it,
     * and at first all: bit i is page `page + i`, and `pages` how many pages this tells of. Of a
     * large page bit 0 stands for the whole, and `page` must be its first. The next write to a page
     * shows again. Writes are those of ring 3 or of a guest, its page tables' accessed and dirty
     * flags included; what goes through another mapping of the same memory shows in that one, and
     * what a device writes shows nowhere: whoever sets it to work has to account for it.
     * Rights: REGION_DIRTY. Statuses: OK, BAD_ARG (page not mapped, or inside a large page).
     * Bound: 64 page-table entries. */
    BH_HC_REGION_DIRTY = 29,

    BH_HC_COUNT = 30,
};

#define BH_IRQ_SOURCE_MSI (~0ull)
#define BH_IRQ_GSI_LEVEL (1ull << 32) /* or'd to a pin's number: level-triggered, active low */

enum bh_binding {
    BH_BIND_CTX_SPACE = 0,  /* Context (BIND) -> Space (BIND) */
    BH_BIND_CTX_TABLE = 1,  /* Context (BIND) -> CapTable (BIND) */
    BH_BIND_CTX_EVENT = 2,  /* Context (BIND) -> Event (RECEIVE): what it waits for */
    BH_BIND_CTX_FAULT = 3,  /* Context (BIND) -> Event (SIGNAL): signalled when it faults */
    BH_BIND_IRQ_EVENT = 4,  /* Irq (BIND) -> Event (SIGNAL) */
    BH_BIND_VCPU_SPACE = 5, /* Vcpu (BIND) -> Space of kind GUEST (BIND) */
    BH_BIND_VCPU_STATE = 6, /* Vcpu (BIND) -> Region, one page of shared memory (READ, WRITE) */
};

enum bh_reg {
    BH_REG_RAX,
    BH_REG_RBX,
    BH_REG_RCX,
    BH_REG_RDX,
    BH_REG_RSI,
    BH_REG_RDI,
    BH_REG_RBP,
    BH_REG_RSP,
    BH_REG_R8,
    BH_REG_R9,
    BH_REG_R10,
    BH_REG_R11,
    BH_REG_R12,
    BH_REG_R13,
    BH_REG_R14,
    BH_REG_R15,
    BH_REG_RIP,
    BH_REG_RFLAGS,
    BH_REG_FS_BASE,
    BH_REG_GS_BASE,
    BH_REG_FAULT_VECTOR, /* of the fault that stopped it: Intel SDM 3A, 6.15; ~0 if none */
    BH_REG_FAULT_ERROR,
    BH_REG_FAULT_ADDRESS,
    BH_REG_CPU_TIME, /* TSC ticks spent running */
    BH_REG_STATE,    /* enum bh_ctx_state */
    BH_REG_COUNT
};

enum bh_ctx_state {
    BH_CTX_STOPPED = 0,  /* not resumed yet, suspended, or stopped because something was revoked */
    BH_CTX_READY = 1,    /* runs or may run */
    BH_CTX_WAITING = 2,  /* in WAIT */
    BH_CTX_FAULTED = 3,  /* stopped by a fault */
    BH_CTX_THROTTLED = 4 /* budget used up until its next period */
};

enum bh_system {
    BH_SYSTEM_OP_RESET = 0, /* SYSTEM_RESET: never returns; NOT_READY if the board knows no way */
    BH_SYSTEM_OP_RESERVED = 1, /* BAD_ARG. Power goes off by the ports that ACPI names */
    BH_SYSTEM_OP_LOG = 2,      /* SYSTEM_LOG: argument = up to 8 characters, lowest byte first */
    BH_SYSTEM_OP_COUNTER = 3,  /* SYSTEM_INFO: argument = enum bh_counter; BAD_ARG if unknown */
};

/* hv's counters, all since power-on. */
enum bh_counter {
    BH_COUNTER_IDLE_TSC = 0,       /* TSC ticks spent halted, this CPU */
    BH_COUNTER_RING_SWITCHES = 1,  /* entries into ring 0 */
    BH_COUNTER_SPACE_SWITCHES = 2, /* loads of CR3 */
    BH_COUNTER_INTERRUPTS = 3,     /* external interrupts */
    BH_COUNTER_TLB_FLUSHES = 4,    /* flushes beyond a CR3 load */
    BH_COUNTER_IPIS = 5,
    BH_COUNTER_SCRUBBED_PAGES = 6,
    BH_COUNTER_GUEST_EXITS = 7, /* out of guest mode, to hv */
    BH_COUNTER_COUNT = 8,
};

_Static_assert(BH_HC_COUNT == 30, "hypercalls are append-only");
_Static_assert(BH_REG_COUNT == 25, "registers are append-only");
