/* The XML side: a table says which elements and attributes exist and where; expat reads; fill()
 * below turns each element into its field. What the table does not know is refused, not ignored: a
 * definition that says more than is done would lie. */
#include "mgmt/config/definition.h"

#include <expat.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mgmt/config/values.h"

enum element {
    DOCUMENT,
    DOMAIN_,
    NAME,
    UUID,
    MEMORY,
    VCPU,
    OS,
    OS_TYPE,
    KERNEL,
    INITRD,
    CMDLINE,
    CPUTUNE,
    SHARES,
    PERIOD,
    QUOTA,
    ON_POWEROFF,
    ON_REBOOT,
    ON_CRASH,
    BULKHEAD,
    DEVICES,
    CONSOLE,
    CONSOLE_TARGET,
    DISK,
    SOURCE,
    TARGET,
    READONLY,
    TRANSIENT,
    DRIVER,
    IOTUNE,
    IOPS,
    BYTES_SEC,
    INTERFACE,
    MAC,
    IP,
    ROUTE,
    VLAN,
    TAG,
    BANDWIDTH,
    OUTBOUND,
    WATCHDOG,
    ELEMENTS
};

#define NEEDED 1u /* its parent is incomplete without it */
#define MANY 2u   /* may stand more than once */
#define TEXT 4u   /* has text, and no elements */

#define ATTRIBUTES_MAX 3u

struct rule {
    const char *name;
    enum element parent;
    unsigned flags;
    const char *attributes[ATTRIBUTES_MAX]; /* a '!' in front: needed */
};

static const struct rule rules[ELEMENTS] = {
    [DOMAIN_] = {"domain", DOCUMENT, NEEDED, {"!type"}},
    [NAME] = {"name", DOMAIN_, NEEDED | TEXT, {0}},
    [UUID] = {"uuid", DOMAIN_, TEXT, {0}},
    [MEMORY] = {"memory", DOMAIN_, NEEDED | TEXT, {"unit"}},
    [VCPU] = {"vcpu", DOMAIN_, TEXT, {0}},
    [OS] = {"os", DOMAIN_, NEEDED, {0}},
    [OS_TYPE] = {"type", OS, NEEDED | TEXT, {"arch"}},
    [KERNEL] = {"kernel", OS, NEEDED | TEXT, {0}},
    [INITRD] = {"initrd", OS, TEXT, {0}},
    [CMDLINE] = {"cmdline", OS, TEXT, {0}},
    [CPUTUNE] = {"cputune", DOMAIN_, 0, {0}},
    [SHARES] = {"shares", CPUTUNE, TEXT, {0}},
    [PERIOD] = {"period", CPUTUNE, TEXT, {0}},
    [QUOTA] = {"quota", CPUTUNE, TEXT, {0}},
    [ON_POWEROFF] = {"on_poweroff", DOMAIN_, TEXT, {0}},
    [ON_REBOOT] = {"on_reboot", DOMAIN_, TEXT, {0}},
    [ON_CRASH] = {"on_crash", DOMAIN_, TEXT, {0}},
    [BULKHEAD] = {"bulkhead", DOMAIN_, 0, {"autostart", "crashreport"}},
    [DEVICES] = {"devices", DOMAIN_, 0, {0}},
    [CONSOLE] = {"console", DEVICES, 0, {"type"}},
    [CONSOLE_TARGET] = {"target", CONSOLE, 0, {"!type", "port"}},
    [DISK] = {"disk", DEVICES, MANY, {"!type", "device"}},
    [SOURCE] = {"source", DISK, NEEDED, {"!volume"}},
    [TARGET] = {"target", DISK, NEEDED, {"!dev", "bus"}},
    [READONLY] = {"readonly", DISK, 0, {0}},
    [TRANSIENT] = {"transient", DISK, 0, {0}},
    [DRIVER] = {"driver", DISK, 0, {"!io"}},
    [IOTUNE] = {"iotune", DISK, 0, {0}},
    [IOPS] = {"total_iops_sec", IOTUNE, TEXT, {0}},
    [BYTES_SEC] = {"total_bytes_sec", IOTUNE, TEXT, {0}},
    [INTERFACE] = {"interface", DEVICES, MANY, {"!type"}},
    [MAC] = {"mac", INTERFACE, NEEDED, {"!address"}},
    [IP] = {"ip", INTERFACE, MANY, {"!address", "prefix", "family"}},
    [ROUTE] = {"route", INTERFACE, 0, {"!gateway", "family"}},
    [VLAN] = {"vlan", INTERFACE, 0, {0}},
    [TAG] = {"tag", VLAN, NEEDED, {"!id"}},
    [BANDWIDTH] = {"bandwidth", INTERFACE, 0, {0}},
    [OUTBOUND] = {"outbound", BANDWIDTH, NEEDED, {"!average", "burst"}},
    [WATCHDOG] = {"watchdog", DEVICES, 0, {"!model", "action"}},
};

