#include "mgmt/domain/shared.h"

#include <stdbool.h>

#include "abi/queue.h"
#include "mgmt/domain/hvm.h"

struct sizes {
    uint32_t client_units, server_units;
    uint64_t window_bytes;
};

/* Enough for the front ends of guestlib to keep their devices busy. */
static const struct sizes usual_sizes[] = {
    [BH_CLASS_CONTROL] = {16, 8, 64},
    [BH_CLASS_CONSOLE] = {128, 64, 4 << 10},
    [BH_CLASS_BLOCK] = {512, 64, 256 << 10},
    [BH_CLASS_NET] = {1024, 512, 512 << 10},
};

/* A guest this small has no use for half of its memory again in an interface's window. Half of what
 * is left still takes a frame of 64 KiB; an interface alone stays below 256 KiB. */
#define SMALL_BYTES (2u << 20)
static const struct sizes small_sizes[] = {
    [BH_CLASS_CONTROL] = {16, 8, 64},
    [BH_CLASS_CONSOLE] = {128, 64, 4 << 10},
    [BH_CLASS_BLOCK] = {512, 64, 256 << 10},
    [BH_CLASS_NET] = {512, 256, 192 << 10},
};

/* A VMM's: its guest has buffers of its own, so a network card needs room only for what is under
 * way: two frames of 64 KiB, and 64 short ones to come. */
static const struct sizes vmm_sizes[] = {
    [BH_CLASS_CONTROL] = {16, 8, sizeof(struct bh_guest_statistics)},
    [BH_CLASS_CONSOLE] = {128, 64, 4 << 10},
    [BH_CLASS_BLOCK] = {512, 64, 256 << 10},
    [BH_CLASS_NET] = {512, 128, 256 << 10},
};

/* The files that an HVM guest starts from are mapped, but for the last part of a page of each. */
static const struct sizes file_sizes = {16, 4, 8 << 10};

/* Windows from this size on have a chunk of their own if they fill one. */
#define OWN_CHUNK_BYTES (64u << 10)

/* Devices `first` to `end` of their class. */
static void add(struct shared_layout *out, const struct sizes *sizes, enum bh_class class,
                uint32_t first, uint32_t end) {
    for (uint32_t i = first; i < end; i++)
        out->device[out->devices++] = (struct shared_device){
            .class = class,
            .index = i,
            .client_units = sizes->client_units,
            .server_units = sizes->server_units,
            .window_bytes = sizes->window_bytes,
        };
}

static const struct sizes *sizes_for(const struct bh_definition *definition) {
    if (definition->guest_type == BH_GUEST_HVM)
        return vmm_sizes;
    return definition->memory_bytes < SMALL_BYTES ? small_sizes : usual_sizes;
}

static uint64_t queue_bytes(uint32_t units) {
    return BH_QUEUE_HEADER_BYTES + units * (uint64_t)sizeof(struct bh_request);
}

static uint64_t page_up(uint64_t offset) {
    return (offset + BH_PAGE_BYTES - 1) & ~(uint64_t)(BH_PAGE_BYTES - 1);
}

static bool has_own_chunk(const struct shared_device *device) {
    uint64_t bytes = device->window_bytes;
    return bytes >= OWN_CHUNK_BYTES && (bytes & (bytes - 1)) == 0;
}

/* Windows of whole pages begin on pages; smaller ones share a page with the queues. Returns where
 * chunk 0 goes on. */
static uint64_t place_window(struct shared_layout *out, struct shared_device *device, uint64_t at) {
    if (has_own_chunk(device)) {
        device->window_chunk = out->chunks;
        out->chunk[out->chunks++].pages = device->window_bytes / BH_PAGE_BYTES;
        return at;
    }
    if (device->window_bytes >= BH_PAGE_BYTES)
        at = page_up(at);
    device->window_offset = at;
    return at + device->window_bytes;
}

void shared_lay_out(const struct bh_definition *definition, struct shared_layout *out) {
    const struct sizes *sizes = sizes_for(definition);
    *out = (struct shared_layout){.chunks = 1};
    uint32_t disks = definition->disks;
    add(out, &sizes[BH_CLASS_CONTROL], BH_CLASS_CONTROL, 0, 1);
    add(out, &sizes[BH_CLASS_CONSOLE], BH_CLASS_CONSOLE, 0, definition->consoles);
    add(out, &sizes[BH_CLASS_BLOCK], BH_CLASS_BLOCK, 0, disks);
    add(out, &file_sizes, BH_CLASS_BLOCK, disks, disks + hvm_files(definition));
    add(out, &sizes[BH_CLASS_NET], BH_CLASS_NET, 0, definition->nets);

    uint64_t at = BH_PAGE_BYTES; /* after the information page */
    for (uint32_t i = 0; i < out->devices; i++) {
        out->device[i].server_offset = at;
        at += queue_bytes(out->device[i].server_units);
    }
    at = page_up(at);
    out->read_only_pages = at / BH_PAGE_BYTES;
    for (uint32_t i = 0; i < out->devices; i++) {
        out->device[i].client_offset = at;
        at += queue_bytes(out->device[i].client_units);
    }
    for (uint32_t i = 0; i < out->devices; i++)
        at = place_window(out, &out->device[i], at);
    out->chunk[0].pages = page_up(at) / BH_PAGE_BYTES;
    for (uint32_t i = 0; i < out->chunks; i++) {
        out->chunk[i].first = out->pages;
        out->pages += out->chunk[i].pages;
    }
}
