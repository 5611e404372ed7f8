#include "mgmt/console/show.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "guestlib/heap.h"
#include "guestlib/tsc.h"
#include "mgmt/console/log.h"
#include "mgmt/console/show_hvm.h"
#include "mgmt/console/terminal.h"
#include "mgmt/host.h"
#include "mgmt/hv.h"
#include "mgmt/layout.h"
#include "mgmt/own_memory.h"
#include "mgmt/text.h"

void show_begin(const struct request *request, struct json *j) {
    json_begin(j, terminal_raw, NULL);
    json_string(j, "command", request->command);
    json_bool(j, "ok", true);
}

void show_done(const struct request *request) {
    struct json j;
    show_begin(request, &j);
    json_end(&j);
}

void show_error(const struct request *request, const char *format, ...) {
    char text[DEFINITION_ERROR_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (!request->json) {
        terminal_print("%s\n", text);
        return;
    }
    struct json j;
    json_begin(&j, terminal_raw, NULL);
    json_string(&j, "command", request->command);
    json_bool(&j, "ok", false);
    json_string(&j, "error", text);
    json_end(&j);
}

static uint64_t to_ms(uint64_t tsc) {
    return tsc_to_ns(tsc, host_info()->tsc_hz) / 1000000;
}

/* --- list, info --------------------------------------------------------------------------------
 */

static void json_domain(struct json *j, const struct domain *d) {
    json_string(j, "name", d->definition.name);
    json_string(j, "state", domain_state_name(d));
    json_bool(j, "ready", d->ready);
    json_number(j, "memory_bytes", d->definition.memory_bytes);
    json_number(j, "held_bytes", domain_memory_pages(d) * BH_PAGE_BYTES);
    json_number(j, "cpu_ms", to_ms(domain_cpu_tsc(d)));
    json_number(j, "starts", d->starts);
    json_number(j, "crashes", d->crashes);
    json_string(j, "file", d->file);
    json_string(j, "last_words", d->last_words);
}

void show_list(const struct request *request) {
    struct json j;
    if (request->json) {
        show_begin(request, &j);
        json_array(&j, "guests");
    } else {
        terminal_print("%-24s %-9s %10s %10s  %s\n", "NAME", "STATE", "MEMORY", "CPU", "");
    }
    const struct domain *d;
    for (uint32_t i = 0; (d = domain_at(i)); i++) {
        if (request->json) {
            json_object(&j, NULL);
            json_domain(&j, d);
            json_object_end(&j);
        } else {
            char memory[24];
            uint64_t ms = to_ms(domain_cpu_tsc(d));
            terminal_print("%-24s %-9s %10s %6llu.%03u  %s\n", d->definition.name,
                           domain_state_name(d), text_size(memory, d->definition.memory_bytes),
                           (unsigned long long)(ms / 1000), (unsigned)(ms % 1000),
                           d->ready ? "ready" : d->last_words);
        }
    }
    if (request->json) {
        json_array_end(&j);
        json_end(&j);
    }
}

static void info_block(struct json *j, const struct domain *d, uint32_t index) {
    uint32_t number = d->shared.device[index].index;
    const struct bh_definition_disk *disk = &d->definition.disk[number];
    struct bh_definition_disk of_hvm;
    if (number >= d->definition.disks) {
        hvm_file_disk(&d->definition, number - d->definition.disks, &of_hvm);
        disk = &of_hvm;
    }
    struct block_statistics s = {0};
    if (d->device[index].attached)
        block_get_statistics(d->device[index].block, &s);
    if (j) {
        json_string(j, "source", disk->source);
        json_string(j, "io", disk->flags & BH_DISK_DIRECT ? "direct" : "window");
        json_number(j, "reads", s.reads);
        json_number(j, "read_bytes", s.read_bytes);
        json_number(j, "writes", s.writes);
        json_number(j, "written_bytes", s.written_bytes);
        json_number(j, "flushes", s.flushes);
        json_number(j, "errors", s.errors);
        return;
    }
    terminal_print(
        "  disk %-8s %s%s: %llu reads, %llu bytes; %llu writes, %llu bytes; %llu errors\n",
        disk->target, disk->source, disk->flags & BH_DISK_DIRECT ? ", direct" : "",
        (unsigned long long)s.reads, (unsigned long long)s.read_bytes, (unsigned long long)s.writes,
        (unsigned long long)s.written_bytes, (unsigned long long)s.errors);
}

static void info_net(struct json *j, const struct domain *d, uint32_t index) {
    const struct bh_definition_net *net = &d->definition.net[d->shared.device[index].index];
    struct net_statistics s = {0};
    if (d->device[index].attached)
        net_get_statistics(d->device[index].net, &s);
    char mac[18];
    snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", net->mac[0], net->mac[1],
             net->mac[2], net->mac[3], net->mac[4], net->mac[5]);
    if (j) {
        json_string(j, "mac", mac);
        json_number(j, "transmitted", s.transmitted);
        json_number(j, "transmitted_bytes", s.transmitted_bytes);
        json_number(j, "received", s.received);
        json_number(j, "received_bytes", s.received_bytes);
        json_number(j, "dropped_spoofed", s.dropped_spoofed);
        json_number(j, "dropped_rate", s.dropped_rate);
        json_number(j, "dropped_full", s.dropped_full);
        return;
    }
    terminal_print("  net %s: %llu frames out, %llu in; dropped %llu spoofed, %llu over the rate, "
                   "%llu without room\n",
                   mac, (unsigned long long)s.transmitted, (unsigned long long)s.received,
                   (unsigned long long)s.dropped_spoofed, (unsigned long long)s.dropped_rate,
                   (unsigned long long)s.dropped_full);
}

