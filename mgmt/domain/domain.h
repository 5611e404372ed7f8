/* Domains: what mgmt builds from hv's objects, and their life.
 *
 *   OFF -start-> STARTING -> RUNNING <-pause/resume-> PAUSED
 *   RUNNING -shutdown-> STOPPING;  a fault -> CRASHED (kept) or DYING;  destroy -> DYING -> OFF
 *
 * STARTING and DYING take several turns of the event loop: memory is cleaned, back ends let go. A
 * definition stays when its domain is OFF. Every refusal comes with a message. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guestlib/loop.h"
#include "mgmt/backend.h"
#include "mgmt/config/definition.h"
#include "mgmt/console/guest_console.h"
#include "mgmt/domain/contexts.h"
#include "mgmt/domain/control.h"
#include "mgmt/domain/hvm.h"
#include "mgmt/domain/image.h"
#include "mgmt/domain/memory.h"
#include "mgmt/domain/shared.h"

enum domain_state {
    DOMAIN_OFF,
    DOMAIN_STARTING,
    DOMAIN_RUNNING,
    DOMAIN_PAUSED,
    DOMAIN_STOPPING,
    DOMAIN_CRASHED,
    DOMAIN_DYING,
};

#define DOMAIN_CHUNKS_MAX 10u /* of private RAM */
#define DOMAIN_FILE_BYTES 96u

struct domain_device {
    char name[BH_DOMAIN_NAME_BYTES + 16]; /* "webd/net0" */
    bool attached;
    union {
        struct block_client *block;
        struct net_client *net;
    };
};

/* When a life's stations were reached, as TSC values; 0: never. */
struct domain_times {
    uint64_t start;   /* it was to start; the definition was parsed before */
    uint64_t running; /* it was let run */
    uint64_t end;     /* it was to end */
    uint64_t off;     /* all it had was given back */
};

struct domain {
    char file[DOMAIN_FILE_BYTES]; /* "guests/a.xml", for messages */
    struct bh_definition definition;
    enum domain_state state;
    struct guest_console console; /* its history is kept when the domain is OFF */

    /* From start to the end of DYING: */
    uint32_t number; /* fixes its slots and Event bits (mgmt/layout.h) */
    const uint8_t *kernel;
    struct image image;
    struct shared_layout shared;
    chunk objects; /* 0: none */
    chunk shared_chunk[SHARED_CHUNKS_MAX];
    uint32_t shared_chunks;
    chunk ram[DOMAIN_CHUNKS_MAX];
    uint32_t ram_chunks;
    uint32_t clean; /* how many of domain_chunk's are clean */
    struct hvm hvm; /* an HVM guest's part; all of the above is its VMM's */
    struct domain_device device[BH_DOMAIN_DEVICES_MAX];
    struct control control;
    struct loop_work work;    /* cleaning */
    struct loop_timer expiry; /* of a shutdown request */
    uint32_t detaching; /* back ends that have not let go yet, and 1 while they are being asked */
    bool built;         /* the Contexts exist */
    bool ready;         /* it said so */
    bool start_again;   /* when DYING is over */

    /* Since the host's start: */
    uint64_t cpu_tsc; /* of earlier lives */
    uint32_t starts, crashes;
    struct domain_times at; /* of the last life */
    uint64_t restart_ns[5]; /* when it was last started again by itself: a ring */
    char last_words[96];    /* why it is not running, for `list` and `info` */
};

struct domain_error {
    char text[DEFINITION_ERROR_BYTES];
};

/* archive: the boot archive, which holds definitions and kernels; NULL if there is none. */
void domains_start(const uint8_t *archive, size_t bytes);

/* Reads a definition from the boot archive ("a.xml" or "guests/a.xml"). A definition whose domain
 * is OFF is replaced. NULL: refused, *error says why. */
struct domain *domain_define(const char *file, struct domain_error *error);

/* Each: false, *error says why. A true start is only the beginning: see state. */
bool domain_start(struct domain *d, struct domain_error *error);
bool domain_pause(struct domain *d, struct domain_error *error);
bool domain_resume(struct domain *d, struct domain_error *error);
/* Asks an HVM guest's VMM to write it to its checkpoint disk and to end it. A true save is only the
 * beginning: if it fails the guest goes on, and says so on its console. */
