/* The first instructions: from a boot loader's 32-bit protected mode to long mode at hv's own
 * addresses. Multiboot2 (GRUB, BIOS and UEFI) and PVH (QEMU -kernel) differ in nothing but a
 * register. */
#include "hv/boot/protocol.h"
#include "hv/x86/layout.h"
#include "hv/x86/regs.h"

#define PHYSICAL(symbol) ((symbol) - HV_BASE)

/* Multiboot2 specification 2.0, 3.1. */
#define HEADER_MAGIC 0xe85250d6
#define HEADER_I386 0
#define HEADER_TAG_END 0
#define HEADER_TAG_MODULE_ALIGN 6

    .section .boot.header, "a"
    .balign 8
header:
    .long HEADER_MAGIC, HEADER_I386, header_end - header
    .long -(HEADER_MAGIC + HEADER_I386 + (header_end - header))
    .short HEADER_TAG_MODULE_ALIGN, 0
    .long 8
    .short HEADER_TAG_END, 0
    .long 8
header_end:

/* Xen's public/elfnote.h: where PVH starts. */
#define XEN_ELFNOTE_PHYS32_ENTRY 18
    .section .note.pvh, "a", @note
    .balign 4
    .long 4, 8, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .quad PHYSICAL(pvh_entry)

    .section .boot.start, "ax"
    .code32
    .globl multiboot2_entry
multiboot2_entry: /* EAX = MULTIBOOT2_MAGIC, EBX = information */
    movl %eax, %ebp
    jmp 1f
pvh_entry: /* EBX = struct hvm_start_info */
    movl $PVH_MAGIC, %ebp
1:
    cld
    rdtsc
    movl %eax, %esi
    movl %edx, %edi
    movl %ebx, PHYSICAL(information)

    movl $CR4_PAE, %eax
    movl %eax, %cr4
    movl $PHYSICAL(start_root), %eax
    movl %eax, %cr3
    movl $IA32_EFER, %ecx
    movl $EFER_LME, %eax
    xorl %edx, %edx
    wrmsr
    movl $(CR0_PG | CR0_WP | CR0_NE | CR0_ET | CR0_PE), %eax
    movl %eax, %cr0
    lgdt PHYSICAL(start_gdt_register)
    ljmp $SELECTOR_KERNEL_CODE, $PHYSICAL(long_mode)

    .code64
long_mode:
    movabsq $high, %rax
    jmpq *%rax
high:
    xorl %eax, %eax
    movl %eax, %ss
    movl %eax, %ds
    movl %eax, %es
    leaq stacks + STACK_GUARD_BYTES + STACK_BYTES(%rip), %rsp
    xorl %edx, %edx
    movl %edi, %edx
    shlq $32, %rdx
    movl %esi, %esi
    orq %rsi, %rdx /* TSC at the first instruction */
    movl %ebp, %edi
    movl information(%rip), %esi
    xorl %ebp, %ebp
    call boot_main

    .section .boot.data, "aw"
information:
    .long 0
    .balign 8
start_gdt:
    .quad 0, 0x00209b0000000000 /* SDM 3A, 3.4.5: 64-bit code, ring 0 */
start_gdt_register:
    .short . - start_gdt - 1
    .long PHYSICAL(start_gdt)

/* The first tables: 4 GiB one to one, and the first GiB of it at HV_BASE. tables.c makes the real
 * ones and keeps the one-to-one part, without execution, while boot reads what the firmware left. */
    .balign 4096
start_root:
    .quad PHYSICAL(identity_map) + PTE_P + PTE_W
    .fill 510, 8, 0
    .quad PHYSICAL(start_high) + PTE_P + PTE_W
    .globl identity_map
identity_map:
    .quad PHYSICAL(identity_tables) + PTE_P + PTE_W, PHYSICAL(identity_tables) + 0x1000 + PTE_P + PTE_W
    .quad PHYSICAL(identity_tables) + 0x2000 + PTE_P + PTE_W, PHYSICAL(identity_tables) + 0x3000 + PTE_P + PTE_W
    .fill 508, 8, 0
start_high:
    .fill 510, 8, 0
    .quad PHYSICAL(identity_tables) + PTE_P + PTE_W, 0
identity_tables:
    .set address, 0
    .rept 4 * 512
    .quad address + PTE_P + PTE_W + PTE_PS
    .set address, address + 0x200000
    .endr

    .section .note.GNU-stack, "", @progbits
