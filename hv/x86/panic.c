/* The last words: what happened, where, in which build. Uses no GS, no lock and no memory that
 * could be missing, so it works from any exception. */
#include "hv/x86/x86.h"

enum { BACKTRACE_MAX = 16 };

static bool in_image(uint64_t address, uint64_t bytes) {
    return address >= (uint64_t)image_start && address + bytes <= (uint64_t)image_end;
}

/* Frames as -fno-omit-frame-pointer lays them: saved RBP, return address. Only the stacks and the
 * image's text are believed. */
static void backtrace(uint64_t rbp) {
    log_print("hv: called from");
    for (unsigned i = 0; i < BACKTRACE_MAX && rbp % 8 == 0; i++) {
        if (rbp < (uint64_t)stacks || rbp + 16 > (uint64_t)(stacks + STACKS))
            break;
        const uint64_t *frame = (const uint64_t *)rbp;
        if (!in_image(frame[1], 1) || frame[0] <= rbp)
            break;
        log_print(" %lx", frame[1]);
        rbp = frame[0];
    }
    log_print("\n");
}

static _Noreturn void stop(uint64_t rbp) {
    backtrace(rbp);
    log_print("hv: build ");
    for (unsigned i = 0; i < BUILD_ID_BYTES; i++)
        log_print("%02x", build_id[i]);
    log_print("; halted\n");
    for (;;)
        __asm__ volatile("cli; hlt");
}

void panic(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    log_print("hv: panic: ");
    log_vprint(format, arguments);
    log_print("\n");
    va_end(arguments);
    stop((uint64_t)__builtin_frame_address(0));
}

void arch_panic(const char *reason) {
    panic("%s: a bug in hv, please report it with these lines", reason);
}

static const char *exception_name(uint64_t vector) {
    static const char *const names[VECTOR_EXTERNAL] = {
        "divide error",
        "debug",
        "NMI",
        "breakpoint",
        "overflow",
        "bound range",
        "invalid opcode",
        "no FPU",
        "double fault",
        NULL,
        "invalid TSS",
        "segment not present",
        "stack fault",
        "general protection",
        "page fault",
        NULL,
        "x87 error",
        "alignment check",
        "machine check",
        "SIMD error",
    };
    return vector < VECTOR_EXTERNAL && names[vector] ? names[vector] : "exception";
}

void panic_exception(const struct arch_context *frame) {
    log_print("hv: panic: %s (vector %lu, error %lx) in ring %lu at %lx\n",
              exception_name(frame->vector), frame->vector, frame->error, frame->cs & 3,
              frame->rip);
    log_print("hv: cr2 %016lx rflags %08lx rsp %016lx rbp %016lx\n", read_cr2(), frame->rflags,
              frame->rsp, frame->rbp);
    log_print("hv: rax %016lx rbx %016lx rcx %016lx rdx %016lx\n", frame->rax, frame->rbx,
              frame->rcx, frame->rdx);
    log_print("hv: rsi %016lx rdi %016lx r8  %016lx r9  %016lx\n", frame->rsi, frame->rdi,
              frame->r8, frame->r9);
    log_print("hv: r10 %016lx r11 %016lx r12 %016lx r13 %016lx\n", frame->r10, frame->r11,
              frame->r12, frame->r13);
    log_print("hv: r14 %016lx r15 %016lx\n", frame->r14, frame->r15);
    stop(frame->rbp);
}
