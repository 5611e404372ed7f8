/* I/O ports: all of them, in every width and way. */
#include "test/guest/hvm/hostile/hostile.h"

#include "mgmt/vmm/fw_cfg.h"
#include "mgmt/vmm/power.h"

#define COM1 0x3f8u
#define PIT_COMMAND 0x43u
#define PIT_CHANNEL_0 0x40u
#define IRQ_TIMER_PIN 2u
#define RTC_INDEX 0x70u
#define RTC_DATA 0x71u
#define PORT_KEYBOARD 0x64u
#define PORT_RESET 0xcf9u
#define PORT_PANIC 0x505u
#define DEVICES_END 0x1100u

/* Above the devices' ports one width each: every exit takes its time in an emulator. */
static bool in_width(uint32_t port, unsigned width) {
    return port < DEVICES_END || port % 3 == width;
}

static void read_all(void) {
    for (uint32_t port = 0; port <= UINT16_MAX; port++) {
        if (in_width(port, 0))
            in8((uint16_t)port);
        if (in_width(port, 1))
            in16((uint16_t)port);
        if (in_width(port, 2))
            in32((uint16_t)port);
    }
    expect(in8(0xed) == 0xff && in32(0xfffc) == 0xffffffff); /* where nothing is */
}

/* Those that end the guest, or its speech. */
static bool is_spared(uint32_t port) {
    return (port & ~7u) == COM1 || port == PORT_KEYBOARD || port == PORT_RESET ||
           port == PORT_PANIC || (port & ~15u) == POWER_PM1_EVENT;
}

static void write_all(void) {
    for (uint32_t port = 0; port <= UINT16_MAX; port++) {
        uint64_t value = random_next();
        if (is_spared(port))
            continue;
        if (in_width(port, 0))
            out8((uint16_t)port, (uint8_t)value);
        if (in_width(port, 1))
            out16((uint16_t)port, (uint16_t)(value >> 8));
        if (in_width(port, 2))
            out32((uint16_t)port, (uint32_t)(value >> 24));
    }
}

/* Devices alone, in no order. */
static void write_devices(void) {
    static const uint16_t ports[] = {0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1, 0x40,  0x41,
                                     0x42, 0x43, 0x61, 0x70, 0x71,  0xcf8, 0xcfc, 0xcfe};
    for (unsigned i = 0; i < 40000; i++) {
        uint64_t r = random_next();
        uint16_t port = ports[r % 16];
        if (r >> 8 & 1)
            in8(port);
        else if (r >> 9 & 3)
            out8(port, (uint8_t)(r >> 16));
        else
            out32(port, (uint32_t)(r >> 16));
    }
}

#define STRING_FORM(name, setup, text)                                                             \
    static uint32_t name(uint16_t port, uint64_t rsi, uint64_t rdi, uint64_t *rcx) {               \
        register uint32_t fault __asm__("r15");                                                    \
        __asm__ volatile(setup "\n" ATTEMPT(text) "\ncld"                                          \
                         : "=&r"(fault), "+S"(rsi), "+D"(rdi), "+c"(*rcx)                          \
                         : "d"(port)                                                               \
                         : "memory", "cc");                                                        \
        return fault;                                                                              \
    }
STRING_FORM(outs_8, "", "rep outsb")
STRING_FORM(outs_16, "", "rep outsw")
STRING_FORM(outs_32, "", "rep outsl")
STRING_FORM(ins_8, "", "rep insb")
STRING_FORM(ins_16, "", "rep insw")
STRING_FORM(ins_32, "", "rep insl")
STRING_FORM(ins_down, "std", "rep insw")

/* Odd addresses, across pages, from device memory, downwards; beyond the map of pages. */
static void strings(void) {
    static uint8_t buffer[8192];
    uint64_t count;
    for (unsigned offset = 4080; offset < 4112; offset++) {
        uint64_t at = (uint64_t)buffer + offset;
        count = 3;
        expect(outs_8(0x80, at, 0, &count) == NO_FAULT && count == 0);
        count = 5;
        expect(outs_16(0x80, at, 0, &count) == NO_FAULT && count == 0);
        count = 7;
        expect(outs_32(0x80, at, 0, &count) == NO_FAULT && count == 0);
        buffer[offset - 1] = buffer[offset + 12] = 0x11;
        count = 3;
        expect(ins_32(0xed, 0, at, &count) == NO_FAULT && count == 0);
        expect(buffer[offset - 1] == 0x11 && buffer[offset] == 0xff &&
               buffer[offset + 11] == 0xff && buffer[offset + 12] == 0x11);
        count = 2;
        expect(ins_down(0xed, 0, at, &count) == NO_FAULT && count == 0);
    }
    count = 0;
    expect(ins_8(0xed, 0, 1ull << 63, &count) == NO_FAULT); /* nothing to do: not even a fault */
    count = 4000;
    expect(outs_32(0x80, NOTHING_BASE + 1, 0, &count) == NO_FAULT && count == 0);
    count = 4000;
    expect(ins_8(0xed, 0, NOTHING_BASE + 1, &count) == NO_FAULT && count == 0);
    count = 100;
    expect(outs_16(0x80, 0xffffffff, 0, &count) == EXCEPTION_PF && count == 100);
    count = 100;
    expect(ins_16(0xed, 0, 0xffffffcd, &count) == EXCEPTION_PF && count == 75);
}

static void skip_string(struct frame *frame) {
    static const uint8_t rep_insb[] = {0xf3, 0x6c};
    const uint8_t *code = (const uint8_t *)frame->rip;
    apic_end();
    if (code[0] != rep_insb[0] || code[1] != rep_insb[1]) { /* not there yet */
        wrmsr(APIC_TIMER_INITIAL, 1000000);
        return;
    }
    frame->rip += sizeof(rep_insb);
    frame->rflags &= ~0x200ull;
}

