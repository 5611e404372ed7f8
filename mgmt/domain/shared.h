/* Where everything lies in the memory that a domain and mgmt share:
 *
 *     chunk 0: [information page][completion queues]   read-only for the guest
 *              [submission queues][small windows]      read and write
 *     further: [a window] each                         read and write
 *
 * A window that fills a chunk of memory has one to itself: so little is lost to rounding, and no
 * large block is needed. One function of the definition; nothing is stored elsewhere. */
#pragma once

#include "abi/definition.h"

#define SHARED_CONTROL 0u /* every domain's first device */
#define SHARED_CHUNKS_MAX (1u + BH_DEFINITION_DISKS_MAX + BH_DEFINITION_NETS_MAX)

struct shared_device {
    enum bh_class class;
    uint32_t index; /* among the devices of its class */
    uint32_t client_units, server_units;
    uint64_t client_offset, server_offset; /* in chunk 0 */
    uint32_t window_chunk;
    uint64_t window_offset; /* in that */
    uint64_t window_bytes;
};

struct shared_layout {
    uint32_t devices;
    struct shared_device device[BH_DOMAIN_DEVICES_MAX];
    uint64_t read_only_pages; /* of chunk 0 */
    uint32_t chunks;
    struct {
        uint64_t pages;
        uint64_t first; /* page in the guest's addresses, where they follow each other */
    } chunk[SHARED_CHUNKS_MAX];
    uint64_t pages; /* of all */
};

void shared_lay_out(const struct bh_definition *definition, struct shared_layout *out);
