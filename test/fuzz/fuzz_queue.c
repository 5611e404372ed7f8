/* Both ends of a queue pair, each against a peer that writes whatever the input says. The input is
 * a list of steps: a byte says what to do, the following bytes what with. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "guestlib/queue.h"

#define UNITS 16u
#define WINDOW_BYTES 8192u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct memory {
    struct bh_queue_header header;
    struct bh_request units[UNITS];
};

/* In blocks of their own, so that the sanitizer sees every access beyond them. */
struct world {
    struct memory *submissions, *completions;
    struct queue_end client, server;
};

struct input {
    const uint8_t *at, *end;
};

static uint8_t byte(struct input *input) {
    return input->at < input->end ? *input->at++ : 0;
}

static uint32_t word(struct input *input) {
    uint32_t value = 0;
    for (unsigned i = 0; i < 4; i++)
        value = value << 8 | byte(input);
    return value;
}

static void check(bool holds) {
    if (!holds)
        abort();
}

static void take_request(struct world *w) {
    struct bh_request request;
    struct bh_segment segments[BH_QUEUE_SEGMENTS_MAX];
    bool bad;
    if (queue_take_request(&w->server, &request, segments, &bad) != QUEUE_TAKEN)
        return;
    check(request.segments <= BH_QUEUE_SEGMENTS_MAX);
    for (unsigned i = 0; !bad && i < request.segments; i++)
        check(segments[i].offset <= WINDOW_BYTES &&
              segments[i].bytes <= WINDOW_BYTES - segments[i].offset);
    check(w->server.outstanding <= UNITS);
}

static void complete(struct world *w, struct input *input) {
    if (w->server.outstanding > 0)
        queue_complete(&w->server, byte(input), BH_OK, 0, 0);
}

static void push(struct world *w, struct input *input) {
    struct bh_segment segments[BH_QUEUE_SEGMENTS_MAX] = {{0}};
    struct bh_request request = {.segments = byte(input) % (BH_QUEUE_SEGMENTS_MAX + 1)};
    uint32_t before = w->client.outstanding;
    bool pushed = queue_push(&w->client, &request, segments);
    check(w->client.outstanding == before + pushed && w->client.outstanding <= UNITS);
}

static void take_completion(struct world *w) {
    struct bh_completion completion;
    uint32_t before = w->client.outstanding;
    bool taken = queue_take_completion(&w->client, &completion);
    check(before >= taken && w->client.outstanding == before - taken);
}

/* What only the peer may write: small values near an index are as likely as any. */
static void scribble(struct memory *memory, const struct queue_end *reader, struct input *input) {
    uint8_t where = byte(input);
    uint32_t value = where & 1 ? word(input) : reader->head + (byte(input) & 31) - 4;
    uint32_t *const fields[] = {&memory->header.tail, &memory->header.head, &memory->header.wake,
                                &memory->header.generation};
    if (where & 2)
        memcpy((uint8_t *)memory->units + (where >> 2) * 4, &value, 4);
    else
        *fields[where >> 2 & 3] = value;
}

static void step(struct world *w, struct input *input) {
    switch (byte(input) % 11) {
    case 0:
        take_request(w);
        break;
    case 1:
        complete(w, input);
        break;
    case 2:
        queue_publish(&w->server);
        break;
    case 3:
        queue_sleep(&w->server);
        break;
    case 4:
        push(w, input);
        break;
    case 5:
        take_completion(w);
        break;
    case 6:
        queue_publish(&w->client);
        break;
    case 7:
        queue_sleep(&w->client);
        break;
    case 8:
        scribble(w->submissions, &w->server, input);
        break;
    case 9:
        scribble(w->completions, &w->client, input);
        break;
    case 10:
        queue_client_open(&w->client, &w->submissions->header, UNITS, &w->completions->header,
                          UNITS, WINDOW_BYTES);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct world w = {calloc(1, sizeof(struct memory)), calloc(1, sizeof(struct memory)), {0}, {0}};
    struct input input = {data, data + size};
    check(queue_server_open(&w.server, &w.completions->header, UNITS, &w.submissions->header, UNITS,
                            WINDOW_BYTES, 1) == BH_OK);
    check(queue_client_open(&w.client, &w.submissions->header, UNITS, &w.completions->header, UNITS,
                            WINDOW_BYTES) == BH_OK);
    while (input.at < input.end)
        step(&w, &input);
    free(w.submissions);
    free(w.completions);
    return 0;
}
