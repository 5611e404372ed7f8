/* hv's address space, for C and assembly (hv.ld repeats HV_BASE and HV_LOAD, and asserts them).
 *
 *   0x0000000000010000 .. 0x00007fffffff0000  ring 3, per Space
 *   OBJECT_BASE + physical address            object and shared memory: RW, 2 MiB pages
 *   HV_BASE + physical address                hv's image: text RX, rodata R, data RW, log RW
 *   WINDOW_BASE                               512 page slots: LAPIC, IOAPICs, scrub windows
 *
 * Nothing else is mapped once hv/boot is done. The upper half is the same in every Space. */
#pragma once

#define OBJECT_BASE 0xffff800000000000
#define OBJECT_LIMIT 0x8000000000 /* object memory lies below 512 GiB: one PML4 entry */
#define HV_BASE 0xffffffff80000000
#define HV_LOAD 0x200000
#define WINDOW_BASE 0xffffffff80400000

/* Page slots of the window. */
#define WINDOW_LAPIC 0
#define WINDOW_IOAPIC 1 /* and the IOAPICS_MAX - 1 that follow */
#define WINDOW_SCRUB 16 /* ARCH_SCRUB_PAGES for each processor: room for 31 */

/* A stack lies above a page that is never mapped. */
#define STACK_GUARD_BYTES 4096
#define STACK_BYTES 8192

/* Segment selectors. SYSRET wants user data and code behind each other (APM 2, 6.1.1: STAR). */
#define SELECTOR_KERNEL_CODE 0x08
#define SELECTOR_KERNEL_DATA 0x10
#define SELECTOR_USER_DATA 0x1b
#define SELECTOR_USER_CODE 0x23
#define SELECTOR_TSS 0x28

/* Where entry.S finds things; cpu.c and context.c assert them. */
#define CPU_SELF 0
#define CPU_SCRATCH 8
#define CPU_STACK_TOP 16
#define CPU_FRAME_END 132 /* TSS.RSP0: the end of the current Context's register frame */
#define CPU_CURRENT 392
#define CPU_RESCHEDULE 400 /* and enter_guest behind it */
#define CPU_RING_SWITCHES 696

/* Offsets in struct arch_context. */
#define FRAME_KEPT_BY_C 48 /* the registers that a C function preserves end here */
#define FRAME_VECTOR 120
#define FRAME_RIP 136
#define FRAME_CS 144
#define FRAME_RFLAGS 152
#define FRAME_RSP 160
#define FRAME_END 176