#define DEPTH_MAX 8u
#define MEMORY_MIN (1ull << 20)
#define MEMORY_MAX (1ull << 40)
#define PERIOD_US_DEFAULT 100000u

struct parse {
    XML_Parser xml;
    const char *file;
    struct bh_definition *out;
    struct definition_error *error;
    bool failed;
    enum element open[DEPTH_MAX]; /* open[0] is DOCUMENT */
    uint32_t line[DEPTH_MAX];     /* where each begins */
    unsigned depth;
    uint64_t seen; /* bit e: element e has stood in its parent */
    char text[sizeof(((struct bh_definition *)0)->arguments)];
    size_t text_bytes; /* beyond sizeof(text): too long */
    char unit[8];      /* of <memory> */
};

_Static_assert(ELEMENTS <= 64, "seen has a bit for each");

/* The first error counts. */
__attribute__((format(printf, 3, 4))) static void fail(struct parse *p, uint32_t line,
                                                       const char *format, ...) {
    if (p->failed)
        return;
    p->failed = true;
    int used = snprintf(p->error->text, sizeof(p->error->text), "%s:%u: ", p->file, line);
    va_list arguments;
    va_start(arguments, format);
    if (used > 0 && (size_t)used < sizeof(p->error->text))
        vsnprintf(p->error->text + used, sizeof(p->error->text) - (size_t)used, format, arguments);
    va_end(arguments);
    /* A value may hold what a terminal would obey, or what looks like another line. */
    for (char *c = p->error->text; *c; c++)
        if (*c < ' ' || *c == 0x7f)
            *c = '?';
    XML_StopParser(p->xml, XML_FALSE);
}

static uint32_t line_now(const struct parse *p) {
    return (uint32_t)XML_GetCurrentLineNumber(p->xml);
}

/* For an element that is being opened or closed. */
static void fail_value(struct parse *p, enum element e, const char *value, const char *remedy) {
    fail(p, p->line[p->depth], "<%s>: '%.64s' is not valid; %s", rules[e].name, value, remedy);
}

static const char *attribute(const char **attributes, const char *name) {
    for (; *attributes; attributes += 2)
        if (strcmp(attributes[0], name) == 0)
            return attributes[1];
    return NULL;
}

/* --- Elements into fields ----------------------------------------------------------------------
 */

static void copy_text(struct parse *p, enum element e, char *to, size_t room, const char *from) {
    size_t bytes = strlen(from) + 1;
    if (bytes > room)
        fail(p, p->line[p->depth], "<%s>: longer than %zu characters; shorten it", rules[e].name,
             room - 1);
    else
        memcpy(to, from, bytes);
}

/* The host's log shows who speaks; a guest must not speak as the host. */
static bool is_reserved(const char *name) {
    static const char *const reserved[] = {"hv",  "init",   "mgmt",       "block",     "net",
                                           "pci", "virtio", "virtio-blk", "virtio-net"};
    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
        if (strcmp(name, reserved[i]) == 0)
            return true;
    return false;
}

