/* webd's request parser. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guestlib/examples/webd/http.h"

static struct http_request request;

/* Parses from a block of exactly that size. */
static bool parse_bytes(const char *text, size_t count) {
    char *copy = malloc(count ? count : 1);
    memcpy(copy, text, count);
    bool done = http_parse(copy, count, &request);
    free(copy);
    return done;
}

static unsigned parse(const char *text) {
    assert_true(parse_bytes(text, strlen(text)));
    return request.status;
}

/* A GET with one more header line. */
static unsigned get(const char *target, const char *field) {
    char text[8192];
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: h\r\n%s%s\r\n", target, field,
             *field ? "\r\n" : "");
    return parse(text);
}

static void takes_a_plain_request(void **state) {
    (void)state;
    static const char text[] = "GET /a/b.html?x=/../y HTTP/1.1\r\nHost: h\r\n\r\nGET /next";
    assert_int_equal(parse(text), 200);
    assert_string_equal(request.path, "a/b.html");
    assert_false(request.head_only);
    assert_true(request.keep_alive);
    assert_int_equal(request.range, HTTP_RANGE_NONE);
    assert_int_equal(request.bytes, strlen(text) - strlen("GET /next"));
}

static void waits_for_the_whole_head(void **state) {
    (void)state;
    static const char text[] = "\r\nHEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    for (size_t count = 0; count < strlen(text); count++)
        assert_false(parse_bytes(text, count));
    assert_int_equal(parse(text), 200);
    assert_true(request.head_only);
    assert_true(request.keep_alive);
    assert_string_equal(request.path, "");
}

static void refuses_heads_without_end(void **state) {
    (void)state;
    static char text[HTTP_HEAD_BYTES_MAX];
    memset(text, 'a', sizeof text);
    assert_false(parse_bytes(text, sizeof text - 1));
    assert_true(parse_bytes(text, sizeof text));
    assert_int_equal(request.status, 431);
    assert_false(request.keep_alive);
    memset(text, '\n', sizeof text);
    assert_true(parse_bytes(text, sizeof text));
    assert_int_equal(request.status, 431);
}

