/* See raw.h. */
#include "test/guest/hostile/raw.h"

const struct bh_domain_info *domain;

static struct raw *console, *control;
static unsigned failed_line;
static uint64_t random_state;

_Noreturn void guest_start(const struct bh_domain_info *info, uint64_t context);
void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memset(void *to, int value, size_t bytes);

/* The compiler may call these. */
void *memcpy(void *restrict to, const void *restrict from, size_t bytes) {
    void *start = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
    return start;
}

void *memset(void *to, int value, size_t bytes) {
    void *start = to;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(value) : "memory");
    return start;
}

/* xorshift */
uint64_t random_next(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* --- Queues ------------------------------------------------------------------------------------
 */

struct raw *raw_open(enum bh_class class, unsigned index) {
    static struct raw opened[BH_DOMAIN_DEVICES_MAX];
    for (unsigned i = 0; i < domain->device_count; i++) {
        const struct bh_device_info *device = &domain->device[i];
        struct raw *q = &opened[i];
        if (device->class != class || device->index != index)
            continue;
        if (q->device)
            return q;
        q->device = device;
        q->own = (struct bh_queue_header *)device->client_va;
        q->peer = (const struct bh_queue_header *)device->server_va;
        q->own->state = BH_QUEUE_OPEN;
        __atomic_store_n(&q->own->generation, q->peer->generation, __ATOMIC_RELEASE);
        return q;
    }
    return NULL;
}

uint8_t *raw_window(const struct raw *q) {
    return (uint8_t *)q->device->window_va;
}

void raw_unit(struct raw *q, uint64_t first, uint64_t second) {
    uint64_t *unit = (uint64_t *)((uintptr_t)q->own + BH_QUEUE_HEADER_BYTES);
    unit += 2 * (q->tail++ & (q->device->client_units - 1));
    unit[0] = first;
    unit[1] = second;
}

void raw_request(struct raw *q, unsigned operation, unsigned segments, unsigned flags, uint32_t tag,
                 uint64_t argument) {
    raw_unit(q,
             (uint8_t)operation | (uint64_t)(uint8_t)segments << 8 |
                 (uint64_t)(uint16_t)flags << 16 | (uint64_t)tag << 32,
             argument);
}

void raw_segment(struct raw *q, uint64_t offset, uint32_t bytes) {
    raw_unit(q, offset, bytes);
}

void raw_tail(struct raw *q, uint32_t tail) {
    __atomic_store_n(&q->own->tail, tail, __ATOMIC_SEQ_CST);
    hc_signal(q->device->signal_slot);
}

void raw_publish(struct raw *q) {
    raw_tail(q, q->tail);
}

static bool disconnected(const struct raw *q) {
    return __atomic_load_n(&q->peer->state, __ATOMIC_ACQUIRE) == BH_QUEUE_BROKEN;
}

/* Until `arrived` is true or a second is over; the server signals when asked to. */
static bool wait_for(struct raw *q, bool (*arrived)(const struct raw *q)) {
    uint64_t end = tsc_read() + domain->tsc_hz;
    while (!arrived(q)) {
        uint64_t bits, group;
        __atomic_store_n(&q->own->wake, q->head, __ATOMIC_SEQ_CST);
        if (arrived(q))
            break;
        if (tsc_read() >= end)
            return false;
        hc_wait(1ull << q->device->event_bit, tsc_read() + domain->tsc_hz / 100, &bits, &group);
    }
    return true;
}

static bool answered(const struct raw *q) {
    return __atomic_load_n(&q->peer->tail, __ATOMIC_ACQUIRE) != q->head || disconnected(q);
}

bool raw_take(struct raw *q, struct bh_completion *completion) {
    if (!wait_for(q, answered) || __atomic_load_n(&q->peer->tail, __ATOMIC_ACQUIRE) == q->head)
        return false;
    const struct bh_completion *units = (const void *)((uintptr_t)q->peer + BH_QUEUE_HEADER_BYTES);
    *completion = units[q->head++ & (q->device->server_units - 1)];
    __atomic_store_n(&q->own->head, q->head, __ATOMIC_RELEASE);
    return true;
}

enum bh_status raw_ask(struct raw *q, unsigned operation, uint64_t argument, uint64_t offset,
                       uint32_t bytes) {
    struct bh_completion completion;
    uint32_t tag = (uint32_t)random_next();
    raw_request(q, operation, 1, 0, tag, argument);
    raw_segment(q, offset, bytes);
    raw_publish(q);
    if (!raw_take(q, &completion) || completion.tag != tag)
        return BH_DISCONNECTED;
    return (enum bh_status)completion.status;
}

bool raw_broken(struct raw *q) {
    return wait_for(q, disconnected);
}

/* --- Speaking ----------------------------------------------------------------------------------
 */

void sleep_ms(uint64_t ms) {
    uint64_t bits, group;
    hc_wait(0, tsc_read() + tsc_from_ns(ms * 1000000, domain->tsc_hz), &bits, &group);
}

void say(const char *text) {
    struct bh_completion ignored;
    uint8_t *window = raw_window(console);
    uint32_t bytes = 0;
    for (; text[bytes]; bytes++)
        window[bytes] = (uint8_t)text[bytes];
    window[bytes++] = '\n';
    raw_request(console, BH_CONSOLE_WRITE, 1, 0, 0, 0);
    raw_segment(console, 0, bytes);
    raw_publish(console);
    raw_take(console, &ignored);
}

static char *append(char *to, const char *text) {
    while (*text)
        *to++ = *text++;
    *to = '\0';
    return to;
}

static char *append_number(char *to, uint64_t number) {
    char digits[21], *first = digits + sizeof(digits) - 1;
    *first = '\0';
    do {
        *--first = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    return append(to, first);
}

void say_number(const char *text, uint64_t number) {
    char line[128];
    append_number(append(line, text), number);
    say(line);
}

void leave(uint64_t status) {
    uint64_t bits, group;
    raw_request(control, BH_CONTROL_EXIT, 0, 0, 0, status);
    raw_publish(control);
    for (;;)
        hc_wait(0, BH_DEADLINE_NEVER, &bits, &group);
}

void expect_at(bool condition, unsigned line) {
    if (!condition && !failed_line)
        failed_line = line;
}

/* --- The program -------------------------------------------------------------------------------
 */

/* Whether the word at `from` is `name`; `end` is where it ends. */
static bool is_word(const char *from, const char *end, const char *name) {
    while (from < end && *name && *from == *name) {
        from++;
        name++;
    }
    return from == end && *name == '\0';
}

static bool make(const struct attempt *a) {
    char line[96];
    failed_line = 0;
    a->run();
    char *end = append(line, a->name);
    if (failed_line)
        append_number(append(end, " FAILED, line "), failed_line);
    else
        append(end, " ok");
    say(line);
    return failed_line == 0;
}

/* A VMM's further Contexts sleep. */
void guest_start(const struct bh_domain_info *info, uint64_t context) {
    uint64_t bits, group;
    while (context != 0)
        hc_wait(0, BH_DEADLINE_NEVER, &bits, &group);
    domain = info;
    random_state = info->seed[0] | 1;
    console = raw_open(BH_CLASS_CONSOLE, 0);
    control = raw_open(BH_CLASS_CONTROL, 0);
    bool good = true;
    const char *at = info->arguments;
    while (*at) {
        const char *end = at;
        while (*end && *end != ' ')
            end++;
        const struct attempt *a = attempts;
        while (a->name && !is_word(at, end, a->name))
            a++;
        good = a->name && make(a) && good;
        at = *end ? end + 1 : end;
    }
    say(good ? "done" : "done, and something FAILED");
    leave(0);
}
