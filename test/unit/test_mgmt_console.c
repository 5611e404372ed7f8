/* What reaches a terminal: log lines, JSON, sizes; and a host console typed at through a fake
 * serial port. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mgmt/console/guest_console.h"
#include "mgmt/console/json.h"
#include "mgmt/console/log.h"
#include "mgmt/console/screen.h"
#include "mgmt/console/terminal.h"
#include "mgmt/platform.h"
#include "mgmt/text.h"

/* --- the serial port ---------------------------------------------------------------------------
 */

static char sent[1 << 16];
static size_t sent_bytes;
static uint8_t ier, scratch;
static char typed[256];
static size_t typed_bytes, typed_taken;
static bool overrun; /* told once */
static bool full;    /* the transmitter does not become empty */
static void (*uart_interrupt)(void *context);

uint32_t port_in(uint16_t port, unsigned width_bytes) {
    assert_int_equal(width_bytes, 1);
    switch (port) {
    case 0x3f8:
        return (uint8_t)typed[typed_taken++];
    case 0x3fa:
        return typed_taken < typed_bytes ? 4 : 1;
    case 0x3fd: {
        uint32_t told = overrun ? 2 : 0;
        overrun = false;
        return told | (full ? 0u : 0x20u) | (typed_taken < typed_bytes ? 1u : 0u);
    }
    case 0x3ff:
        return scratch;
    }
    return 0xff;
}

void port_out(uint16_t port, unsigned width_bytes, uint32_t value) {
    static bool divisor;
    assert_int_equal(width_bytes, 1);
    if (port == 0x3fb)
        divisor = value & 0x80;
    else if (port == 0x3ff)
        scratch = (uint8_t)value;
    else if (port == 0x3f9 && !divisor)
        ier = (uint8_t)value;
    else if (port == 0x3f8 && !divisor)
        sent[sent_bytes++] = (char)value;
}

enum bh_status gsi_open(unsigned gsi, void (*handler)(void *context), void *context) {
    assert_int_equal(gsi, 4);
    assert_null(context);
    uart_interrupt = handler;
    return BH_OK;
}

void event_signal(bh_slot signal) {
    (void)signal;
}

static uint64_t now_ns;
uint64_t loop_now_ns(void) {
    return now_ns;
}
static struct loop_timer *last_timer;
void loop_timer_set(struct loop_timer *timer, uint64_t deadline_ns, loop_handler handler,
                    void *context) {
    *timer = (struct loop_timer){deadline_ns, handler, context, NULL, true};
    last_timer = timer;
}
static void fire_timer(void) {
    assert_non_null(last_timer);
    last_timer->set = false;
    last_timer->handler(last_timer->context);
    last_timer = NULL;
}
void loop_timer_cancel(struct loop_timer *timer) {
    timer->set = false;
}
void loop_post(struct loop_work *work) {
    work->posted = true;
}

static void type(const char *text) {
    typed_bytes = strlen(text);
    typed_taken = 0;
    memcpy(typed, text, typed_bytes);
    uart_interrupt(NULL);
    assert_int_equal(typed_taken, typed_bytes);
}

static char executed[256];
static void execute(char *line) {
    strcpy(executed, line);
}

static int start(void **state) {
    (void)state;
    terminal_start(execute);
    sent_bytes = 0;
    memset(sent, 0, sizeof(sent));
    return 0;
}

/* --- tests -------------------------------------------------------------------------------------
 */

static void test_log_is_escaped(void **state) {
    (void)state;
    log_line("g", "a\033[2Jb\n\x9b%s", "c");
    assert_string_equal(sent, "g: a\\x1b[2Jb\\x0a\\x9bc\r\n");
    char text[4096] = "";
    uint64_t position = 0;
    size_t bytes = log_read(&position, text, sizeof(text));
    assert_true(bytes > 0 && bytes < sizeof(text));
    for (size_t i = 0; i < bytes; i++)
        assert_true(text[i] == '\n' || (text[i] >= ' ' && text[i] < 0x7f));
    assert_int_equal(log_read(&position, text, sizeof(text)), 0);
}

static void test_a_long_log(void **state) {
    (void)state;
    char long_line[2000];
    memset(long_line, '\001', sizeof(long_line) - 1);
    long_line[sizeof(long_line) - 1] = '\0';
    for (unsigned i = 0; i < 1000; i++) {
        sent_bytes = 0;
        log_line("g", "%s", long_line);
        assert_true(sent_bytes <= LOG_LINE_BYTES + 2);
    }
    uint64_t position = 0;
    char piece[1000];
    size_t bytes, sum = 0;
    while ((bytes = log_read(&position, piece, sizeof(piece))) > 0)
        sum += bytes;
    assert_int_equal(sum, 65536);
    uart_interrupt(NULL);
}

static void put(void *context, const char *text, size_t bytes) {
    strncat(context, text, bytes);
}

