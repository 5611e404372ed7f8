#include "mgmt/domain/shared.h"

#include "abi/queue.h"
#include "mgmt/domain/hvm.h"

/* Enough for the front ends of guestlib to keep their devices busy; the sum of webd's (a disk and
 * an interface) stays below 1 MiB, one block of memory. */
static const struct {
    uint32_t client_units, server_units;
    uint64_t window_bytes;
} sizes[] = {
    [BH_CLASS_CONTROL] = {16, 8, 4 << 10},
    [BH_CLASS_CONSOLE] = {128, 64, 8 << 10},
    [BH_CLASS_BLOCK] = {512, 64, 256 << 10},
    [BH_CLASS_NET] = {1024, 512, 512 << 10},
};

static void add(struct shared_layout *out, enum bh_class class, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        out->device[out->devices++] = (struct shared_device){
            .class = class,
            .index = i,
            .client_units = sizes[class].client_units,
            .server_units = sizes[class].server_units,
            .window_bytes = sizes[class].window_bytes,
        };
}

static uint64_t queue_bytes(uint32_t units) {
    return BH_QUEUE_HEADER_BYTES + units * (uint64_t)sizeof(struct bh_request);
}

static uint64_t page_up(uint64_t offset) {
    return (offset + BH_PAGE_BYTES - 1) & ~(uint64_t)(BH_PAGE_BYTES - 1);
}

void shared_lay_out(const struct bh_definition *definition, struct shared_layout *out) {
    *out = (struct shared_layout){0};
    add(out, BH_CLASS_CONTROL, 1);
    add(out, BH_CLASS_CONSOLE, definition->consoles);
    add(out, BH_CLASS_BLOCK, definition->disks + hvm_files(definition));
    add(out, BH_CLASS_NET, definition->nets);

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
    at = page_up(at);
    for (uint32_t i = 0; i < out->devices; i++) {
        out->device[i].window_offset = at;
        at += page_up(out->device[i].window_bytes);
    }
    out->pages = at / BH_PAGE_BYTES;
}
