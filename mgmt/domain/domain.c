/* The life of domains: who may go where from which state, and what follows from a fault, an exit, a
 * wish. How a domain is made of capabilities is build.c's business. */
#include "mgmt/domain/domain.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "abi/control.h"
#include "guestlib/tsc.h"
#include "mgmt/domain/files.h"
#include "mgmt/host.h"
#include "mgmt/hv.h"
#include "mgmt/layout.h"
#include "mgmt/text.h"

/* 64 KiB each: what one turn of the event loop cleans of a starting guest's memory. */
#define SCRUB_STEPS_PER_TURN 16u

/* A guest that has been started again this often within RESTARTS_NS stays down. */
#define RESTARTS_MAX (sizeof(((struct domain *)0)->restart_ns) / sizeof(uint64_t))
#define RESTARTS_NS (60 * NS_PER_S)

#define LAST_WORDS_LINES 10u

static struct domains {
    struct domain **domain; /* in the order of definition */
    uint32_t count, max;
    uint32_t *numbers_free; /* a stack */
    uint32_t numbers_free_count;
    const uint8_t *archive;
    bool closing;
    void (*changed)(void *context);
    void *changed_context;
} domains;

__attribute__((format(printf, 2, 3))) static bool refuse(struct domain_error *error,
                                                         const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof(error->text), format, arguments);
    va_end(arguments);
    return false;
}

void domains_start(const uint8_t *archive, size_t bytes) {
    domains = (struct domains){.archive = archive};
    files_start(archive, bytes);
    domains.domain = calloc(host_domains_max(), sizeof(*domains.domain));
    domains.numbers_free = calloc(host_domains_max(), sizeof(*domains.numbers_free));
    if (!domains.domain || !domains.numbers_free)
        return; /* max stays 0: every definition is refused */
    domains.max = host_domains_max();
    for (uint32_t i = domains.max; i > 0; i--)
        domains.numbers_free[domains.numbers_free_count++] = i - 1;
}

void domains_on_change(void (*changed)(void *context), void *context) {
    domains.changed = changed;
    domains.changed_context = context;
}

static void set_state(struct domain *d, enum domain_state state) {
    d->state = state;
    if (domains.changed)
        domains.changed(domains.changed_context);
}

struct domain *domain_at(uint32_t index) {
    return index < domains.count ? domains.domain[index] : NULL;
}

struct domain *domain_find(const char *name) {
    for (uint32_t i = 0; i < domains.count; i++)
        if (strcmp(domains.domain[i]->definition.name, name) == 0)
            return domains.domain[i];
    return NULL;
}

const char *domain_state_name(const struct domain *d) {
    static const char *const names[] = {"off",      "starting", "running", "paused",
                                        "stopping", "crashed",  "dying"};
    return names[d->state];
}

uint64_t domain_cpu_tsc(const struct domain *d) {
    return d->cpu_tsc + (d->built ? contexts_cpu_tsc(d) : 0);
}

uint64_t domain_memory_pages(const struct domain *d) {
    uint64_t pages = 0;
    chunk c;
    if (d->objects)
        pages += memory_pages(d->objects);
    if (d->hvm.objects)
        pages += memory_pages(d->hvm.objects);
    for (uint32_t i = 0; (c = domain_chunk(d, i)); i++)
        pages += memory_pages(c);
    return pages;
}

/* --- Definitions -------------------------------------------------------------------------------
 */

static bool compatible(const char *file, const struct bh_definition *definition,
                       const struct domain *replaced, struct domain_error *error) {
    struct definition_error reason;
    bool good = definition_check_pair(file, definition, definition, &reason);
    for (uint32_t i = 0; i < domains.count && good; i++)
        if (domains.domain[i] != replaced)
            good = definition_check_pair(file, definition, &domains.domain[i]->definition, &reason);
    return good || refuse(error, "%s", reason.text);
}

