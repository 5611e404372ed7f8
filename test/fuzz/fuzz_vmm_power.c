/* A guest that does anything to ACPI's power ports and the ways to reset, to fw_cfg, and to its PCI
 * function's MSI-X table. The machine ends only when it was told to; the SCI is high exactly as
 * long as something enabled is pending; a DMA request changes its control word and what it asked
 * for, and nothing else; a message is sent only if its vector was signalled, is not masked, and
 * MSI-X is on. */
#include <stdlib.h>
#include <string.h>

#include "mgmt/vmm/bus.h"
#include "mgmt/vmm/fw_cfg.h"
#include "mgmt/vmm/msix.h"
#include "mgmt/vmm/power.h"
#include "mgmt/vmm/ram.h"
#include "test/unit/fake_loop.h"

#define STEP_BYTES 8u
#define VECTORS 5u
#define MSIX_CONTROL 2u
#define RAM_BASE 0x1000u /* not from 0, and its own end is the machine's */
#define RAM_BYTES 512u

static struct {
    enum power_end end;
    bool sci;
    struct pci_function function;
    struct msix msix;
    uint32_t signalled; /* a bit for each vector whose message may still come */
} pc;

static uint8_t ram[RAM_BYTES];

static void require(bool holds) {
    if (!holds)
        abort();
}

static void set_sci(bool level) {
    pc.sci = level;
}

static void end(enum power_end how) {
    require(how == POWER_OFF || how == POWER_RESET);
    pc.end = how;
}

static bool is_on(void) {
    return (pci_get16(&pc.function, pc.msix.capability + MSIX_CONTROL) & 0xc000) == 0x8000 &&
           (pci_get16(&pc.function, PCI_COMMAND) & PCI_COMMAND_MASTER);
}

/* Which vector's it is nobody can tell from a message: one of those that may. */
static void message(uint64_t address, uint32_t data) {
    uint32_t may = 0;
    require(is_on());
    for (unsigned i = 0; i < VECTORS; i++) {
        const uint32_t *entry = pc.msix.table[i];
        if ((pc.signalled >> i & 1) && !(entry[3] & 1) && entry[2] == data &&
            (entry[0] | (uint64_t)entry[1] << 32) == address)
            may |= 1u << i;
    }
    require(may != 0);
}

static void start(void) {
    static bool added;
    if (!added) {
        ram_init(&(struct bh_guest_ram){RAM_BASE, RAM_BYTES, (uint64_t)ram}, 1);
        power_init(set_sci, end);
        fw_cfg_init(2);
        pci_init(NULL, message); /* nothing is on the wire */
        added = true;
    }
    memset(ram, 0, sizeof(ram));
    bus_port_write(FW_CFG_SELECTOR, 2, 0);
    bus_port_write(POWER_PM1_EVENT, 4, 0xffff); /* nothing pending, nothing enabled */
    bus_port_write(POWER_PM1_CONTROL, 2, 1);
    pci_function_init(&pc.function, 0x1af4, 0x1042, 0x010000, 1);
    msix_init(&pc.msix, &pc.function, VECTORS, 1, 0x800, 0xf00);
    pc.end = POWER_GOES_ON;
    pc.signalled = 0;
}

static void access_ports(const uint8_t *s, uint32_t value) {
    static const uint16_t ports[] = {POWER_PM1_EVENT, 0xcf9, 0x64};
    uint16_t port = (uint16_t)(ports[s[1] % 3] + (s[1] % 3 ? 0 : s[2] % 14));
    unsigned bytes = 1u << s[3] % 3;
    bool may_end = port == POWER_PM1_CONTROL ? (value >> 10 & 7) == POWER_S5 && (value & 0x2000)
                   : port == 0xcf9           ? value & 4
                                             : port == 0x64 && (value & 0xff) == 0xfe;
    pc.end = POWER_GOES_ON;
    bus_port_write(port, bytes, bytes == 4 ? value : value & ((1u << 8 * bytes) - 1));
    require(pc.end == POWER_GOES_ON || may_end);
    bus_port_read(port, bytes);
}

static void check_sci(void) {
    uint64_t event = bus_port_read(POWER_PM1_EVENT, 4);
    bool enabled = bus_port_read(POWER_PM1_CONTROL, 2) & 1;
    require(pc.sci == (enabled && (event & event >> 16 & 0xffff)));
}

