/* Reset, and the last words: what happened, where, in which build. A panic uses no GS, no lock and
 * no memory that could be missing, so it works from any exception. */
#include "hv/x86/x86.h"

static _Noreturn void stop(void) {
    log_print("hv: build %s; halted\n", build_text);
    for (;;)
        __asm__ volatile("cli; hlt");
}

/* An exception with no IDT to deliver it shuts the processor down, which every PC board answers
 * with a reset (SDM 3A, 6.15, #DF). */
enum bh_status arch_reset(void) {
    log_print("hv: reset\n");
    static const uint8_t no_idt[10];
    __asm__ volatile("lidt %0; int3" ::"m"(no_idt));
    return BH_NOT_READY;
}

void panic(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    log_print("\nhv: panic: "); /* whoever was writing, its line ends here */
    log_vprint(format, arguments);
    log_print("\n");
    va_end(arguments);
    stop();
}

void arch_panic(const char *reason) {
    panic("%s: a bug in hv, please report it with these lines", reason);
}

/* Intel's names, by vector: SDM 3A, table 6-1. */
static const char exceptions[][4] = {"#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD",
                                     "#NM", "#DF", "9",   "#TS", "#NP", "#SS", "#GP",
                                     "#PF", "15",  "#MF", "#AC", "#MC", "#XM"};

void panic_exception(const struct arch_context *frame) {
    static const char names[][4] = {"r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "rcx",
                                    "rdi", "rsi", "rdx", "r10", "r8 ", "r9 ", "rax"};
    uint64_t vector = frame->vector;
    bool hardware = vector == VECTOR_NMI || vector == VECTOR_MC;
    log_print("\nhv: panic: %s (vector %lu, error %lx) in ring %lu at %lx: %s\n",
              vector < COUNT(exceptions) ? exceptions[vector] : "exception", vector, frame->error,
              frame->cs & 3, frame->rip,
              hardware ? "the hardware reports a failure"
                       : "a bug in hv, please report it with these lines");
    log_print("hv: cr2 %016lx rsp %016lx rflags %08lx", read_cr2(), frame->rsp, frame->rflags);
    for (unsigned i = 0; i < COUNT(names); i++)
        log_print("%s%s %016lx", i % 4 ? " " : "\nhv: ", names[i], ((const uint64_t *)frame)[i]);
    log_print("\n");
    stop();
}
