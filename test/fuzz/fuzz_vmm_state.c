/* A state that an enemy has written: loaded into a fresh machine it is refused, or the machine is
 * one that no access of its guest, and no time that passes, takes out of its bounds. The input: how
 * many bytes of a busy machine's state are others, and which; then accesses. */
#include <stdlib.h>
#include <string.h>

#include "guestlib/guest.h"
#include "guestlib/tsc.h"
#include "mgmt/vmm/apic.h"
#include "mgmt/vmm/bus.h"
#include "mgmt/vmm/clock.h"
#include "mgmt/vmm/fpu.h"
#include "mgmt/vmm/fw_cfg.h"
#include "mgmt/vmm/ioapic.h"
#include "mgmt/vmm/msr.h"
#include "mgmt/vmm/pci.h"
#include "mgmt/vmm/pic.h"
#include "mgmt/vmm/pit.h"
#include "mgmt/vmm/power.h"
#include "mgmt/vmm/rtc.h"
#include "mgmt/vmm/uart.h"
#include "mgmt/vmm/watchdog.h"
#include "test/unit/fake_loop.h"
#include "test/unit/vmm_guest.h"
#include "test/unit/vmm_registers.h"

#define STATE_BYTES_MAX 16384u
#define PATCH_BYTES 3u
#define STEP_BYTES 8u
#define SLOT 30u
#define CONFIG(offset) (PCI_ECAM_BASE | SLOT << 15 | (offset))
#define WATCHDOG_LOCK 0x68u
#define HZ 1000000000ull

static struct {
    struct pic pic;
    struct ioapic ioapic;
    struct pit pit;
    struct rtc rtc;
    struct uart uart;
    struct watchdog watchdog;
    unsigned pulses;
} pc;
static _Alignas(FPU_ALIGN) uint8_t fpu[FPU_BYTES];

static void require(bool holds) {
    if (!holds)
        abort();
}

uint64_t guest_wall_ns(void) {
    return 1709210096ull * 1000000000;
}

static void send(struct lapic *from, uint32_t destination, uint32_t command) {
    (void)from, (void)destination, (void)command;
}

static void end_of_interrupt(uint8_t vector) {
    ioapic_end_of_interrupt(&pc.ioapic, vector);
}

static void send_entry(uint64_t entry) {
    lapic_accept(&guest_vcpu.lapic, (uint8_t)entry, entry & APIC_LEVEL);
}

static void pulse(void) {
    pc.pulses++;
    pic_set(&pc.pic, 0, true);
    pic_set(&pc.pic, 0, false);
}

static void set_irq(bool level) {
    pic_set(&pc.pic, 11, level);
    ioapic_set(&pc.ioapic, 11, level);
}

static void show(const char *text, size_t bytes) {
    (void)text;
    require(bytes <= UART_BUFFER_BYTES);
}

static void nothing(void) {
}

static void ends(enum power_end how) {
    (void)how;
}

/* What has a place on the bus gets it once; then it is as it was after that, by its state. */
static void wire(struct state *s) {
    power_state(s);
    fw_cfg_state(s);
    pci_state(s);
    watchdog_state(s, &pc.watchdog);
}

static void make_wired_fresh(void) {
    static uint8_t bytes[STATE_BYTES_MAX];
    static bool wired;
    struct state s = {.at = bytes, .left = sizeof(bytes), .loading = wired};
    if (!wired) {
        pci_init(set_irq, NULL);
        watchdog_init(&pc.watchdog, nothing);
        pci_add(&pc.watchdog.function, SLOT);
        power_init(set_irq, ends);
        fw_cfg_init(1);
    }
    pc.watchdog.function.writable[WATCHDOG_LOCK] = 3; /* it may be locked, for good */
    wire(&s);
    require(!s.wrong);
    wired = true;
}

static void make_fresh(void) {
    static const struct lapic_host host = {send, end_of_interrupt, clock_guest_tsc, HZ};
    loop_timer_cancel(&pc.pit.timer);
    loop_timer_cancel(&pc.watchdog.timer);
    fake_loop_work();
    pc.ioapic.lines = 0;
    memset(fpu, 0, sizeof(fpu));
    guest_reset();
    guest_vcpu.fpu = fpu;
    clock_init(HZ);
    clock_start(&guest_vcpu);
    lapic_reset(&guest_vcpu.lapic, &host, 0);
    pic_reset(&pc.pic, nothing);
    ioapic_reset(&pc.ioapic, send_entry);
    pit_init(&pc.pit, pulse);
    rtc_init(&pc.rtc, guest_wall_ns);
    uart_init(&pc.uart, set_irq, show, nothing);
    make_wired_fresh();
}

/* In the order of machine.c. */
static void transfer(struct state *s) {
    clock_state(s);
    msr_state(s);
    vcpu_state(s, &guest_vcpu);
    if (s->loading && !s->wrong)
        state_check(s, clock_resume(&guest_vcpu), "its clock's page is not in RAM");
    pic_state(s, &pc.pic);
    ioapic_state(s, &pc.ioapic);
    pit_state(s, &pc.pit);
    rtc_state(s, &pc.rtc);
    uart_state(s, &pc.uart);
    wire(s);
}

