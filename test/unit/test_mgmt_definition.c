/* Definitions: what is understood, and how every kind of mistake is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "mgmt/config/definition.h"
#include "mgmt/config/values.h"

#define HEAD "<domain type='bulkhead'>\n<name>a</name>\n<memory unit='MiB'>4</memory>\n"
#define OS "<os><type>pv</type><kernel>a.bin</kernel></os>\n"

static struct bh_definition definition;
static struct definition_error error;

static bool parse(const char *xml) {
    error.text[0] = '\0';
    return definition_parse("guests/a.xml", xml, strlen(xml), &definition, &error);
}

static void refused(const char *xml, const char *message) {
    assert_false(parse(xml));
    if (strcmp(error.text, message) != 0)
        fail_msg("got '%s', not '%s'", error.text, message);
}

static void test_a_full_definition(void **state) {
    (void)state;
    assert_true(parse(
        "<?xml version='1.0'?>\n"
        "<domain type='bulkhead'><name> web-1 </name>"
        "<uuid>12345678-9abc-def0-1234-56789abcdef0</uuid>"
        "<memory>65536</memory><vcpu>1</vcpu>"
        "<os><type arch='x86_64'>pv</type><kernel>sub/web.bin</kernel>"
        "<cmdline>a &lt; b</cmdline></os>"
        "<cputune><shares>2048</shares><period>20000</period><quota>5000</quota></cputune>"
        "<on_poweroff>preserve</on_poweroff><on_reboot>destroy</on_reboot>"
        "<on_crash>restart</on_crash><bulkhead autostart='no' crashreport='no'/>"
        "<devices><console type='pty'/>"
        "<disk type='volume' device='disk'><source volume='disk:0'/><target dev='vda'/>"
        "<iotune><total_iops_sec>100</total_iops_sec>"
        "<total_bytes_sec>1000000</total_bytes_sec></iotune></disk>"
        "<disk type='volume'><source volume='archive:x'/><target dev='vdb'/><transient/></disk>"
        "<interface type='network'><mac address='52:54:00:aB:cd:ef'/>"
        "<ip address='10.0.2.15' prefix='16'/><ip family='ipv6' address='fd00::15' prefix='64'/>"
        "<route gateway='10.0.2.2'/><vlan><tag id='7'/></vlan>"
        "<bandwidth><outbound average='1000' burst='128'/></bandwidth></interface>"
        "</devices></domain>"));
    assert_string_equal(definition.name, "web-1");
    assert_int_equal(definition.uuid[15], 0xf0);
    assert_int_equal(definition.memory_bytes, 64 << 20);
    assert_string_equal(definition.kernel, "sub/web.bin");
    assert_string_equal(definition.arguments, "a < b");
    assert_int_equal(definition.weight, 2048);
    assert_int_equal(definition.quota_us, 5000);
    assert_int_equal(definition.period_us, 20000);
    assert_int_equal(definition.on_poweroff, BH_ACTION_PRESERVE);
    assert_int_equal(definition.on_crash, BH_ACTION_RESTART);
    assert_int_equal(definition.flags, BH_DEFINITION_HAS_UUID);
    assert_int_equal(definition.consoles, 1);
    assert_int_equal(definition.disks, 2);
    assert_string_equal(definition.disk[0].source, "disk:0");
    assert_int_equal(definition.disk[0].iops_limit, 100);
    assert_int_equal(definition.disk[1].flags, BH_DISK_THROW_AWAY);
    assert_int_equal(definition.nets, 1);
    assert_int_equal(definition.net[0].mac[3], 0xab);
    static const uint8_t address[4] = {10, 0, 2, 15};
    assert_memory_equal(&definition.net[0].ipv4_address, address, 4);
    assert_int_equal(definition.net[0].ipv4_prefix, 16);
    assert_int_equal(definition.net[0].ipv6_address[0], 0xfd);
    assert_int_equal(definition.net[0].ipv6_address[15], 0x15);
    assert_int_equal(definition.net[0].vlan, 7);
    assert_int_equal(definition.net[0].bytes_limit, 1000 << 10);
    assert_int_equal(definition.net[0].burst_bytes, 128 << 10);
}

static void test_what_is_left_out(void **state) {
    (void)state;
    assert_true(parse(HEAD OS "</domain>"));
    assert_int_equal(definition.weight, 1024);
    assert_int_equal(definition.quota_us, 0);
    assert_int_equal(definition.consoles, 0);
    assert_int_equal(definition.flags, BH_DEFINITION_AUTOSTART | BH_DEFINITION_CRASH_REPORT);
    assert_int_equal(definition.on_crash, BH_ACTION_DESTROY);
    assert_int_equal(definition.on_reboot, BH_ACTION_RESTART);
}

static void test_hvm(void **state) {
    (void)state;
    const char *text = HEAD "<vcpu>16</vcpu><os><type>hvm</type><kernel>vmlinuz</kernel>"
                            "<initrd>initrd.gz</initrd></os></domain>";
    assert_true(definition_parse("guests/a.xml", text, strlen(text), &definition, &error));
    assert_int_equal(definition.guest_type, BH_GUEST_HVM);
    assert_int_equal(definition.vcpus, 16);
    assert_string_equal(definition.initrd, "initrd.gz");
}

#define HVM "<os><type>hvm</type><kernel>vmlinuz</kernel></os>\n"

static void test_watchdog(void **state) {
    (void)state;
    assert_true(parse(HEAD HVM "</domain>"));
    assert_int_equal(definition.watchdog, 0);
    assert_true(parse(HEAD HVM "<devices><watchdog model='i6300esb'/></devices></domain>"));
    assert_int_equal(definition.watchdog, 1);
    assert_int_equal(definition.on_watchdog, BH_ACTION_RESTART);
    assert_true(parse(
        HEAD HVM "<devices><watchdog model='i6300esb' action='poweroff'/></devices></domain>"));
    assert_int_equal(definition.on_watchdog, BH_ACTION_DESTROY);
    assert_true(
        parse(HEAD HVM "<devices><watchdog model='i6300esb' action='pause'/></devices></domain>"));
    assert_int_equal(definition.on_watchdog, BH_ACTION_PRESERVE);
    refused(HEAD HVM "<devices><watchdog model='diag288'/></devices></domain>",
            "guests/a.xml:5: <watchdog>: 'diag288' is not valid; use model='i6300esb'");
    refused(HEAD HVM "<devices><watchdog model='i6300esb' action='none'/></devices></domain>",
            "guests/a.xml:5: <watchdog>: 'none' is not valid; the action is reset, poweroff or "
            "pause");
    refused(HEAD OS "<devices><watchdog model='i6300esb'/></devices></domain>",
            "guests/a.xml:1: <watchdog>: a PV guest has none; remove it");
}

static void test_virtio_console(void **state) {
    (void)state;
    assert_true(parse(HEAD HVM "<devices><console><target type='serial' port='0'/></console>"
                               "</devices></domain>"));
    assert_int_equal(definition.virtio_console, 0);
    assert_true(
        parse(HEAD HVM "<devices><console><target type='virtio'/></console></devices></domain>"));
    assert_int_equal(definition.virtio_console, 1);
    assert_int_equal(definition.consoles, 1);
    refused(HEAD HVM "<devices><console><target type='xen'/></console></devices></domain>",
            "guests/a.xml:5: <target>: 'xen' is not valid; use type='serial' or type='virtio'");
    refused(HEAD OS "<devices><console><target type='virtio'/></console></devices></domain>",
            "guests/a.xml:1: <console>: only an HVM guest has one of type='virtio'");
}

#define CHECKPOINT(inside)                                                                         \
    "<disk type='volume' device='checkpoint'>\n<source volume='disk:1'/>"                          \
    "<target dev='saved'/>" inside "</disk>\n"
#define DATA(inside)                                                                               \
    "<disk type='volume'><source volume='disk:0'/><target dev='vda'/>" inside "</disk>\n"
#define DEVICES(inside) "<devices>" inside "</devices></domain>"

static void test_checkpoint(void **state) {
    (void)state;
    assert_true(parse(HEAD HVM DEVICES(DATA("<driver io='direct'/>") CHECKPOINT(""))));
    assert_int_equal(definition.disks, 2);
    assert_int_equal(definition.disk[0].flags, BH_DISK_DIRECT);
    assert_int_equal(definition.disk[1].flags, BH_DISK_CHECKPOINT);
    refused(HEAD OS DEVICES(CHECKPOINT("")),
            "guests/a.xml:5: <disk>: a PV guest has no device='checkpoint'; remove it");
    refused(HEAD HVM DEVICES(CHECKPOINT("") DATA("")),
            "guests/a.xml:5: <disk>: device='checkpoint' is the last one; move it");
    refused(HEAD HVM DEVICES(CHECKPOINT("") CHECKPOINT("")),
            "guests/a.xml:5: <disk>: device='checkpoint' is the last one; move it");
    const char *alone = "guests/a.xml:5: <disk>: device='checkpoint' has no <readonly/>, "
                        "<transient/> or <driver>; remove it";
    refused(HEAD HVM DEVICES(CHECKPOINT("<readonly/>")), alone);
    refused(HEAD HVM DEVICES(CHECKPOINT("<transient/>")), alone);
    refused(HEAD HVM DEVICES(CHECKPOINT("<driver io='direct'/>")), alone);
    refused(HEAD HVM DEVICES(DATA("<transient/>") CHECKPOINT("")),
            "guests/a.xml:5: <transient>: a guest with a device='checkpoint' keeps its disks; "
            "remove it");
}

#define DIRECT(source, more)                                                                       \
    "<devices><disk type='volume'>\n<source volume='" source "'/><target dev='vda'/>"              \
    "<driver io='direct'/>" more "</disk></devices></domain>"

static void test_direct(void **state) {
    (void)state;
    assert_true(parse(HEAD HVM DIRECT("disk:0", "")));
    assert_int_equal(definition.disk[0].flags, BH_DISK_DIRECT);
    assert_true(parse(HEAD HVM DIRECT("partition:data", "<readonly/>")));
    assert_int_equal(definition.disk[0].flags, BH_DISK_DIRECT | BH_DISK_READ_ONLY);
    const char *in_memory = "guests/a.xml:5: <driver>: io='direct' is for 'disk:N' and "
                            "'partition:NAME' without <transient/>; remove it";
    refused(HEAD HVM DIRECT("disk:0", "<transient/>"), in_memory);
    refused(HEAD HVM DIRECT("archive:file", "<readonly/>"), in_memory);
    refused(HEAD OS DIRECT("disk:0", ""),
            "guests/a.xml:5: <driver>: a PV guest's disk has no io='direct'; remove it");
    refused(HEAD HVM "<devices><disk type='volume'><source volume='disk:0'/><target dev='vda'/>\n"
                     "<driver io='native'/></disk></devices></domain>",
            "guests/a.xml:6: <driver>: 'native' is not valid; use io='direct' or leave it out");
    refused(HEAD HVM "<devices><disk type='volume'><source volume='disk:0'/><target dev='vda'/>"
                     "<driver/></disk></devices></domain>",
            "guests/a.xml:5: <driver>: attribute 'io' is missing; add it");
}

static void test_mistakes(void **state) {
    (void)state;
    refused("", "guests/a.xml:1: not well-formed XML: no element found; correct it");
    refused(HEAD "<foo/></domain>", "guests/a.xml:4: <foo>: not known in <domain>; remove it "
                                    "(docs/definitions.md lists what there is)");
    refused("<html/>", "guests/a.xml:1: <html>: not known as the outermost element; remove it "
                       "(docs/definitions.md lists what there is)");
    refused(HEAD "<os bios='x'/></domain>",
            "guests/a.xml:4: <os>: attribute 'bios' is not known; remove it");
    refused("<domain/>", "guests/a.xml:1: <domain>: attribute 'type' is missing; add it");
    refused("<domain type='xen'/>",
            "guests/a.xml:1: <domain>: 'xen' is not valid; use type='bulkhead'");
    refused(HEAD "</domain>", "guests/a.xml:1: <domain>: <os> is missing; add it");
    refused(HEAD "<name>b</name></domain>", "guests/a.xml:4: <name>: stands twice; remove one");
    refused(HEAD "hello</domain>", "guests/a.xml:4: <domain>: no text may stand here; remove it");
    refused(HEAD OS "<vcpu>2</vcpu></domain>",
            "guests/a.xml:1: <vcpu>: a PV guest has 1; remove it");
    refused(HEAD "<vcpu>17</vcpu></domain>",
            "guests/a.xml:4: <vcpu>: '17' is not valid; give a whole number from 1 to 16");
    refused(HEAD "\n<cputune><shares>0</shares></cputune></domain>",
            "guests/a.xml:5: <shares>: '0' is not valid; give a whole number from 1 to 10000");
    refused(HEAD OS "<cputune>\n<quota>200000</quota></cputune></domain>",
            "guests/a.xml:5: <cputune>: quota 200000 us in a period of 100000 us is more than one "
            "processor; lower <quota>");
    refused(HEAD "<os><kernel>../x</kernel></os></domain>",
            "guests/a.xml:4: <kernel>: '../x' is not valid; name a file of the boot archive, "
            "without '..' or a leading '/'");
    refused("<domain type='bulkhead'><name>a b</name></domain>",
            "guests/a.xml:1: <name>: 'a b' is not valid; use letters, digits, '-', '_' and '.', a "
            "letter or digit first");
    refused("<domain type='bulkhead'><name>hv</name></domain>",
            "guests/a.xml:1: <name>: 'hv' is not valid; the host's own log lines begin so; choose "
            "another name");
    refused("<domain type='bulkhead'><name>a&#10;hv: panic</name></domain>",
            "guests/a.xml:1: <name>: 'a?hv: panic' is not valid; use letters, digits, '-', '_' "
            "and '.', a letter or digit first");
    refused("<domain type='bulkhead'><name>" /* 32 characters: one too many with the NUL */
            "abcdefghijklmnopqrstuvwxyz012345</name></domain>",
            "guests/a.xml:1: <name>: longer than 31 characters; shorten it");
    refused(
        HEAD OS "<devices><disk type='volume'><source volume='archive:x'/>"
                "<target dev='vda'/></disk></devices></domain>",
        "guests/a.xml:5: <disk>: a file of the boot archive cannot be written; add <readonly/>, "
        "or <transient/> to lose what is written");
    refused(HEAD OS "<devices><interface type='network'><mac address='53:54:00:00:00:01'/>"
                    "</interface></devices></domain>",
            "guests/a.xml:5: <mac>: '53:54:00:00:00:01' is not valid; give an address like "
            "52:54:00:12:34:56, its first byte even");
}

