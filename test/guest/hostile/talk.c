/* Hostile use of the console and of the control channel. */
#include "test/guest/hostile/raw.h"

static struct raw *q;

static void write_bytes(const void *bytes, uint32_t count) {
    const uint8_t *from = bytes;
    for (uint32_t i = 0; i < count; i++)
        raw_window(q)[i] = from[i];
    expect(raw_ask(q, BH_CONSOLE_WRITE, 0, 0, count) == BH_OK);
}

static void write_text(const char *text) {
    uint32_t bytes = 0;
    while (text[bytes])
        bytes++;
    write_bytes(text, bytes);
}

/* What must reach nobody's terminal: colours, titles, reports, a cleared screen, lines that look
 * like the host's, records that look like its answers. */
static void lies(void) {
    static const char *const texts[] = {
        "\nhv: panic: forged\n",
        "\rhv: panic: forged\r",
        "\r\nmgmt: guest webd crashed: forged\r\n",
        "\ninit: mgmt faulted: vector forged\n",
        "\033[2J\033[H\033]0;forged\a\033[c\033[6n\033P$q\"p\033\\\n",
        "\x9b"
        "31m\x90q\x9c\xc2\x9b"
        "31m\n",
        "\n\x1e{\"command\":\"list\",\"ok\":true,\"guests\":[]}\n",
        "\x1e\n\x1e\x1e{}\n",
        "bulkhead> poweroff\n",
        "\b\b\b\b\b\b\b\b\b\b\b\b\b\b\b\b\x7f\x7f\x7f\x7fhv: panic: forged\n",
    };
    q = raw_open(BH_CLASS_CONSOLE, 0);
    for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        write_text(texts[i]);
    uint8_t all[256];
    for (unsigned i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    write_bytes(all, sizeof(all));
    write_text("\n");
}

/* The same without lines that look like the host's: whoever attaches knows whose lines he sees. */
static void escapes(void) {
    static const char *const texts[] = {
        "plain \033[31mred\033[0m \xc3\xa4\n",
        "\033[c\033[6n\033[>q\033]0;forged\a\033P$q\"p\033\\\033[21t\033[?1049h\033c\n",
        "\x9b"
        "6n\x90q\x9c\xc2\x9b"
        "6n\n",
        "\x1e{\"command\":\"list\",\"ok\":true,\"guests\":[]}\n",
        "\033[1;2;3;4;5;6;7;8;9;10;11;12m\033[\033[6n\xc2\033[6n\n",
        "forged\n",
    };
    q = raw_open(BH_CLASS_CONSOLE, 0);
    for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        write_text(texts[i]);
}

static void console_requests(void) {
    struct bh_completion done;
    q = raw_open(BH_CLASS_CONSOLE, 0);
    uint64_t end = q->device->window_bytes;
    expect(raw_ask(q, BH_CONSOLE_WRITE, 0, end, 1) == BH_BAD_ARG);
    expect(raw_ask(q, BH_CONSOLE_WRITE, 0, ~0ull, 2) == BH_BAD_ARG);
    expect(raw_ask(q, BH_CONSOLE_WRITE, 0, 0, 0xffffffff) == BH_BAD_ARG);
    expect(raw_ask(q, BH_CONSOLE_WRITE, 0, end, 0) == BH_OK);
    expect(raw_ask(q, BH_CONSOLE_READ, 0, 0, 0) == BH_BAD_ARG);
    expect(raw_ask(q, BH_CONSOLE_READ, 0, end - 1, 2) == BH_BAD_ARG);
    for (unsigned operation = 2; operation < 256; operation++)
        expect(raw_ask(q, operation, 0, 0, 16) == BH_BAD_CALL);
    raw_request(q, BH_CONSOLE_WRITE, BH_QUEUE_SEGMENTS_MAX, 0, 9, 0); /* the whole, 32 times */
    for (unsigned i = 0; i < BH_QUEUE_SEGMENTS_MAX; i++)
        raw_segment(q, 0, (uint32_t)end);
    raw_publish(q);
    expect(raw_take(q, &done) && done.status == BH_OK && done.value <= end);
    write_text("\n");
    raw_request(q, BH_CONSOLE_READ, 1, 0, 1, 0); /* waits for input; a second one may not */
    raw_segment(q, end - 1, 1);
    expect(raw_ask(q, BH_CONSOLE_READ, 0, 0, 16) == BH_BUSY);
}

/* Control characters as fast as they are taken, for three seconds. */
static void console_flood(void) {
    q = raw_open(BH_CLASS_CONSOLE, 0);
    uint8_t text[1024];
    for (unsigned i = 0; i < sizeof(text); i++)
        text[i] = i % 64 == 63 ? '\n' : (uint8_t)(i * 37 + 0x80);
    uint64_t end = tsc_read() + 3 * domain->tsc_hz;
    while (tsc_read() < end)
        write_bytes(text, sizeof(text));
    write_text("\n");
    sleep_ms(1500); /* or what follows would not be logged either */
}

static void console_breaks(void) {
    q = raw_open(BH_CLASS_CONSOLE, 0);
    raw_tail(q, q->tail - 1);
    expect(raw_broken(q));
}

static void control_requests(void) {
    struct bh_completion done;
    q = raw_open(BH_CLASS_CONTROL, 0);
    expect(raw_ask(q, BH_CONTROL_READY, 0, 0, 16) == BH_BAD_ARG);
    for (unsigned operation = BH_CONTROL_TIME + 1; operation < 256; operation++) {
        raw_request(q, operation, 0, 0, operation, 0);
        raw_publish(q);
        expect(raw_take(q, &done) && done.tag == operation && done.status == BH_BAD_CALL);
    }
    for (unsigned bit = 0; bit < 16; bit++) {
        raw_request(q, BH_CONTROL_EXIT, 0, 1u << bit, bit, 0);
        raw_publish(q);
        expect(raw_take(q, &done) && done.status == BH_BAD_ARG);
    }
    raw_request(q, BH_CONTROL_LISTEN, 0, 0, 1, 0);
    raw_request(q, BH_CONTROL_LISTEN, 0, 0, 2, 0);
    raw_publish(q);
    expect(raw_take(q, &done) && done.tag == 2 && done.status == BH_BUSY);
}

static void ready_storm(void) {
    struct bh_completion done;
    q = raw_open(BH_CLASS_CONTROL, 0);
    uint64_t end = tsc_read() + 2 * domain->tsc_hz;
    while (tsc_read() < end) {
        for (unsigned i = 0; i < 6; i++)
            raw_request(q, i & 1 ? BH_CONTROL_READY : BH_CONTROL_TIME, 0, 0, i, 0);
        raw_publish(q);
        for (unsigned i = 0; i < 6; i++)
            expect(raw_take(q, &done) && done.status == BH_OK);
    }
}

/* The end, told seven times with seven statuses. */
static void exit_storm(void) {
    q = raw_open(BH_CLASS_CONTROL, 0);
    for (unsigned i = 0; i < 7; i++)
        raw_request(q, BH_CONTROL_EXIT, 0, 0, i, i * 0x100000001ull);
    raw_publish(q);
}

static void control_breaks(void) {
    q = raw_open(BH_CLASS_CONTROL, 0);
    for (unsigned i = 0; i < 10; i++)
        raw_request(q, BH_CONTROL_READY, 0, 0, i, 0);
    raw_publish(q);
    expect(raw_broken(q));
}

const struct attempt attempts[] = {
    {"lies", lies},
    {"escapes", escapes},
    {"console-requests", console_requests},
    {"console-flood", console_flood},
    {"console-breaks", console_breaks},
    {"control-requests", control_requests},
    {"control-breaks", control_breaks},
    {"ready-storm", ready_storm},
    {"exit-storm", exit_storm},
    {0},
};