struct domain *domain_define(const char *file, struct domain_error *error) {
    static const char folder[] = "guests/";
    const char *name = file;
    if (strncmp(name, folder, strlen(folder)) == 0)
        name += strlen(folder);
    char shown[DOMAIN_FILE_BYTES];
    snprintf(shown, sizeof(shown), "%s%s", folder, name);

    size_t bytes = 0;
    const uint8_t *xml = files_find(name, &bytes);
    if (!xml) {
        refuse(error, "%s: no such file in the boot archive; put it there and make the image again",
               shown);
        return NULL;
    }
    struct bh_definition definition;
    struct definition_error reason;
    if (!definition_parse(shown, (const char *)xml, bytes, &definition, &reason)) {
        refuse(error, "%s", reason.text);
        return NULL;
    }
    struct domain *d = domain_find(definition.name);
    if (d && (d->state != DOMAIN_OFF || strcmp(d->file, shown) != 0))
        d = NULL;
    if (!compatible(shown, &definition, d, error))
        return NULL;
    if (!d) {
        d = domains.count < domains.max ? calloc(1, sizeof(*d)) : NULL;
        if (!d) {
            refuse(error, "%s: mgmt has no room for another guest", shown);
            return NULL;
        }
        domains.domain[domains.count++] = d;
    }
    d->definition = definition;
    memcpy(d->file, shown, sizeof(shown));
    return d;
}

/* --- The end -----------------------------------------------------------------------------------
 */

static void released(struct domain *d);

static void let_go(void *context) {
    struct domain *d = context;
    if (--d->detaching == 0)
        released(d);
}

/* Stops the guest, has all back ends let go of its memory, and then takes everything back. */
static void end_life(struct domain *d, bool start_again) {
    d->at.end = tsc_read();
    d->start_again = start_again;
    loop_timer_cancel(&d->expiry);
    if (d->built)
        contexts_suspend(d);
    d->state = DOMAIN_DYING;
    for (unsigned bit = DOMAIN_BIT_FAULT; bit <= DOMAIN_BIT_NET; bit++)
        loop_on_event(domain_bit(d, (enum domain_bit)bit), NULL, NULL);
    d->detaching = 1; /* keeps released() away until all have been asked */
    for (uint32_t i = 0; i < d->shared.devices; i++) {
        if (!d->device[i].attached)
            continue;
        d->device[i].attached = false;
        d->detaching++;
        switch (d->shared.device[i].class) {
        case BH_CLASS_BLOCK:
            block_detach(d->device[i].block, let_go, d);
            break;
        case BH_CLASS_NET:
            net_detach(d->device[i].net, let_go, d);
            break;
        case BH_CLASS_CONSOLE:
            guest_console_detach(&d->console);
            let_go(d);
            break;
        case BH_CLASS_CONTROL:
            control_detach(&d->control);
            let_go(d);
            break;
        }
    }
    let_go(d);
}

/* Cleans some of the domain's memory. True when all of it is clean. */
static bool clean_some(struct domain *d) {
    for (unsigned step = 0; step < SCRUB_STEPS_PER_TURN; step++) {
        chunk dirty = domain_chunk(d, d->clean);
        if (!dirty)
            return true;
        if (memory_scrub_step(dirty) == BH_OK)
            d->clean++;
    }
    return false;
}

static void end_clean(void *context) {
    struct domain *d = context;
    if (!clean_some(d)) {
        loop_post(&d->work);
        return;
    }
    domain_release(d);
    domains.numbers_free[domains.numbers_free_count++] = d->number;
    d->ready = false;
    d->at.off = tsc_read();
    log_line("mgmt", "guest %s ended: %s", d->definition.name, d->last_words);
    set_state(d, DOMAIN_OFF);
    struct domain_error error;
    if (d->start_again && !domains.closing && !domain_start(d, &error))
        log_line("mgmt", "%s", error.text);
}

/* Nobody uses the memory any more: it is taken back, and cleaned before it is free, so that nothing
 * the guest wrote stays in RAM. */
static void released(struct domain *d) {
    d->cpu_tsc = domain_cpu_tsc(d);
    domain_revoke(d);
    d->clean = 0;
    d->work.handler = end_clean;
    loop_post(&d->work);
}

