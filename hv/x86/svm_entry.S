/* Into a guest and out of it again: APM 2, 15.5 and 15.17. */
#include "hv/x86/layout.h"

/* Between the processor and the page at `base`: the general registers in the processor's numbering, but
 * RAX and RSP, which VMRUN exchanges, and RSI, which may be the base. */
.macro general_registers load, base
    .set index, 1
    .irp register, rcx, rdx, rbx, , rbp, , rdi, r8, r9, r10, r11, r12, r13, r14, r15
    .ifnb \register
    .if \load
    movq 8 * index(%\base), %\register
    .else
    movq %\register, 8 * index(%\base)
    .endif
    .endif
    .set index, index + 1
    .endr
.endm

    .text

/* RDI = VMCB, RSI = general registers, RDX = host state. While GIF is clear nothing interrupts; it is
 * set inside the guest, where every host interrupt is intercepted (RFLAGS.IF is 1 for VMRUN because
 * it masks physical interrupts in the guest: V_INTR_MASKING). VMRUN itself keeps RIP, RSP, RAX,
 * RFLAGS, CS, SS, DS, ES, the control registers and table registers; VMSAVE and VMLOAD the rest: FS,
 * GS, TR, LDTR and the MSRs of SYSCALL, SYSENTER and SWAPGS. */
    .globl svm_enter
svm_enter:
    .irp register, rbp, rbx, r12, r13, r14, r15, rsi, rdx
    pushq %\register
    .endr
    movq %rdx, %rax
    vmsave %rax
    movq %rdi, %rax
    general_registers 1, rsi
    movq 8 * 6(%rsi), %rsi

    clgi
    sti
    vmload %rax
    vmrun %rax
    vmsave %rax
    cli
    movq (%rsp), %rax
    vmload %rax

    movq 8(%rsp), %rax
    movq %rsi, 8 * 6(%rax)
    general_registers 0, rax
    .irp register, eax, ecx, edx, esi, edi, r8d, r9d, r10d, r11d
    xorl %\register, %\register
    .endr
    stgi
    addq $16, %rsp
    .irp register, r15, r14, r13, r12, rbx, rbp
    popq %\register
    .endr
    ret

    .section .note.GNU-stack, "", @progbits
