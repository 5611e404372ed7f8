#include "mgmt/vmm/pci.h"

#include <stddef.h>
#include <string.h>

#define PORT_ADDRESS 0xcf8u
#define PORT_BYTES 8u
#define ADDRESS_ENABLE 0x80000000u
#define CAPABILITIES_FIRST 0x40u
#define PAGE_BYTES 4096u

static struct {
    struct pci_function *slot[PCI_DEVICES];
    uint32_t address; /* CF8 */
    struct bus_range ports, ecam;
    uint32_t next_io;
    uint64_t next_memory;
    void (*set_irq)(bool level);
    void (*message)(uint64_t address, uint32_t data);
} pci;

/* --- Building a function --- */

void pci_set16(struct pci_function *function, unsigned offset, uint16_t value) {
    memcpy(&function->config[offset], &value, sizeof(value));
}

void pci_set32(struct pci_function *function, unsigned offset, uint32_t value) {
    memcpy(&function->config[offset], &value, sizeof(value));
}

uint16_t pci_get16(const struct pci_function *function, unsigned offset) {
    uint16_t value;
    memcpy(&value, &function->config[offset], sizeof(value));
    return value;
}

static uint32_t get32(const struct pci_function *function, unsigned offset) {
    uint32_t value;
    memcpy(&value, &function->config[offset], sizeof(value));
    return value;
}

void pci_function_init(struct pci_function *function, uint16_t vendor, uint16_t device,
                       uint32_t class_code, uint8_t revision) {
    *function = (struct pci_function){.capabilities_end = CAPABILITIES_FIRST};
    pci_set16(function, PCI_VENDOR, vendor);
    pci_set16(function, PCI_VENDOR + 2, device);
    pci_set32(function, PCI_REVISION, class_code << 8 | revision);
    function->writable[PCI_COMMAND] = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
    function->writable[PCI_COMMAND + 1] = PCI_COMMAND_NO_INTX >> 8;
    function->writable[PCI_INTERRUPT_LINE] = 0xff; /* a note of the guest's */
}

void pci_add_bar(struct pci_function *function, unsigned index, bool io, uint32_t bytes,
                 const struct bus_range *handlers) {
    struct pci_bar *bar = &function->bar[index];
    bar->bytes = bytes;
    bar->io = io;
    bar->range = *handlers;
    bar->range.length = 0;
    uint32_t mask = ~(bytes - 1);
    memcpy(&function->writable[PCI_BAR0 + 4 * index], &mask, sizeof(mask));
    if (io)
        function->config[PCI_BAR0 + 4 * index] = PCI_BAR_IO;
}

unsigned pci_add_capability(struct pci_function *function, uint8_t id, unsigned bytes) {
    unsigned at = function->capabilities_end;
    function->config[at] = id;
    unsigned link = function->capability_last ? function->capability_last + 1u : PCI_CAPABILITIES;
    function->config[link] = (uint8_t)at;
    function->config[PCI_STATUS] |= PCI_STATUS_CAPABILITIES;
    function->capability_last = (uint8_t)at;
    function->capabilities_end = (uint8_t)(at + ((bytes + 3) & ~3u));
    return at;
}

void pci_add_interrupt(struct pci_function *function) {
    function->config[PCI_INTERRUPT_PIN] = 1;
    function->config[PCI_INTERRUPT_LINE] = PCI_IRQ;
}

/* One wire for all of them. */
static void update_irq(void) {
    bool level = false;
    for (unsigned i = 0; i < PCI_DEVICES; i++) {
        const struct pci_function *function = pci.slot[i];
        level |= function && function->interrupting &&
                 !(pci_get16(function, PCI_COMMAND) & PCI_COMMAND_NO_INTX);
    }
    pci.set_irq(level);
}

void pci_interrupt(struct pci_function *function, bool assert) {
    if (function->interrupting == assert)
        return;
    function->interrupting = assert;
    function->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTERRUPT;
    function->config[PCI_STATUS] |= assert ? PCI_STATUS_INTERRUPT : 0;
    update_irq();
}

void pci_message(uint64_t address, uint32_t data) {
    pci.message(address, data);
}

/* BARs answer where they say, if the command register lets them. */
static void update_bars(struct pci_function *function) {
    uint16_t command = pci_get16(function, PCI_COMMAND);
    for (unsigned i = 0; i < PCI_BARS; i++) {
        struct pci_bar *bar = &function->bar[i];
        bool on = command & (bar->io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY);
        bar->range.base = get32(function, PCI_BAR0 + 4 * i) & ~(bar->bytes - 1);
        bar->range.length = on && bar->range.base ? bar->bytes : 0;
    }
}

