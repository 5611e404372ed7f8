#include "mgmt/vmm/pvpanic.h"

#include <stddef.h>

#include "mgmt/vmm/bus.h"

static struct {
    struct bus_range port;
    void (*panicked)(void);
} pvpanic;

/* Which events are understood. */
static uint64_t events_read(const struct bus_access *a) {
    (void)a;
    return PVPANIC_PANICKED | PVPANIC_CRASH_LOADED;
}

static void events_write(const struct bus_access *a) {
    if (a->value & PVPANIC_PANICKED)
        pvpanic.panicked();
}

void pvpanic_init(void (*panicked)(void)) {
    pvpanic.panicked = panicked;
    pvpanic.port = (struct bus_range){PVPANIC_PORT, 1, 0, events_read, events_write, NULL, NULL};
    bus_add_ports(&pvpanic.port);
}