/* Whether it may be started again by itself now; remembers that it was. */
static bool may_restart(struct domain *d) {
    uint64_t now = loop_now_ns();
    uint64_t *oldest = &d->restart_ns[d->starts % RESTARTS_MAX];
    if (*oldest && now - *oldest < RESTARTS_NS) {
        log_line("mgmt", "guest %s: started again %zu times within a minute; it stays off",
                 d->definition.name, RESTARTS_MAX);
        return false;
    }
    *oldest = now;
    return true;
}

static void follow_policy(struct domain *d, enum bh_action action) {
    if (action == BH_ACTION_PRESERVE) {
        loop_timer_cancel(&d->expiry); /* what is kept is not taken away by an earlier wish */
        log_line("mgmt", "guest %s kept as it is: %s", d->definition.name, d->last_words);
        contexts_suspend(d);
        set_state(d, DOMAIN_CRASHED);
    } else {
        end_life(d, action == BH_ACTION_RESTART && may_restart(d));
    }
}

/* --- What guests say and do --------------------------------------------------------------------
 */

static void report_registers(const struct domain *d, bh_ref context) {
    static const char names[][4] = {"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8",
                                    "r9",  "r10", "r11", "r12", "r13", "r14", "r15", "rip", "flg"};
    struct text line = {.bytes = 0};
    for (unsigned reg = BH_REG_RAX; reg <= BH_REG_RFLAGS; reg++) {
        uint64_t value = 0;
        hv_context_get(context, (enum bh_reg)reg, &value);
        text_add(&line, " %s %016llx", names[reg], (unsigned long long)value);
        if (reg % 4 == 3 || reg == BH_REG_RFLAGS) {
            log_line(d->definition.name, " %s", line.data);
            line.bytes = 0;
        }
    }
}

/* What a guest had written and nobody has taken yet belongs to its last words. */
static void crashed(struct domain *d) {
    d->crashes++;
    guest_console_service(&d->console);
    guest_console_log_tail(&d->console, LAST_WORDS_LINES);
    follow_policy(d, (enum bh_action)d->definition.on_crash);
}

/* For an HVM guest this is its VMM, which only it can have led to this. */
static void on_fault(void *context) {
    struct domain *d = context;
    uint32_t which;
    if (!contexts_find_fault(d, &which))
        return;
    contexts_suspend(d); /* the others have nothing more to say */
    bh_ref guest = contexts_at(d, which);
    char who[32] = "";
    if (d->definition.guest_type == BH_GUEST_HVM)
        snprintf(who, sizeof(who), "its VMM, vCPU %u: ", (unsigned)which);
    snprintf(d->last_words, sizeof(d->last_words), "%sit faulted", who);
    if (d->definition.flags & BH_DEFINITION_CRASH_REPORT) {
        uint64_t vector = 0, error = 0, address = 0;
        hv_context_get(guest, BH_REG_FAULT_VECTOR, &vector);
        hv_context_get(guest, BH_REG_FAULT_ERROR, &error);
        hv_context_get(guest, BH_REG_FAULT_ADDRESS, &address);
        snprintf(d->last_words, sizeof(d->last_words), "%sfault %llu, error %llx, address %llx",
                 who, (unsigned long long)vector, (unsigned long long)error,
                 (unsigned long long)address);
    }
    log_line("mgmt", "guest %s crashed: %s", d->definition.name, d->last_words);
    if (d->definition.flags & BH_DEFINITION_CRASH_REPORT)
        report_registers(d, guest);
    crashed(d);
}

static void on_ready(void *context) {
    struct domain *d = context;
    if (!d->ready)
        log_line("mgmt", "guest %s ready", d->definition.name);
    d->ready = true;
}

static void on_exit_status(struct domain *d, uint32_t status) {
    bool power_off = status == 0 && d->definition.guest_type == BH_GUEST_HVM;
    snprintf(d->last_words, sizeof(d->last_words), "exit status %u%s", (unsigned)status,
             power_off ? ": power-off" : "");
    follow_policy(d, (enum bh_action)(status ? d->definition.on_crash : d->definition.on_poweroff));
}

