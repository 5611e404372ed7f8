/* A witness of being saved and restored: on every processor a process that counts, keeps sums in
 * x87, SSE and AVX registers beside integer ones, and sees to it that no clock ever goes back; and,
 * if there is a disk, one that writes it and reads it again. Once a second a line with how far they
 * are; what is not as it should be is a line of its own.
 *
 *     witness [DISK] */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PROCESSORS_MAX 64
#define ROUNDS 20000u /* in registers alone */
#define BLOCK_BYTES 65536u
#define BLOCKS 64u

static struct shared { volatile uint64_t rounds[PROCESSORS_MAX], blocks, wrong; } * shared;

static void complain(const char *what) {
    shared->wrong++;
    printf("witness: WRONG: %s\n", what);
    fflush(stdout);
}

static uint64_t now(clockid_t which) {
    struct timespec t;
    clock_gettime(which, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t tsc(void) {
    uint32_t low, high;
    __asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

static void look_at_clocks(void) {
    static uint64_t monotonic, wall, ticks;
    uint64_t m = now(CLOCK_MONOTONIC), w = now(CLOCK_REALTIME), t = tsc();
    if (m < monotonic)
        complain("CLOCK_MONOTONIC went back");
    if (w < wall)
        complain("CLOCK_REALTIME went back");
    if (t < ticks)
        complain("the TSC went back");
    monotonic = m;
    wall = w;
    ticks = t;
}

/* All sums live in registers from the first round to the last. */
static void sum_in_registers(int has_avx) {
    double one = 1.0, x87 = 0.0, vector[4] = {0};
    uint64_t integer = 0;
    if (has_avx)
        __asm__ volatile("vbroadcastsd %[one], %%ymm5; vxorpd %%ymm4, %%ymm4, %%ymm4; fldz\n"
                         "1: vaddpd %%ymm5, %%ymm4, %%ymm4; faddl %[one]; inc %[integer]\n"
                         "cmp %[rounds], %[integer]; jne 1b\n"
                         "fstpl %[x87]; vmovupd %%ymm4, %[vector]"
                         : [integer] "+r"(integer), [x87] "=m"(x87), [vector] "=m"(vector)
                         : [one] "m"(one), [rounds] "r"((uint64_t)ROUNDS)
                         : "xmm4", "xmm5", "st", "cc");
    else
        __asm__ volatile("movddup %[one], %%xmm5; xorpd %%xmm4, %%xmm4; fldz\n"
                         "1: addpd %%xmm5, %%xmm4; faddl %[one]; inc %[integer]\n"
                         "cmp %[rounds], %[integer]; jne 1b\n"
                         "fstpl %[x87]; movupd %%xmm4, %[vector]; movupd %%xmm4, 16+%[vector]"
                         : [integer] "+r"(integer), [x87] "=m"(x87), [vector] "=m"(vector)
                         : [one] "m"(one), [rounds] "r"((uint64_t)ROUNDS)
                         : "xmm4", "xmm5", "st", "cc");
    if (x87 != ROUNDS)
        complain("a sum in an x87 register");
    for (int i = 0; i < 4; i++)
        if (vector[i] != ROUNDS)
            complain("a sum in a vector register");
}

static void count_on(int processor) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    if (sched_setaffinity(0, sizeof(set), &set))
        complain("no such processor");
    for (;;) {
        sum_in_registers(__builtin_cpu_supports("avx"));
        look_at_clocks();
        shared->rounds[processor]++;
    }
}

/* Past the page cache, so that it is under way most of the time. */
static void use_disk(const char *path) {
    int disk = open(path, O_RDWR | O_DIRECT);
    uint32_t *block = aligned_alloc(4096, BLOCK_BYTES);
    if (disk < 0 || !block) {
        complain("the disk cannot be opened");
        return;
    }
    for (uint32_t n = 0;; n++) {
        off_t at = (off_t)(n % BLOCKS) * BLOCK_BYTES;
        for (uint32_t i = 0; i < BLOCK_BYTES / 4; i++)
            block[i] = n * 2654435761u + i;
        if (pwrite(disk, block, BLOCK_BYTES, at) != BLOCK_BYTES)
            complain("a write failed");
        memset(block, 0, BLOCK_BYTES);
        if (pread(disk, block, BLOCK_BYTES, at) != BLOCK_BYTES)
            complain("a read failed");
        for (uint32_t i = 0; i < BLOCK_BYTES / 4; i++)
            if (block[i] != n * 2654435761u + i) {
                complain("the disk lost what was written");
                break;
            }
        shared->blocks++;
    }
}

int main(int argc, char **argv) {
    int processors = (int)sysconf(_SC_NPROCESSORS_ONLN);
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || argc > 2 || processors > PROCESSORS_MAX)
        return EXIT_FAILURE;
    printf("witness: vectors of %d bytes\n", __builtin_cpu_supports("avx") ? 32 : 16);
    fflush(stdout);
    if (argc == 2 && fork() == 0) {
        use_disk(argv[1]);
        return EXIT_FAILURE;
    }
    for (int i = 0; i < processors; i++)
        if (fork() == 0)
            count_on(i);
    for (unsigned second = 1;; second++) {
        uint64_t least = UINT64_MAX;
        sleep(1);
        for (int i = 0; i < processors; i++)
            least = shared->rounds[i] < least ? shared->rounds[i] : least;
        printf("witness: second %u rounds %llu blocks %llu wrong %llu\n", second,
               (unsigned long long)least, (unsigned long long)shared->blocks,
               (unsigned long long)shared->wrong);
        fflush(stdout);
    }
}