static void info_devices(struct json *j, const struct domain *d) {
    static const char *const classes[] = {[BH_CLASS_CONTROL] = "control",
                                          [BH_CLASS_CONSOLE] = "console",
                                          [BH_CLASS_BLOCK] = "block",
                                          [BH_CLASS_NET] = "net"};
    for (uint32_t i = 0; i < d->shared.devices; i++) {
        enum bh_class class = d->shared.device[i].class;
        if (j) {
            json_object(j, NULL);
            json_string(j, "class", classes[class]);
        }
        if (class == BH_CLASS_BLOCK)
            info_block(j, d, i);
        else if (class == BH_CLASS_NET)
            info_net(j, d, i);
        if (j)
            json_object_end(j);
    }
}

void show_info(const struct request *request, const struct domain *d) {
    const struct bh_definition *definition = &d->definition;
    if (request->json) {
        struct json j;
        show_begin(request, &j);
        json_domain(&j, d);
        json_string(&j, "kernel", definition->kernel);
        json_number(&j, "weight", definition->weight);
        json_number(&j, "quota_us", definition->quota_us);
        json_number(&j, "period_us", definition->period_us);
        if (definition->guest_type == BH_GUEST_HVM)
            show_hvm(&j, d);
        json_object(&j, "tsc");
        json_number(&j, "start", d->at.start);
        json_number(&j, "running", d->at.running);
        json_number(&j, "end", d->at.end);
        json_number(&j, "off", d->at.off);
        json_object_end(&j);
        json_array(&j, "devices");
        info_devices(&j, d);
        json_array_end(&j);
        json_end(&j);
        return;
    }
    char memory[24], held[24];
    uint64_t ms = to_ms(domain_cpu_tsc(d));
    terminal_print("guest %s, from %s: %s%s%s%s\n", definition->name, d->file, domain_state_name(d),
                   d->ready ? ", ready" : "", d->last_words[0] ? ": " : "", d->last_words);
    terminal_print("  memory %s, holds %s with all that belongs to it\n",
                   text_size(memory, definition->memory_bytes),
                   text_size(held, domain_memory_pages(d) * BH_PAGE_BYTES));
    terminal_print("  processor %llu.%03u s; weight %u", (unsigned long long)(ms / 1000),
                   (unsigned)(ms % 1000), definition->weight);
    if (definition->quota_us)
        terminal_print(", at most %u us in %u us", definition->quota_us, definition->period_us);
    terminal_print("\n  started %u times, crashed %u times\n", d->starts, d->crashes);
    if (definition->guest_type == BH_GUEST_HVM)
        show_hvm(NULL, d);
    info_devices(NULL, d);
}

/* --- caps --------------------------------------------------------------------------------------
 */

static const char *type_name(uint64_t type) {
    static const char *const names[] = {"none",    "Untyped", "Region", "Space", "CapTable",
                                        "Context", "Event",   "Irq",    "Ports", "Cpu",
                                        "System",  "Vcpu",    "Device"};
    return type < sizeof(names) / sizeof(names[0]) ? names[type] : "unknown";
}

