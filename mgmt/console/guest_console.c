#include "mgmt/console/guest_console.h"

#include <stdlib.h>
#include <string.h>

#include "abi/console.h"

#define REQUESTS_PER_TURN 16u
#define WRITE_BYTES_MAX 1024u /* of one request; the completion says how many were taken */
#define RETRY_NS 2000000u
#define LOG_LINES_PER_S 50u
#define REPORT_NS 1000000000u

_Static_assert((CONSOLE_TYPED_BYTES & (CONSOLE_TYPED_BYTES - 1)) == 0, "indices run freely");

static void report_lost(void *context) {
    struct guest_console *c = context;
    log_line("mgmt", "guest %s does not read what is typed: %u characters are lost", c->name,
             c->lost);
    c->lost = 0;
}

static void lose(struct guest_console *c, uint32_t bytes) {
    c->lost += bytes;
    if (!c->report.set)
        loop_timer_set(&c->report, loop_now_ns() + REPORT_NS, report_lost, c);
}

static void forget_typed(struct guest_console *c) {
    if (c->report.set)
        report_lost(c);
    loop_timer_cancel(&c->report);
    free(c->typed);
    c->typed = NULL;
}

static void serve_again(void *context) {
    guest_console_service(context);
}

enum bh_status guest_console_attach(struct guest_console *c, const struct channel *channel,
                                    const char *name) {
    enum bh_status status =
        queue_server_open(&c->queue, channel->own, channel->own_units, channel->peer,
                          channel->peer_units, channel->window_bytes, channel->generation);
    forget_typed(c);
    c->open = status == BH_OK;
    c->work.handler = serve_again;
    c->work.context = c;
    c->name = name;
    c->channel = channel->name;
    c->window = channel->window;
    c->signal = channel->signal;
    c->reading = false;
    c->line_bytes = 0;
    c->lines_left_out = 0;
    c->written = 0;
    rate_start(&c->log_rate, LOG_LINES_PER_S, LOG_LINES_PER_S, loop_now_ns());
    return status;
}

/* --- Output ------------------------------------------------------------------------------------
 */

static void log_one_line(struct guest_console *c) {
    uint64_t now = loop_now_ns();
    if (!rate_allows(&c->log_rate, now)) {
        c->lines_left_out++;
    } else {
        if (c->lines_left_out)
            log_line(c->name, "(%llu lines left out; see `console %s`)",
                     (unsigned long long)c->lines_left_out, c->name);
        c->lines_left_out = 0;
        rate_use(&c->log_rate, 1);
        log_line(c->name, "%.*s", (int)c->line_bytes, c->line);
    }
    c->line_bytes = 0;
}

static void log_bytes(struct guest_console *c, const char *text, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '\n') {
            log_one_line(c);
        } else if (text[i] != '\r') {
            if (c->line_bytes == CONSOLE_LINE_BYTES)
                log_one_line(c);
            c->line[c->line_bytes++] = (char)(text[i] ? text[i] : ' ');
        }
    }
}

static void keep(struct guest_console *c, const char *text, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        c->history[c->written++ % CONSOLE_HISTORY_BYTES] = text[i];
}

/* Takes the bytes of a WRITE out of the window, once, and hands the copy on. */
static uint64_t take_output(struct guest_console *c, const struct bh_request *request,
                            const struct bh_segment *segments) {
    char text[WRITE_BYTES_MAX];
    size_t bytes = 0;
    for (unsigned i = 0; i < request->segments; i++) {
        size_t here = segments[i].bytes;
        if (here > sizeof(text) - bytes)
            here = sizeof(text) - bytes;
        memcpy(text + bytes, c->window + segments[i].offset, here);
        bytes += here;
    }
    keep(c, text, bytes);
    if (c->viewer)
        c->viewer->show(c->viewer->context, text, bytes);
    else
        log_bytes(c, text, bytes);
    return bytes;
}

/* --- Input -------------------------------------------------------------------------------------
 */

/* Ends the READ; returns how many of the bytes it took. */
static uint32_t end_read(struct guest_console *c, const char *text, uint32_t bytes) {
    uint32_t taken = bytes < c->read_to.bytes ? bytes : c->read_to.bytes;
    memcpy(c->window + c->read_to.offset, text, taken);
    queue_complete(&c->queue, c->read_tag, BH_OK, 0, taken);
    c->reading = false;
    return taken;
}

static void give_input(struct guest_console *c) {
    if (!c->reading || !c->typed)
        return;
    uint32_t at = c->typed_head % CONSOLE_TYPED_BYTES, bytes = c->typed_tail - c->typed_head;
    uint32_t behind = CONSOLE_TYPED_BYTES - at;
    c->typed_head += end_read(c, c->typed + at, bytes < behind ? bytes : behind);
    if (c->typed_head == c->typed_tail) {
        free(c->typed);
        c->typed = NULL;
    }
}