static void fill_number(struct parse *p, enum element e, const char *text, uint64_t least,
                        uint64_t most, uint64_t *out) {
    if (!value_number(text, least, most, out))
        fail(p, p->line[p->depth],
             "<%s>: '%.64s' is not valid; give a whole number from %llu to %llu", rules[e].name,
             text, (unsigned long long)least, (unsigned long long)most);
}

static void fill_u32(struct parse *p, enum element e, const char *text, uint32_t least,
                     uint32_t most, uint32_t *out) {
    uint64_t value = *out;
    fill_number(p, e, text, least, most, &value);
    *out = (uint32_t)value;
}

static void fill_memory(struct parse *p, const char *text) {
    uint64_t unit = value_unit(p->unit), count, bytes;
    if (unit == 0)
        fail_value(p, MEMORY, p->unit, "the unit is b, KiB, MiB, GiB, TiB, KB, MB or GB");
    else if (!value_number(text, 0, UINT64_MAX, &count) ||
             __builtin_mul_overflow(count, unit, &bytes) || bytes < MEMORY_MIN ||
             bytes > MEMORY_MAX)
        fail_value(p, MEMORY, text, "give a whole number, in all from 1 MiB to 1 TiB");
    else
        p->out->memory_bytes = bytes;
}

static void fill_action(struct parse *p, enum element e, const char *text, uint8_t *out) {
    static const char *const names[] = {"destroy", "restart", "preserve"};
    for (uint8_t i = 0; i < 3; i++)
        if (strcmp(text, names[i]) == 0) {
            *out = i;
            return;
        }
    fail_value(p, e, text, "it is destroy, restart or preserve");
}

static void fill_source(struct parse *p, struct bh_definition_disk *disk, const char *volume) {
    uint64_t number;
    bool good = false;
    if (strncmp(volume, "disk:", 5) == 0)
        good = value_number(volume + 5, 0, 255, &number);
    else if (strncmp(volume, "partition:", 10) == 0)
        good = volume[10] != '\0' && value_is_plain(volume + 10);
    else if (strncmp(volume, "archive:", 8) == 0)
        good = value_is_path(volume + 8);
    if (!good)
        fail_value(p, SOURCE, volume, "a volume is 'disk:N', 'partition:NAME' or 'archive:FILE'");
    else
        copy_text(p, SOURCE, disk->source, sizeof(disk->source), volume);
}

static void fill_ip(struct parse *p, struct bh_definition_net *net, const char **attributes) {
    const char *address = attribute(attributes, "address");
    const char *prefix = attribute(attributes, "prefix");
    const char *family = attribute(attributes, "family");
    bool is_6 = family && strcmp(family, "ipv6") == 0;
    if (family && !is_6 && strcmp(family, "ipv4") != 0) {
        fail_value(p, IP, family, "the family is ipv4 or ipv6");
        return;
    }
    uint64_t bits = is_6 ? 64 : 24;
    if (prefix)
        fill_number(p, IP, prefix, 1, is_6 ? 128 : 32, &bits);
    if (is_6 ? net->ipv6_prefix != 0 : net->ipv4_prefix != 0)
        fail(p, line_now(p), "<ip>: a second address of the same family; keep one");
    else if (!(is_6 ? value_ipv6(address, net->ipv6_address)
                    : value_ipv4(address, &net->ipv4_address)))
        fail_value(p, IP, address,
                   is_6 ? "give an IPv6 address like fd00::15"
                        : "give an IPv4 address like 10.0.2.15, or add family='ipv6'");
    else if (is_6)
        net->ipv6_prefix = (uint8_t)bits;
    else
        net->ipv4_prefix = (uint8_t)bits;
}

static void fill_mac(struct parse *p, struct bh_definition_net *net, const char *address) {
    /* Bit 0 of the first byte: a group address, which no interface has (IEEE 802, 8.2). */
    if (!value_mac(address, net->mac) || (net->mac[0] & 1))
        fail_value(p, MAC, address, "give an address like 52:54:00:12:34:56, its first byte even");
}