static void knows_methods(void **state) {
    (void)state;
    assert_int_equal(parse("POST / HTTP/1.1\r\nHost: h\r\n\r\n"), 405);
    assert_true(request.keep_alive);
    assert_int_equal(parse("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"), 405);
    assert_false(request.keep_alive);
    assert_int_equal(parse("BREW / HTTP/1.1\r\nHost: h\r\n\r\n"), 501);
    assert_int_equal(parse("get / HTTP/1.1\r\nHost: h\r\n\r\n"), 501);
    assert_int_equal(parse("G@T / HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
}

static void knows_versions(void **state) {
    (void)state;
    assert_int_equal(parse("GET / HTTP/1.0\r\n\r\n"), 200);
    assert_false(request.keep_alive);
    assert_int_equal(parse("GET / HTTP/1.2\r\nHost: h\r\n\r\n"), 200);
    assert_int_equal(parse("GET / HTTP/2.0\r\nHost: h\r\n\r\n"), 505);
    assert_int_equal(parse("GET / HTTP/0.9\r\n\r\n"), 505);
    static const char *const wrong[] = {"HTTP/1",   "HTTP/11",  "http/1.1", "HTTP/1.1.",
                                        "HTTP/a.1", "HTTP/1.x", "FTP/1.1"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char text[64];
        snprintf(text, sizeof text, "GET / %s\r\nHost: h\r\n\r\n", wrong[i]);
        assert_int_equal(parse(text), 400);
    }
    assert_int_equal(parse("GET /\r\n\r\n"), 400);
    assert_int_equal(parse("GET / HTTP/1.1 x\r\nHost: h\r\n\r\n"), 400);
    assert_int_equal(parse("GET  HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
    assert_int_equal(parse("GET\r\n\r\n"), 400);
    assert_int_equal(parse("x\r\n\r\n"), 400);
}

static void decodes_paths(void **state) {
    (void)state;
    assert_int_equal(get("/a%20b%2fc", ""), 200);
    assert_string_equal(request.path, "a b/c");
    assert_int_equal(get("http://host:80/x?q", ""), 200);
    assert_string_equal(request.path, "x");
    assert_int_equal(get("http://host", ""), 200);
    assert_string_equal(request.path, "");
    assert_int_equal(get("/a..b/...", ""), 200);
}

static void refuses_bad_paths(void **state) {
    (void)state;
    static const char *const wrong[] = {"/..",   "/../etc", "/a/../b",    "/a/..",     "/%2e%2e/x",
                                        "/.%2E", "/a%2f..", "/%00",       "/a%0d%0aX", "/%7f",
                                        "/%",    "/%2",     "/%zz",       "a",         "*",
                                        "?x",    "//..",    "http://h/.."};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(get(wrong[i], ""), 400);
    char path[HTTP_PATH_BYTES_MAX + 2];
    memset(path, 'a', sizeof path);
    path[0] = '/';
    path[HTTP_PATH_BYTES_MAX] = '\0';
    assert_int_equal(get(path, ""), 200);
    path[HTTP_PATH_BYTES_MAX] = 'a';
    path[HTTP_PATH_BYTES_MAX + 1] = '\0';
    assert_int_equal(get(path, ""), 414);
}

static void demands_one_host(void **state) {
    (void)state;
    assert_int_equal(parse("GET / HTTP/1.1\r\n\r\n"), 400);
    assert_int_equal(get("/", "host: other"), 400);
}

static void refuses_malformed_fields(void **state) {
    (void)state;
    static const char *const wrong[] = {"no colon",   "bad name: x", "space : x", ": x",
                                        " folded: x", "a: b\x01",    "a: b\x7f",  "a: b\rc: d"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(get("/", wrong[i]), 400);
        assert_false(request.keep_alive);
    }
    assert_true(parse_bytes("GET / HTTP/1.1\r\nHost: h\r\na: \0\r\n\r\n", 33));
    assert_int_equal(request.status, 400);
    assert_int_equal(get("/", "a:b"), 200);
    assert_int_equal(get("/", "a:"), 200);
}

static void takes_no_content(void **state) {
    (void)state;
    assert_int_equal(get("/", "Content-Length: 1"), 413);
    assert_false(request.keep_alive);
    assert_int_equal(get("/", "Transfer-Encoding: chunked"), 413);
    assert_int_equal(get("/", "Content-Length: 0"), 200);
    assert_true(request.keep_alive);
    assert_int_equal(get("/", "Content-Length: 0\r\nContent-Length: 0"), 200);
    assert_int_equal(get("/", "Content-Length: 0\r\nContent-Length: 1"), 400);
    assert_int_equal(get("/", "Content-Length: 0\r\nTransfer-Encoding: chunked"), 400);
    assert_int_equal(get("/", "Content-Length: -1"), 400);
    assert_int_equal(get("/", "Content-Length: 99999999999999999999"), 400);
    assert_int_equal(get("/", "Content-Length:"), 400);
}

static void closes_when_asked(void **state) {
    (void)state;
    get("/", "Connection: close");
    assert_false(request.keep_alive);
    get("/", "connection: foo , CLOSE");
    assert_false(request.keep_alive);
    get("/", "Connection: closed");
    assert_true(request.keep_alive);
}

static void assert_part(const char *range, uint64_t bytes, unsigned status, uint64_t first,
                        uint64_t last) {
    char field[128];
    uint64_t is_first, is_last;
    snprintf(field, sizeof field, "Range: %s", range);
    assert_int_equal(get("/", field), 200);
    assert_int_equal(http_part(&request, bytes, &is_first, &is_last), status);
    if (status == 416)
        return;
    assert_int_equal(is_first, first);
    assert_int_equal(is_last, last);
}

static void resolves_ranges(void **state) {
    (void)state;
    assert_part("bytes=0-9", 100, 206, 0, 9);
    assert_part("bytes=10-", 100, 206, 10, 99);
    assert_part("bytes=-10", 100, 206, 90, 99);
    assert_part("bytes=-200", 100, 206, 0, 99);
    assert_part("bytes=99-1000", 100, 206, 99, 99);
    assert_part("Bytes = 1 - 2", 100, 206, 1, 2);
    assert_part("bytes=100-", 100, 416, 0, 0);
    assert_part("bytes=100-200", 100, 416, 0, 0);
    assert_part("bytes=-0", 100, 416, 0, 0);
    assert_part("bytes=0-", 0, 416, 0, 0);
    assert_part("bytes=-1", 0, 416, 0, 0);
    assert_part("bytes=9000000000000000000-", 100, 416, 0, 0);
}

static void ignores_ranges_it_does_not_understand(void **state) {
    (void)state;
    static const char *const wrong[] = {"bytes=5-4",
                                        "bytes=a-b",
                                        "lines=0-1",
                                        "bytes=0-1,5-6",
                                        "bytes=-",
                                        "bytes",
                                        "bytes=99999999999999999999-",
                                        "-",
                                        "bytes=1-2-3"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_part(wrong[i], 100, 200, 0, 99);
    uint64_t first, last;
    get("/", "Range: bytes=0-1\r\nIf-Range: \"x\"");
    assert_int_equal(http_part(&request, 100, &first, &last), 200);
}

static void encodes_what_it_decoded(void **state) {
    (void)state;
    char encoded[HTTP_ENCODED_BYTES_MAX];
    http_encode("a b/c%\xc3\xa4\"<>", encoded);
    assert_string_equal(encoded, "a%20b/c%25%C3%A4%22%3C%3E");
}

static void knows_content_types(void **state) {
    (void)state;
    assert_string_equal(http_content_type("a/index.HTML"), "text/html; charset=utf-8");
    assert_string_equal(http_content_type("x.css"), "text/css; charset=utf-8");
    assert_string_equal(http_content_type("html"), "application/octet-stream");
    assert_string_equal(http_content_type("a.unknown"), "application/octet-stream");
}

static void survives_random_input(void **state) {
    (void)state;
    static const char *const words[] = {
        "GET ", "/", " HTTP/1.1", "\r\n", "Host: h", "Range: bytes=",   "-", "9", "%",
        "..",   ":", "\0",        " ",    "\n",      "Content-Length: "};
    uint32_t random = 3;
    for (unsigned round = 0; round < 100000; round++) {
        char text[256];
        size_t count = 0;
        while (count < 200) {
            random = random * 1664525 + 1013904223;
            const char *word = words[(random >> 10) % (sizeof words / sizeof words[0])];
            size_t length = *word ? strlen(word) : 1;
            memcpy(text + count, word, length);
            count += length;
            if (random >> 28 == 0)
                break;
        }
        if (parse_bytes(text, count))
            assert_in_range(request.bytes, 1, count);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_a_plain_request),
        cmocka_unit_test(waits_for_the_whole_head),
        cmocka_unit_test(refuses_heads_without_end),
        cmocka_unit_test(knows_methods),
        cmocka_unit_test(knows_versions),
        cmocka_unit_test(decodes_paths),
        cmocka_unit_test(refuses_bad_paths),
        cmocka_unit_test(demands_one_host),
        cmocka_unit_test(refuses_malformed_fields),
        cmocka_unit_test(takes_no_content),
        cmocka_unit_test(closes_when_asked),
        cmocka_unit_test(resolves_ranges),
        cmocka_unit_test(ignores_ranges_it_does_not_understand),
        cmocka_unit_test(encodes_what_it_decoded),
        cmocka_unit_test(knows_content_types),
        cmocka_unit_test(survives_random_input),
    };
    return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
