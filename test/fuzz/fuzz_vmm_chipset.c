/* A guest that does anything to the virtual PC's fixed devices: interrupt controllers, timers,
 * clock, serial port and configuration space, by any register in any order, while time passes.
 * Nothing is accessed out of bounds, priorities hold, what is read-only stays, and no timer fires
 * faster than it may. */
#include <stdlib.h>
#include <string.h>

#include "mgmt/vmm/apic.h"
#include "mgmt/vmm/bus.h"
#include "mgmt/vmm/clock.h"
#include "mgmt/vmm/ioapic.h"
#include "mgmt/vmm/pci.h"
#include "mgmt/vmm/pic.h"
#include "mgmt/vmm/pit.h"
#include "mgmt/vmm/rtc.h"
#include "mgmt/vmm/uart.h"
#include "test/unit/fake_loop.h"
#include "test/unit/vmm_registers.h"

#define STEP_BYTES 8u

static struct {
    struct pic pic;
    struct ioapic ioapic;
    struct pit pit;
    struct rtc rtc;
    struct uart uart;
    struct pci_function function;
    unsigned pulses, sent;
    uint64_t shown, written;
} pc;

static void require(bool holds) {
    if (!holds)
        abort();
}

static void pulse(void) {
    pc.pulses++;
}

static void nothing(void) {
}

static void send(uint64_t entry) {
    require(!(entry & APIC_MASKED));
    pc.sent++;
}

static void set_irq(bool level) {
    pic_set(&pc.pic, 4, level);
    ioapic_set(&pc.ioapic, 4, level);
}

static void show(const char *text, size_t bytes) {
    (void)text;
    require(bytes <= UART_BUFFER_BYTES);
    pc.shown += bytes;
}

static uint64_t wall(void) {
    return 1709210096ull * 1000000000 + loop_now_ns();
}

static void add_function(void) {
    static const struct bus_range none = {0};
    pci_init(set_irq, NULL);
    pci_function_init(&pc.function, 0x1af4, 0x1042, 0x010000, 1);
    pci_add_bar(&pc.function, 0, true, 64, &none);
    pci_add_bar(&pc.function, 1, false, 4096, &none);
    pci_add_capability(&pc.function, 0x11, 12);
    pci_add(&pc.function, 1);
}

static void drained(void) {
    require(pc.uart.input_count == 0);
    uart_receive(&pc.uart, "more", 4);
}

static void start(void) {
    static bool added;
    if (!added)
        add_function();
    added = true;
    loop_timer_cancel(&pc.pit.timer);
    pic_reset(&pc.pic, nothing);
    ioapic_reset(&pc.ioapic, send);
    pit_init(&pc.pit, pulse);
    rtc_init(&pc.rtc, wall);
    uart_init(&pc.uart, set_irq, show, drained);
    pc.shown = pc.written = 0;
}

/* Time passes, and the fastest timer still leaves the guest most of it. */
static void pass(uint64_t ns) {
    pc.pulses = 0;
    fake_loop_advance(ns);
    require(pc.pulses <= 2 + ns / TIMER_PERIOD_NS_MIN);
}

static void write_uart(unsigned reg, uint8_t value) {
    bool output = reg == 0 && !(pc.uart.lcr & 0x80) && !(pc.uart.mcr & 0x10);
    write_register(uart_write, &pc.uart, reg, value);
    pc.written += output;
    require(pc.uart.input_count <= UART_FIFO_BYTES);
    require(pc.uart.output_count < UART_BUFFER_BYTES);
}

static void configure(const uint8_t *s, uint32_t value) {
    uint8_t before[sizeof(pc.function.config)];
    memcpy(before, pc.function.config, sizeof(before));
    unsigned bytes = 1u << (s[1] & 3);
    uint64_t at = PCI_ECAM_BASE + 0x8000 + s[2] + (s[3] & 15) * 256u;
    bus_memory_write(at, bytes, value);
    bus_memory_read(at, bytes);
    bus_port_write((uint16_t)(0xcf8 + s[3] % 8), bytes > 4 ? 4 : bytes, value | 0x80000800);
    bus_port_read((uint16_t)(0xcf8 + s[2] % 8), bytes > 4 ? 4 : bytes);
    for (unsigned i = 0; i < sizeof(before); i++)
        require(!((before[i] ^ pc.function.config[i]) & ~pc.function.writable[i]));
}

static void drive_lines(const uint8_t *s) {
    pic_set(&pc.pic, s[1] % 16, s[2] & 1);
    pc.sent = 0;
    ioapic_set(&pc.ioapic, s[1] % IOAPIC_PINS, s[2] & 1);
    require(pc.sent <= 1);
    if (pic_pending(&pc.pic))
        pic_acknowledge(&pc.pic);
}

static void step(const uint8_t *s) {
    uint32_t value;
    memcpy(&value, s + 4, sizeof(value));
    switch (s[0] % 10) {
    case 0:
        write_register(pic_write, &pc.pic, PIC_SLAVE * (s[1] & 1) + (s[2] & 1), s[3]);
        read_register(pic_read, &pc.pic, PIC_SLAVE * (s[1] & 1) + (s[2] >> 1 & 1));
        break;
    case 1:
        write_register(pic_write, &pc.pic, PIC_ELCR + (s[1] & 1), s[2]);
        break;
    case 2:
    case 3:
        pc.sent = 0;
        write_register(ioapic_write, &pc.ioapic, s[1] & 0x50, value);
        require(pc.sent <= IOAPIC_PINS);
        read_register(ioapic_read, &pc.ioapic, s[1]);
        break;
    case 4:
        write_register(pit_write, &pc.pit, s[1] & 3, s[2]);
        read_register(pit_read, &pc.pit, s[3] & 3);
        write_register(pit_write, &pc.pit, PIT_CONTROL, s[4]);
        read_register(pit_read, &pc.pit, PIT_CONTROL);
        break;
    case 5:
        write_register(rtc_write, &pc.rtc, s[1] & 1, s[2]);
        read_register(rtc_read, &pc.rtc, s[3] & 1);
        break;
    case 6:
        write_uart(s[1] & 7, s[2]);
        read_register(uart_read, &pc.uart, s[3] & 7);
        break;
    case 7:
        require(uart_receive(&pc.uart, (const char *)s, STEP_BYTES) <= STEP_BYTES);
        require(pc.uart.input_count <= UART_FIFO_BYTES);
        break;
    case 8:
        configure(s, value);
        drive_lines(s);
        break;
    default:
        pass(value >> (s[1] & 31));
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    start();
    for (size_t i = 0; i + STEP_BYTES <= size; i += STEP_BYTES)
        step(data + i);
    fake_loop_work();
    require(pc.shown == pc.written); /* nothing is lost, nothing comes twice */
    return 0;
}
