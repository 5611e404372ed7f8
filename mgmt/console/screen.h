/* What a guest may do to the terminal of the person who looks at its console: write, move the
 * cursor, erase, use colours. Nothing that makes a terminal answer (the answer would be typed into
 * whatever is attached next), change its title or its modes; and no frame that a script would take
 * for the host's. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define SCREEN_BYTES_MAX 20u

/* Zeroes are the initial state. */
struct screen {
    char held[SCREEN_BYTES_MAX]; /* a sequence that is not complete */
    uint8_t bytes;
    uint8_t continuations; /* of a UTF-8 character: still to come */
};

/* Takes one byte; writes what is to be shown because of it to `out`, and returns how much. */
size_t screen_show(struct screen *screen, uint8_t byte, char out[SCREEN_BYTES_MAX]);
