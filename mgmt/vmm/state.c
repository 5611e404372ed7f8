/* See state.h. */
#include "mgmt/vmm/state.h"

#include <string.h>

void state_check(struct state *s, bool good, const char *what) {
    if (!good && !s->wrong)
        s->wrong = what;
}

void state_bytes(struct state *s, void *field, size_t bytes) {
    state_check(s, bytes <= s->left, "the state ends too early");
    if (s->wrong)
        return;
    if (s->loading)
        memcpy(field, s->at, bytes);
    else
        memcpy(s->at, field, bytes);
    s->at += bytes;
    s->left -= bytes;
}

/* A bool that is neither 0 nor 1 must not even be looked at. */
void state_flags(struct state *s, void *flags, size_t bytes) {
    for (uint8_t *flag = flags; bytes > 0; flag++, bytes--) {
        uint8_t value = *flag;
        state_bytes(s, &value, sizeof(value));
        state_check(s, value <= 1, "a flag is neither 0 nor 1");
        if (!s->wrong)
            *flag = value;
    }
}

void state_section(struct state *s, const char *name) {
    uint8_t expected[STATE_SECTION_BYTES] = {STATE_VERSION}, found[STATE_SECTION_BYTES];
    memcpy(expected + 1, name, strnlen(name, sizeof(expected) - 1));
    memcpy(found, expected, sizeof(found));
    if (!s->wrong)
        s->section = name;
    state_bytes(s, found, sizeof(found));
    state_check(s, memcmp(found, expected, sizeof(found)) == 0,
                "another model, or another version, begins here");
}

void state_time(struct state *s, uint64_t *ns) {
    uint64_t now = loop_now_ns(), ago = now - *ns;
    STATE(s, ago);
    *ns = now - ago;
}

void state_timer(struct state *s, struct loop_timer *timer, loop_handler handler, void *context) {
    bool set = timer->set;
    uint64_t due_ns = set ? timer->deadline_ns : loop_now_ns();
    STATE(s, set);
    state_time(s, &due_ns);
    if (s->loading && set && !s->wrong)
        loop_timer_set(timer, due_ns, handler, context);
}
