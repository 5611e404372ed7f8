/* What hostile guests are made of: queue pairs driven by hand, so that every rule of abi/queue.h
 * can be broken, and a way to say how it went. Nothing of guestlib but its first instruction and
 * the hypercalls.
 *
 * A program is a table of attempts. The definition's command line names those that this guest
 * makes, in order; each prints "NAME ok" or "NAME FAILED, line N" on the console. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/console.h"
#include "abi/control.h"
#include "abi/domain.h"
#include "abi/queue.h"
#include "guestlib/hypercall.h"
#include "guestlib/tsc.h"

struct raw {
    const struct bh_device_info *device;
    struct bh_queue_header *own;
    const struct bh_queue_header *peer;
    uint32_t tail; /* units written here; published by raw_publish */
    uint32_t head; /* completions taken */
};

struct attempt {
    const char *name;
    void (*run)(void);
};

/* Each program's own; ends with an empty name. */
extern const struct attempt attempts[];

extern const struct bh_domain_info *domain;

/* Opened once in a guest's life; NULL: the definition gives no such device. */
struct raw *raw_open(enum bh_class class, unsigned index);
uint8_t *raw_window(const struct raw *q);

void raw_request(struct raw *q, unsigned operation, unsigned segments, unsigned flags, uint32_t tag,
                 uint64_t argument);
void raw_segment(struct raw *q, uint64_t offset, uint32_t bytes);
void raw_unit(struct raw *q, uint64_t first, uint64_t second); /* any unit */
void raw_tail(struct raw *q, uint32_t tail);                   /* stores it and signals */
void raw_publish(struct raw *q);                               /* raw_tail of what was written */

/* Waits for a completion; false after a second, or when the server has disconnected. */
bool raw_take(struct raw *q, struct bh_completion *completion);

/* One request with one segment, and its answer; DISCONNECTED if none came. */
enum bh_status raw_ask(struct raw *q, unsigned operation, uint64_t argument, uint64_t offset,
                       uint32_t bytes);

/* Whether the server disconnects within a second. */
bool raw_broken(struct raw *q);

void sleep_ms(uint64_t ms);
void say(const char *text); /* a line; waits until it is taken */
void say_number(const char *text, uint64_t number);
_Noreturn void leave(uint64_t status); /* tells the host, and stops */

/* A check of the attempt that runs. */
#define expect(condition) expect_at(condition, __LINE__)
void expect_at(bool condition, unsigned line);

uint64_t random_next(void); /* of this start's seed */
