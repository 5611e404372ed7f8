/* Class control: what the host asks of a guest and a guest tells the host. Version 1. The guest
 * keeps one LISTEN outstanding; the host completes it when it wants something. */
#pragma once

#include <stdint.h>

enum bh_control_operation {
    BH_CONTROL_LISTEN =
        0,                /* completes with flags = enum bh_control_request, value = its argument */
    BH_CONTROL_EXIT = 1,  /* the guest has ended; argument = exit status, 0 good; or'd to it
                             BH_CONTROL_EXIT_REBOOT: it wants to be started again */
    BH_CONTROL_READY = 2, /* the guest serves: shown in `list` */
    BH_CONTROL_TIME = 3,  /* value = wall clock at TSC 0 in ns since 1970-01-01, UTC */
};

#define BH_CONTROL_EXIT_REBOOT (1ull << 32)

enum bh_control_request {
    BH_CONTROL_SHUTDOWN = 1, /* please end in order */
    BH_CONTROL_MEMORY = 2,   /* reserved: memory target, value = bytes */
    BH_CONTROL_HOTPLUG = 3,  /* reserved */
};
