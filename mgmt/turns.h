/* Whose turn it is: a FIFO of clients, the members' memory being the clients' own. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct turn {
    struct turn *next;
    bool waiting; /* is in the FIFO */
};

struct turns {
    struct turn *first, *last;
    size_t count;
};

/* At the end; does nothing if it waits already. */
void turns_append(struct turns *turns, struct turn *turn);

/* The first, taken out; NULL if there is none. */
struct turn *turns_take(struct turns *turns);

/* Takes it out wherever it is; does nothing if it does not wait. Linear in the number of clients.
 */
void turns_remove(struct turns *turns, struct turn *turn);