static struct bh_definition_disk *disk_now(struct parse *p) {
    return &p->out->disk[p->out->disks - 1];
}

static struct bh_definition_net *net_now(struct parse *p) {
    return &p->out->net[p->out->nets - 1];
}

static void add_disk(struct parse *p, const char **attributes) {
    const char *device = attribute(attributes, "device");
    if (strcmp(attribute(attributes, "type"), "volume") != 0)
        fail_value(p, DISK, attribute(attributes, "type"), "use type='volume'");
    else if (device && strcmp(device, "disk") != 0 && strcmp(device, "checkpoint") != 0)
        fail_value(p, DISK, device, "use device='disk' or device='checkpoint'");
    else if (p->out->disks == BH_DEFINITION_DISKS_MAX)
        fail(p, line_now(p), "<disk>: a guest has at most %u disks; remove one",
             BH_DEFINITION_DISKS_MAX);
    else
        p->out->disk[p->out->disks++] = (struct bh_definition_disk){
            .line = line_now(p),
            .flags = device && strcmp(device, "checkpoint") == 0 ? BH_DISK_CHECKPOINT : 0};
}

static void add_net(struct parse *p, const char **attributes) {
    if (strcmp(attribute(attributes, "type"), "network") != 0)
        fail_value(p, INTERFACE, attribute(attributes, "type"), "use type='network'");
    else if (p->out->nets == BH_DEFINITION_NETS_MAX)
        fail(p, line_now(p), "<interface>: a guest has at most %u interfaces; remove one",
             BH_DEFINITION_NETS_MAX);
    else
        p->out->net[p->out->nets++].line = line_now(p);
}

/* libvirt's words for what is to follow. */
static void fill_watchdog(struct parse *p, const char **attributes) {
    static const char *const actions[] = {[BH_ACTION_DESTROY] = "poweroff",
                                          [BH_ACTION_RESTART] = "reset",
                                          [BH_ACTION_PRESERVE] = "pause"};
    const char *model = attribute(attributes, "model"), *action = attribute(attributes, "action");
    if (strcmp(model, "i6300esb") != 0) {
        fail_value(p, WATCHDOG, model, "use model='i6300esb'");
        return;
    }
    p->out->watchdog = 1;
    p->out->on_watchdog = BH_ACTION_RESTART;
    for (uint8_t i = 0; action && i < 3; i++)
        if (strcmp(action, actions[i]) == 0) {
            p->out->on_watchdog = i;
            return;
        }
    if (action)
        fail_value(p, WATCHDOG, action, "the action is reset, poweroff or pause");
}

static void fill_flag(struct parse *p, const char **attributes, const char *name, uint32_t flag) {
    const char *text = attribute(attributes, name);
    bool yes;
    if (!text)
        return;
    if (!value_yes_no(text, &yes))
        fail_value(p, BULKHEAD, text, "it is yes or no");
    else
        p->out->flags = yes ? p->out->flags | flag : p->out->flags & ~flag;
}