void pci_add(struct pci_function *function, unsigned slot) {
    pci.slot[slot] = function;
    for (unsigned i = 0; i < PCI_BARS; i++) {
        struct pci_bar *bar = &function->bar[i];
        if (!bar->bytes)
            continue;
        uint32_t at;
        if (bar->io) {
            at = (pci.next_io + bar->bytes - 1) & ~(bar->bytes - 1);
            pci.next_io = at + bar->bytes;
            bus_add_ports(&bar->range);
        } else {
            uint32_t step = bar->bytes < PAGE_BYTES ? PAGE_BYTES : bar->bytes;
            at = (uint32_t)((pci.next_memory + step - 1) & ~(uint64_t)(step - 1));
            pci.next_memory = (uint64_t)at + step;
            bus_add_memory(&bar->range);
        }
        pci_set32(function, PCI_BAR0 + 4 * i, at | (bar->io ? PCI_BAR_IO : 0));
    }
    function->config[PCI_COMMAND] |= PCI_COMMAND_IO | PCI_COMMAND_MEMORY;
    update_bars(function);
}

/* --- Access --- */

static struct pci_function *function_at(unsigned bus, unsigned device_function) {
    return bus == 0 && device_function % 8 == 0 ? pci.slot[device_function / 8] : NULL;
}

static uint64_t config_read(unsigned bus, unsigned device_function, unsigned offset,
                            unsigned bytes) {
    struct pci_function *function = function_at(bus, device_function);
    uint64_t value = ~0ull;
    if (!function)
        return value;
    if (function->reading)
        function->reading(function, offset);
    value = 0; /* the extended part is empty */
    for (unsigned i = 0; i < bytes && offset + i < sizeof(function->config); i++)
        value |= (uint64_t)function->config[offset + i] << 8 * i;
    return value;
}

static void config_write(unsigned bus, unsigned device_function, unsigned offset, unsigned bytes,
                         uint64_t value) {
    struct pci_function *function = function_at(bus, device_function);
    if (!function)
        return;
    for (unsigned i = 0; i < bytes && offset + i < sizeof(function->config); i++) {
        uint8_t mask = function->writable[offset + i], new = (uint8_t)(value >> 8 * i);
        uint8_t *byte = &function->config[offset + i];
        *byte = (*byte & (uint8_t)~mask) | (new &mask);
    }
    update_bars(function);
    if (function->interrupting)
        update_irq();
    if (function->changed)
        function->changed(function, offset, bytes);
}

static uint64_t port_read(const struct bus_access *a) {
    if (a->offset < 4)
        return a->bytes == 4 && a->offset == 0 ? pci.address : ~0ull;
    if (!(pci.address & ADDRESS_ENABLE))
        return ~0ull;
    return config_read(pci.address >> 16 & 0xff, pci.address >> 8 & 0xff,
                       (pci.address & 0xfc) + (unsigned)a->offset - 4, a->bytes);
}

/* Port CF9, the reset register, lies among these and is added later: it wins. */
static void port_write(const struct bus_access *a) {
    if (a->offset == 0 && a->bytes == 4)
        pci.address = (uint32_t)a->value;
    else if (a->offset >= 4 && (pci.address & ADDRESS_ENABLE))
        config_write(pci.address >> 16 & 0xff, pci.address >> 8 & 0xff,
                     (pci.address & 0xfc) + (unsigned)a->offset - 4, a->bytes, a->value);
}

static uint64_t ecam_read(const struct bus_access *a) {
    return config_read(a->offset >> 20 & 0xff, a->offset >> 12 & 0xff, a->offset & 0xfff, a->bytes);
}

static void ecam_write(const struct bus_access *a) {
    config_write(a->offset >> 20 & 0xff, a->offset >> 12 & 0xff, a->offset & 0xfff, a->bytes,
                 a->value);
}

void pci_init(void (*set_irq)(bool level), void (*message)(uint64_t address, uint32_t data)) {
    memset(&pci, 0, sizeof(pci));
    pci.set_irq = set_irq;
    pci.message = message;
    pci.next_io = PCI_IO_BASE;
    pci.next_memory = PCI_MEMORY_BASE;
    pci.ports = (struct bus_range){
        .base = PORT_ADDRESS, .length = PORT_BYTES, .read = port_read, .write = port_write};
    pci.ecam = (struct bus_range){
        .base = PCI_ECAM_BASE, .length = PCI_ECAM_BYTES, .read = ecam_read, .write = ecam_write};
    bus_add_ports(&pci.ports);
    bus_add_memory(&pci.ecam);
}

/* What the guest cannot write says which device it is: that has to be the same. */
static void function_state(struct state *s, struct pci_function *function) {
    uint8_t config[sizeof(function->config)];
    memcpy(config, function->config, sizeof(config));
    STATE(s, config);
    STATE(s, function->interrupting);
    for (unsigned i = 0; i < sizeof(config) && !s->wrong; i++) {
        uint8_t fixed = (uint8_t)~function->writable[i];
        fixed &= i == PCI_STATUS ? (uint8_t)~PCI_STATUS_INTERRUPT : UINT8_MAX;
        state_check(s, !((config[i] ^ function->config[i]) & fixed), "not the same PCI device");
    }
    if (s->loading && !s->wrong) {
        memcpy(function->config, config, sizeof(config));
        update_bars(function);
    }
}

void pci_state(struct state *s) {
    state_section(s, "pci");
    STATE(s, pci.address);
    for (unsigned i = 0; i < PCI_DEVICES; i++)
        if (pci.slot[i])
            function_state(s, pci.slot[i]);
    update_irq();
}