static void test_json(void **state) {
    (void)state;
    char text[512] = "";
    struct json j;
    json_begin(&j, put, text);
    json_string(&j, "a", "q\"b\\\033\xc3");
    json_array(&j, "l");
    json_number(&j, NULL, 18446744073709551615ull);
    json_object(&j, NULL);
    json_bool(&j, "t", true);
    json_object_end(&j);
    json_array_end(&j);
    json_object(&j, "empty");
    json_object_end(&j);
    json_end(&j);
    assert_string_equal(text, "\x1e{\"a\":\"q\\\"b\\\\\\u001b\\u00c3\","
                              "\"l\":[18446744073709551615,{\"t\":true}],\"empty\":{}}\n");
}

static void test_sizes(void **state) {
    (void)state;
    char out[24];
    assert_string_equal(text_size(out, 0), "0 bytes");
    assert_string_equal(text_size(out, 4096), "4 KiB");
    assert_string_equal(text_size(out, 3973165056), "3.7 GiB");
    assert_string_equal(text_size(out, 1023), "1023 bytes");
}

static void test_editing(void **state) {
    (void)state;
    type("lisx\bt  a\027\025info webd\r");
    assert_string_equal(executed, "info webd");
    type("\033[A\r");
    assert_string_equal(executed, "info webd");
    type("half\003\033[Zlist\r");
    assert_string_equal(executed, "list");
    type("\033[A\033[A\r");
    assert_string_equal(executed, "info webd");
    for (unsigned i = 0; i < 10; i++)
        type("0123456789012345678901234567890123456789");
    type("\r");
    assert_int_equal(strlen(executed), 255);
}

static void test_output_waits_for_the_port(void **state) {
    (void)state;
    full = true;
    terminal_print("later\n");
    assert_int_equal(sent_bytes, 0);
    assert_int_equal(ier, 3);
    full = false;
    uart_interrupt(NULL);
    assert_string_equal(sent, "later\r\n");
    assert_int_equal(ier, 1);
}

/* A guest's console over a queue pair, as in domain.c. */
static _Alignas(64) uint8_t server_memory[4096], client_memory[4096], window[8192];
static struct guest_console console;
static struct queue_end client;

static void open_console(void) {
    memset(&console, 0, sizeof(console));
    memset(server_memory, 0, sizeof(server_memory));
    memset(client_memory, 0, sizeof(client_memory));
    struct channel channel = {
        .own = (struct bh_queue_header *)(void *)server_memory,
        .peer = (const struct bh_queue_header *)(void *)client_memory,
        .own_units = 64,
        .peer_units = 128,
        .window = window,
        .window_bytes = sizeof(window),
        .generation = 1,
    };
    assert_int_equal(guest_console_attach(&console, &channel, "g"), BH_OK);
    assert_int_equal(queue_client_open(&client, (struct bh_queue_header *)(void *)client_memory,
                                       128, (struct bh_queue_header *)(void *)server_memory, 64,
                                       sizeof(window)),
                     BH_OK);
}

static void submit(uint8_t operation, const char *text, uint32_t bytes) {
    struct bh_segment segment = {.offset = 64, .bytes = bytes};
    if (text)
        memcpy(window + 64, text, bytes);
    assert_true(
        queue_push(&client, &(struct bh_request){.operation = operation, .segments = 1}, &segment));
    queue_publish(&client);
    guest_console_service(&console);
}

static void test_raw_only_when_attached(void **state) {
    (void)state;
    static const char clear[] = "\033[2J\n";
    struct bh_completion completion;
    open_console();
    submit(0, clear, sizeof(clear) - 1);
    assert_null(memchr(sent, '\033', sent_bytes));
    assert_non_null(strstr(sent, "g: \\x1b[2J"));
    assert_true(queue_take_completion(&client, &completion));

    sent_bytes = 0;
    terminal_attach(&console, "g");
    assert_non_null(strstr(sent, clear)); /* the history */
    submit(1, NULL, 16);
    assert_false(queue_take_completion(&client, &completion));
    type("hi");
    assert_true(queue_take_completion(&client, &completion));
    assert_int_equal(completion.value, 1); /* each key as it comes */
    assert_int_equal(window[64], 'h');
    type("\035");
    assert_null(console.viewer);
    submit(1, NULL, 16);
    assert_true(queue_take_completion(&client, &completion));
    assert_int_equal(window[64], 'i');
}

/* What `text` makes a terminal show. */
static void shows(const char *text, const char *wanted) {
    struct screen screen = {0};
    char shown[256];
    size_t bytes = 0;
    for (; *text; text++)
        bytes += screen_show(&screen, (uint8_t)*text, shown + bytes);
    shown[bytes] = '\0';
    assert_string_equal(shown, wanted);
}