/* An element begins: what its attributes say. */
static void fill_attributes(struct parse *p, enum element e, const char **attributes) {
    struct bh_definition *out = p->out;
    const char *text;
    uint64_t kib;
    switch (e) {
    case DOMAIN_:
        text = attribute(attributes, "type");
        if (strcmp(text, "bulkhead") != 0)
            fail_value(p, e, text, "use type='bulkhead'");
        break;
    case MEMORY:
        text = attribute(attributes, "unit");
        snprintf(p->unit, sizeof(p->unit), "%s", text ? text : "KiB");
        break;
    case OS_TYPE:
        text = attribute(attributes, "arch");
        if (text && strcmp(text, "x86_64") != 0)
            fail_value(p, e, text, "use arch='x86_64' or leave it out");
        break;
    case BULKHEAD:
        fill_flag(p, attributes, "autostart", BH_DEFINITION_AUTOSTART);
        fill_flag(p, attributes, "crashreport", BH_DEFINITION_CRASH_REPORT);
        break;
    case CONSOLE:
        text = attribute(attributes, "type");
        if (text && strcmp(text, "pty") != 0)
            fail_value(p, e, text, "use type='pty' or leave it out");
        out->consoles = 1;
        break;
    case CONSOLE_TARGET:
        text = attribute(attributes, "type");
        out->virtio_console = strcmp(text, "virtio") == 0;
        if (!out->virtio_console && strcmp(text, "serial") != 0)
            fail_value(p, e, text, "use type='serial' or type='virtio'");
        break;
    case DISK:
        add_disk(p, attributes);
        break;
    case SOURCE:
        fill_source(p, disk_now(p), attribute(attributes, "volume"));
        break;
    case TARGET:
        text = attribute(attributes, "dev");
        if (!value_is_name(text))
            fail_value(p, e, text, "give a name like vda");
        else
            copy_text(p, e, disk_now(p)->target, sizeof(disk_now(p)->target), text);
        break;
    case READONLY:
        disk_now(p)->flags |= BH_DISK_READ_ONLY;
        break;
    case TRANSIENT:
        disk_now(p)->flags |= BH_DISK_THROW_AWAY;
        break;
    case DRIVER:
        text = attribute(attributes, "io");
        if (strcmp(text, "direct") != 0)
            fail_value(p, e, text, "use io='direct' or leave it out");
        disk_now(p)->flags |= BH_DISK_DIRECT;
        break;
    case INTERFACE:
        add_net(p, attributes);
        break;
    case MAC:
        fill_mac(p, net_now(p), attribute(attributes, "address"));
        break;
    case IP:
        fill_ip(p, net_now(p), attributes);
        break;
    case ROUTE:
        text = attribute(attributes, "family");
        if (text && strcmp(text, "ipv4") != 0)
            fail_value(p, e, text, "only ipv4 routes are given; IPv6 guests hear theirs announced");
        else if (!value_ipv4(attribute(attributes, "gateway"), &net_now(p)->ipv4_gateway))
            fail_value(p, e, attribute(attributes, "gateway"), "give an address like 10.0.2.2");
        break;
    case TAG: {
        uint64_t id = 0;
        fill_number(p, e, attribute(attributes, "id"), 1, 4094, &id);
        net_now(p)->vlan = (uint16_t)id;
        break;
    }
    case WATCHDOG:
        fill_watchdog(p, attributes);
        break;
    case OUTBOUND:
        /* libvirt counts both in KiB. */
        kib = 0;
        fill_number(p, e, attribute(attributes, "average"), 1, 1u << 30, &kib);
        net_now(p)->bytes_limit = kib << 10;
        text = attribute(attributes, "burst");
        if (text)
            fill_number(p, e, text, 64, 1u << 20, &kib); /* a GSO frame has to fit */
        else
            kib = kib < 64 ? 64 : kib > 1u << 20 ? 1u << 20 : kib;
        net_now(p)->burst_bytes = kib << 10;
        break;
    default:
        break;
    }
}