static void test_memory_sizes(void **state) {
    (void)state;
    static const char *const bad[] = {
        "0", "-1", "1.5", "", "x", "99999999999999999999", "18446744073709551615"};
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char xml[256];
        snprintf(xml, sizeof(xml),
                 "<domain type='bulkhead'><memory unit='GiB'>%s</memory></domain>", bad[i]);
        assert_false(parse(xml));
        assert_non_null(strstr(error.text, "<memory>"));
    }
    assert_false(parse("<domain type='bulkhead'><memory unit='furlongs'>1</memory></domain>"));
    assert_non_null(strstr(error.text, "the unit is"));
}

static void test_entities_and_depth(void **state) {
    (void)state;
    refused("<!DOCTYPE d [<!ENTITY a 'b'>]><domain type='bulkhead'/>",
            "guests/a.xml:1: <!DOCTYPE d>: document types are refused; remove it");
    assert_false(parse("<domain type='bulkhead'><name>&undeclared;</name></domain>"));
    static char deep[60000];
    deep[0] = '\0';
    for (size_t at = 0; at + 4 < sizeof(deep); at += 3)
        memcpy(deep + at, "<a>", 4);
    assert_false(parse(deep));
    static char large[DEFINITION_XML_BYTES_MAX + 2];
    memset(large, ' ', sizeof(large) - 1);
    assert_false(parse(large));
    assert_non_null(strstr(error.text, "a definition has at most 65536"));
}

