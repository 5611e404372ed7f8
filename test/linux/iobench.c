/* Runs inside a Linux guest, for the benchmarks: one kind of input or output, many times, one after
 * the other.
 *
 *   iobench read DEVICE BYTES COUNT             reads with O_DIRECT, in order, from the beginning
 * again iobench udp ADDRESS PORT BYTES COUNT        datagrams to an echo service and back
 *
 * Says "bench: COUNT done, median TICKS" with the median of their TSC ticks, whoever used them
 * and waiting included. Linked statically: it runs in an initramfs without a C library. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>
#include <x86intrin.h>

#define ALIGN 4096u
#define BYTES_MAX (1ul << 20)
#define COUNT_MAX 100000ul

static _Alignas(ALIGN) uint8_t buffer[BYTES_MAX];
static uint64_t ticks[COUNT_MAX];

static size_t number(const char *text, size_t max) {
    char *end;
    unsigned long value = strtoul(text, &end, 0);
    if (*end || value < 1 || value > max)
        errx(2, "%s: not 1..%zu", text, max);
    return value;
}

static int open_device(const char *path, uint64_t *bytes) {
    int device = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (device < 0 || ioctl(device, BLKGETSIZE64, bytes) < 0)
        err(1, "%s", path);
    return device;
}

static void measure_reads(const char *path, size_t bytes, size_t count) {
    uint64_t all, at = 0;
    int device = open_device(path, &all);
    if (bytes > all)
        errx(1, "%s is too small", path);
    for (size_t i = 0; i < count; i++, at += bytes) {
        if (at + bytes > all)
            at = 0;
        uint64_t start = __rdtsc();
        if (pread(device, buffer, bytes, (off_t)at) != (ssize_t)bytes)
            err(1, "%s", path);
        ticks[i] = __rdtsc() - start;
    }
}

static int connect_to(const char *address, const char *port) {
    struct sockaddr_in peer = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)number(port, UINT16_MAX))};
    if (inet_pton(AF_INET, address, &peer.sin_addr) != 1)
        errx(2, "%s: not an address", address);
    int link = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (link < 0 || connect(link, (struct sockaddr *)&peer, sizeof peer) < 0)
        err(1, "%s", address);
    return link;
}

static void measure_datagrams(int link, size_t bytes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint64_t start = __rdtsc();
        memcpy(buffer, &i, bytes < sizeof i ? bytes : sizeof i);
        if (send(link, buffer, bytes, 0) != (ssize_t)bytes ||
            recv(link, buffer, sizeof buffer, 0) != (ssize_t)bytes)
            err(1, "datagram %zu", i);
        ticks[i] = __rdtsc() - start;
    }
}

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    size_t count = 0;
    if (argc == 5 && strcmp(argv[1], "read") == 0) {
        count = number(argv[4], COUNT_MAX);
        measure_reads(argv[2], number(argv[3], BYTES_MAX), count);
    } else if (argc == 6 && strcmp(argv[1], "udp") == 0) {
        count = number(argv[5], COUNT_MAX);
        measure_datagrams(connect_to(argv[2], argv[3]), number(argv[4], 1400), count);
    } else {
        errx(2, "read DEVICE BYTES COUNT, or udp ADDRESS PORT BYTES COUNT");
    }
    qsort(ticks, count, sizeof ticks[0], by_value);
    printf("bench: %zu done, median %lu\n", count, ticks[count / 2]);
    return 0;
}
