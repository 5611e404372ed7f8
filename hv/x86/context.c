/* A Context's registers as the core sees them. */
#include "hv/x86/x86.h"

_Static_assert(offsetof(struct context, arch) == 0, "entry.S");
_Static_assert(offsetof(struct arch_context, r11) == FRAME_KEPT_BY_C, "layout.h");
_Static_assert(offsetof(struct arch_context, vector) == FRAME_VECTOR, "layout.h");
_Static_assert(offsetof(struct arch_context, rip) == FRAME_RIP, "layout.h");
_Static_assert(offsetof(struct arch_context, cs) == FRAME_CS, "layout.h");
_Static_assert(offsetof(struct arch_context, rflags) == FRAME_RFLAGS, "layout.h");
_Static_assert(offsetof(struct arch_context, rsp) == FRAME_RSP, "layout.h");
_Static_assert(offsetof(struct arch_context, fs_base) == FRAME_END, "layout.h");
_Static_assert(FRAME_END % 16 == 0, "an interrupt aligns RSP to 16 before it pushes");

/* Where in struct arch_context, counted in registers. */
#define WORD(field) (offsetof(struct arch_context, field) / sizeof(uint64_t))
static const uint8_t word_of[] = {
    [BH_REG_RAX] = WORD(rax),         [BH_REG_RBX] = WORD(rbx),
    [BH_REG_RCX] = WORD(rcx),         [BH_REG_RDX] = WORD(argument[2]),
    [BH_REG_RSI] = WORD(argument[1]), [BH_REG_RDI] = WORD(argument[0]),
    [BH_REG_RBP] = WORD(rbp),         [BH_REG_RSP] = WORD(rsp),
    [BH_REG_R8] = WORD(argument[4]),  [BH_REG_R9] = WORD(argument[5]),
    [BH_REG_R10] = WORD(argument[3]), [BH_REG_R11] = WORD(r11),
    [BH_REG_R12] = WORD(r12),         [BH_REG_R13] = WORD(r13),
    [BH_REG_R14] = WORD(r14),         [BH_REG_R15] = WORD(r15),
    [BH_REG_RIP] = WORD(rip),         [BH_REG_RFLAGS] = WORD(rflags),
    [BH_REG_FS_BASE] = WORD(fs_base), [BH_REG_GS_BASE] = WORD(gs_base)};

static uint64_t fpu_offset(void) {
    return align_up(sizeof(struct context), 64); /* XSAVE wants 64 bytes: SDM 1, 13.4 */
}

void *context_fpu(const struct context *context) {
    return (uint8_t *)context + fpu_offset();
}

uint64_t arch_context_bytes(void) {
    return align_up(fpu_offset() + fpu_bytes(), 64);
}

void arch_context_init(struct context *context) {
    context->arch.cs = SELECTOR_USER_CODE;
    context->arch.ss = SELECTOR_USER_DATA;
    context->arch.rflags = RFLAGS_FIXED | RFLAGS_IF;
    fpu_context_init(context);
}

void arch_context_retire(struct context *context) {
    for (uint32_t i = 0; i < cpu_count; i++)
        if (cpus[i]->arch.loaded == context)
            cpus[i]->arch.loaded = NULL;
    __builtin_memset(&context->arch, 0, sizeof(context->arch));
    __builtin_memset(context_fpu(context), 0, fpu_bytes());
}

uint64_t arch_get_register(const struct context *context, uint32_t reg) {
    return ((const uint64_t *)&context->arch)[word_of[reg]];
}

enum bh_status arch_set_register(struct context *context, uint32_t reg, uint64_t value) {
    if ((reg == BH_REG_RIP || reg == BH_REG_FS_BASE || reg == BH_REG_GS_BASE) &&
        value >= BH_USER_VA_END)
        return BH_BAD_ARG;
    if (reg == BH_REG_RFLAGS)
        value = (value & (RFLAGS_ARITHMETIC | RFLAGS_DF)) | RFLAGS_FIXED | RFLAGS_IF;
    ((uint64_t *)&context->arch)[word_of[reg]] = value;
    context->arch.vector = 0; /* leave by IRET, which loads RCX and R11 as well */
    return BH_OK;
}