/* What a VMM says is believed of its own guest: both share one fate. */
static void on_ended(void *context, uint64_t argument) {
    static const char *const words[] = {[BH_CAUSE_REBOOT] = "reboot",
                                        [BH_CAUSE_PANIC] = "its kernel panicked",
                                        [BH_CAUSE_TRIPLE_FAULT] = "triple fault",
                                        [BH_CAUSE_WATCHDOG] = "its watchdog was not served",
                                        [BH_CAUSE_SAVED] = "saved",
                                        [BH_CAUSE_REFUSED] = "its checkpoint was refused"};
    struct domain *d = context;
    uint32_t cause = BH_CONTROL_EXIT_CAUSE(argument);
    guest_console_service(&d->console);
    if (cause == BH_CAUSE_STATUS || cause >= sizeof(words) / sizeof(words[0])) {
        on_exit_status(d, (uint32_t)argument);
        return;
    }
    snprintf(d->last_words, sizeof(d->last_words), "%s", words[cause]);
    if (cause == BH_CAUSE_REBOOT) {
        follow_policy(d, (enum bh_action)d->definition.on_reboot);
    } else if (cause == BH_CAUSE_SAVED || cause == BH_CAUSE_REFUSED) {
        end_life(d, false); /* it did not fail: what it is waits for a restore */
    } else if (cause == BH_CAUSE_WATCHDOG && d->definition.watchdog) {
        follow_policy(d, (enum bh_action)d->definition.on_watchdog);
    } else {
        log_line("mgmt", "guest %s crashed: %s", d->definition.name, d->last_words);
        crashed(d);
    }
}

static void on_console_bit(void *context) {
    struct domain *d = context;
    guest_console_service(&d->console);
    control_service(&d->control);
}

static void on_block_bit(void *context) {
    struct domain *d = context;
    for (uint32_t i = 0; i < d->shared.devices; i++)
        if (d->shared.device[i].class == BH_CLASS_BLOCK)
            block_service(d->device[i].block);
}

static void on_net_bit(void *context) {
    struct domain *d = context;
    for (uint32_t i = 0; i < d->shared.devices; i++)
        if (d->shared.device[i].class == BH_CLASS_NET)
            net_service(d->device[i].net);
}

/* --- The beginning -----------------------------------------------------------------------------
 */

static bool attach_block(struct domain *d, uint32_t index, struct bh_device_info *info,
                         struct domain_error *error) {
    struct bh_definition_disk of_hvm;
    uint32_t number = d->shared.device[index].index;
    const struct bh_definition_disk *disk = &d->definition.disk[number];
    if (number >= d->definition.disks) {
        hvm_file_disk(&d->definition, number - d->definition.disks, &of_hvm);
        disk = &of_hvm;
    }
    struct channel channel = domain_channel(d, index);
    if (disk->flags & BH_DISK_DIRECT)
        domain_add_ram(d, &channel);
    struct block_settings settings = {
        .read_only = disk->flags & BH_DISK_READ_ONLY,
        .throw_away = disk->flags & BH_DISK_THROW_AWAY,
        .iops_limit = disk->iops_limit,
        .bytes_per_s_limit = disk->bytes_limit,
    };
    memcpy(settings.source, disk->source, sizeof(settings.source));
    enum bh_status status;
    char reason[160] = "";
    d->device[index].block =
        block_attach(&channel, &settings, &info->block, &status, reason, sizeof(reason));
    if (!d->device[index].block)
        return refuse(error, "%s:%u: <disk>: %s", d->file, disk->line, reason);
    return true;
}

