#include "guestlib/lwip/inbox.h"

#include <stdlib.h>

struct inbox_part {
    struct inbox_part *next;
    struct pbuf *p;
};

bool inbox_put(struct inbox *inbox, struct pbuf *p) {
    struct inbox_part *part = malloc(sizeof *part);
    if (!part)
        return false;
    *part = (struct inbox_part){NULL, p};
    if (inbox->first)
        inbox->last->next = part;
    else
        inbox->first = part;
    inbox->last = part;
    return true;
}

const void *inbox_peek(const struct inbox *inbox, size_t *bytes) {
    *bytes = inbox->first ? inbox->first->p->len : 0;
    return inbox->first ? inbox->first->p->payload : NULL;
}

void inbox_drop(struct inbox *inbox, struct tcp_pcb *pcb, size_t bytes) {
    struct inbox_part *part = inbox->first;
    if (pcb)
        tcp_recved(pcb, (u16_t)bytes);
    part->p = pbuf_free_header(part->p, (u16_t)bytes);
    if (part->p)
        return;
    inbox->first = part->next;
    free(part);
}

void inbox_clear(struct inbox *inbox, struct tcp_pcb *pcb) {
    size_t bytes;
    while (inbox_peek(inbox, &bytes))
        inbox_drop(inbox, pcb, bytes);
}
