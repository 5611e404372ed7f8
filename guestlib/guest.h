/* What every guest has: its domain information, a console behind stdout, a way to end. A guest is a
 * main() that opens its front ends, registers handlers and returns loop_run():
 *
 *     int main(int argc, char **argv)
 *     {
 *         puts("hello");
 *         control_ready();
 *         return loop_run();
 *     }
 *
 * argv[0] is the domain's name, the rest the words of the definition's command line. When main
 * returns (or exit is called) the host is told the status and the domain has ended. See
 * docs/guest-howto.md. */
#pragma once

#include <stddef.h>

#include "abi/bootinfo.h"
#include "abi/domain.h"

/* The domain information; NULL in a program that was started with boot information. */
const struct bh_domain_info *guest_domain(void);

/* The index-th device of a class, or NULL if the definition gives no such device. */
const struct bh_device_info *guest_device(enum bh_class class, unsigned index);

/* The wall clock, UTC, in ns since 1970-01-01: what gettimeofday and time are made of. If the host
 * does not know the time (wall_ns_at_tsc_0 is 0), and in mgmt, it counts from power-on. */
uint64_t guest_wall_ns(void);

/* Prints "panic: " and the message, tells the host that the guest has failed, and stops with an
 * invalid instruction, so that the host's log gets the registers. */
_Noreturn void guest_panic(const char *format, ...) __attribute__((format(__printf__, 1, 2)));

/* Where stdout and stderr go: the console, or guest_log_write. */
void guest_output(const char *text, size_t bytes);

/* --- for the VMM, which has several Contexts (abi/domain.h, BH_GUEST_KICK_BIT): where the further
 * ones begin, before or after main does; it must not return. None of this library may be used by
 * two Contexts at once, nor before main has begun. */
void guest_further_main(unsigned context) __attribute__((weak, noreturn));

/* --- for mgmt, which is started with boot information instead
 * -------------------------------------- It has no heap of its host's and no console, and brings
 * these instead of main; guests leave them undefined. boot_main must not return. */
extern char guest_heap[] __attribute__((weak));
extern const size_t guest_heap_bytes __attribute__((weak));
void boot_main(const struct bh_bootinfo *info) __attribute__((weak));
void guest_log_write(const char *text, size_t bytes) __attribute__((weak));
