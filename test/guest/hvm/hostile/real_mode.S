/* Copied to STARTUP_PAGE and entered there in 64-bit mode: from there down to real mode, then with a
 * segment of 4 GiB in real mode (as boot loaders do); device memory and string instructions on ports in
 * both. Says R and U on the first serial port, and powers off. */
#include "test/guest/hvm/layout.h"

#define AT(label) (label - to_real_mode + STARTUP_PAGE)
#define COM1 0x3f8
#define NOTHING_BASE 0xd8000000 /* hostile.h */
#define NOTHING_PORT 0xed
#define POWER_PM1_CONTROL 0x604
#define SLEEP_S5 0x3400 /* SLP_EN, SLP_TYP 5 */
#define SELECTOR_CODE_16 8
#define SELECTOR_ALL 16

    .section .rodata.real_mode, "a", @progbits
    .globl to_real_mode, to_real_mode_end
    .code64
to_real_mode:
    lgdt AT(pointer)
    ljmpl *AT(entry)

    .code16
in_16_bits: /* of compatibility mode, then protected, then real */
    movl %cr0, %eax
    andl $0x7fffffff, %eax
    movl %eax, %cr0
    movl $0xc0000080, %ecx /* EFER, without LME */
    rdmsr
    andb $0xfe, %ah
    wrmsr
    movl %cr0, %eax
    andb $0xfe, %al
    movl %eax, %cr0
    ljmp $(STARTUP_PAGE >> 4), $(in_real_mode - to_real_mode)
in_real_mode:
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $0x7000, %sp
    movw $COM1, %dx
    movb $'R', %al
    outb %al, %dx
    movb $'\n', %al
    outb %al, %dx

    lgdtl %cs:(pointer - to_real_mode)
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    movw $SELECTOR_ALL, %bx
    movw %bx, %ds
    andb $0xfe, %al
    movl %eax, %cr0
    movl $NOTHING_BASE, %ebx
    movl (%ebx), %eax
    movb $7, (%ebx)
    movl $0xffff, %esi
    movw $NOTHING_PORT, %dx
    outsw /* a word across the end of 64 KiB */
    movw $0xffff, %di
    insw
    movw $600, %cx
    movw $0x9000, %di
    rep insb
    movw $COM1, %dx
    movb $'U', %al
    outb %al, %dx
    movb $'\n', %al
    outb %al, %dx
    movw $POWER_PM1_CONTROL, %dx
    movw $SLEEP_S5, %ax
    outw %ax, %dx
1:  hlt
    jmp 1b

    .balign 8
table:
    .quad 0
    .quad 0x00009b000000ffff | STARTUP_PAGE << 16 /* SELECTOR_CODE_16 */
    .quad 0x00cf93000000ffff /* SELECTOR_ALL */
pointer:
    .word pointer - table - 1
    .quad AT(table)
entry:
    .long in_16_bits - to_real_mode
    .word SELECTOR_CODE_16
to_real_mode_end:
    .code64

    .section .note.GNU-stack, "", @progbits