static void configure(const uint8_t *s) {
    unsigned control = pc.msix.capability + MSIX_CONTROL;
    pci_set16(&pc.function, control, (uint16_t)((s[2] & 0xc0) << 8 | (VECTORS - 1)));
    pci_set16(&pc.function, PCI_COMMAND, s[3]);
    if (!(s[2] & 0x80))
        pc.signalled = 0;
    msix_config_written(&pc.msix);
}

/* Big-endian, as everything of fw_cfg's DMA. */
static void put_number(uint64_t at, unsigned bytes, uint64_t value) {
    for (unsigned i = 0; i < bytes; i++)
        ram[at + i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
}

static uint64_t ram_number(uint64_t at, unsigned bytes) {
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value = value << 8 | ram[at + i];
    return value;
}

/* A request at any place in RAM, or at none. */
static void ask_firmware(uint16_t at) {
    uint8_t before[RAM_BYTES];
    uint64_t control = RAM_BYTES, first = RAM_BYTES, bytes = 0;
    memcpy(before, ram, sizeof(ram));
    if (at + 16u <= RAM_BYTES) {
        control = at;
        bytes = ram_number(at + 4u, 4);
        first = ram_number(at + 8u, 8) - RAM_BASE;
    }
    bus_port_write(FW_CFG_DMA + 4, 4, __builtin_bswap32(RAM_BASE + at));
    for (uint64_t i = 0; i < RAM_BYTES; i++)
        require(ram[i] == before[i] || i - control < 4 || i - first < bytes);
    require(control == RAM_BYTES || ram_number(control, 4) <= 1);
}

/* Asks for something near RAM, up to its end or about there. */
static void put_request(const uint8_t *s, uint16_t at, uint32_t value) {
    uint64_t first = RAM_BASE - 256 + (value >> 20 & 1023);
    uint64_t bytes = s[3] & 0x40 ? RAM_BASE + RAM_BYTES + (s[3] >> 7) - first : value >> 10 & 1023;
    if (at + 16u > RAM_BYTES)
        return;
    put_number(at, 4, s[2] | (uint32_t)(s[3] & 0x3f) << 16);
    put_number(at + 4u, 4, bytes);
    put_number(at + 8u, 8, first);
}

static void use_firmware(const uint8_t *s, uint32_t value) {
    uint16_t port = (uint16_t)(FW_CFG_SELECTOR + s[2] % 12), at = value % 1024;
    unsigned bytes = 1u << s[3] % 3;
    switch (s[1] % 4) {
    case 0:
        put_request(s, at, value);
        ask_firmware(at);
        break;
    case 1: /* whatever lies there */
        put_number(value >> 16 & (RAM_BYTES - 2), 2, s[2] | (uint32_t)s[3] << 8);
        ask_firmware(at);
        break;
    case 2:
        bus_port_write(FW_CFG_SELECTOR, 2, value);
        break;
    default:
        bus_port_read(port, bytes);
        if (port < FW_CFG_DMA)
            bus_port_write(port, bytes, value);
        break;
    }
}

static void step(const uint8_t *s) {
    uint32_t value;
    memcpy(&value, s + 4, sizeof(value));
    switch (s[0] % 9) {
    case 0:
    case 1:
        access_ports(s, value);
        break;
    case 2:
        power_button();
        break;
    case 3:
        configure(s);
        break;
    case 4:
        if (s[1] < VECTORS && msix_enabled(&pc.msix))
            pc.signalled |= 1u << s[1];
        msix_signal(&pc.msix, s[1]);
        break;
    case 5:
        msix_write_table(&pc.msix, s[1] | (uint64_t)(s[2] & 1) << 8, 1u << (s[3] & 3),
                         s[3] & 4 ? value : value | (uint64_t)value << 32);
        break;
    case 6:
    case 7:
        use_firmware(s, value);
        break;
    default:
        msix_read_table(&pc.msix, value >> (s[3] & 31), 1u << (s[2] & 3));
        msix_read_pending(&pc.msix, value >> (s[3] & 31), 1u << (s[2] & 3));
        fake_loop_advance(value);
        break;
    }
    check_sci();
    require(!(pc.msix.pending & ~pc.signalled));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    start();
    for (size_t i = 0; i + STEP_BYTES <= size; i += STEP_BYTES)
        step(data + i);
    return 0;
}
