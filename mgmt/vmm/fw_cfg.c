/* See fw_cfg.h. Items are little-endian; the directory and DMA are big-endian. Everything in a DMA
 * request is the guest's: it is copied once, and what it points to has to be RAM as a whole. */
#include "mgmt/vmm/fw_cfg.h"

#include <stddef.h>
#include <string.h>

#include "mgmt/vmm/bus.h"
#include "mgmt/vmm/ram.h"

enum {
    KEY_SIGNATURE = 0x00,
    KEY_INTERFACE = 0x01,
    KEY_RAM_BYTES = 0x03,
    KEY_VCPUS = 0x05,
    KEY_VCPUS_MAX = 0x0f,
    KEY_DIRECTORY = 0x19,
    KEY_E820 = 0x20, /* the first of the files */
};
#define INTERFACE_PORTS 0x1u
#define INTERFACE_DMA 0x2u
#define DMA_SIGNATURE "QEMU CFG"
#define E820_RAM 1u

enum { SELECTOR = 0, DATA = 1, DMA_HIGH = 4, DMA_LOW = 8, PORTS = 12 };

#define DMA_ERROR 0x01u
#define DMA_READ 0x02u
#define DMA_SKIP 0x04u
#define DMA_SELECT 0x08u /* the key is in the upper half */
#define DMA_WRITE 0x10u

struct dma_request {
    uint32_t control, bytes;
    uint64_t address;
};

struct item {
    uint16_t key;
    uint32_t bytes;
    const void *data;
};

static struct {
    uint16_t key; /* selected */
    uint32_t at;  /* the next byte; up to its length */
    uint64_t dma; /* address of the request, while it is being written */
    struct bus_range ports;
    uint32_t interface;
    uint64_t ram_bytes;
    uint16_t vcpus;
    struct {
        uint32_t files, bytes;
        uint16_t key, reserved;
        char name[56];
    } directory;
    struct __attribute__((packed)) {
        uint64_t base, bytes;
        uint32_t type;
    } e820[BH_GUEST_RAM_MAX];
} fw_cfg;

/* What is not there has no bytes. */
static struct item selected(void) {
    const struct item items[] = {
        {KEY_SIGNATURE, 4, "QEMU"},
        {KEY_INTERFACE, sizeof(fw_cfg.interface), &fw_cfg.interface},
        {KEY_RAM_BYTES, sizeof(fw_cfg.ram_bytes), &fw_cfg.ram_bytes},
        {KEY_VCPUS, sizeof(fw_cfg.vcpus), &fw_cfg.vcpus},
        {KEY_VCPUS_MAX, sizeof(fw_cfg.vcpus), &fw_cfg.vcpus},
        {KEY_DIRECTORY, sizeof(fw_cfg.directory), &fw_cfg.directory},
        {KEY_E820, ram_ranges() * (uint32_t)sizeof(fw_cfg.e820[0]), fw_cfg.e820},
    };
    for (unsigned i = 0; i < sizeof(items) / sizeof(items[0]); i++)
        if (items[i].key == fw_cfg.key)
            return items[i];
    return (struct item){0};
}

static void select_item(uint16_t key) {
    fw_cfg.key = key;
    fw_cfg.at = 0;
}

/* The item's next bytes, and zeroes behind its end. to: NULL skips them. */
static void take(uint8_t *to, uint32_t bytes) {
    struct item item = selected();
    uint32_t left = item.bytes - fw_cfg.at, here = bytes < left ? bytes : left;
    if (to) {
        memset(to + here, 0, bytes - here);
        if (here)
            memcpy(to, (const uint8_t *)item.data + fw_cfg.at, here);
    }
    fw_cfg.at += here;
}

static bool transfer(const struct dma_request *request) {
    uint32_t control = __builtin_bswap32(request->control);
    uint32_t bytes = __builtin_bswap32(request->bytes);
    if (control & DMA_SELECT)
        select_item((uint16_t)(control >> 16));
    if (control & DMA_READ) {
        void *to = ram_at(GPA(__builtin_bswap64(request->address)), bytes);
        if (!to || bytes > FW_CFG_DMA_BYTES_MAX)
            return false;
        take(to, bytes);
    } else if (control & DMA_SKIP) {
        take(NULL, bytes);
    }
    return control & (DMA_READ | DMA_SKIP) || !(control & DMA_WRITE); /* nothing can be written */
}

static void do_request(struct gpa at) {
    struct dma_request request;
    if (!ram_read(at, &request, sizeof(request)))
        return; /* nowhere to say so */
    uint32_t result = transfer(&request) ? 0 : __builtin_bswap32(DMA_ERROR);
    ram_write(at, &result, sizeof(result));
}

static uint64_t port_read(const struct bus_access *a) {
    static const char signature[PORTS] = DMA_SIGNATURE;
    uint8_t byte;
    uint32_t value;
    if (a->offset == DATA) {
        take(&byte, 1);
        return byte;
    }
    if (a->offset < DMA_HIGH)
        return ~0ull;
    memcpy(&value, signature + (a->offset - DMA_HIGH), sizeof(value));
    return value;
}

static void port_write(const struct bus_access *a) {
    uint64_t word = __builtin_bswap32((uint32_t)a->value);
    if (a->offset == SELECTOR && a->bytes == 2) {
        select_item((uint16_t)a->value);
    } else if (a->offset == DMA_HIGH && a->bytes == 4) {
        fw_cfg.dma = word << 32;
    } else if (a->offset == DMA_LOW && a->bytes == 4) {
        struct gpa at = {fw_cfg.dma | word};
        fw_cfg.dma = 0;
        do_request(at);
    }
}

void fw_cfg_init(uint32_t vcpus) {
    memset(&fw_cfg, 0, sizeof(fw_cfg));
    fw_cfg.interface = INTERFACE_PORTS | INTERFACE_DMA;
    fw_cfg.vcpus = (uint16_t)vcpus;
    for (uint32_t i = 0; i < ram_ranges(); i++) {
        uint64_t bytes;
        fw_cfg.e820[i].base = ram_range(i, &bytes).value;
        fw_cfg.e820[i].bytes = bytes;
        fw_cfg.e820[i].type = E820_RAM;
        fw_cfg.ram_bytes += bytes;
    }
    fw_cfg.directory.files = __builtin_bswap32(1);
    fw_cfg.directory.bytes = __builtin_bswap32(ram_ranges() * (uint32_t)sizeof(fw_cfg.e820[0]));
    fw_cfg.directory.key = __builtin_bswap16(KEY_E820);
    strcpy(fw_cfg.directory.name, "etc/e820");
    fw_cfg.ports = (struct bus_range){FW_CFG_SELECTOR, PORTS, 0, port_read, port_write, NULL, NULL};
    bus_add_ports(&fw_cfg.ports);
}

void fw_cfg_state(struct state *s) {
    state_section(s, "fw_cfg");
    STATE_SPAN(s, &fw_cfg, key, dma);
    state_check(s, fw_cfg.at <= selected().bytes, "read beyond an item's end");
}
