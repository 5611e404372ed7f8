/* What the files of hv/x86 and hv/boot offer each other. */
#pragma once

#include <stdarg.h>

#include "hv/core/core.h"
#include "hv/x86/insn.h"
#include "hv/x86/layout.h"
#include "hv/x86/regs.h"

#include "abi/bootinfo.h"

/* The image: hv.ld. */
extern uint8_t image_start[], boot_text_end[], boot_rodata_end[], boot_end[], text_end[],
    rodata_end[], image_end[];

static inline struct pa image_address(const void *in_image) {
    return (struct pa){(uint64_t)in_image - HV_BASE};
}

/* log.c: the log ring lies in shared frames. Lines begin with "hv: ". */
#define LOG_PAGES 16u
extern uint8_t log_frames[LOG_PAGES * PAGE_BYTES];
extern uint8_t bootinfo_frame[PAGE_BYTES]; /* shared too; hv/boot fills it */
void log_init(void);                       /* before any other */
#define BUILD_ID_BYTES 20
extern const uint8_t build_id[BUILD_ID_BYTES];  /* SHA-1 by the linker: hv.ld */
extern char build_text[2 * BUILD_ID_BYTES + 1]; /* in hexadecimal */
/* %s, %u, %x with optional 0, width and l. */
void log_print(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_vprint(const char *format, va_list arguments) __attribute__((format(printf, 1, 0)));

/* serial.c: the first serial port. */
void serial_init(void);
void serial_write(char byte);

/* panic.c: the cause and what to do about it, registers, build id; then stop. */
_Noreturn void panic(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void panic_exception(const struct arch_context *frame);

/* entry.S */
extern uint8_t syscall_entry[], vector_stubs[256][16];
_Noreturn void leave_to_another(void);

/* cpu.c: the processor's tables and registers. */
extern struct cpu boot_cpu;
struct features {
    bool smep, smap, umip, x2apic, tsc_deadline, xsave, large_1gib;
    uint8_t physical_bits, virtual_bits;
};
extern struct features features;
void cpu_init(struct cpu *cpu);
void cpu_traps_init(struct cpu *cpu); /* first: exceptions become readable */

/* A stack under a page that is never mapped. */
struct stack {
    uint8_t guard[STACK_GUARD_BYTES];
    uint8_t bytes[STACK_BYTES];
};
enum { STACK_MAIN, STACK_NMI, STACK_DF, STACK_MC, STACK_DB, STACKS };
extern struct stack stacks[STACKS];

/* Guest mode: svm.c and what belongs to it; a processor of the other vendor implements the same.
 * arch.h has what the core calls. */
void guest_cpu_init(struct cpu *cpu); /* at CPU start, after cpu_init's registers */

/* Runs the guest until the next exit, and does what hv does by itself. The Context that runs it is
 * current and loaded, and is still in VCPU_RUN or not any more when this returns: it does not for a
 * host interrupt. */
void guest_run(struct cpu *cpu, struct vcpu *vcpu);

/* Another Context is loaded: nothing of the guest that ring 3 could read stays in the processor. */
void guest_leave(struct cpu *cpu);

/* context.c */
void *context_fpu(const struct context *context); /* the area behind the object */

/* fpu.c */
void fpu_init(void);
uint64_t fpu_bytes(void); /* of one Context's state */
void fpu_context_init(struct context *context);
void fpu_save(struct context *context);
void fpu_restore(const struct context *context);
bool fpu_xcr0_valid(uint64_t xcr0); /* a guest may have this one */
void fpu_enter_xcr0(uint64_t xcr0); /* for a guest: a valid one */
uint64_t fpu_leave_xcr0(void);      /* hv's again; returns the guest's */

/* paging.c: the upper half, the same in every Space: image, window, object and shared memory.
 * hv/boot/tables.c fills it. */
#define OBJECT_TABLES 34 /* of 1 GiB each: at most 33 GiB, anyhow aligned */
extern uint64_t kernel_root[512], image_directory[2][512], image_table[512], window_table[512];
extern uint64_t object_directory[512], object_tables[OBJECT_TABLES][512];
void *window_map(unsigned slot, struct pa address); /* one page of device memory */
_Noreturn void paging_leave_boot(void);

/* lapic.c */
void lapic_init(void);
extern uint64_t lapic_base; /* physical */
uint32_t lapic_id(void);
void lapic_eoi(void);
void lapic_timer_start(void); /* masked, for calibration */
uint32_t lapic_timer_elapsed(void);
void lapic_timer_init(uint64_t lapic_ticks, uint64_t tsc_ticks); /* in the same time */

/* ioapic.c: pins by global system interrupt number. */
#define IOAPICS_MAX 8u
#define OVERRIDES_MAX 24u
void ioapic_add(struct pa address, uint32_t gsi_base); /* all its pins are masked */
void ioapic_override(uint32_t gsi, bool level, bool low);
bool ioapic_has(uint32_t gsi);
void ioapic_mask(uint32_t gsi, bool masked);                   /* gsi: one that it has */
bool ioapic_connect(uint32_t gsi, uint8_t vector, bool level); /* masked; true: level it is */

/* irq.c */
void irq_interrupt(uint8_t vector);
