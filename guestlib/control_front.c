/* Control front end. */
#include "guestlib/control_front.h"

#include "guestlib/front.h"
#include "guestlib/guest.h"
#include "guestlib/tsc.h"

#define REQUESTS_MAX 4u /* LISTEN, READY, EXIT, TIME */
/* No request of this class has buffers; the window is a VMM's statistics. */
#define CHUNK_BYTES 64u

static struct {
    bool open;
    bool exit_known;
    struct front front;
    void (*shutdown)(void *context);
    void *shutdown_context;
    void (*save)(void);
    void (*time)(void *context, uint64_t wall_ns_at_tsc_0);
    void *time_context;
} control;

static bool submit(enum bh_control_operation operation, uint64_t argument) {
    return control.open && front_submit(&control.front, (struct front_request){
                                                            .operation = (uint8_t)operation,
                                                            .argument = argument,
                                                            .chain = WINDOW_NONE,
                                                        });
}

static void listen_completed(const struct bh_completion *completion) {
    if (completion->status != BH_OK)
        return; /* the host does not talk to us any more */
    submit(BH_CONTROL_LISTEN, 0);
    if (completion->flags == BH_CONTROL_SAVE && control.save)
        control.save();
    if (completion->flags != BH_CONTROL_SHUTDOWN)
        return; /* requests of later versions are no reason to fail */
    if (control.shutdown)
        control.shutdown(control.shutdown_context);
    else
        loop_stop(0);
}

static void completed(struct front *front, const struct front_request *request,
                      const struct bh_completion *completion) {
    (void)front;
    switch (request->operation) {
    case BH_CONTROL_LISTEN:
        listen_completed(completion);
        break;
    case BH_CONTROL_EXIT:
        control.exit_known = true;
        break;
    case BH_CONTROL_TIME:
        if (completion->status == BH_OK)
            control.time(control.time_context, completion->value);
        control.time = NULL;
        break;
    default: /* READY: nothing to learn */
        break;
    }
}

void control_open(void) {
    static const struct front_class class = {.completed = completed};
    const struct bh_device_info *device = guest_device(BH_CLASS_CONTROL, 0);
    control.open = device && front_open(&control.front, device, &class, REQUESTS_MAX, CHUNK_BYTES);
    submit(BH_CONTROL_LISTEN, 0);
}

void control_on_shutdown(void (*handler)(void *context), void *context) {
    control.shutdown = handler;
    control.shutdown_context = context;
}

void control_on_save(void (*handler)(void)) {
    control.save = handler;
}

void control_ready(void) {
    submit(BH_CONTROL_READY, 0);
}

static bool exit_known(void *unused) {
    (void)unused;
    return control.exit_known || front_disconnected(&control.front);
}

static void end(uint64_t argument) {
    if (submit(BH_CONTROL_EXIT, argument))
        front_wait(&control.front, exit_known, NULL, NS_PER_S);
}

void control_exit(int status) {
    end(BH_CONTROL_EXIT_ARGUMENT(BH_CAUSE_STATUS, status));
}

void control_end(enum bh_control_cause cause) {
    end(BH_CONTROL_EXIT_ARGUMENT(cause, 0));
}

bool control_ask_time(void (*handler)(void *context, uint64_t wall_ns_at_tsc_0), void *context) {
    if (control.time || !submit(BH_CONTROL_TIME, 0))
        return false;
    control.time = handler;
    control.time_context = context;
    return true;
}
