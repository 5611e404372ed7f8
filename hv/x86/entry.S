/* All ways into hv and out of it.
 *
 * Registers of ring 3 are saved right in the current Context: TSS.RSP0 (CPU_FRAME_END) points behind
 * its frame. hv then runs on the processor's one stack, from its top, and leaves by entering a
 * Context, a guest or idling: nothing of a visit outlives it.
 *
 * GS holds ring 3's base in ring 3 and struct cpu in ring 0. Ring 0 is interrupted only where it
 * idles and where a guest has left for an interrupt (they are off everywhere else); an exception, NMI or machine check in ring 0 is fatal
 * and its handling relies on neither GS nor the stack. */
#include "hv/x86/layout.h"
#include "hv/x86/regs.h"

/* struct arch_context, from its end down. C keeps the last six, so leaving after a hypercall need not
 * load them again. */
.macro save_registers
    .irp register, rax, r9, r8, r10, rdx, rsi, rdi, rcx, r11, rbx, rbp, r12, r13, r14, r15
    pushq %\register
    .endr
.endm

    .text

/* SYSCALL: RCX = RIP, R11 = RFLAGS, RSP still ring 3's. IA32_FMASK has cleared IF, DF, TF, AC and
 * the rest. What an interrupt would have pushed is pushed by hand. */
    .globl syscall_entry
syscall_entry:
    swapgs
    movq %rsp, %gs:CPU_SCRATCH
    movq %gs:CPU_FRAME_END, %rsp
    pushq $SELECTOR_USER_DATA
    pushq %gs:CPU_SCRATCH
    pushq %r11
    pushq $SELECTOR_USER_CODE
    pushq %rcx
    pushq $0
    pushq $VECTOR_SYSCALL
    save_registers
    movq %rsp, %rdi
    movq %rax, %rsi
    movq %gs:CPU_STACK_TOP, %rsp
    incq %gs:CPU_RING_SWITCHES
    call hypercall

leave:
    cmpw $0, %gs:CPU_RESCHEDULE /* and enter_guest */
    jne leave_to_another
    movq %gs:CPU_CURRENT, %rsp
    addq $FRAME_KEPT_BY_C, %rsp
restore_rest:
    .irp register, r11, rcx, rdi, rsi, rdx, r10, r8, r9, rax
    popq %\register
    .endr
    cmpl $VECTOR_SYSCALL, (%rsp)
    jne 1f
    /* RIP is canonical: it lies behind a SYSCALL below BH_USER_VA_END (a RIP set by CTX_SET makes
     * the frame one for IRET), so that SYSRET cannot fault in ring 0 with ring 3's RSP. */
    movq FRAME_RIP - FRAME_VECTOR(%rsp), %rcx
    movq FRAME_RFLAGS - FRAME_VECTOR(%rsp), %r11
    movq FRAME_RSP - FRAME_VECTOR(%rsp), %rsp
    swapgs
    sysretq
1:
    addq $FRAME_RIP - FRAME_VECTOR, %rsp
    swapgs
    iretq

/* boot ends here too. */
    .globl leave_to_another
leave_to_another:
    movq %gs:CPU_STACK_TOP, %rsp
    call cpu_switch
    testq %rax, %rax
    jz idle
    movq %rax, %rsp
    .irp register, r15, r14, r13, r12, rbp, rbx
    popq %\register
    .endr
    jmp restore_rest
idle:
    sti
    hlt
    jmp idle

/* One stub of 16 bytes for each vector. Where the processor pushes no error code a 0 is pushed. */
    .balign 16
    .globl vector_stubs
vector_stubs:
    .set vector, 0
    .rept 256
    .balign 16
    .set bit, 0
    .if vector < VECTOR_EXTERNAL
    .set bit, 1 << vector
    .endif
    .if !(bit & VECTORS_WITH_ERROR_CODE)
    pushq $0
    .endif
    pushq $vector
    .if bit & VECTORS_WITH_OWN_STACK
    jmp on_own_stack
    .else
    jmp interrupted
    .endif
    .set vector, vector + 1
    .endr

/* Vectors that can come at any instruction, even before SWAPGS, have stacks of their own. From ring
 * 3: on with them in the Context, as if they had none. */
on_own_stack:
    testb $3, FRAME_CS - FRAME_VECTOR(%rsp)
    jz fatal
    swapgs
    movq %rax, %gs:CPU_SCRATCH
    movq %gs:CPU_FRAME_END, %rax
    .set offset, FRAME_VECTOR
    .rept (FRAME_END - FRAME_VECTOR) / 8
    popq offset - FRAME_END(%rax)
    .set offset, offset + 8
    .endr
    leaq FRAME_VECTOR - FRAME_END(%rax), %rsp
    movq %gs:CPU_SCRATCH, %rax
    jmp in_context

interrupted:
    testb $3, FRAME_CS - FRAME_VECTOR(%rsp)
    jz from_ring_0
    swapgs
in_context:
    save_registers
    movq %rsp, %rdi
    movq %gs:CPU_STACK_TOP, %rsp
    pushq $RFLAGS_FIXED /* an interrupt leaves ring 3's AC set, which would suspend SMAP */
    popfq
    incq %gs:CPU_RING_SWITCHES
    call trap
    jmp leave

/* There is no state to return to: the stack starts again at its top. */
from_ring_0:
    cmpq $VECTOR_EXTERNAL, (%rsp)
    jb fatal
    movq (%rsp), %rdi
    movq %gs:CPU_STACK_TOP, %rsp
    call ring_0_interrupt
    jmp leave_to_another

/* GS may be either's. The frame has the form of struct arch_context. A #DB can only be what is left of
 * ring 3 stepping through SYSCALL, because hv sets no breakpoints and FMASK clears TF: no harm. */
fatal:
    cmpq $VECTOR_DB, (%rsp)
    je 1f
    save_registers
    movq %rsp, %rdi
    cld
    call panic_exception
1:
    addq $FRAME_RIP - FRAME_VECTOR, %rsp
    iretq

    .section .note.GNU-stack, "", @progbits