static void test_too_many(void **state) {
    (void)state;
    char xml[4096] = HEAD OS "<devices>";
    for (unsigned i = 0; i <= BH_DEFINITION_DISKS_MAX; i++)
        strcat(xml, "<disk type='volume'><source volume='disk:1'/><target dev='a'/></disk>");
    strcat(xml, "</devices></domain>");
    refused(xml, "guests/a.xml:5: <disk>: a guest has at most 8 disks; remove one");
}

static struct bh_definition parsed(const char *name, const char *devices) {
    char xml[2048];
    snprintf(xml, sizeof(xml),
             "<domain type='bulkhead'><name>%s</name><memory unit='MiB'>4</memory>" OS
             "<devices>%s</devices></domain>",
             name, devices);
    assert_true(parse(xml));
    return definition;
}

#define NET(mac, ip)                                                                               \
    "<interface type='network'><mac address='52:54:00:00:00:" mac "'/><ip address='" ip            \
    "'/></interface>"
#define DISK(volume, more)                                                                         \
    "<disk type='volume'><source volume='" volume "'/><target dev='vda'/>" more "</disk>"

static void test_pairs(void **state) {
    (void)state;
    struct bh_definition a = parsed("a", NET("01", "10.0.0.1") DISK("disk:0", "<readonly/>"));
    struct bh_definition b = parsed("b", NET("02", "10.0.0.2") DISK("disk:0", "<readonly/>"));
    assert_true(definition_check_pair("guests/b.xml", &b, &a, &error));
    assert_true(definition_check_pair("guests/a.xml", &a, &a, &error));

    b = parsed("a", "");
    assert_false(definition_check_pair("guests/b.xml", &b, &a, &error));
    assert_string_equal(error.text, "guests/b.xml:1: <name>: there is a guest named a already; "
                                    "choose another name");
    b = parsed("b", NET("01", "10.0.0.2"));
    assert_false(definition_check_pair("guests/b.xml", &b, &a, &error));
    assert_non_null(strstr(error.text, "guest a has the same MAC address"));
    b = parsed("b", NET("02", "10.0.0.1"));
    assert_false(definition_check_pair("guests/b.xml", &b, &a, &error));
    assert_non_null(strstr(error.text, "the same IPv4 address"));
    b = parsed("b", DISK("disk:0", ""));
    assert_false(definition_check_pair("guests/b.xml", &b, &a, &error));
    assert_non_null(strstr(error.text, "volume disk:0 is also used by guest a"));
    assert_false(definition_check_pair("guests/a.xml", &a, &b, &error));
    b = parsed("b", DISK("disk:0", "<transient/>"));
    assert_true(definition_check_pair("guests/b.xml", &b, &a, &error));
    b = parsed("b", DISK("disk:1", "") DISK("disk:1", "<readonly/>"));
    assert_false(definition_check_pair("guests/b.xml", &b, &b, &error));
}