bool domain_save(struct domain *d, struct domain_error *error);
/* As start, but the guest goes on from there. What is there is the VMM's to judge: if it refuses it
 * the guest is OFF again. */
bool domain_restore(struct domain *d, struct domain_error *error);
/* Asks the guest to end; destroys it after timeout_ns (0: never). */
bool domain_shutdown(struct domain *d, uint64_t timeout_ns, struct domain_error *error);
bool domain_destroy(struct domain *d, struct domain_error *error);

/* For the host's own end: no domain starts any more; running ones are asked to end and destroyed
 * after timeout_ns, all others destroyed at once. */
void domains_close(uint64_t timeout_ns);
bool domains_all_off(void);

struct domain *domain_find(const char *name);
struct domain *domain_at(uint32_t index); /* in the order of definition; NULL beyond the last */
const char *domain_state_name(const struct domain *d);
uint64_t domain_cpu_tsc(const struct domain *d);
uint64_t domain_memory_pages(const struct domain *d); /* held now, all together */

/* changed(context) runs whenever a domain becomes RUNNING, OFF or CRASHED. One listener. */
void domains_on_change(void (*changed)(void *context), void *context);

/* --- between domain.c and build.c --------------------------------------------------------------
 */

/* Slots of a domain's fixed stretch in mgmt's CapTable. */
enum domain_slot {
    DOMAIN_SLOT_TABLE = 0,
    DOMAIN_SLOT_SPACE = 1,
    DOMAIN_SLOT_CONTEXT = 2,
    DOMAIN_SLOT_EVENT = 3,
    DOMAIN_SLOT_FURTHER = 4, /* a CapTable, if there is anything for it: domain_further */
    DOMAIN_SLOT_SHARED = 5,
    DOMAIN_SLOT_RAM = 6,     /* DOMAIN_CHUNKS_MAX Regions */
    DOMAIN_SLOT_SIGNAL = 16, /* BH_DOMAIN_DEVICES_MAX: its Event, the device's bit as badge */
};
bh_slot domain_slot(const struct domain *d, unsigned which);

/* Slots of a domain's CapTable of what has no slot in mgmt's. */
enum domain_further {
    DOMAIN_FURTHER_SHARED = 0,                  /* Regions of shared_chunk, from 1 on */
    DOMAIN_FURTHER_CONTEXT = SHARED_CHUNKS_MAX, /* contexts.h */
};
bh_ref domain_further(const struct domain *d, unsigned which);

/* Event bits of a domain in mgmt's Event. */
enum domain_bit {
    DOMAIN_BIT_FAULT = 0,
    DOMAIN_BIT_CONSOLE = 1, /* control and console */
    DOMAIN_BIT_BLOCK = 2,
    DOMAIN_BIT_NET = 3,
};
unsigned domain_bit(const struct domain *d, enum domain_bit which);

/* Allocates all memory, not yet clean. On failure nothing is held. */
enum bh_status domain_allocate(struct domain *d);
/* Makes everything of clean memory: objects, image, information page; the caller attaches back ends
 * to it, then seals. On failure domain_release takes all back. */
enum bh_status domain_build(struct domain *d);
struct bh_domain_info *domain_info_page(const struct domain *d);
/* The index-th chunk of what it holds besides objects; 0: there are no more. */
chunk domain_chunk(const struct domain *d, uint32_t index);
/* Gives up every right with which the guest's memory or registers could be read, and lets it run.
 */
enum bh_status domain_seal(struct domain *d);
/* Takes back everything that was made of the domain's memory. Nothing may use the shared memory any
 * more. All of it still holds what the guest wrote. */
void domain_revoke(struct domain *d);
/* Frees its memory. */
void domain_release(struct domain *d);
/* The shared memory as device `index` of the domain sees it from mgmt's side. */
struct channel domain_channel(const struct domain *d, uint32_t index);
/* io='direct': adds the HVM guest's RAM to what a device of its may use. */
void domain_add_ram(const struct domain *d, struct channel *channel);