static bool attach_net(struct domain *d, uint32_t index, struct bh_device_info *info,
                       struct domain_error *error) {
    const struct bh_definition_net *net = &d->definition.net[d->shared.device[index].index];
    struct channel channel = domain_channel(d, index);
    struct net_settings settings = {
        .vlan = net->vlan,
        .ipv4_address = net->ipv4_address,
        .ipv4_prefix = net->ipv4_prefix,
        .ipv4_gateway = net->ipv4_gateway,
        .ipv6_prefix = net->ipv6_prefix,
        .bytes_per_s_limit = net->bytes_limit,
        .burst_bytes = net->burst_bytes,
    };
    memcpy(settings.mac, net->mac, sizeof(settings.mac));
    memcpy(settings.ipv6_address, net->ipv6_address, sizeof(settings.ipv6_address));
    enum bh_status status;
    char reason[160] = "";
    d->device[index].net =
        net_attach(&channel, &settings, &info->net, &status, reason, sizeof(reason));
    if (!d->device[index].net)
        return refuse(error, "%s:%u: <interface>: %s", d->file, net->line, reason);
    return true;
}

static bool attach_one(struct domain *d, uint32_t index, struct domain_error *error) {
    static const struct control_handlers handlers = {.ready = on_ready, .ended = on_ended};
    static const char *const classes[] = {[BH_CLASS_CONTROL] = "control",
                                          [BH_CLASS_CONSOLE] = "console",
                                          [BH_CLASS_BLOCK] = "disk",
                                          [BH_CLASS_NET] = "net"};
    const struct shared_device *device = &d->shared.device[index];
    struct bh_device_info *info = &domain_info_page(d)->device[index];
    snprintf(d->device[index].name, sizeof(d->device[index].name), "%s/%s%u", d->definition.name,
             classes[device->class], device->index);
    struct channel channel = domain_channel(d, index);
    switch (device->class) {
    case BH_CLASS_BLOCK:
        return attach_block(d, index, info, error);
    case BH_CLASS_NET:
        return attach_net(d, index, info, error);
    case BH_CLASS_CONSOLE:
        return !guest_console_attach(&d->console, &channel, d->definition.name) ||
               refuse(error, "%s: console: internal error", d->file);
    case BH_CLASS_CONTROL:
        return !control_attach(&d->control, &channel, &handlers, d) ||
               refuse(error, "%s: control channel: internal error", d->file);
    }
    return false;
}

static bool attach_all(struct domain *d, struct domain_error *error) {
    for (uint32_t i = 0; i < d->shared.devices; i++) {
        if (!attach_one(d, i, error))
            return false;
        d->device[i].attached = true;
    }
    return true;
}

/* All memory is clean. */
static void finish_start(struct domain *d) {
    struct domain_error error;
    enum bh_status status = domain_build(d);
    if (status)
        refuse(&error, "%s: guest %s cannot be built: status %u", d->file, d->definition.name,
               status);
    bool good = !status && attach_all(d, &error);
    if (good) {
        loop_on_event(domain_bit(d, DOMAIN_BIT_FAULT), on_fault, d);
        loop_on_event(domain_bit(d, DOMAIN_BIT_CONSOLE), on_console_bit, d);
        if (d->definition.disks + hvm_files(&d->definition))
            loop_on_event(domain_bit(d, DOMAIN_BIT_BLOCK), on_block_bit, d);
        if (d->definition.nets)
            loop_on_event(domain_bit(d, DOMAIN_BIT_NET), on_net_bit, d);
        status = domain_seal(d);
        good = !status;
        if (status)
            refuse(&error, "%s: guest %s cannot be let run: status %u", d->file, d->definition.name,
                   status);
    }
    if (!good) {
        log_line("mgmt", "%s", error.text);
        snprintf(d->last_words, sizeof(d->last_words), "it could not be started");
        end_life(d, false);
        return;
    }
    d->at.running = tsc_read();
    d->starts++;
    d->last_words[0] = '\0';
    log_line("mgmt", "guest %s started", d->definition.name);
    set_state(d, DOMAIN_RUNNING);
}

static void start_clean(void *context) {
    struct domain *d = context;
    if (clean_some(d))
        finish_start(d);
    else
        loop_post(&d->work);
}