static void test_ipv6(void **state) {
    (void)state;
    static const char *const good[] = {
        "::", "::1", "fd00::", "1:2:3:4:5:6:7:8", "1::8", "1:2:3:4:5:6:7::"};
    static const char *const bad[] = {"",
                                      ":",
                                      ":1",
                                      "1:",
                                      "1:2",
                                      "1::2::3",
                                      "12345::",
                                      "1:2:3:4:5:6:7:8:9",
                                      "1:2:3:4:5:6:7:8::",
                                      "::g",
                                      "1:::2"};
    uint8_t bytes[16];
    for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(value_ipv6(good[i], bytes));
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (value_ipv6(bad[i], bytes))
            fail_msg("'%s' was taken", bad[i]);
    assert_true(value_ipv6("1:2::8", bytes));
    static const uint8_t expected[16] = {0, 1, 0, 2, [15] = 8};
    assert_memory_equal(bytes, expected, 16);
}

static void test_values(void **state) {
    (void)state;
    uint32_t ip;
    uint8_t bytes[16];
    assert_false(value_ipv4("1.2.3", &ip) || value_ipv4("1.2.3.256", &ip) ||
                 value_ipv4("1.2.3.4.", &ip) || value_ipv4("1.2.3.0004", &ip) ||
                 value_ipv4("", &ip));
    assert_false(value_mac("52:54:00:00:00", bytes) || value_mac("52:54:00:00:00:0", bytes) ||
                 value_mac("52-54-00-00-00-00", bytes) || value_mac("52:54:00:00:00:000", bytes));
    assert_false(value_uuid("123456789abc-def0-1234-56789abcdef0", bytes));
    assert_true(value_is_path("a/b.bin") && value_is_path("_a+b"));
    assert_false(value_is_path("") || value_is_path("/a") || value_is_path("a/") ||
                 value_is_path("a//b") || value_is_path("a/../b") || value_is_path(".a"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_full_definition),
        cmocka_unit_test(test_what_is_left_out),
        cmocka_unit_test(test_hvm),
        cmocka_unit_test(test_direct),
        cmocka_unit_test(test_checkpoint),
        cmocka_unit_test(test_watchdog),
        cmocka_unit_test(test_virtio_console),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_memory_sizes),
        cmocka_unit_test(test_entities_and_depth),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_ipv6),
        cmocka_unit_test(test_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
