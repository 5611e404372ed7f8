/* Random definitions, made from a grammar so that they get as deep as the parser goes: most have a
 * mistake or some, many have none. What is accepted keeps the bounds of its struct; what is refused
 * is told with file and line. BULKHEAD_SEED=N repeats a run, whose seed is printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mgmt/config/definition.h"

#define DEFINITIONS 20000u
#define FILE_NAME "guests/r.xml"

static uint64_t random_state;
static char xml[DEFINITION_XML_BYTES_MAX];
static size_t used;
static unsigned lines;
static unsigned mistake_one_in; /* chance of a mistake at each place; 0: none is made */

static uint64_t random_next(void) { /* xorshift64 */
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static bool one_in(unsigned n) {
    return n > 0 && random_next() % n == 0;
}

static void put(const char *text) {
    size_t bytes = strlen(text);
    assert_true(used + bytes <= sizeof(xml));
    memcpy(xml + used, text, bytes);
    used += bytes;
    for (; *text; text++)
        lines += *text == '\n';
}

static void put_bad_value(void) {
    static const char *const bad[] = {
        "",           "-1",         "0",        "18446744073709551616",
        "4294967296", "1e9",        "0x10",     " 7 7 ",
        "a",          "\x1b",       "&#10;x",   "&lt;b&gt;",
        "&unknown;",  "\xff\xfe",   "../../..", "%s%n",
        "'",          "<b/>",       "\n\n",     "52:54:00:00:00",
        "::::",       "1.2.3.4.5.6"};
    put(bad[random_next() % (sizeof(bad) / sizeof(bad[0]))]);
}

/* `choices` is separated by '|'. */
static void put_value(const char *choices) {
    if (one_in(mistake_one_in)) {
        put_bad_value();
        return;
    }
    char copy[256];
    unsigned count = 1;
    for (const char *c = choices; *c; c++)
        count += *c == '|';
    snprintf(copy, sizeof(copy), "%s", choices);
    unsigned wanted = random_next() % count;
    char *at = copy;
    while (wanted-- > 0)
        at = strchr(at, '|') + 1;
    at[strcspn(at, "|")] = '\0';
    put(at);
}

struct rule {
    const char *name, *parent;
    const char *attributes[4]; /* name, values, name, values */
    const char *text;          /* values, or NULL */
    unsigned max;              /* how often it may be; one that `needed` is there once */
    bool needed;
};

static const struct rule rules[] = {
    {"name", "domain", {0}, "a|web-1| b_c.d |0123456789012345678901234567890", 1, true},
    {"uuid", "domain", {0}, "12345678-9abc-def0-1234-56789abcdef0", 1, false},
    {"memory", "domain", {"unit", "MiB|GiB|M|MB"}, "4|64|1|1023", 1, true},
    {"vcpu", "domain", {0}, "1", 1, false},
    {"os", "domain", {0}, NULL, 1, true},
    {"type", "os", {"arch", "x86_64"}, "pv|hvm", 1, true},
    {"kernel", "os", {0}, "k|sub/k.bin", 1, true},
    {"cmdline", "os", {0}, "|a=b|a &lt; b &amp; c", 1, false},
    {"cputune", "domain", {0}, NULL, 1, false},
    {"shares", "cputune", {0}, "1|1024|10000", 1, false},
    {"period", "cputune", {0}, "100000|1000000", 1, false},
    {"quota", "cputune", {0}, "1000|100000", 1, false},
    {"on_poweroff", "domain", {0}, "destroy|restart|preserve", 1, false},
    {"on_crash", "domain", {0}, "destroy|restart|preserve", 1, false},
    {"on_reboot", "domain", {0}, "destroy|restart|preserve", 1, false},
    {"bulkhead", "domain", {"autostart", "yes|no", "crashreport", "yes|no"}, NULL, 1, false},
    {"devices", "domain", {0}, NULL, 1, false},
    {"console", "devices", {"type", "pty"}, NULL, 1, false},
    {"disk", "devices", {"type", "volume", "device", "disk"}, NULL, 8, false},
    {"source", "disk", {"volume", "disk:0|disk:7|partition:p"}, NULL, 1, true},
    {"target", "disk", {"dev", "vda|vdb", "bus", "virtio"}, NULL, 1, true},
    {"readonly", "disk", {0}, NULL, 1, true},
    {"iotune", "disk", {0}, NULL, 1, false},
    {"total_iops_sec", "iotune", {0}, "1|100", 1, false},
    {"total_bytes_sec", "iotune", {0}, "1000000", 1, false},
    {"interface", "devices", {"type", "network"}, NULL, 4, false},
    {"mac", "interface", {"address", "52:54:00:00:00:01|02:00:00:aB:Cd:eF"}, NULL, 1, true},
    {"ip", "interface", {"address", "10.0.2.15|192.168.1.1", "prefix", "8|24|32"}, NULL, 1, false},
    {"route", "interface", {"gateway", "10.0.2.2"}, NULL, 1, false},
    {"vlan", "interface", {0}, NULL, 1, false},
    {"tag", "vlan", {"id", "1|7|4094"}, NULL, 1, true},
    {"bandwidth", "interface", {0}, NULL, 1, false},
    {"outbound", "bandwidth", {"average", "1|1000", "burst", "64|128"}, NULL, 1, true},
};
#define RULES (sizeof(rules) / sizeof(rules[0]))

static void put_children(const char *parent);

static void put_attributes(const struct rule *rule) {
    for (unsigned i = 0; i < 4 && rule->attributes[i]; i += 2) {
        if (one_in(mistake_one_in))
            continue;
        put(" ");
        put(one_in(mistake_one_in) ? "bogus" : rule->attributes[i]);
        put("='");
        put_value(rule->attributes[i + 1]);
        put("'");
    }
}

static void put_element(const struct rule *rule) {
    const char *name = one_in(mistake_one_in) ? rules[random_next() % RULES].name : rule->name;
    put("<");
    put(name);
    put_attributes(rule);
    put(">");
    if (rule->text)
        put_value(rule->text);
    else
        put_children(rule->name);
    if (one_in(mistake_one_in))
        return; /* never closed */
    put("</");
    put(name);
    put(">\n");
}

static void put_children(const char *parent) {
    for (unsigned i = 0; i < RULES; i++) {
        const struct rule *rule = &rules[i];
        if (strcmp(rule->parent, parent) != 0)
            continue;
        unsigned times = rule->needed ? 1 : random_next() % (rule->max + 1);
        if (one_in(mistake_one_in))
            times = random_next() % (rule->max + 3);
        while (times-- > 0)
            put_element(rule);
    }
}

static void make_definition(void) {
    used = 0;
    lines = 1;
    mistake_one_in = one_in(3) ? 0 : 4u << random_next() % 6;
    put("<domain type='");
    put_value("bulkhead");
    put("'>\n");
    put_children("domain");
    put("</domain>\n");
}

static void assert_text(const char *text, size_t room) {
    assert_non_null(memchr(text, 0, room));
}

static void assert_promises(const struct bh_definition *d) {
    assert_int_equal(d->version, BH_DEFINITION_VERSION);
    assert_true(d->name[0]);
    assert_text(d->name, sizeof(d->name));
    assert_text(d->kernel, sizeof(d->kernel));
    assert_text(d->arguments, sizeof(d->arguments));
    assert_in_range(d->memory_bytes, 1 << 20, 1ull << 40);
    assert_in_range(d->weight, 1, 10000);
    assert_true(d->quota_us <= d->period_us);
    assert_true(d->disks <= BH_DEFINITION_DISKS_MAX && d->nets <= BH_DEFINITION_NETS_MAX);
    for (uint32_t i = 0; i < d->nets; i++)
        assert_true(!(d->net[i].mac[0] & 1) && d->net[i].vlan <= 4094 &&
                    d->net[i].ipv4_prefix <= 32);
}

/* "guests/r.xml:LINE: what is wrong", on one line, of printable characters. */
static void assert_tells_where(const char *message) {
    assert_text(message, DEFINITION_ERROR_BYTES);
    assert_int_equal(strncmp(message, FILE_NAME ":", sizeof(FILE_NAME)), 0);
    char *end;
    unsigned long line = strtoul(message + sizeof(FILE_NAME), &end, 10);
    assert_in_range(line, 1, lines);
    assert_int_equal(strncmp(end, ": ", 2), 0);
    assert_true(strlen(end) > 8);
    for (const char *c = message; *c; c++)
        assert_true((unsigned char)*c >= ' ' && *c != 0x7f);
}

static void every_definition_is_kept_or_explained(void **state) {
    (void)state;
    unsigned accepted = 0;
    for (unsigned i = 0; i < DEFINITIONS; i++) {
        struct bh_definition definition;
        struct definition_error error;
        make_definition();
        memset(&error, 'x', sizeof(error));
        char *exact = malloc(used); /* so that the sanitizer sees every access beyond it */
        memcpy(exact, xml, used);
        if (definition_parse(FILE_NAME, exact, used, &definition, &error)) {
            assert_promises(&definition);
            accepted++;
        } else {
            assert_tells_where(error.text);
        }
        free(exact);
    }
    printf("%u accepted of %u\n", accepted, DEFINITIONS);
    assert_in_range(accepted, DEFINITIONS / 20, DEFINITIONS - DEFINITIONS / 4);
}

int main(void) {
    const char *seed = getenv("BULKHEAD_SEED");
    random_state = seed ? strtoull(seed, NULL, 0) : 1;
    printf("BULKHEAD_SEED=%llu\n", (unsigned long long)random_state);
    random_state = random_state * 0x9e3779b97f4a7c15 | 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_definition_is_kept_or_explained),
    };
    return cmocka_run_group_tests_name("definition_random", tests, NULL, NULL);
}
