/* Start of the tiny kernels for HVM guests: entered by the PVH note in 32-bit protected mode without
 * paging, EBX at hvm_start_info (Xen, public/arch-x86/hvm/start_info.h); goes on in 64-bit mode with the
 * first 4 GiB mapped one to one, and again at HIGH_ALIAS. Further vCPUs come in by STARTUP in real mode. */
#include "test/guest/hvm/layout.h"

    .section .note.pvh, "a", @note
    .long 4, 4, 18 /* name and description bytes, XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .long start

    .section .text.start, "ax", @progbits
    .code32
    .globl start
start:
    cld
    lgdt gdt_pointer
    movl %ebx, pvh_start_info
    movl $(directories_of_4_gib + 0x3), page_map + 0
    movl $(directories_of_4_gib + 0x3), page_map + 8 * (HIGH_ALIAS >> 39)
    xorl %ecx, %ecx
1:  movl %ecx, %eax /* four directories, then 2,048 pages of 2 MiB in them */
    shll $12, %eax
    addl $(directories + 0x3), %eax
    movl %eax, directories_of_4_gib(, %ecx, 8)
    incl %ecx
    cmpl $4, %ecx
    jne 1b
    xorl %ecx, %ecx
2:  movl %ecx, %eax
    shll $21, %eax
    orl $0x83, %eax /* present, writable, large */
    movl %eax, directories(, %ecx, 8)
    incl %ecx
    cmpl $(4 * 512), %ecx
    jne 2b
    movl $(stacks + STACK_BYTES), next_stack
    movl $kernel_start, next_function

/* Protected mode of any vCPU, GDTR loaded; the stack and function that are next are its own. */
start_32:
    movl $SELECTOR_DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl %cr4, %eax
    orl $0x20, %eax /* PAE */
    movl %eax, %cr4
    movl $page_map, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx /* EFER */
    rdmsr
    orl $0x100, %eax /* LME */
    wrmsr
    movl %cr0, %eax
    orl $0x80000001, %eax /* PG, PE */
    movl %eax, %cr0
    ljmp $SELECTOR_CODE_64, $start_64

    .code64
start_64:
    movl $SELECTOR_DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    movq next_stack, %rsp
    xorl %ebp, %ebp
    call *next_function
3:  cli
    hlt
    jmp 3b

/* Copied to STARTUP_PAGE. */
    .section .rodata.startup, "a", @progbits
    .code16
    .globl startup_code, startup_code_end
startup_code:
    cli
    lgdtl %cs:(5f - startup_code)
    movl %cr0, %eax
    orl $1, %eax
    movl %eax, %cr0
    ljmpl $SELECTOR_CODE_32, $start_32
    .balign 4
5:  .word gdt_end - gdt - 1
    .long gdt
startup_code_end:
    .code64

/* One stub for each vector: pushes the vector, and a zero where the processor pushes no error code. */
    .section .text.interrupts, "ax", @progbits
    .globl interrupt_stubs
    .balign STUB_BYTES
interrupt_stubs:
    .set vector, 0
    .rept 256
    .balign STUB_BYTES
    .if !(vector < 32 && (VECTORS_WITH_ERROR_CODE >> vector & 1))
    pushq $0
    .endif
    pushq $vector
    jmp interrupted
    .set vector, vector + 1
    .endr

interrupted:
    pushq %rax
    pushq %rcx
    pushq %rdx
    pushq %rbx
    pushq %rbp
    pushq %rsi
    pushq %rdi
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    cld
    movq %rsp, %rdi
    call interrupt
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rdi
    popq %rsi
    popq %rbp
    popq %rbx
    popq %rdx
    popq %rcx
    popq %rax
    addq $16, %rsp
    iretq

    .section .data.gdt, "aw", @progbits
    .balign 8
gdt:
    .quad 0
    .quad 0x00af9b000000ffff /* SELECTOR_CODE_64 */
    .quad 0x00cf93000000ffff /* SELECTOR_DATA */
    .quad 0x00cf9b000000ffff /* SELECTOR_CODE_32 */
gdt_end:
gdt_pointer:
    .word gdt_end - gdt - 1
    .quad gdt

    .section .bss.start, "aw", @nobits
    .globl pvh_start_info, next_stack, next_function, stacks
    .balign 4096
page_map:
    .skip 4096
directories_of_4_gib:
    .skip 4096
directories:
    .skip 4 * 4096
stacks:
    .skip STACK_BYTES * CPUS_MAX
pvh_start_info:
    .skip 8
next_stack:
    .skip 8
next_function:
    .skip 8

    .section .note.GNU-stack, "", @progbits
