/* The image header (abi/image.h) and the first instruction of init, mgmt and every guest. hv leaves
 * RDI = information page, RSI = number of the Context (0 but in a VMM), RSP = end of the stack - 8,
 * the FPU in its initial state (x87 control word 037Fh, MXCSR 1F80h: what the C ABI wants), so that
 * nothing is left to set up. */

    .section .image_header, "a", @progbits
    .quad 0x474d49444b4c4842 /* BH_IMAGE_MAGIC */
    .long 1                  /* BH_IMAGE_VERSION */
    .long image_text_pages   /* these five are computed by guest.ld */
    .long image_rodata_pages
    .long image_data_pages
    .long image_bss_pages
    .long image_stack_pages
    .quad start

    .section .text.start, "ax", @progbits
    .globl start
    .type start, @function
start:
    xorl %ebp, %ebp /* the outermost frame */
    subq $8, %rsp   /* a CALL finds RSP aligned to 16 bytes */
    call guest_start
    ud2             /* guest_start does not return */
    .size start, . - start

    .section .note.GNU-stack, "", @progbits
