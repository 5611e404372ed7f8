/* Console front end: each WRITE carries up to one chunk; one READ is outstanding once somebody
 * listens. */
#include "guestlib/console_front.h"

#include "abi/console.h"
#include "guestlib/front.h"
#include "guestlib/guest.h"
#include "guestlib/tsc.h"

#define CHUNK_BYTES 256u
#define REQUESTS_MAX 32u
#define PATIENCE_NS NS_PER_S

static struct console {
    bool open;
    struct front front;
    unsigned writes; /* in flight */
    bool deaf;       /* it was waited for in vain; until it takes something nobody waits again */
    console_input_handler input; /* NULL: nobody listens */
    void *input_context;
    uint32_t input_chunk;
    bool reading;        /* a READ is in flight */
    uint32_t taken, got; /* text[taken..got) is still to be taken */
    char text[CHUNK_BYTES];
} console;

/* The next READ, if there is room for what it may bring. While the handler runs there is none: one
 * that writes services this front end too, and must not find itself called from there, again and
 * again while somebody types. */
static void ask(struct front *front) {
    if (console.input && !console.reading && console.taken == console.got)
        console.reading = front_submit(front, (struct front_request){
                                                  .operation = BH_CONSOLE_READ,
                                                  .chain = console.input_chunk,
                                              });
}

static void offer(void) {
    console.taken += (uint32_t)console.input(console.input_context, console.text + console.taken,
                                             console.got - console.taken);
}

static void read_completed(const struct bh_completion *completion) {
    console.reading = false;
    if (completion->status != BH_OK || completion->value > sizeof console.text) {
        console.input = NULL; /* a console that answers nonsense is not asked again */
        return;
    }
    window_read(&console.front.window, console.input_chunk, 0, console.text, completion->value);
    console.taken = 0;
    console.got = (uint32_t)completion->value;
    offer();
}

static void completed(struct front *front, const struct front_request *request,
                      const struct bh_completion *completion) {
    if (request->operation == BH_CONSOLE_READ) {
        read_completed(completion);
        return;
    }
    console.writes--;
    window_give(&front->window, request->chain);
}

void console_open(void) {
    static const struct front_class class = {.completed = completed, .room = ask};
    const struct bh_device_info *device = guest_device(BH_CLASS_CONSOLE, 0);
    console = (struct console){0};
    console.open = device && front_open(&console.front, device, &class, REQUESTS_MAX, CHUNK_BYTES);
}

/* Whether another write can be submitted; one tag and one chunk are kept for input. */
static bool has_room(void *unused) {
    (void)unused;
    return front_disconnected(&console.front) ||
           (console.writes + 1 < console.front.tags && console.front.window.free_count > 1);
}

static bool submit_write(const char *text, size_t bytes) {
    console.deaf = !front_wait(&console.front, has_room, NULL, console.deaf ? 0 : PATIENCE_NS);
    if (console.deaf)
        return false;
    uint32_t chain = window_take(&console.front.window, bytes);
    if (chain == WINDOW_NONE)
        return false;
    window_write(&console.front.window, chain, 0, text, bytes);
    if (!front_submit(&console.front, (struct front_request){
                                          .operation = BH_CONSOLE_WRITE,
                                          .chain = chain,
                                      })) {
        window_give(&console.front.window, chain);
        return false;
    }
    console.writes++;
    return true;
}

void console_write(const char *text, size_t bytes) {
    if (!console.open)
        return;
    while (bytes > 0) {
        size_t piece = bytes < CHUNK_BYTES ? bytes : CHUNK_BYTES;
        if (!submit_write(text, piece))
            break;
        text += piece;
        bytes -= piece;
    }
    front_service(&console.front);
}

static bool all_written(void *unused) {
    (void)unused;
    return console.writes == 0;
}

void console_drain(void) {
    if (console.open)
        front_wait(&console.front, all_written, NULL, PATIENCE_NS);
}

bool console_on_input(console_input_handler handler, void *context) {
    if (!console.open)
        return false;
    console.input_chunk = window_take(&console.front.window, CHUNK_BYTES);
    if (console.input_chunk == WINDOW_NONE)
        return false;
    console.input = handler;
    console.input_context = context;
    ask(&console.front);
    return true;
}

void console_input_again(void) {
    if (console.taken == console.got)
        return;
    offer();
    ask(&console.front);
}
