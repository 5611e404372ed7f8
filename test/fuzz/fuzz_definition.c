/* Any bytes as a definition: refused with a message, or a definition that keeps every promise of
 * its struct. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mgmt/config/definition.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void promise(int kept) {
    if (!kept)
        abort();
}

static void promise_text(const char *text, size_t room) {
    promise(memchr(text, 0, room) != NULL);
}

/* The first byte chooses what stands around the rest: random bytes alone hardly get beyond the
 * outermost element. */
static const struct {
    const char *before, *after;
} frames[] = {
    {"", ""},
    {"<domain type='bulkhead'><name>a</name><memory unit='MiB'>4</memory>"
     "<os><type>pv</type><kernel>k</kernel></os>",
     "</domain>"},
    {"<domain type='bulkhead'><name>a</name><memory unit='MiB'>4</memory>"
     "<os><type>pv</type><kernel>k</kernel></os><devices>",
     "</devices></domain>"},
    {"<domain type='bulkhead'><name>a</name><memory unit='MiB'>4</memory>"
     "<os><type>pv</type><kernel>k</kernel></os><devices><interface type='network'>"
     "<mac address='52:54:00:00:00:01'/>",
     "</interface></devices></domain>"},
};

static int check(const char *xml, size_t bytes) {
    struct bh_definition d;
    struct definition_error error;
    memset(&error, 0, sizeof(error));
    if (!definition_parse("guests/f.xml", xml, bytes, &d, &error)) {
        promise_text(error.text, sizeof(error.text));
        promise(strncmp(error.text, "guests/f.xml:", 13) == 0);
        return 0;
    }
    promise(d.version == BH_DEFINITION_VERSION && d.name[0]);
    promise_text(d.name, sizeof(d.name));
    promise_text(d.kernel, sizeof(d.kernel));
    promise_text(d.arguments, sizeof(d.arguments));
    promise(d.memory_bytes >= 1 << 20 && d.memory_bytes <= 1ull << 40);
    promise(d.weight >= 1 && d.weight <= 10000 && d.quota_us <= d.period_us);
    promise(d.consoles <= 1 && d.disks <= BH_DEFINITION_DISKS_MAX &&
            d.nets <= BH_DEFINITION_NETS_MAX);
    for (uint32_t i = 0; i < d.disks; i++) {
        promise_text(d.disk[i].source, sizeof(d.disk[i].source));
        promise_text(d.disk[i].target, sizeof(d.disk[i].target));
        promise(strchr(d.disk[i].source, ':') != NULL);
    }
    for (uint32_t i = 0; i < d.nets; i++)
        promise(!(d.net[i].mac[0] & 1) && d.net[i].vlan <= 4094 && d.net[i].ipv4_prefix <= 32 &&
                d.net[i].ipv6_prefix <= 128);
    definition_check_pair("guests/f.xml", &d, &d, &error);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    static char xml[2 * DEFINITION_XML_BYTES_MAX];
    if (bytes == 0 || bytes > DEFINITION_XML_BYTES_MAX)
        return 0;
    unsigned frame = data[0] % (sizeof(frames) / sizeof(frames[0]));
    size_t before = strlen(frames[frame].before), after = strlen(frames[frame].after);
    memcpy(xml, frames[frame].before, before);
    memcpy(xml + before, data + 1, bytes - 1);
    memcpy(xml + before + bytes - 1, frames[frame].after, after);
    return check(xml, before + bytes - 1 + after);
}
