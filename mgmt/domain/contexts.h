/* The Contexts of a domain: one, or one for each vCPU of an HVM guest, all on the domain's Space
 * and CapTable. The first is what a PV guest has; the others lie in the domain's further CapTable,
 * each with an Event to wait for and a stack at the end of private RAM. What is done to a domain is
 * done to all of them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "abi/definition.h"
#include "abi/status.h"

struct domain;

/* Each further Context's stack: this much, above a page that is not mapped. */
#define CONTEXT_STACK_PAGES 4u

uint32_t contexts_count(const struct bh_definition *definition);
bh_ref contexts_at(const struct domain *d, uint32_t index);
/* The Event that Context `index` waits for. */
bh_ref contexts_event(const struct domain *d, uint32_t index);

/* Pages of private RAM for all further stacks; the page of the index-th (1 and up) one's guard,
 * counted from the first of these; object memory, in bytes. */
uint64_t contexts_stack_pages(const struct bh_definition *definition);
uint64_t contexts_guard_page(uint32_t index);
uint64_t contexts_object_bytes(const struct bh_definition *definition);
/* Slots from DOMAIN_FURTHER_CONTEXT on. */
uint32_t contexts_further_slots(const struct bh_definition *definition);

/* Makes what the further Contexts consist of; then, when the Space and the CapTable are complete:
 * registers, references, scheduling. fault: mgmt's Event with the badge of this domain's faults;
 * shared_va: the guest's address of its information page; stacks_va: of the further stacks' pages.
 */
enum bh_status contexts_make(const struct domain *d);
enum bh_status contexts_start(const struct domain *d, bh_ref fault, uint64_t shared_va,
                              uint64_t stacks_va);
/* Gives up all rights but those in `rights` (BH_CONTEXT_*), and those to the Events. */
enum bh_status contexts_narrow(const struct domain *d, uint32_t rights);

enum bh_status contexts_resume(const struct domain *d);
void contexts_suspend(const struct domain *d);
/* The first one that faulted. False: none. */
bool contexts_find_fault(const struct domain *d, uint32_t *index);
/* TSC ticks spent running since this life began: all together, one alone. */
uint64_t contexts_cpu_tsc(const struct domain *d);
uint64_t contexts_cpu_tsc_of(const struct domain *d, uint32_t index);