static const uint8_t *find_file(const struct domain *d, const char *element, const char *name,
                                size_t *bytes, struct domain_error *error) {
    const uint8_t *file = files_find(name, bytes);
    if (!file)
        refuse(error,
               "%s:%u: <%s>: %s: no such file in the boot archive; put it beside the definition",
               d->file, d->definition.kernel_line, element, name);
    return file;
}

/* The archive's other files are not this guest's to see: only what begins on a page is mapped. */
static bool find_hvm_file(const struct domain *d, const char *element, const char *name,
                          struct hvm_file *out, struct domain_error *error) {
    size_t bytes;
    const uint8_t *file = find_file(d, element, name, &bytes, error);
    if (!file)
        return false;
    uint64_t at = (uint64_t)(file - domains.archive);
    *out = (struct hvm_file){.bytes = bytes, .first_page = at / BH_PAGE_BYTES};
    if (at % BH_PAGE_BYTES == 0)
        out->full_pages = bytes / BH_PAGE_BYTES;
    return true;
}

/* An HVM guest's program is its VMM; what it loads only has to be there. */
static bool find_hvm_files(struct domain *d, struct domain_error *error) {
    const struct bh_definition *definition = &d->definition;
    if (host_info()->vcpu_bytes == 0)
        return refuse(
            error,
            "%s:%u: guest %s is HVM: this processor has no guest mode (AMD SVM with nested "
            "paging), or the firmware has switched it off",
            d->file, definition->kernel_line, definition->name);
    d->hvm.initrd = (struct hvm_file){0};
    return find_hvm_file(d, "kernel", definition->kernel, &d->hvm.kernel, error) &&
           (!definition->initrd[0] ||
            find_hvm_file(d, "initrd", definition->initrd, &d->hvm.initrd, error));
}

static bool find_kernel(struct domain *d, struct domain_error *error) {
    const struct bh_definition *definition = &d->definition;
    bool hvm = definition->guest_type == BH_GUEST_HVM;
    const char *program = hvm ? HVM_PROGRAM : definition->kernel;
    size_t bytes = 0;
    if (hvm && !find_hvm_files(d, error))
        return false;
    d->kernel = find_file(d, "kernel", program, &bytes, error);
    if (!d->kernel)
        return false;
    const char *wrong = image_check(d->kernel, bytes, &d->image);
    if (wrong)
        return refuse(error, "%s:%u: <kernel>: %s: %s; link it as docs/guest-howto.md says",
                      d->file, definition->kernel_line, program, wrong);
    char needs[24], has[24];
    if (!hvm && d->image.stack_end * BH_PAGE_BYTES > definition->memory_bytes)
        return refuse(error, "%s:%u: memory %s: %s alone needs %s; raise <memory>", d->file,
                      definition->memory_line, text_size(has, definition->memory_bytes),
                      definition->kernel, text_size(needs, d->image.stack_end * BH_PAGE_BYTES));
    return true;
}

static bool find_memory(struct domain *d, struct domain_error *error) {
    const struct bh_definition *definition = &d->definition;
    char wanted[24], free[24];
    uint64_t free_bytes = memory_account(BH_KIND_FRAME).free * BH_PAGE_BYTES;
    if (domain_allocate(d) == BH_OK)
        return true;
    text_size(wanted, definition->memory_bytes);
    text_size(free, free_bytes);
    if (definition->memory_bytes + d->shared.pages * BH_PAGE_BYTES > free_bytes)
        return refuse(error, "%s:%u: memory %s: host has %s free; lower <memory> or --mem", d->file,
                      definition->memory_line, wanted, free);
    return refuse(error,
                  "%s:%u: memory %s: host has %s free, but in pieces that are too small, or its "
                  "object memory is used up; destroy a guest or boot with object_memory=",
                  d->file, definition->memory_line, wanted, free);
}

