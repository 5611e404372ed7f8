/* A processor's hot paths under an interrupted guest, each with a known result: FPU registers that
 * must survive, page faults, signals, forks, system calls. Prints `paths: ... ok` for each, or what
 * is wrong.
 *
 *     paths SECONDS   that long for each */
#include <fenv.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double seconds = 1;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fail(const char *what) {
    printf("paths: FAILED: %s\n", what);
    fflush(stdout);
    _exit(1);
}

/* --- FPU and SIMD: patterns loaded once, looked at after many interrupts --- */

#define FPU_LOOPS 200000

/* Fills XMM0 to XMM15, spins in registers only, and says whether they are the same. */
static int xmm_survives(uint64_t pattern) {
    uint64_t in[32], out[32];
    for (int i = 0; i < 32; i++)
        in[i] = pattern * (uint64_t)(2 * i + 1);
    __asm__ volatile("movdqu (%0), %%xmm0; movdqu 16(%0), %%xmm1; movdqu 32(%0), %%xmm2;"
                     "movdqu 48(%0), %%xmm3; movdqu 64(%0), %%xmm4; movdqu 80(%0), %%xmm5;"
                     "movdqu 96(%0), %%xmm6; movdqu 112(%0), %%xmm7; movdqu 128(%0), %%xmm8;"
                     "movdqu 144(%0), %%xmm9; movdqu 160(%0), %%xmm10; movdqu 176(%0), %%xmm11;"
                     "movdqu 192(%0), %%xmm12; movdqu 208(%0), %%xmm13; movdqu 224(%0), %%xmm14;"
                     "movdqu 240(%0), %%xmm15;"
                     "mov %2, %%ecx; 1: dec %%ecx; jnz 1b;"
                     "movdqu %%xmm0, (%1); movdqu %%xmm1, 16(%1); movdqu %%xmm2, 32(%1);"
                     "movdqu %%xmm3, 48(%1); movdqu %%xmm4, 64(%1); movdqu %%xmm5, 80(%1);"
                     "movdqu %%xmm6, 96(%1); movdqu %%xmm7, 112(%1); movdqu %%xmm8, 128(%1);"
                     "movdqu %%xmm9, 144(%1); movdqu %%xmm10, 160(%1); movdqu %%xmm11, 176(%1);"
                     "movdqu %%xmm12, 192(%1); movdqu %%xmm13, 208(%1); movdqu %%xmm14, 224(%1);"
                     "movdqu %%xmm15, 240(%1)"
                     :
                     : "r"(in), "r"(out), "i"(FPU_LOOPS)
                     : "rcx", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
                       "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
                       "xmm15");
    return memcmp(in, out, sizeof(in)) == 0;
}

/* The upper halves of two YMM registers, which only XSAVE keeps. */
__attribute__((target("avx"))) static int ymm_survives(uint64_t pattern) {
    uint64_t in[8], out[8];
    for (int i = 0; i < 8; i++)
        in[i] = ~pattern * (uint64_t)(2 * i + 1);
    __asm__ volatile("vmovdqu (%0), %%ymm3; vmovdqu 32(%0), %%ymm12;"
                     "mov %2, %%ecx; 1: dec %%ecx; jnz 1b;"
                     "vmovdqu %%ymm3, (%1); vmovdqu %%ymm12, 32(%1); vzeroupper"
                     :
                     : "r"(in), "r"(out), "i"(FPU_LOOPS)
                     : "rcx", "memory", "xmm3", "xmm12");
    return memcmp(in, out, sizeof(in)) == 0;
}

/* The x87's stack and the rounding modes of both units. */
static int x87_survives(int mode) {
    long double in = 1.0L / 3 + mode, out;
    fesetround(mode);
    __asm__ volatile("fldt %1; mov %2, %%ecx; 1: dec %%ecx; jnz 1b; fstpt %0"
                     : "=m"(out)
                     : "m"(in), "i"(FPU_LOOPS)
                     : "rcx", "st");
    int good = out == in && fegetround() == mode;
    fesetround(FE_TONEAREST);
    return good;
}

