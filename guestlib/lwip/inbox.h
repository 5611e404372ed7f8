/* What a TCP connection has received and its owner has not used yet. The window opens as bytes are
 * dropped, so a peer that sends more than is used has to wait. (lwIP's pbuf_cat counts in 16 bits,
 * which a window of 256 KiB overflows.) */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lwip/tcp.h"

struct inbox_part;
struct inbox {
    struct inbox_part *first, *last;
};

/* Takes the pbuf over. False: no memory, p is still the caller's. */
bool inbox_put(struct inbox *inbox, struct pbuf *p);

/* The first bytes that lie together in memory; NULL if there are none. */
const void *inbox_peek(const struct inbox *inbox, size_t *bytes);

/* Drops bytes that inbox_peek gave and tells the peer, unless pcb is NULL. */
void inbox_drop(struct inbox *inbox, struct tcp_pcb *pcb, size_t bytes);

/* Drops everything. */
void inbox_clear(struct inbox *inbox, struct tcp_pcb *pcb);
