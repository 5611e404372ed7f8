/* The host of a VMM under test: hypervisor and the server of one queue pair. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "abi/domain.h"
#include "guestlib/queue.h"

/* The one device of the domain; the test fills in what its class wants. */
extern struct bh_device_info host_info;
extern struct queue_end host_queue;
extern uint8_t *host_window;

/* A new queue pair whose server is open. */
void host_start(enum bh_class class, uint32_t client_units, uint32_t server_units,
                uint32_t window_bytes);
void host_stop(void);

/* Runs the VMM until it would sleep. */
void host_run(void);

/* Publishes completions, and wakes the VMM if it wants that; or wakes it anyway. */
void host_publish(void);
void host_wake(void);

/* The test's: serves one request. */
void host_serve(const struct bh_request *request, const struct bh_segment *segments);