/* Two processes with different patterns, so that the registers change hands. */
static unsigned long fpu(void) {
    static const int modes[] = {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO};
    int avx = __builtin_cpu_supports("avx");
    pid_t other = fork();
    uint64_t pattern = other ? 0x9e3779b97f4a7c15 : 0xc2b2ae3d27d4eb4f;
    unsigned long rounds = 0;
    for (double end = now() + seconds; now() < end; rounds++) {
        if (!xmm_survives(pattern + rounds))
            fail("an XMM register changed");
        if (avx && !ymm_survives(pattern + rounds))
            fail("a YMM register changed");
        if (!x87_survives(modes[rounds % 4]))
            fail("the x87 changed");
    }
    if (!other)
        _exit(0);
    int status;
    if (waitpid(other, &status, 0) != other || status)
        fail("the other process's registers");
    return rounds;
}

/* --- page faults --- */

static unsigned long page_faults(void) {
    enum { PAGES = 2048 };
    unsigned long rounds = 0;
    for (double end = now() + seconds; now() < end; rounds++) {
        volatile uint8_t *area =
            mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        for (int i = 0; i < PAGES; i++) {
            if (area[i * 4096L + 8])
                fail("a new page is not zero");
            area[i * 4096L] = (uint8_t)(i * 7 + (int)rounds);
        }
        for (int i = 0; i < PAGES; i++)
            if (area[i * 4096L] != (uint8_t)(i * 7 + (int)rounds))
                fail("a page lost what was written");
        munmap((void *)(uintptr_t)area, PAGES * 4096);
    }
    return rounds;
}

/* --- signals --- */

static volatile sig_atomic_t caught;

static void on_signal(int number) {
    caught += number == SIGUSR1 || number == SIGALRM;
}

static unsigned long signals(void) {
    signal(SIGUSR1, on_signal);
    signal(SIGALRM, on_signal);
    unsigned long sent = 0;
    for (double end = now() + seconds; now() < end; sent++) {
        int before = caught;
        raise(SIGUSR1);
        if (caught != before + 1)
            fail("a signal that was sent did not come");
    }
    return sent;
}

/* --- fork --- */

static unsigned long forks(void) {
    unsigned long rounds = 0;
    for (double end = now() + seconds; now() < end; rounds++) {
        pid_t child[8];
        for (int i = 0; i < 8; i++)
            if ((child[i] = fork()) == 0)
                _exit((int)(rounds * 3 + (unsigned)i) & 0x7f);
        for (int i = 0; i < 8; i++) {
            int status;
            if (waitpid(child[i], &status, 0) != child[i] || !WIFEXITED(status) ||
                WEXITSTATUS(status) != ((int)(rounds * 3 + (unsigned)i) & 0x7f))
                fail("a child ended as it did not");
        }
    }
    return rounds * 8;
}

/* --- system calls and switches: a byte round and round between two processes --- */

static unsigned long pipes(void) {
    int to[2], from[2];
    if (pipe(to) || pipe(from))
        fail("pipe");
    pid_t other = fork();
    if (!other) {
        close(to[1]);
        for (uint8_t byte; read(to[0], &byte, 1) == 1;) {
            byte = (uint8_t)(byte * 5 + 1);
            if (write(from[1], &byte, 1) != 1)
                _exit(1);
        }
        _exit(0);
    }
    unsigned long rounds = 0;
    for (double end = now() + seconds; now() < end; rounds++) {
        uint8_t byte = (uint8_t)rounds, back;
        if (write(to[1], &byte, 1) != 1 || read(from[0], &back, 1) != 1 ||
            back != (uint8_t)(byte * 5 + 1))
            fail("a byte came back wrong");
    }
    close(to[1]);
    int status;
    if (waitpid(other, &status, 0) != other || status)
        fail("the other end of the pipe");
    return rounds;
}

/* --- time --- */

static unsigned long clocks(void) {
    unsigned long rounds = 0;
    double last = now();
    for (double end = last + seconds; last < end; rounds++) {
        double t = now();
        if (t < last)
            fail("the clock went back");
        last = t;
    }
    return rounds;
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        unsigned long (*run)(void);
    } paths[] = {{"fpu", fpu},         {"page faults", page_faults},
                 {"signals", signals}, {"forks", forks},
                 {"pipes", pipes},     {"clocks", clocks}};
    if (argc > 1)
        seconds = atof(argv[1]);
    for (unsigned i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        unsigned long rounds = paths[i].run();
        if (rounds == 0)
            fail("no time for a single round");
        printf("paths: %s, %lu rounds: ok\n", paths[i].name, rounds);
        fflush(stdout);
    }
    puts("paths: all held");
    return 0;
}