/* Until the guest reads it. */
static void keep_typed(struct guest_console *c, const char *text, uint32_t bytes) {
    if (!c->typed) {
        c->typed = malloc(CONSOLE_TYPED_BYTES);
        c->typed_head = c->typed_tail = 0;
    }
    uint32_t room = c->typed ? CONSOLE_TYPED_BYTES - (c->typed_tail - c->typed_head) : 0;
    uint32_t kept = bytes < room ? bytes : room;
    for (uint32_t i = 0; i < kept; i++)
        c->typed[c->typed_tail++ % CONSOLE_TYPED_BYTES] = text[i];
    if (kept < bytes)
        lose(c, bytes - kept);
}

static void start_read(struct guest_console *c, const struct bh_request *request,
                       const struct bh_segment *segments) {
    if (request->segments != 1 || segments[0].bytes == 0) {
        queue_complete(&c->queue, request->tag, BH_BAD_ARG, 0, 0);
    } else if (c->reading) {
        queue_complete(&c->queue, request->tag, BH_BUSY, 0, 0);
    } else {
        c->reading = true;
        c->read_tag = request->tag;
        c->read_to = segments[0];
    }
}

static void publish(struct guest_console *c) {
    if (queue_publish(&c->queue))
        event_signal(c->signal);
}

void guest_console_type(struct guest_console *c, const char *text, size_t bytes) {
    if (!c->open)
        return;
    uint32_t all = (uint32_t)bytes;
    uint32_t read = c->reading && !c->typed ? end_read(c, text, all) : 0;
    if (read < all)
        keep_typed(c, text + read, all - read);
    publish(c);
}

/* --- Service -----------------------------------------------------------------------------------
 */

/* One request; false: there is none, or no room for what it would show. */
static bool serve(struct guest_console *c) {
    struct bh_request request;
    struct bh_segment segments[BH_QUEUE_SEGMENTS_MAX];
    bool bad;
    if (c->viewer && c->viewer->room(c->viewer->context) < WRITE_BYTES_MAX) {
        loop_timer_set(&c->retry, loop_now_ns() + RETRY_NS, serve_again, c);
        return false;
    }
    bool was_broken = c->queue.broken;
    enum queue_take take = queue_take_request(&c->queue, &request, segments, &bad);
    if (take == QUEUE_BROKEN && !was_broken)
        log_line("mgmt", "%s: broke the queue's protocol: disconnected", c->channel);
    if (take != QUEUE_TAKEN)
        return false;
    if (bad || request.flags != 0)
        queue_complete(&c->queue, request.tag, BH_BAD_ARG, 0, 0);
    else if (request.operation == BH_CONSOLE_WRITE)
        queue_complete(&c->queue, request.tag, BH_OK, 0, take_output(c, &request, segments));
    else if (request.operation == BH_CONSOLE_READ)
        start_read(c, &request, segments);
    else
        queue_complete(&c->queue, request.tag, BH_BAD_CALL, 0, 0);
    return true;
}

void guest_console_service(struct guest_console *c) {
    if (!c->open)
        return;
    for (unsigned i = 0; i < REQUESTS_PER_TURN; i++)
        if (!serve(c))
            break;
    give_input(c);
    publish(c);
    if (!c->retry.set && !queue_sleep(&c->queue))
        loop_post(&c->work);
}

void guest_console_detach(struct guest_console *c) {
    if (c->open && c->line_bytes > 0 && !c->viewer)
        log_one_line(c);
    c->open = false;
    loop_timer_cancel(&c->retry);
    forget_typed(c);
}

/* --- Who looks at it ---------------------------------------------------------------------------
 */

static uint64_t history_begin(const struct guest_console *c) {
    return c->written > CONSOLE_HISTORY_BYTES ? c->written - CONSOLE_HISTORY_BYTES : 0;
}

void guest_console_view(struct guest_console *c, const struct console_viewer *viewer) {
    c->viewer = viewer;
    if (!viewer)
        return;
    c->line_bytes = 0; /* it is in the history */
    uint64_t at = history_begin(c);
    size_t room = viewer->room(viewer->context);
    if (c->written - at > room)
        at = c->written - room;
    for (; at < c->written; at++)
        viewer->show(viewer->context, &c->history[at % CONSOLE_HISTORY_BYTES], 1);
}

void guest_console_log_tail(const struct guest_console *c, unsigned lines) {
    uint64_t begin = history_begin(c), at = c->written;
    while (at > begin && lines > 0)
        if (c->history[--at % CONSOLE_HISTORY_BYTES] == '\n' && at + 1 < c->written)
            if (--lines == 0)
                at++;
    while (at < c->written) {
        char line[CONSOLE_LINE_BYTES];
        int bytes = 0;
        for (; at < c->written && bytes < (int)sizeof(line); at++) {
            char byte = c->history[at % CONSOLE_HISTORY_BYTES];
            if (byte == '\n')
                break;
            line[bytes++] = (char)(byte ? byte : ' ');
        }
        if (at < c->written && c->history[at % CONSOLE_HISTORY_BYTES] == '\n')
            at++;
        log_line(c->name, "| %.*s", bytes, line);
    }
}