static void show_slot(struct json *j, bh_slot slot) {
    uint64_t word, badge, first, second;
    /* CAP_INFO's word 0: type, rights, depth, original from bits 0, 8, 16, 24. */
    if (hv_cap_info(OWN(slot), 0, &word, &badge) || (word & 0xff) == BH_TYPE_NONE ||
        hv_cap_info(OWN(slot), 1, &first, &second))
        return;
    unsigned rights = word >> 8 & 0xff, depth = word >> 16 & 0xff;
    bool original = word >> 24 & 1;
    if (!j) {
        terminal_print("  %6u  %-8s rights %02x  depth %2u  %s  %llu %llu\n", slot,
                       type_name(word & 0xff), rights, depth, original ? "original" : "copy    ",
                       (unsigned long long)first, (unsigned long long)second);
        return;
    }
    json_object(j, NULL);
    json_number(j, "slot", slot);
    json_string(j, "type", type_name(word & 0xff));
    json_number(j, "rights", rights);
    json_number(j, "depth", depth);
    json_bool(j, "original", original);
    json_number(j, "badge", badge);
    json_number(j, "first", first);
    json_number(j, "second", second);
    json_object_end(j);
}

static void show_domain_slots(struct json *j, const struct domain *d) {
    if (d->state == DOMAIN_OFF)
        return; /* its number is somebody else's */
    chunk c;
    if (d->objects)
        show_slot(j, d->objects);
    if (d->hvm.objects)
        show_slot(j, d->hvm.objects);
    for (uint32_t i = 0; (c = domain_chunk(d, i)); i++)
        show_slot(j, c);
    for (unsigned i = 0; i < MGMT_SLOTS_PER_DOMAIN; i++)
        show_slot(j, domain_slot(d, i));
}

void show_caps(const struct request *request, const struct domain *d) {
    struct json j = {.comma = false};
    struct json *to = request->json ? &j : NULL;
    if (to) {
        show_begin(request, to);
        json_array(to, "slots");
    } else {
        terminal_print("    SLOT  TYPE\n");
    }
    if (d)
        show_domain_slots(to, d);
    else /* what init gave mgmt; guests have their own listing, memory has `mem` */
        for (bh_slot slot = 1; slot < MGMT_SLOT_DMA + MGMT_SLOT_DMAS; slot++)
            show_slot(to, slot);
    if (to) {
        json_array_end(to);
        json_end(to);
    }
}

/* --- mem, cpu, log -----------------------------------------------------------------------------
 */

static uint64_t modules_bytes(void) {
    const struct bh_bootinfo *info = host_info();
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < info->module_count; i++)
        bytes += info->module[i].bytes;
    return bytes;
}

void show_mem(const struct request *request) {
    static const struct {
        enum bh_kind kind;
        const char *name;
    } kinds[] = {{BH_KIND_FRAME, "frame"}, {BH_KIND_OBJECT, "object"}, {BH_KIND_SHARED, "shared"}};
    struct json j;
    if (request->json) {
        show_begin(request, &j);
        json_number(&j, "ram_bytes", host_info()->ram_bytes);
        json_number(&j, "hv_bytes", host_info()->hv_bytes);
        json_number(&j, "modules_bytes", modules_bytes());
        json_number(&j, "mgmt_bytes", own_memory_bytes());
        json_number(&j, "mgmt_heap_free_bytes", heap_free_bytes());
        json_number(&j, "mgmt_heap_blocks", heap_blocks());
    } else {
        char ram[24], hv[24], own[24], heap[24];
        terminal_print("RAM %s; hv itself %s; mgmt %s, %s of its heap free\n",
                       text_size(ram, host_info()->ram_bytes), text_size(hv, host_info()->hv_bytes),
                       text_size(own, own_memory_bytes()), text_size(heap, heap_free_bytes()));
    }
    for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct memory_account account = memory_account(kinds[i].kind);
        int largest = memory_largest(kinds[i].kind);
        uint64_t largest_bytes = largest < 0 ? 0 : (uint64_t)BH_PAGE_BYTES << largest;
        if (request->json) {
            json_object(&j, kinds[i].name);
            json_number(&j, "total_bytes", account.total * BH_PAGE_BYTES);
            json_number(&j, "free_bytes", account.free * BH_PAGE_BYTES);
            json_number(&j, "largest_free_bytes", largest_bytes);
            json_number(&j, "chunks_used", account.chunks_used);
            json_object_end(&j);
        } else {
            char total[24], free[24], block[24];
            terminal_print("  %-6s memory %10s, free %10s, largest block %10s, %u blocks in use\n",
                           kinds[i].name, text_size(total, account.total * BH_PAGE_BYTES),
                           text_size(free, account.free * BH_PAGE_BYTES),
                           text_size(block, largest_bytes), account.chunks_used);
        }
    }
    if (request->json)
        json_end(&j);
}

