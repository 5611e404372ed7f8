/* Where everything lies in the stretch of memory that a domain and mgmt share:
 *
 *     [information page][completion queues]  read-only for the guest
 *     [submission queues][windows]           read and write
 *
 * One function of the definition; nothing is stored elsewhere. */
#pragma once

#include "abi/definition.h"

#define SHARED_CONTROL 0u /* every domain's first device */

struct shared_device {
    enum bh_class class;
    uint32_t index; /* among the devices of its class */
    uint32_t client_units, server_units;
    uint64_t client_offset, server_offset, window_offset; /* in the stretch */
    uint64_t window_bytes;
};

struct shared_layout {
    uint32_t devices;
    struct shared_device device[BH_DOMAIN_DEVICES_MAX];
    uint64_t read_only_pages;
    uint64_t pages;
};

void shared_lay_out(const struct bh_definition *definition, struct shared_layout *out);