static void test_a_screen(void **state) {
    (void)state;
    shows("a\tb\r\n\a\b", "a\tb\r\n\a\b");
    shows("\033[1;31mred\033[0m\033[2J\033[10;20H", "\033[1;31mred\033[0m\033[2J\033[10;20H");
    shows("\303\244\342\202\254\360\237\230\200", "\303\244\342\202\254\360\237\230\200");
    shows("\033[c\033[6nx", "x");       /* reports */
    shows("\033[?25l\033[4hx", "25lx"); /* modes */
    shows("\033]0;title\a", "0;title\a");
    shows("\033Pq\033\\x\033cy", "qxy");
    shows("\2336n\220\302\2336n\036{}\177\001", "6n6n{}");
    shows("\033[1;2;3;4;5;6;7;8;9;10;11;12mx", "0;11;12mx"); /* too long: dropped */
    shows("\302\033[6n", "[6n");
    shows("\303\303\244", "");
}

static void test_a_flooding_console(void **state) {
    (void)state;
    char lines[1000];
    memset(lines, '\n', sizeof(lines));
    open_console();
    struct bh_completion completion;
    for (unsigned i = 0; i < 20; i++) {
        submit(0, lines, sizeof(lines));
        assert_true(queue_take_completion(&client, &completion));
    }
    unsigned shown = 0;
    for (size_t i = 0; i < sent_bytes; i++)
        shown += sent[i] == '\n';
    assert_true(shown >= 50 && shown < 60);
    now_ns += 1000000000;
    submit(0, "x\n", 2);
    assert_non_null(strstr(sent, "lines left out"));
}

static void test_a_write_that_is_too_long(void **state) {
    (void)state;
    struct bh_completion completion;
    open_console();
    submit(0, NULL, 5000);
    assert_true(queue_take_completion(&client, &completion));
    assert_int_equal(completion.status, BH_OK);
    assert_int_equal(completion.value, 1024);
}

static char typed_ahead(uint32_t i) {
    return (char)('a' + (i * 7 + i / 251) % 26);
}

static void type_ahead(uint32_t bytes) {
    for (uint32_t i = 0; i < bytes; i++) {
        char byte = typed_ahead(i);
        guest_console_type(&console, &byte, 1);
    }
}

/* A guest reads late: nothing is lost that there is memory for, and how much beyond that is said.
 */
static void test_typing_ahead(void **state) {
    (void)state;
    struct bh_completion completion;
    open_console();
    type_ahead(CONSOLE_TYPED_BYTES + 100);
    assert_null(strstr(sent, "lost"));
    fire_timer();
    assert_non_null(strstr(sent, "guest g does not read what is typed: 100 characters are lost"));
    for (uint32_t got = 0; got < CONSOLE_TYPED_BYTES; got += completion.value) {
        submit(1, NULL, 1000);
        assert_true(queue_take_completion(&client, &completion));
        assert_int_equal(completion.value, got < 65000 ? 1000 : 536);
        for (uint32_t i = 0; i < completion.value; i++)
            assert_int_equal(window[64 + i], typed_ahead(got + i));
    }
    submit(1, NULL, 1000);
    assert_false(queue_take_completion(&client, &completion));
    guest_console_detach(&console);
}

static void test_typing_to_another(void **state) {
    (void)state;
    static struct guest_console other = {.open = true, .name = "other"};
    struct bh_completion completion;
    open_console();
    type_ahead(10);
    guest_console_type(&other, "x", 1); /* each keeps its own */
    guest_console_type(&console, "y", 1);
    submit(1, NULL, 1000);
    assert_true(queue_take_completion(&client, &completion));
    assert_int_equal(completion.value, 11);
    assert_int_equal(window[64 + 10], 'y');
    free(other.typed);
    other.typed = NULL;
    type_ahead(10);
    guest_console_detach(&console);
    sent_bytes = 0;
    open_console(); /* it starts anew: what was typed is for nobody */
    submit(1, NULL, 1000);
    assert_false(queue_take_completion(&client, &completion));
    guest_console_detach(&console);
}

static void test_an_overrun_line(void **state) {
    (void)state;
    overrun = true;
    uart_interrupt(NULL);
    uart_interrupt(NULL);
    overrun = true;
    uart_interrupt(NULL);
    fire_timer();
    assert_non_null(strstr(sent, "the serial line was read too late 2 times"));
    assert_null(last_timer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_log_is_escaped, start),
        cmocka_unit_test_setup(test_a_long_log, start),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test_setup(test_editing, start),
        cmocka_unit_test_setup(test_output_waits_for_the_port, start),
        cmocka_unit_test_setup(test_raw_only_when_attached, start),
        cmocka_unit_test(test_a_screen),
        cmocka_unit_test_setup(test_a_flooding_console, start),
        cmocka_unit_test_setup(test_a_write_that_is_too_long, start),
        cmocka_unit_test_setup(test_typing_ahead, start),
        cmocka_unit_test_setup(test_typing_to_another, start),
        cmocka_unit_test_setup(test_an_overrun_line, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
