/* In mgmt's place, as a server that lies: mgmt's own objects, with what publishes completions
 * wrapped. Whom it lies to and how says the guest's name, which ends in CLASS-LIE ("block-twice",
 * "vm-net-garbage"): about that guest's devices of that class. It is honest at first, so that there
 * is something to lie about, but not to guests with "early" in their names, and to all others for
 * ever. Some lies are told when the server answers, others at any time, between any two of the
 * guest's instructions. */
#include <string.h>

#include "guestlib/loop.h"
#include "guestlib/queue.h"
#include "mgmt/domain/domain.h"
#include "mgmt/hv.h"

#define HONEST_ANSWERS 20u
#define PERIOD_NS 300000u
#define QUEUES_MAX 512u

enum lie {
    /* with an answer */
    LIE_TWICE,       /* the last completion again */
    LIE_UNASKED,     /* for a request that was never made */
    LIE_AHEAD,       /* more completions than requests */
    LIE_BACKWARDS,   /* the index goes back */
    LIE_TAKEN,       /* it took requests that were never published, or gives some back */
    LIE_VALUES,      /* lengths beyond all buffers */
    LIE_STATUSES,    /* unknown statuses and flags */
    LIE_GENERATIONS, /* a new server each time */
    LIE_SILENCE,     /* no answer */
    LIE_TYPING,      /* somebody types without end */
    /* at any time */
    LIE_GARBAGE,     /* in everything it may write of the queue */
    LIE_WINDOW,      /* in the window */
    LIE_STORM,       /* Events without a reason */
    LIE_INFORMATION, /* the devices are elsewhere, so its page says now, and there is a new server
                      */
    LIES,
};

static const char *const lie_names[LIES] = {
    "twice",       "unasked", "ahead",  "backwards", "taken",  "values", "statuses",
    "generations", "silence", "typing", "garbage",   "window", "storm",  "information"};
static const char *const class_names[] = {[BH_CLASS_CONTROL] = "control",
                                          [BH_CLASS_CONSOLE] = "console",
                                          [BH_CLASS_BLOCK] = "block",
                                          [BH_CLASS_NET] = "net"};

struct victim {
    struct domain *domain;
    uint32_t device;
    enum lie lie;
    struct channel channel;
};

bool __real_queue_publish(struct queue_end *q);
bool __wrap_queue_publish(struct queue_end *q);