/* An element ends: what its text says. */
static void fill_text(struct parse *p, enum element e, const char *text) {
    struct bh_definition *out = p->out;
    uint32_t vcpus = 1;
    switch (e) {
    case NAME:
        out->name_line = p->line[p->depth];
        if (!value_is_name(text))
            fail_value(p, e, text,
                       "use letters, digits, '-', '_' and '.', a letter or digit first");
        else if (is_reserved(text))
            fail_value(p, e, text, "the host's own log lines begin so; choose another name");
        else
            copy_text(p, e, out->name, sizeof(out->name), text);
        break;
    case UUID:
        if (!value_uuid(text, out->uuid))
            fail_value(p, e, text, "give 32 hexadecimal digits as 8-4-4-4-12, or leave it out");
        out->flags |= BH_DEFINITION_HAS_UUID;
        break;
    case MEMORY:
        out->memory_line = p->line[p->depth];
        fill_memory(p, text);
        break;
    case VCPU:
        fill_u32(p, e, text, 1, BH_GUEST_VCPUS_MAX, &vcpus);
        out->vcpus = (uint16_t)vcpus;
        break;
    case OS_TYPE:
        if (strcmp(text, "hvm") == 0)
            out->guest_type = BH_GUEST_HVM;
        else if (strcmp(text, "pv") != 0)
            fail_value(p, e, text, "use pv or hvm");
        break;
    case KERNEL:
        out->kernel_line = p->line[p->depth];
        if (!value_is_path(text))
            fail_value(p, e, text,
                       "name a file of the boot archive, without '..' or a leading '/'");
        else
            copy_text(p, e, out->kernel, sizeof(out->kernel), text);
        break;
    case INITRD:
        if (!value_is_path(text))
            fail_value(p, e, text,
                       "name a file of the boot archive, without '..' or a leading '/'");
        else
            copy_text(p, e, out->initrd, sizeof(out->initrd), text);
        break;
    case CMDLINE:
        if (!value_is_plain(text))
            fail(p, p->line[p->depth], "<cmdline>: holds control characters; write it in one line");
        else
            copy_text(p, e, out->arguments, sizeof(out->arguments), text);
        break;
    case SHARES:
        fill_u32(p, e, text, 1, 10000, &out->weight);
        break;
    case PERIOD:
        fill_u32(p, e, text, 1000, 1000000, &out->period_us);
        break;
    case QUOTA:
        fill_u32(p, e, text, 1000, 1000000, &out->quota_us);
        break;
    case ON_POWEROFF:
        fill_action(p, e, text, &out->on_poweroff);
        break;
    case ON_REBOOT:
        fill_action(p, e, text, &out->on_reboot);
        break;
    case ON_CRASH:
        fill_action(p, e, text, &out->on_crash);
        break;
    case IOPS:
        fill_number(p, e, text, 1, 1ull << 40, &disk_now(p)->iops_limit);
        break;
    case BYTES_SEC:
        fill_number(p, e, text, 4096, 1ull << 40, &disk_now(p)->bytes_limit);
        break;
    default:
        break;
    }
}

/* What the guest's RAM is read and written by is a device, and only an HVM guest has RAM that is
 * not a program's. */
static void check_direct(struct parse *p) {
    for (uint32_t i = 0; i < p->out->disks; i++) {
        const struct bh_definition_disk *disk = &p->out->disk[i];
        if (!(disk->flags & BH_DISK_DIRECT))
            continue;
        if (p->out->guest_type == BH_GUEST_PV)
            fail(p, disk->line, "<driver>: a PV guest's disk has no io='direct'; remove it");
        if (disk->flags & BH_DISK_THROW_AWAY || strncmp(disk->source, "archive:", 8) == 0)
            fail(p, disk->line,
                 "<driver>: io='direct' is for 'disk:N' and 'partition:NAME' without <transient/>; "
                 "remove it");
    }
}

/* A guest that goes on finds its disks as it left them, and its checkpoint is not among them. */
static void check_checkpoint(struct parse *p) {
    const struct bh_definition *out = p->out;
    uint32_t before = 0;
    while (before < out->disks && !(out->disk[before].flags & BH_DISK_CHECKPOINT))
        before++;
    if (before == out->disks)
        return;
    const struct bh_definition_disk *disk = &out->disk[before];
    if (out->guest_type == BH_GUEST_PV)
        fail(p, disk->line, "<disk>: a PV guest has no device='checkpoint'; remove it");
    if (before + 1 != out->disks)
        fail(p, disk->line, "<disk>: device='checkpoint' is the last one; move it");
    if (disk->flags != BH_DISK_CHECKPOINT)
        fail(p, disk->line,
             "<disk>: device='checkpoint' has no <readonly/>, <transient/> or <driver>; remove it");
    for (uint32_t i = 0; i < before; i++)
        if (out->disk[i].flags & BH_DISK_THROW_AWAY)
            fail(p, out->disk[i].line,
                 "<transient>: a guest with a device='checkpoint' keeps its disks; remove it");
}

