/* From the first C function to main and back. */
#include "guestlib/guest.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guestlib/console_front.h"
#include "guestlib/control_front.h"
#include "guestlib/heap.h"
#include "guestlib/hypercall.h"
#include "guestlib/loop.h"
#include "guestlib/tsc.h"

#define ARGUMENTS_MAX 64

int main(int argc, char **argv) __attribute__((weak)); /* mgmt has boot_main instead */
_Noreturn void guest_start(const void *info, uint64_t context);

/* The information page as it was at the start: the host can write to its own for as long as the
 * guest lives, and where the devices are must not change with it. */
static union {
    struct bh_domain_info domain;
    uint8_t bytes[BH_PAGE_BYTES];
} information;
static const struct bh_domain_info *domain;
static uint64_t tsc_hz;

const struct bh_domain_info *guest_domain(void) {
    return domain;
}

const struct bh_device_info *guest_device(enum bh_class class, unsigned index) {
    if (!domain)
        return NULL;
    for (unsigned i = 0; i < domain->device_count && i < BH_DOMAIN_DEVICES_MAX; i++)
        if (domain->device[i].class == class && domain->device[i].index == index)
            return &domain->device[i];
    return NULL;
}

uint64_t guest_wall_ns(void) {
    return (domain ? domain->wall_ns_at_tsc_0 : 0) + tsc_to_ns(tsc_read(), tsc_hz);
}

void guest_output(const char *text, size_t bytes) {
    if (domain)
        console_write(text, bytes);
    else if (guest_log_write)
        guest_log_write(text, bytes);
}

void guest_panic(const char *format, ...) {
    /* A panic inside a panic (the console's code may be what failed) only stops. */
    static bool panicking;
    if (!panicking) {
        panicking = true;
        char text[256], line[sizeof text + sizeof "panic: \n"];
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
        snprintf(line, sizeof line, "panic: %s\n", text);
        guest_output(line, strlen(line));
        if (domain) {
            console_drain();
            control_exit(EXIT_FAILURE);
        }
    }
    __builtin_trap();
}

/* Splits the command line at blanks, in a copy: the information page is read-only. */
static int split_arguments(char **argv) {
    static char words[sizeof domain->arguments];
    static char name[BH_DOMAIN_NAME_BYTES];
    snprintf(name, sizeof name, "%s", domain->name);
    snprintf(words, sizeof words, "%s", domain->arguments);
    int argc = 0;
    argv[argc++] = name;
    char *rest;
    for (char *word = strtok_r(words, " \t", &rest); word && argc < ARGUMENTS_MAX - 1;
         word = strtok_r(NULL, " \t", &rest))
        argv[argc++] = word;
    argv[argc] = NULL;
    return argc;
}

static _Noreturn void start_domain(const struct bh_domain_info *info) {
    static char *argv[ARGUMENTS_MAX];
    memcpy(information.bytes, info, sizeof information);
    domain = &information.domain;
    tsc_hz = domain->tsc_hz;
    heap_init((void *)domain->heap_va, domain->heap_bytes);
    loop_init(64, tsc_hz);
    console_open();
    control_open();
    exit(main(split_arguments(argv), argv));
}

static void start_from_boot(const struct bh_bootinfo *info) {
    tsc_hz = info->tsc_hz;
    if (guest_heap)
        heap_init(guest_heap, guest_heap_bytes);
    boot_main(info);
}

void guest_start(const void *info, uint64_t context) {
    if (context != 0 && guest_further_main)
        guest_further_main((unsigned)context);
    uint64_t magic;
    memcpy(&magic, info, sizeof magic);
    if (magic == BH_DOMAIN_MAGIC && main)
        start_domain(info);
    if (magic == BH_BOOTINFO_MAGIC && boot_main)
        start_from_boot(info);
    __builtin_trap(); /* started as something that this program is not */
}
