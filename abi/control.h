/* Class control: what the host asks of a guest and a guest tells the host. Version 1. The guest
 * keeps one LISTEN outstanding; the host completes it when it wants something. */
#pragma once

#include <stdint.h>

enum bh_control_operation {
    BH_CONTROL_LISTEN =
        0,                /* completes with flags = enum bh_control_request, value = its argument */
    BH_CONTROL_EXIT = 1,  /* the guest has ended; argument = exit status, 0 good, and in bits 32..63
                             an enum bh_control_cause */
    BH_CONTROL_READY = 2, /* the guest serves: shown in `list` */
    BH_CONTROL_TIME = 3,  /* value = wall clock at TSC 0 in ns since 1970-01-01, UTC */
};

/* How the guest ended. A VMM speaks of its guest. */
enum bh_control_cause {
    BH_CAUSE_STATUS = 0, /* by itself; whether well, says the exit status */
    BH_CAUSE_REBOOT = 1, /* it wants to be started again */
    BH_CAUSE_PANIC = 2,  /* its kernel says that it cannot go on */
    BH_CAUSE_TRIPLE_FAULT = 3,
    BH_CAUSE_WATCHDOG = 4, /* it did not serve its watchdog in time */
    BH_CAUSE_SAVED = 5,    /* it was asked to save, and all of it is on its checkpoint disk */
    BH_CAUSE_REFUSED = 6,  /* it was to be restored, and what is on that disk cannot be */
};
#define BH_CONTROL_EXIT_ARGUMENT(cause, status) ((uint64_t)(cause) << 32 | (uint32_t)(status))
#define BH_CONTROL_EXIT_CAUSE(argument) ((uint32_t)((argument) >> 32))

enum bh_control_request {
    BH_CONTROL_SHUTDOWN = 1, /* please end in order */
    BH_CONTROL_MEMORY = 2,   /* reserved: memory target, value = bytes */
    BH_CONTROL_HOTPLUG = 3,  /* reserved */
    BH_CONTROL_SAVE = 4,     /* a VMM with a checkpoint disk: write the guest there and end it */
};
