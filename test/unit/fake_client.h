/* The client's side of a back end: a window and queues in plain memory, with the front end's own
 * code. */
#pragma once

#include "mgmt/backend.h"

#define CLIENT_UNITS 64u
#define CLIENT_COMPLETIONS 32u
#define CLIENT_WINDOW_BYTES 131072u

struct fake_client {
    struct channel channel;
    struct queue_end end;
    _Alignas(64) uint8_t submissions[BH_QUEUE_HEADER_BYTES + CLIENT_UNITS * 16];
    _Alignas(64) uint8_t completions[BH_QUEUE_HEADER_BYTES + CLIENT_COMPLETIONS * 16];
    _Alignas(4096) uint8_t window[CLIENT_WINDOW_BYTES];
};

/* Before attach; client_open after it. */
static inline void client_prepare(struct fake_client *c, const char *name, bh_slot signal) {
    memset(c, 0, sizeof(*c));
    c->channel = (struct channel){
        .name = name,
        .own = (struct bh_queue_header *)(void *)c->completions,
        .peer = (const struct bh_queue_header *)(const void *)c->submissions,
        .own_units = CLIENT_COMPLETIONS,
        .peer_units = CLIENT_UNITS,
        .window = c->window,
        .window_bytes = CLIENT_WINDOW_BYTES,
        .window_hpa = {(uintptr_t)c->window},
        .signal = signal,
        .generation = 1,
    };
}

static inline bool client_open(struct fake_client *c) {
    return queue_client_open(&c->end, (struct bh_queue_header *)(void *)c->submissions,
                             CLIENT_UNITS,
                             (const struct bh_queue_header *)(const void *)c->completions,
                             CLIENT_COMPLETIONS, CLIENT_WINDOW_BYTES) == BH_OK;
}

/* One request with up to one segment (bytes 0: none), published. False: no room. */
static inline bool client_push(struct fake_client *c, uint8_t operation, uint32_t tag,
                               uint64_t argument, uint64_t offset, uint32_t bytes) {
    struct bh_segment segment = {.offset = offset, .bytes = bytes};
    struct bh_request request = {
        .operation = operation, .segments = bytes != 0, .tag = tag, .argument = argument};
    bool pushed = queue_push(&c->end, &request, &segment);
    queue_publish(&c->end);
    return pushed;
}

/* The next completion; status ~0 if there is none. */
static inline struct bh_completion client_take(struct fake_client *c) {
    struct bh_completion completion = {.status = 0xffff};
    queue_take_completion(&c->end, &completion);
    return completion;
}
