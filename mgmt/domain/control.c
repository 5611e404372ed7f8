#include "mgmt/domain/control.h"

#include "mgmt/host.h"

/* Taken in one turn of the loop: a guest cannot keep mgmt here. */
#define REQUESTS_PER_TURN 8u

static void go_on(void *context) {
    control_service(context);
}

enum bh_status control_attach(struct control *c, const struct channel *channel,
                              const struct control_handlers *handlers, void *context) {
    enum bh_status status =
        queue_server_open(&c->queue, channel->own, channel->own_units, channel->peer,
                          channel->peer_units, channel->window_bytes, channel->generation);
    c->open = status == BH_OK;
    c->work.handler = go_on;
    c->work.context = c;
    c->signal = channel->signal;
    c->channel = channel->name;
    c->handlers = handlers;
    c->context = context;
    c->listening = false;
    c->wanted = 0;
    return status;
}

void control_detach(struct control *c) {
    c->open = false;
}

static void listen(struct control *c, uint32_t tag) {
    if (c->listening) {
        queue_complete(&c->queue, tag, BH_BUSY, 0, 0);
        return;
    }
    c->listening = true;
    c->listen_tag = tag;
}

static void tell(struct control *c) {
    if (!c->listening || !c->wanted)
        return;
    queue_complete(&c->queue, c->listen_tag, BH_OK, (uint16_t)c->wanted, 0);
    c->listening = false;
    c->wanted = 0;
}

static void publish(struct control *c) {
    if (queue_publish(&c->queue))
        event_signal(c->signal);
}

/* One request; false: there is none. */
static bool serve(struct control *c, bool *ready, bool *ended, uint64_t *exit_status) {
    struct bh_request request;
    struct bh_segment segments[BH_QUEUE_SEGMENTS_MAX];
    bool bad;
    bool was_broken = c->queue.broken;
    enum queue_take take = queue_take_request(&c->queue, &request, segments, &bad);
    if (take == QUEUE_BROKEN && !was_broken)
        log_line("mgmt", "%s: broke the queue's protocol: disconnected", c->channel);
    if (take != QUEUE_TAKEN)
        return false;
    enum bh_status status = BH_OK;
    uint64_t value = 0;
    if (bad || request.segments != 0 || request.flags != 0) {
        status = BH_BAD_ARG;
    } else {
        switch (request.operation) {
        case BH_CONTROL_LISTEN:
            listen(c, request.tag);
            return true; /* completed when there is something to hear */
        case BH_CONTROL_EXIT:
            *ended = true;
            *exit_status = request.argument;
            break;
        case BH_CONTROL_READY:
            *ready = true;
            break;
        case BH_CONTROL_TIME:
            value = host_wall_ns_at_tsc_0();
            break;
        default:
            status = BH_BAD_CALL;
        }
    }
    queue_complete(&c->queue, request.tag, status, 0, value);
    return true;
}

void control_service(struct control *c) {
    bool ready = false, ended = false;
    uint64_t exit_status = 0;
    if (!c->open)
        return;
    for (unsigned i = 0; i < REQUESTS_PER_TURN; i++)
        if (!serve(c, &ready, &ended, &exit_status))
            break;
    tell(c);
    publish(c);
    if (!queue_sleep(&c->queue))
        loop_post(&c->work);
    if (ready)
        c->handlers->ready(c->context);
    if (ended)
        c->handlers->ended(c->context, exit_status);
}

void control_want(struct control *c, enum bh_control_request request) {
    c->wanted = request;
    tell(c);
    publish(c);
}
