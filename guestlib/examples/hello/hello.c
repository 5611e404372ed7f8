/* The smallest guest: says where it is, then waits until it is asked to end. */
#include <inttypes.h>
#include <stdio.h>

#include "guestlib/control_front.h"
#include "guestlib/guest.h"
#include "guestlib/loop.h"

static const char *class_name(uint32_t class) {
    static const char *const names[] = {
        [BH_CLASS_CONTROL] = "control",
        [BH_CLASS_CONSOLE] = "console",
        [BH_CLASS_BLOCK] = "block",
        [BH_CLASS_NET] = "net",
    };
    return class < sizeof names / sizeof names[0] && names[class] ? names[class] : "unknown";
}

static void end(void *unused) {
    (void)unused;
    puts("Good-bye.");
    loop_stop(0);
}

int main(int argc, char **argv) {
    const struct bh_domain_info *domain = guest_domain();
    printf("Hello from %s, a guest of Bulkhead.\n", argv[0]);
    printf("%" PRIu64 " KiB of RAM, %" PRIu64 " KiB of heap, TSC at %" PRIu64 " MHz\n",
           domain->ram_bytes / 1024, domain->heap_bytes / 1024, domain->tsc_hz / 1000000);
    for (unsigned i = 0; i < domain->device_count; i++)
        printf("device: %s %" PRIu32 "\n", class_name(domain->device[i].class),
               domain->device[i].index);
    for (int i = 1; i < argc; i++)
        printf("argument: %s\n", argv[i]);
    control_on_shutdown(end, NULL);
    control_ready();
    return loop_run();
}