/* What cannot be seen before an element and all in it has been read. */
static void check_end(struct parse *p, enum element e) {
    if (e == DISK && strncmp(disk_now(p)->source, "archive:", 8) == 0 &&
        !(disk_now(p)->flags & (BH_DISK_READ_ONLY | BH_DISK_THROW_AWAY)))
        fail(p, p->line[p->depth],
             "<disk>: a file of the boot archive cannot be written; add <readonly/>, or "
             "<transient/> to lose what is written");
    if (e == DOMAIN_ && p->out->guest_type == BH_GUEST_PV && p->out->initrd[0])
        fail(p, p->line[p->depth], "<initrd>: a PV guest has none; remove it");
    if (e == DOMAIN_ && p->out->guest_type == BH_GUEST_PV && p->out->vcpus > 1)
        fail(p, p->line[p->depth], "<vcpu>: a PV guest has 1; remove it");
    if (e == DOMAIN_ && p->out->guest_type == BH_GUEST_PV && p->out->watchdog)
        fail(p, p->line[p->depth], "<watchdog>: a PV guest has none; remove it");
    if (e == DOMAIN_ && p->out->guest_type == BH_GUEST_PV && p->out->virtio_console)
        fail(p, p->line[p->depth], "<console>: only an HVM guest has one of type='virtio'");
    if (e == DOMAIN_) {
        check_direct(p);
        check_checkpoint(p);
    }
    if (e == CPUTUNE && p->out->quota_us > p->out->period_us)
        fail(
            p, p->line[p->depth],
            "<cputune>: quota %u us in a period of %u us is more than one processor; lower <quota>",
            p->out->quota_us, p->out->period_us);
}

/* --- expat's side ------------------------------------------------------------------------------
 */

static enum element find_element(enum element parent, const char *name) {
    for (unsigned e = DOMAIN_; e < ELEMENTS; e++)
        if (rules[e].parent == parent && strcmp(rules[e].name, name) == 0)
            return (enum element)e;
    return DOCUMENT;
}

static const char *plain_name(const char *rule_attribute) {
    return *rule_attribute == '!' ? rule_attribute + 1 : rule_attribute;
}

static void check_attributes(struct parse *p, enum element e, const char **attributes) {
    const char *const *known = rules[e].attributes;
    for (const char **a = attributes; *a; a += 2) {
        unsigned i = 0;
        while (i < ATTRIBUTES_MAX && known[i] && strcmp(plain_name(known[i]), *a) != 0)
            i++;
        if (i == ATTRIBUTES_MAX || !known[i]) {
            fail(p, line_now(p), "<%s>: attribute '%.32s' is not known; remove it", rules[e].name,
                 *a);
            return;
        }
    }
    for (unsigned i = 0; i < ATTRIBUTES_MAX && known[i]; i++)
        if (known[i][0] == '!' && !attribute(attributes, plain_name(known[i])))
            fail(p, line_now(p), "<%s>: attribute '%s' is missing; add it", rules[e].name,
                 plain_name(known[i]));
}