static bool start(struct domain *d, bool restore, struct domain_error *error) {
    uint64_t now_tsc = tsc_read();
    if (d->state != DOMAIN_OFF)
        return refuse(error, "guest %s is %s already", d->definition.name, domain_state_name(d));
    if (domains.closing)
        return refuse(error, "guest %s is not started: the host is shutting down",
                      d->definition.name);
    if (domains.numbers_free_count == 0)
        return refuse(error, "%s: the host runs %u guests, as many as it can; destroy one", d->file,
                      domains.max);
    shared_lay_out(&d->definition, &d->shared);
    if (!find_kernel(d, error) || !find_memory(d, error))
        return false;
    d->number = domains.numbers_free[--domains.numbers_free_count];
    d->hvm.restore = restore;
    d->at = (struct domain_times){.start = now_tsc};
    d->work.handler = start_clean;
    d->work.context = d;
    set_state(d, DOMAIN_STARTING);
    loop_post(&d->work);
    return true;
}

bool domain_start(struct domain *d, struct domain_error *error) {
    return start(d, false, error);
}

static bool has_checkpoint(const struct domain *d, struct domain_error *error) {
    return hvm_has_checkpoint(&d->definition) ||
           refuse(error,
                  "guest %s has no checkpoint; add <disk device='checkpoint'> to its <devices>",
                  d->definition.name);
}

bool domain_restore(struct domain *d, struct domain_error *error) {
    return has_checkpoint(d, error) && start(d, true, error);
}

/* --- Wishes ------------------------------------------------------------------------------------
 */

bool domain_pause(struct domain *d, struct domain_error *error) {
    if (d->state != DOMAIN_RUNNING)
        return refuse(error, "guest %s is %s; only a running guest can be paused",
                      d->definition.name, domain_state_name(d));
    contexts_suspend(d);
    set_state(d, DOMAIN_PAUSED);
    return true;
}

bool domain_resume(struct domain *d, struct domain_error *error) {
    if (d->state != DOMAIN_PAUSED)
        return refuse(error, "guest %s is %s; only a paused guest can be resumed",
                      d->definition.name, domain_state_name(d));
    contexts_resume(d);
    set_state(d, DOMAIN_RUNNING);
    return true;
}

bool domain_save(struct domain *d, struct domain_error *error) {
    if (!has_checkpoint(d, error))
        return false;
    if (d->state != DOMAIN_RUNNING)
        return refuse(error, "guest %s is %s; only a running guest can be saved",
                      d->definition.name, domain_state_name(d));
    control_want(&d->control, BH_CONTROL_SAVE);
    return true;
}

static void expired(void *context) {
    struct domain *d = context;
    snprintf(d->last_words, sizeof(d->last_words), "it did not shut down in time");
    end_life(d, false);
}

bool domain_shutdown(struct domain *d, uint64_t timeout_ns, struct domain_error *error) {
    if (d->state != DOMAIN_RUNNING && d->state != DOMAIN_STOPPING)
        return refuse(error, "guest %s is %s; only a running guest can shut down; use destroy",
                      d->definition.name, domain_state_name(d));
    if (timeout_ns)
        loop_timer_set(&d->expiry, loop_now_ns() + timeout_ns, expired, d);
    set_state(d, DOMAIN_STOPPING);
    control_want(&d->control, BH_CONTROL_SHUTDOWN);
    return true;
}

bool domain_destroy(struct domain *d, struct domain_error *error) {
    if (d->state == DOMAIN_OFF || d->state == DOMAIN_DYING)
        return refuse(error, "guest %s is %s already", d->definition.name, domain_state_name(d));
    snprintf(d->last_words, sizeof(d->last_words), "destroyed");
    end_life(d, false);
    return true;
}

void domains_close(uint64_t timeout_ns) {
    struct domain_error ignored; /* one that is off already, or just dying */
    domains.closing = true;
    for (uint32_t i = 0; i < domains.count; i++)
        if (!domain_shutdown(domains.domain[i], timeout_ns, &ignored))
            domain_destroy(domains.domain[i], &ignored);
}

bool domains_all_off(void) {
    for (uint32_t i = 0; i < domains.count; i++)
        if (domains.domain[i]->state != DOMAIN_OFF)
            return false;
    return true;
}