/* hv's counters and the TSC (0 at power-on) at one moment. */
struct moment {
    uint64_t tsc;
    uint64_t counter[BH_COUNTER_COUNT];
};

static struct moment when_ready;

static struct moment moment_now(void) {
    struct moment moment = {.tsc = tsc_read()};
    for (unsigned i = 0; i < BH_COUNTER_COUNT; i++)
        hv_system(BH_SYSTEM_OP_COUNTER, i, &moment.counter[i]);
    return moment;
}

void show_mark_ready(void) {
    when_ready = moment_now();
}

static void show_moment(struct json *j, const char *name, const struct moment *moment) {
    static const char *const counters[BH_COUNTER_COUNT] = {
        "idle_tsc",    "ring_switches", "space_switches", "interrupts",
        "tlb_flushes", "ipis",          "scrubbed_pages", "guest_exits",
    };
    if (j) {
        json_object(j, name);
        json_number(j, "tsc", moment->tsc);
    }
    for (unsigned i = 0; i < BH_COUNTER_COUNT; i++) {
        if (j)
            json_number(j, counters[i], moment->counter[i]);
        else
            terminal_print("  hv %-16s %llu\n", counters[i],
                           (unsigned long long)moment->counter[i]);
    }
    if (j)
        json_object_end(j);
}

void show_cpu(const struct request *request) {
    struct moment now = moment_now();
    uint64_t up = now.tsc - host_info()->tsc_at_start, mgmt = 0;
    hv_context_get(OWN(BH_INIT_CONTEXT), BH_REG_CPU_TIME, &mgmt);
    struct json j;
    if (request->json) {
        show_begin(request, &j);
        json_number(&j, "tsc_hz", host_info()->tsc_hz);
        json_number(&j, "uptime_tsc", up);
        json_number(&j, "mgmt_tsc", mgmt);
        json_array(&j, "guests");
    } else {
        terminal_print("up %llu ms on %u processors; mgmt %llu ms\n", (unsigned long long)to_ms(up),
                       host_info()->cpus, (unsigned long long)to_ms(mgmt));
    }
    const struct domain *d;
    for (uint32_t i = 0; (d = domain_at(i)); i++) {
        if (request->json) {
            json_object(&j, NULL);
            json_string(&j, "name", d->definition.name);
            json_number(&j, "tsc", domain_cpu_tsc(d));
            json_object_end(&j);
        } else {
            terminal_print("  %-24s %llu ms\n", d->definition.name,
                           (unsigned long long)to_ms(domain_cpu_tsc(d)));
        }
    }
    if (request->json) {
        json_array_end(&j);
        show_moment(&j, "when_ready", &when_ready);
        show_moment(&j, "counters", &now);
        json_end(&j);
    } else {
        show_moment(NULL, "counters", &now);
    }
}

static void show_log_text(struct json *j, const char *text, size_t bytes, struct text *line) {
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] != '\n') {
            if (text[i] >= ' ' && text[i] < 0x7f)
                text_add(line, "%c", text[i]);
            continue;
        }
        line->data[line->bytes] = '\0';
        if (j)
            json_string(j, NULL, line->data);
        else
            terminal_print("%s\n", line->data);
        line->bytes = 0;
    }
}

void show_log(const struct request *request) {
    static char hv_log[32768]; /* too large for the stack; nothing calls itself */
    struct json j = {.comma = false};
    struct json *to = request->json ? &j : NULL;
    struct text line = {.bytes = 0};
    size_t bytes = host_hv_log(hv_log, sizeof(hv_log));
    if (to) {
        show_begin(request, to);
        json_array(to, "hv");
    }
    show_log_text(to, hv_log, bytes, &line);
    if (to) {
        json_array_end(to);
        json_array(to, "mgmt");
    }
    line.bytes = 0;
    uint64_t position = 0;
    char piece[512];
    while ((bytes = log_read(&position, piece, sizeof(piece))) > 0)
        show_log_text(to, piece, bytes, &line);
    if (to) {
        json_array_end(to);
        json_end(to);
    }
}
