/* The server's side of class control (abi/control.h): hears what a guest tells, tells it what is
 * wanted. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "abi/control.h"
#include "guestlib/loop.h"
#include "mgmt/backend.h"

struct control_handlers {
    void (*ready)(void *context);
    void (*ended)(void *context, uint64_t status); /* may detach */
};

struct control {
    bool open;
    struct loop_work work; /* goes on with what one turn left over */
    struct queue_end queue;
    bh_slot signal;
    const char *channel; /* for messages */
    const struct control_handlers *handlers;
    void *context;
    bool listening; /* the guest has a LISTEN outstanding: listen_tag */
    uint32_t listen_tag;
    uint32_t wanted; /* enum bh_control_request to complete a LISTEN with; 0: none */
};

enum bh_status control_attach(struct control *c, const struct channel *channel,
                              const struct control_handlers *handlers, void *context);
void control_service(struct control *c);
void control_detach(struct control *c); /* at once: nothing else uses the memory */

/* Told now, or as soon as the guest listens. */
void control_want(struct control *c, enum bh_control_request request);