static void on_start(void *context, const char *name, const char **attributes) {
    struct parse *p = context;
    enum element parent = p->open[p->depth];
    enum element e = find_element(parent, name);
    if (p->failed)
        return;
    if (e == DOCUMENT || p->depth + 1 == DEPTH_MAX) {
        fail(p, line_now(p),
             "<%.32s>: not known %s%s%s; remove it (docs/definitions.md lists what there is)", name,
             parent == DOCUMENT ? "as the outermost element" : "in <",
             parent == DOCUMENT ? "" : rules[parent].name, parent == DOCUMENT ? "" : ">");
        return;
    }
    if ((p->seen >> e & 1) && !(rules[e].flags & MANY)) {
        fail(p, line_now(p), "<%s>: stands twice; remove one", name);
        return;
    }
    p->seen |= 1ull << e;
    for (unsigned child = DOMAIN_; child < ELEMENTS; child++)
        if (rules[child].parent == e)
            p->seen &= ~(1ull << child);
    p->open[++p->depth] = e;
    p->line[p->depth] = line_now(p);
    p->text_bytes = 0;
    check_attributes(p, e, attributes);
    if (!p->failed)
        fill_attributes(p, e, attributes);
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The collected text without blanks around it. */
static const char *trimmed(struct parse *p) {
    size_t end = p->text_bytes, start = 0;
    while (end > 0 && is_blank(p->text[end - 1]))
        end--;
    p->text[end] = '\0';
    while (is_blank(p->text[start]))
        start++;
    return p->text + start;
}

static void on_end(void *context, const char *name) {
    struct parse *p = context;
    enum element e = p->open[p->depth];
    if (p->failed)
        return;
    if (rules[e].flags & TEXT) {
        if (p->text_bytes >= sizeof(p->text))
            fail(p, p->line[p->depth], "<%s>: longer than %zu characters; shorten it", name,
                 sizeof(p->text) - 1);
        else
            fill_text(p, e, trimmed(p));
    }
    for (unsigned child = DOMAIN_; child < ELEMENTS && !p->failed; child++)
        if (rules[child].parent == e && (rules[child].flags & NEEDED) && !(p->seen >> child & 1))
            fail(p, p->line[p->depth], "<%s>: <%s> is missing; add it", name, rules[child].name);
    if (!p->failed)
        check_end(p, e);
    p->depth--;
}

static void on_text(void *context, const char *text, int bytes) {
    struct parse *p = context;
    enum element e = p->open[p->depth];
    for (int i = 0; i < bytes && !p->failed; i++) {
        if (!(rules[e].flags & TEXT)) {
            if (!is_blank(text[i]))
                fail(p, line_now(p), "<%s>: no text may stand here; remove it", rules[e].name);
        } else if (p->text_bytes < sizeof(p->text)) {
            p->text[p->text_bytes++] = text[i];
        }
    }
}

/* Entities are declared there, and nowhere else; without them XML cannot grow while it is read. */
static void on_doctype(void *context, const char *name, const char *system, const char *public_id,
                       int internal) {
    struct parse *p = context;
    (void)system;
    (void)public_id;
    (void)internal;
    fail(p, line_now(p), "<!DOCTYPE %.32s>: document types are refused; remove it", name);
}

bool definition_parse(const char *file, const char *xml, size_t bytes, struct bh_definition *out,
                      struct definition_error *error) {
    if (bytes > DEFINITION_XML_BYTES_MAX) {
        snprintf(error->text, sizeof(error->text),
                 "%s:1: %zu bytes long; a definition has at most %u", file, bytes,
                 DEFINITION_XML_BYTES_MAX);
        return false;
    }
    *out = (struct bh_definition){
        .version = BH_DEFINITION_VERSION,
        .flags = BH_DEFINITION_AUTOSTART | BH_DEFINITION_CRASH_REPORT,
        .vcpus = 1,
        .weight = 1024,
        .period_us = PERIOD_US_DEFAULT,
        .on_reboot = BH_ACTION_RESTART,
    };
    struct parse p = {.xml = XML_ParserCreate(NULL), .file = file, .out = out, .error = error};
    if (!p.xml) {
        snprintf(error->text, sizeof(error->text), "%s: mgmt is out of memory; destroy a guest",
                 file);
        return false;
    }
    XML_SetUserData(p.xml, &p);
    XML_SetElementHandler(p.xml, on_start, on_end);
    XML_SetCharacterDataHandler(p.xml, on_text);
    XML_SetStartDoctypeDeclHandler(p.xml, on_doctype);
    if (XML_Parse(p.xml, xml, (int)bytes, XML_TRUE) != XML_STATUS_OK && !p.failed)
        fail(&p, line_now(&p), "not well-formed XML: %s; correct it",
             XML_ErrorString(XML_GetErrorCode(p.xml)));
    XML_ParserFree(p.xml);
    return !p.failed;
}
