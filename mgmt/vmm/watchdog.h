/* The watchdog of Intel's 6300ESB, a PCI function: two stages count down one after the other; when
 * the second ends, the machine is to be reset. Reference: Intel 6300ESB I/O Controller Hub
 * Datasheet (300641), chapter "Watchdog Timer". The first stage's interrupt comes by INTA#: the
 * chip's second I/O APIC, whose input 10 it is there, does not exist here. Not there: free running,
 * SMI. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guestlib/loop.h"
#include "mgmt/vmm/pci.h"

struct watchdog {
    struct pci_function function; /* for pci_add */
    struct loop_timer timer;
    uint32_t preload[2]; /* of each stage: ticks, 20 bits */
    bool second;         /* the stage that counts */
    bool counting;
    bool interrupt;    /* the first stage has ended, and nobody has said that he knows */
    bool timed_out;    /* the second has */
    unsigned unlocked; /* how much of the key that opens one register for one write has come */
    void (*expired)(void);
};

/* expired: called when the second stage ends and the guest has not forbidden the reset. */
void watchdog_init(struct watchdog *watchdog, void (*expired)(void));
void watchdog_state(struct state *s, struct watchdog *watchdog);