/* A count that would take years ends with the first interrupt. */
static void endless(void) {
    on_interrupt(0x60, skip_string);
    for (unsigned i = 0; i < 3; i++) {
        uint64_t count = ~0ull >> i;
        wrmsr(APIC_LVT_TIMER, 0x60);
        wrmsr(APIC_TIMER_INITIAL, 1000000);
        interrupts_on();
        ins_8(0xed, 0, NOTHING_BASE, &count);
        expect(count < ~0ull >> i && count > 1ull << 60);
    }
}

/* As much as the port takes: 32,768 lines. The host goes on, and so does this. */
static void uart_flood(void) {
    static uint8_t text[4096];
    for (unsigned i = 0; i < sizeof(text); i++)
        text[i] = i % 64 == 63 ? '\n' : (uint8_t)(0x21 + i * 37 % 0xdf);
    for (unsigned i = 0; i < 512; i++) {
        uint64_t count = sizeof(text);
        expect(outs_8(COM1, (uint64_t)text, 0, &count) == NO_FAULT);
    }
    spin(6000 * MHZ); /* or what follows is not logged either */
}

static void uart_nonsense(void) {
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t r = random_next();
        unsigned reg = r % 8;
        if (r >> 8 & 1)
            in8((uint16_t)(COM1 + reg));
        else if (reg != 0)
            out8((uint16_t)(COM1 + reg), reg == 4 ? r >> 16 & 0xff : (uint8_t)(r >> 16));
        else
            out8(COM1, ' ');
    }
    out8(COM1 + 3, 3);
    out8(COM1 + 4, 8);
    out8(COM1, '\n');
}

/* 1.19 million interrupts a second are asked for. */
static void pit_1(void) {
    ioapic_route(IRQ_TIMER_PIN, 0x61);
    count_interrupts(0x61);
    out8(PIT_COMMAND, 0x14); /* channel 0, low byte, mode 2 */
    out8(PIT_CHANNEL_0, 1);
    interrupts_on();
    for (unsigned i = 0; i < 2000; i++)
        in8(PIT_CHANNEL_0);
    spin(200 * MHZ);
    interrupts_off();
    expect(interrupts_counted() > 10);
}

static void rtc(void) {
    for (unsigned rate = 0; rate < 16; rate++) {
        out8(RTC_INDEX, 0x0a);
        out8(RTC_DATA, (uint8_t)(0x20 | rate));
        out8(RTC_INDEX, 0x0b);
        out8(RTC_DATA, 0xff);
        for (unsigned i = 0; i < 256; i++) {
            out8(RTC_INDEX, (uint8_t)i);
            out8(RTC_DATA, (uint8_t)random_next());
            in8(RTC_DATA);
        }
    }
    out8(RTC_INDEX, 0x0d);
    expect(in8(RTC_DATA) == 0x80);
}

enum { DMA_ERROR = 1, DMA_READ = 2, DMA_SELECT = 8 }; /* QEMU, docs/specs/fw_cfg */

static volatile struct {
    uint32_t control, bytes;
    uint64_t address;
} request;

/* What its control says afterwards. */
static uint32_t ask_firmware(uint32_t control, uint32_t bytes, uint64_t address) {
    uint64_t at = (uint64_t)&request;
    request.control = __builtin_bswap32(control);
    request.bytes = __builtin_bswap32(bytes);
    request.address = __builtin_bswap64(address);
    out32(FW_CFG_DMA, __builtin_bswap32((uint32_t)(at >> 32)));
    out32(FW_CFG_DMA + 4, __builtin_bswap32((uint32_t)at));
    return __builtin_bswap32(request.control);
}

/* DMA to where there is no RAM, or not to its end; then to where there is. */
static void fw_cfg(void) {
    static volatile uint8_t buffer[8];
    for (unsigned i = 0; i < 2000; i++) {
        uint64_t r = random_next(), outside = ram_end() + (r >> 32 >> (r & 31));
        uint32_t control = (uint32_t)(r >> 8 & 0x1f) << 16 | DMA_SELECT | DMA_READ;
        expect(ask_firmware(control, 1 + (uint32_t)(r >> 16 & 0xff), outside) == DMA_ERROR);
        expect(ask_firmware(control, 256, ram_end() - 255) == DMA_ERROR);
        out32(FW_CFG_DMA, (uint32_t)r | 0x80);
        out32(FW_CFG_DMA + 4, (uint32_t)(r >> 32)); /* a request that is nowhere */
    }
    expect(ask_firmware(DMA_SELECT | DMA_READ, 6, (uint64_t)buffer) == 0);
    expect(buffer[0] == 'Q' && buffer[3] == 'U' && buffer[4] == 0);
}

/* The values that end a machine, one bit wrong; then until one is right. */
static void power(void) {
    for (unsigned type = 0; type < 8; type++)
        if (type != POWER_S5)
            out16(POWER_PM1_CONTROL, (uint16_t)(1u << 13 | type << 10));
    out8(PORT_RESET, 0x02);
    out8(PORT_KEYBOARD, 0xff);
    out32(POWER_PM1_EVENT, 0xffffffff);
    say("power ok\n");
    for (;;)
        out16((uint16_t)(POWER_PM1_EVENT + random_next() % 16), (uint16_t)random_next());
}

const struct attack attacks[] = {
    {"read-all", read_all},
    {"write-all", write_all},
    {"write-devices", write_devices},
    {"strings", strings},
    {"endless", endless},
    {"uart-flood", uart_flood},
    {"uart-nonsense", uart_nonsense},
    {"pit-1", pit_1},
    {"rtc", rtc},
    {"fw-cfg", fw_cfg},
    {"power", power},
    {0},
};