/* xorshift */
static uint64_t random_next(void) {
    static uint64_t state = 0x9e3779b97f4a7c15ull;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* --- Who is lied to ----------------------------------------------------------------------------
 */

static bool ends_with(const char *name, const char *class, const char *lie) {
    size_t bytes = strlen(name), lie_bytes = strlen(lie), tail = strlen(class) + 1 + lie_bytes;
    return bytes >= tail && strcmp(name + bytes - lie_bytes, lie) == 0 &&
           strncmp(name + bytes - tail, class, strlen(class)) == 0;
}

static bool find_lie(const struct domain *d, enum bh_class class, enum lie *lie) {
    for (unsigned i = 0; i < LIES; i++) {
        *lie = (enum lie)i;
        if (ends_with(d->definition.name, class_names[class], lie_names[i]))
            return true;
    }
    return false;
}

/* False: it is not lied to about this device. */
static bool is_victim(struct domain *d, uint32_t device, struct victim *out) {
    if (!d->built || !find_lie(d, d->shared.device[device].class, &out->lie))
        return false;
    out->domain = d;
    out->device = device;
    out->channel = domain_channel(d, device);
    return true;
}

static bool find_victim(const struct queue_end *q, struct victim *out) {
    struct domain *d;
    for (uint32_t i = 0; (d = domain_at(i)); i++)
        for (uint32_t device = 0; device < d->shared.devices; device++)
            if (is_victim(d, device, out) && out->channel.own == q->own)
                return true;
    return false;
}

/* Whether this queue has had its honest answers. */
static bool honesty_ends(const struct victim *v) {
    static struct {
        const void *queue;
        unsigned answers;
    } counted[QUEUES_MAX];
    unsigned i = 0;
    while (counted[i].queue && counted[i].queue != v->channel.own)
        if (++i == QUEUES_MAX)
            return true;
    counted[i].queue = v->channel.own;
    return strstr(v->domain->definition.name, "early") || ++counted[i].answers > HONEST_ANSWERS;
}

/* --- Lies --------------------------------------------------------------------------------------
 */

static struct bh_completion *unit(const struct victim *v, uint32_t index) {
    struct bh_completion *units =
        (void *)((uint8_t *)(void *)v->channel.own + BH_QUEUE_HEADER_BYTES);
    return &units[index & (v->channel.own_units - 1)];
}

static void wake(const struct victim *v) {
    hv_signal(v->channel.signal);
}

static struct bh_completion any_completion(void) {
    uint64_t r = random_next();
    return (struct bh_completion){.tag = r & 7 ? r >> 8 & 63 : (uint32_t)(r >> 8),
                                  .status = r >> 40 & 7 ? BH_OK : (uint16_t)(r >> 44),
                                  .flags = (uint16_t)(r >> 48),
                                  .value = r >> 60 & 3 ? r >> 32 & 4095 : random_next()};
}

/* Changes answers that are not published yet. */
static void change_answers(const struct victim *v, const struct queue_end *q) {
    for (uint32_t i = q->published; i != q->tail; i++) {
        if (v->lie == LIE_VALUES) {
            unit(v, i)->value = random_next() & 1 ? random_next() : UINT64_MAX;
        } else {
            unit(v, i)->status = (uint16_t)random_next();
            unit(v, i)->flags = (uint16_t)random_next();
        }
    }
}

static void type_without_end(const struct victim *v) {
    static char text[256];
    static bool typing; /* that publishes, too */
    if (typing)
        return;
    typing = true;
    memset(text, 'x', sizeof(text));
    guest_console_type(&v->domain->console, text, sizeof(text));
    typing = false;
}

static void lie_after(const struct victim *v, const struct queue_end *q) {
    struct bh_queue_header *own = v->channel.own;
    switch (v->lie) {
    case LIE_TWICE:
        *unit(v, q->tail) = *unit(v, q->tail - 1);
        own->tail = q->tail + 1;
        break;
    case LIE_UNASKED:
        *unit(v, q->tail) = (struct bh_completion){.tag = (uint32_t)random_next()};
        own->tail = q->tail + 1;
        break;
    case LIE_AHEAD:
        own->tail = q->tail + 1 + (uint32_t)(random_next() & 0xfffff);
        break;
    case LIE_BACKWARDS:
        own->tail = q->tail - 1 - (uint32_t)(random_next() & 15);
        break;
    case LIE_TAKEN:
        own->head = q->head + (random_next() & 1 ? 1 : -1) * (uint32_t)(1 + random_next() % 9000);
        break;
    case LIE_GENERATIONS:
        own->generation++;
        break;
    default:
        return;
    }
    wake(v);
}

static void scribble(const struct victim *v) {
    struct bh_queue_header *own = v->channel.own;
    uint64_t r = random_next();
    for (unsigned i = 0; i < (r & 15); i++)
        *unit(v, (uint32_t)random_next()) = any_completion();
    switch (r >> 8 & 7) {
    case 0:
        own->tail += (uint32_t)(r >> 16 & 3);
        break;
    case 1:
        own->head += (uint32_t)(r >> 16 & 7) - 3;
        break;
    case 2:
        own->generation += (uint32_t)(r >> 16 & 1);
        break;
    case 3:
        own->wake = (uint32_t)(r >> 16);
        break;
    case 4:
        own->state = (uint32_t)(r >> 16 & 3);
        break;
    case 5:
        if ((r >> 16 & 63) == 0) /* ends it nearly always */
            own->tail = (uint32_t)(r >> 32);
        break;
    default:
        break;
    }
}

/* Not before it has read it: who builds a guest can give it any page at its start. */
static void rewrite_information(const struct victim *v) {
    struct bh_domain_info *info = domain_info_page(v->domain);
    struct bh_device_info *device = &info->device[v->device];
    if (!v->domain->ready)
        return;
    device->client_va = BH_IMAGE_VA; /* its text, where a store is a fault */
    device->server_va = info->heap_va;
    device->window_va = info->ram_va;
    device->client_units = device->server_units = 1u << (random_next() % 13);
    device->window_bytes = random_next();
    device->event_bit = (uint32_t)random_next() & 63;
    device->signal_slot = (uint32_t)random_next() & 63;
    info->device_count = (uint32_t)random_next();
    info->tsc_hz = random_next();
    v->channel.own->generation++;
}

static void lie_at_any_time(const struct victim *v) {
    switch (v->lie) {
    case LIE_GARBAGE:
        scribble(v);
        break;
    case LIE_WINDOW:
        for (unsigned i = 0; i < 64; i++)
            v->channel.window[random_next() % v->channel.window_bytes] = (uint8_t)random_next();
        break;
    case LIE_STORM:
        for (unsigned i = 0; i < 8; i++)
            wake(v);
        break;
    case LIE_INFORMATION:
        rewrite_information(v);
        break;
    default:
        return;
    }
    wake(v);
}

static void tick(void *timer) {
    struct domain *d;
    for (uint32_t i = 0; (d = domain_at(i)); i++)
        for (uint32_t device = 0; device < d->shared.devices; device++) {
            struct victim v;
            if (d->state == DOMAIN_RUNNING && is_victim(d, device, &v) && honesty_ends(&v))
                lie_at_any_time(&v);
        }
    loop_timer_set(timer, loop_now_ns() + PERIOD_NS, tick, timer);
}

bool __wrap_queue_publish(struct queue_end *q) {
    static struct loop_timer timer;
    struct victim v;
    if (!timer.set)
        loop_timer_set(&timer, loop_now_ns() + PERIOD_NS, tick, &timer);
    if (!find_victim(q, &v))
        return __real_queue_publish(q);
    if (v.lie == LIE_TYPING)
        type_without_end(&v);
    if (!honesty_ends(&v))
        return __real_queue_publish(q);
    if (v.lie == LIE_SILENCE)
        return false;
    if (v.lie == LIE_VALUES || v.lie == LIE_STATUSES)
        change_answers(&v, q);
    bool asked = __real_queue_publish(q);
    lie_after(&v, q);
    return asked;
}
