/* A processor with SVM for hv/x86/svm*.c on the build machine: VMRUN is a function of the test. It
 * has what no emulator has: decode assists, and clean bits that are believed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "hv/x86/svm.h"

struct processor {
    /* What CPUID says; before processor_start(). */
    bool nrip_save, decode_assists;
    uint32_t asids;
    uint64_t mcg_status; /* IA32_MCG_STATUS; 0: no machine check in progress */

    /* What the guest does until its exit. It starts from what the processor knows. */
    void (*guest)(struct vmcb *vmcb);

    uint32_t entries;      /* VMRUN */
    uint32_t interrupts;   /* times that pending interrupts were let in */
    uint32_t doorbells;    /* doorbells that were rung */
    uint32_t believed;     /* clean bits of the last entry */
    const char *complaint; /* what hv did that no processor forgives, or NULL */
    const char *panic;     /* likewise, of panic() */
};
extern struct processor processor;

enum { DOORBELL_PORT = 0xc000 }; /* 2 bytes wide */

struct test_vcpu {
    _Alignas(PAGE_BYTES) struct svm_vcpu svm;
    _Alignas(PAGE_BYTES) uint8_t page[PAGE_BYTES]; /* struct bh_vcpu_state */
};

/* With the CPUID bits as they are set; nothing has been entered yet. */
void processor_start(void);
/* A Vcpu with a Space and a state page, not run yet. */
void processor_vcpu(struct test_vcpu *made);
/* VCPU_RUN until it returns: its status, or PROCESSOR_PANIC. *exit: what else it returns. */
uint64_t processor_run(struct test_vcpu *vcpu, uint64_t groups, uint64_t *exit);
/* Something was unmapped from the Space that all Vcpus are on. */
void processor_flush(void);
#define PROCESSOR_PANIC UINT64_MAX