static void make_busy(void) {
    lapic_write(&guest_vcpu.lapic, 0xf0, 0x1ff);
    lapic_write(&guest_vcpu.lapic, 0x320, 0x20050); /* periodic */
    lapic_write(&guest_vcpu.lapic, 0x380, 1000000);
    clock_set_system_time(&guest_vcpu, 0x3001);
    write_register(pit_write, &pc.pit, 3, 0x34);
    write_register(pit_write, &pc.pit, 0, 0xa9);
    write_register(pit_write, &pc.pit, 0, 0x04);
    write_register(uart_write, &pc.uart, 1, 1);
    uart_receive(&pc.uart, "typed", 5);
    bus_memory_write(CONFIG(PCI_BAR0), 4, 0xd0000000);
    bus_memory_write(CONFIG(PCI_COMMAND), 2, 7);
    bus_memory_write(CONFIG(WATCHDOG_LOCK), 1, 2);
}

static void access_bus(const uint8_t *s, uint32_t value) {
    static const uint16_t ports[] = {POWER_PM1_EVENT, 0xcf8, 0xcf9, 0x64, FW_CFG_SELECTOR};
    unsigned bytes = 1u << s[1] % 3;
    uint16_t port = (uint16_t)(ports[s[2] % 5] + (s[3] & 15));
    uint64_t memory = s[2] & 0x80 ? 0xd0000000u + (s[3] & 31) : CONFIG(s[3]);
    bus_port_write(port, bytes, value);
    bus_port_read(port, bytes);
    bus_memory_write(memory, bytes, value);
    bus_memory_read(memory, bytes);
}

static void access_apic(const uint8_t *s, uint32_t value) {
    struct lapic *lapic = &guest_vcpu.lapic;
    uint32_t msr = MSR_X2APIC_FIRST + s[3] % 64u;
    uint64_t ignored;
    lapic_write(lapic, s[2] * 16u, value);
    lapic_read(lapic, s[3] * 16u);
    lapic_write_msr(lapic, msr, value);
    lapic_read_msr(lapic, msr, &ignored);
    lapic_timer_run(lapic);
    if (lapic_pending(lapic) >= 0)
        lapic_acknowledge(lapic, (uint8_t)lapic_pending(lapic));
}

static void step(const uint8_t *s) {
    uint32_t value;
    memcpy(&value, s + 4, sizeof(value));
    switch (s[0] % 8) {
    case 0:
        write_register(pic_write, &pc.pic, PIC_SLAVE * (s[1] & 1) + (s[2] & 1), s[3]);
        read_register(pic_read, &pc.pic, PIC_SLAVE * (s[1] & 1) + (s[2] >> 1 & 1));
        if (pic_pending(&pc.pic))
            pic_acknowledge(&pc.pic);
        break;
    case 1:
        read_register(ioapic_read, &pc.ioapic, s[1] & 0x10); /* wherever it was pointed to */
        write_register(ioapic_write, &pc.ioapic, s[1] & 0x50, value);
        ioapic_set(&pc.ioapic, s[2] % IOAPIC_PINS, s[3] & 1);
        break;
    case 2:
        read_register(pit_read, &pc.pit, s[3] & 3);
        write_register(pit_write, &pc.pit, s[1] & 3, s[2]);
        write_register(pit_write, &pc.pit, PIT_CONTROL, s[4]);
        break;
    case 3:
        read_register(rtc_read, &pc.rtc, s[3] & 1);
        write_register(rtc_write, &pc.rtc, s[1] & 1, s[2]);
        break;
    case 4:
        uart_receive(&pc.uart, (const char *)s, STEP_BYTES);
        write_register(uart_write, &pc.uart, s[1] & 7, s[2]);
        read_register(uart_read, &pc.uart, s[3] & 7);
        require(pc.uart.input_count <= UART_FIFO_BYTES);
        break;
    case 5:
        access_bus(s, value);
        break;
    case 6:
        access_apic(s, value);
        break;
    default: {
        uint64_t ns = value >> (s[1] & 31);
        pc.pulses = 0;
        fake_loop_advance(ns);
        require(pc.pulses <= 2 + ns / TIMER_PERIOD_NS_MIN);
        break;
    }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t bytes[STATE_BYTES_MAX];
    struct state s = {.at = bytes, .left = sizeof(bytes)};
    if (size == 0)
        return 0;
    make_fresh();
    make_busy();
    transfer(&s);
    require(!s.wrong);
    size_t saved = sizeof(bytes) - s.left, patches = data[0], at = 1;
    for (; patches > 0 && at + PATCH_BYTES <= size; patches--, at += PATCH_BYTES)
        bytes[(data[at] << 8 | data[at + 1]) % saved] = data[at + 2];
    make_fresh();
    s = (struct state){.at = bytes, .left = saved, .loading = true};
    transfer(&s);
    if (s.wrong)
        return 0;
    require(fpu_is_valid(fpu) && pc.uart.input_count <= UART_FIFO_BYTES);
    for (; at + STEP_BYTES <= size; at += STEP_BYTES)
        step(data + at);
    return 0;
}
