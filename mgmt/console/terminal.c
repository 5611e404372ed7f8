#include "mgmt/console/terminal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "mgmt/console/log.h"
#include "mgmt/console/screen.h"
#include "mgmt/console/uart.h"

#define LINE_BYTES 256u
#define HISTORY_LINES 16u
#define PROMPT "bulkhead> "
#define CONTROL(letter) ((letter)&0x1f)
#define DELETE 0x7f
#define DETACH CONTROL(']')

enum escape_state { ESCAPE_NONE, ESCAPE_ESC, ESCAPE_BRACKET };

static struct {
    void (*execute)(char *line);
    bool prompt;    /* shown when nothing runs */
    bool executing; /* the cursor is in a command's output */
    char line[LINE_BYTES];
    size_t bytes;
    enum escape_state escape;
    char history[HISTORY_LINES][LINE_BYTES]; /* a ring */
    unsigned history_count;                  /* lines ever entered */
    unsigned history_at;                     /* shown; history_count: the line being typed */
    struct guest_console *guest;             /* attached to; NULL: none */
    struct screen screen;                    /* of that guest */
    unsigned lines_left_out;                 /* of the log: the serial line was too slow */
} terminal;

static void put(const char *text) {
    uart_write(text, strlen(text));
}

static void show_line(void) {
    if (!terminal.prompt)
        return;
    put(PROMPT);
    uart_write(terminal.line, terminal.bytes);
}

/* ECMA-48: carriage return, then EL, erase to the end of the line. */
static void hide_line(void) {
    if (terminal.prompt)
        put("\r\033[K");
}

void terminal_raw(void *unused, const char *text, size_t bytes) {
    (void)unused;
    uart_write(text, bytes);
}

void terminal_print(const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    for (const char *c = text; *c; c++) {
        if (*c == '\n')
            put("\r");
        uart_write(c, 1);
    }
}

/* Half of what waits to be sent is for answers to commands: a flood of lines must not cut them. */
static bool log_fits(void) {
    if (uart_room() < UART_QUEUE_BYTES / 2) {
        terminal.lines_left_out++;
        return false;
    }
    if (terminal.lines_left_out) {
        unsigned count = terminal.lines_left_out;
        terminal.lines_left_out = 0;
        log_line("mgmt", "%u lines are not shown; see `log`", count);
    }
    return true;
}

static void on_log_line(void *context, const char *line, size_t bytes) {
    (void)context;
    if (!log_fits())
        return;
    bool editing = !terminal.guest && !terminal.executing;
    if (terminal.guest)
        put("\r\n");
    if (editing)
        hide_line();
    uart_write(line, bytes);
    put("\r\n");
    if (editing)
        show_line();
}

/* --- Attached to a guest -----------------------------------------------------------------------
 */

static size_t viewer_room(void *context) {
    (void)context;
    return uart_room() / 2; /* the host has something to say, too */
}

static void viewer_show(void *context, const char *text, size_t bytes) {
    (void)context;
    for (size_t i = 0; i < bytes; i++) {
        char shown[SCREEN_BYTES_MAX];
        uart_write(shown, screen_show(&terminal.screen, (uint8_t)text[i], shown));
    }
}

static const struct console_viewer viewer = {.room = viewer_room, .show = viewer_show};

void terminal_attach(struct guest_console *console, const char *name) {
    terminal_print("attached to %s; Ctrl-] leaves\n", name);
    terminal.guest = console;
    terminal.screen = (struct screen){0};
    guest_console_view(console, &viewer);
}

static void detach(void) {
    guest_console_view(terminal.guest, NULL);
    terminal.guest = NULL;
    /* ECMA-48: SGR 0, in case the guest left colours behind. */
    put("\033[0m\r\ndetached\r\n");
    show_line();
}

/* --- Editing -----------------------------------------------------------------------------------
 */

static void replace_line(const char *text) {
    hide_line();
    terminal.bytes = strlen(text);
    memcpy(terminal.line, text, terminal.bytes);
    show_line();
}

static void recall(bool older) {
    unsigned oldest =
        terminal.history_count > HISTORY_LINES ? terminal.history_count - HISTORY_LINES : 0;
    if (older && terminal.history_at > oldest)
        terminal.history_at--;
    else if (!older && terminal.history_at < terminal.history_count)
        terminal.history_at++;
    replace_line(terminal.history_at < terminal.history_count
                     ? terminal.history[terminal.history_at % HISTORY_LINES]
                     : "");
}

static void enter(void) {
    char line[LINE_BYTES];
    memcpy(line, terminal.line, terminal.bytes);
    line[terminal.bytes] = '\0';
    if (terminal.bytes > 0)
        memcpy(terminal.history[terminal.history_count++ % HISTORY_LINES], line,
               terminal.bytes + 1);
    terminal.history_at = terminal.history_count;
    terminal.bytes = 0;
    put("\r\n");
    terminal.executing = true;
    terminal.execute(line);
    terminal.executing = false;
    if (!terminal.guest)
        show_line();
}

static void erase(void) {
    if (terminal.bytes == 0)
        return;
    terminal.bytes--;
    put("\b \b");
}

static void erase_word(void) {
    while (terminal.bytes > 0 && terminal.line[terminal.bytes - 1] == ' ')
        erase();
    while (terminal.bytes > 0 && terminal.line[terminal.bytes - 1] != ' ')
        erase();
}

/* Cursor keys (ECMA-48: ESC [ A and B) go through the history; other sequences are swallowed. A
 * control character ends one that was cut off, and means what it always does. */
static bool in_escape(char byte) {
    if ((uint8_t)byte < ' ')
        terminal.escape = ESCAPE_NONE;
    switch (terminal.escape) {
    case ESCAPE_NONE:
        if (byte != '\033')
            return false;
        terminal.escape = ESCAPE_ESC;
        return true;
    case ESCAPE_ESC:
        terminal.escape = byte == '[' ? ESCAPE_BRACKET : ESCAPE_NONE;
        return true;
    case ESCAPE_BRACKET:
        if (byte >= 0x40) /* a final byte */
            terminal.escape = ESCAPE_NONE;
        if (byte == 'A' || byte == 'B')
            recall(byte == 'A');
        return true;
    }
    return false;
}

static void edit(char byte) {
    if (in_escape(byte))
        return;
    switch (byte) {
    case '\r':
    case '\n':
        enter();
        break;
    case '\b':
    case DELETE:
        erase();
        break;
    case CONTROL('W'):
        erase_word();
        break;
    case CONTROL('U'):
    case CONTROL('C'):
        replace_line("");
        break;
    default:
        if (byte >= ' ' && byte < DELETE && terminal.bytes < LINE_BYTES - 1) {
            terminal.line[terminal.bytes++] = byte;
            uart_write(&byte, 1);
        }
    }
}

static void on_input(void *context, char byte) {
    (void)context;
    if (!terminal.guest)
        edit(byte);
    else if (byte == DETACH)
        detach();
    else
        guest_console_type(terminal.guest, &byte, 1);
}

void terminal_start(void (*execute)(char *line)) {
    terminal.execute = execute;
    log_on_line(on_log_line, NULL);
    uart_start(on_input, NULL);
}

void terminal_prompt(void) {
    terminal.prompt = true;
    show_line();
}
