/* mgmt, the management domain: start-up in order, and from then on the event loop. All roles
 * (policy, pci, block, net, console) live in this one instance. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "abi/image.h"
#include "guestlib/archive.h"
#include "guestlib/guest.h"
#include "guestlib/heap.h"
#include "guestlib/loop.h"
#include "mgmt/acpi.h"
#include "mgmt/backend.h"
#include "mgmt/console/commands.h"
#include "mgmt/console/show.h"
#include "mgmt/console/terminal.h"
#include "mgmt/console/uart.h"
#include "mgmt/domain/domain.h"
#include "mgmt/host.h"
#include "mgmt/layout.h"
#include "mgmt/own_memory.h"
#include "mgmt/power.h"

static struct {
    const uint8_t *archive;
    size_t archive_bytes;
    bool guests_begun; /* all definitions have been read and the starts asked for */
    bool ready;
} mgmt;

/* stdout and stderr: what a failed assertion says last. */
void guest_log_write(const char *text, size_t bytes) {
    uart_write(text, bytes);
    uart_flush();
}

/* expat stirs it into the salt of its hash tables. That it is no secret here does no harm:
 * definitions are at most 64 KiB long and come from whoever runs the host. */
int getpid(void) {
    return 1;
}

/* The rest of the RAM that init gave, after the stack. */
static void start_heap(void) {
    const struct bh_image_header *h = (const struct bh_image_header *)BH_IMAGE_VA;
    uint64_t pages = (uint64_t)h->text_pages + h->rodata_pages + h->data_pages + h->bss_pages + 1 +
                     h->stack_pages;
    heap_init((void *)(BH_IMAGE_VA + pages * BH_PAGE_BYTES),
              own_memory_bytes() - pages * BH_PAGE_BYTES);
}

/* A definition is a *.xml on the archive's top level; deeper ones belong to somebody's content. */
static bool is_definition(const struct archive_entry *entry) {
    const char *end = strrchr(entry->name, '.');
    return entry->is_file && end && strcmp(end, ".xml") == 0 && !strchr(entry->name, '/');
}

static void define_all(void) {
    uint64_t offset = 0;
    struct archive_entry entry;
    enum archive_result result;
    while ((result = archive_next(mgmt.archive, mgmt.archive_bytes, &offset, &entry)) ==
           ARCHIVE_ENTRY) {
        struct domain_error error;
        if (is_definition(&entry) && !domain_define(entry.name, &error))
            log_line("mgmt", "%s", error.text);
    }
    if (result == ARCHIVE_DAMAGED)
        log_line("mgmt", "the boot archive is damaged at byte %llu; make the image again",
                 (unsigned long long)offset);
}

static void check_ready(void) {
    const struct domain *d;
    if (!mgmt.guests_begun || mgmt.ready)
        return;
    for (uint32_t i = 0; (d = domain_at(i)); i++)
        if (d->state == DOMAIN_STARTING)
            return;
    mgmt.ready = true;
    show_mark_ready();
    log_line("mgmt", "ready; `help` lists the commands");
    terminal_prompt();
}

static void on_domain_change(void *context) {
    (void)context;
    check_ready();
    power_check();
}

/* The disks are known: guests that name them can start. */
static void begin_guests(void *context) {
    (void)context;
    define_all();
    struct domain *d;
    struct domain_error error;
    for (uint32_t i = 0; (d = domain_at(i)); i++)
        if ((d->definition.flags & BH_DEFINITION_AUTOSTART) && !domain_start(d, &error))
            log_line("mgmt", "%s", error.text);
    mgmt.guests_begun = true;
    check_ready();
}

void boot_main(const struct bh_bootinfo *info) {
    start_heap();
    loop_init(LOOP_BITS_MAX, info->tsc_hz);
    enum bh_status status = host_start(info);
    terminal_start(command_execute);
    if (status) {
        log_line("mgmt", "cannot take over the memory: status %u", status);
        uart_flush();
        abort();
    }
    own_memory_start();
    log_line("mgmt", "Bulkhead, build %s", info->build_id);
    if (!info->iommu)
        log_line("mgmt", "no IOMMU: a faulty driver or device can reach all memory");
    if (!host_random_is_good())
        log_line("mgmt", "no RDRAND: guests' random seeds can be guessed");
    mgmt.archive = host_map_archive(&mgmt.archive_bytes);
    struct acpi_ecam ecam = acpi_start(info->acpi_root);
    pci_start(ecam.base, ecam.first_bus, ecam.last_bus);
    block_start(mgmt.archive, mgmt.archive_bytes);
    net_start();
    domains_start(mgmt.archive, mgmt.archive_bytes);
    domains_on_change(on_domain_change, NULL);
    block_when_ready(begin_guests, NULL);
    loop_run();
}
