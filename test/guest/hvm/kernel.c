#include "test/guest/hvm/kernel.h"

#include "mgmt/vmm/power.h"
#include "test/guest/hvm/layout.h"

/* PC16550D, table III. */
#define COM1 0x3f8u
enum { UART_DATA = 0, UART_IER = 1, UART_MCR = 4, UART_LSR = 5 };
#define IER_RECEIVED 0x01u
#define MCR_OUT2 0x08u /* lets its interrupts out */
#define LSR_DATA 0x01u
#define LSR_THRE 0x20u
#define COM1_PIN 4u
#define VECTOR_COM1 0xf0u
#define VECTOR_SPURIOUS 0xffu

#define PICS_MASK_1 0x21u
#define PICS_MASK_2 0xa1u
#define IOAPIC_SELECT 0xfec00000ull
#define IOAPIC_WINDOW 0xfec00010ull
#define IOAPIC_ENTRIES 0x10u

#define IA32_APIC_BASE 0x1bu
#define APIC_BASE_X2APIC 0xc00u
#define APIC_SPURIOUS_ENABLE 0x100u
#define PM1_SLEEP_ENABLE 0x2000u
#define GATE_INTERRUPT 0x8e00u /* present, 64-bit interrupt gate: SDM 3A, 6.14.1 */

/* start.S */
extern uint64_t pvh_start_info, next_stack, next_function;
extern uint8_t stacks[], interrupt_stubs[], startup_code[], startup_code_end[];
void kernel_start(void);
void interrupt(struct frame *frame);

const struct pvh_start_info *start_info(void) {
    return (const struct pvh_start_info *)pvh_start_info;
}

/* --- Console --- */

static void say_byte(char byte) {
    while (!(in8(COM1 + UART_LSR) & LSR_THRE))
        ;
    out8(COM1 + UART_DATA, (uint8_t)byte);
}

void say(const char *text) {
    while (*text)
        say_byte(*text++);
}

static void say_digits(uint64_t value, uint64_t base) {
    char digits[20];
    unsigned count = 0;
    do
        digits[count++] = "0123456789abcdef"[value % base];
    while (value /= base);
    while (count)
        say_byte(digits[--count]);
}

void say_number(uint64_t value) {
    say_digits(value, 10);
}

void say_hex(uint64_t value) {
    say_digits(value, 16);
}

static void typed(struct frame *frame) {
    (void)frame;
    apic_end();
}

static char read_byte(void) {
    while (!(in8(COM1 + UART_LSR) & LSR_DATA))
        sleep_until_interrupt();
    return (char)in8(COM1 + UART_DATA);
}

void read_line(char *line, size_t bytes) {
    size_t count = 0;
    char byte;
    while ((byte = read_byte()) != '\n' && byte != '\r')
        if (count + 1 < bytes)
            line[count++] = byte;
    line[count] = 0;
    /* Bytes that were read before they were waited for have left their interrupt pending: taken
     * now, or the VMM would look at it at each exit that is measured. */
    __asm__ volatile("sti; nop; cli" ::: "memory");
}

bool same(const char *a, const char *b) {
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

uint64_t parse_number(const char **text) {
    uint64_t value = 0;
    while (**text >= '0' && **text <= '9')
        value = value * 10 + (uint64_t)(*(*text)++ - '0');
    if (**text == ' ')
        (*text)++;
    return value;
}

/* --- Interrupts --- */

struct gate {
    uint16_t offset_0, selector, type, offset_16;
    uint32_t offset_32, reserved;
};
static struct gate idt[256];
static void (*handlers[256])(struct frame *frame);

struct attempt {
    uint64_t at, after;
};
extern const struct attempt attempts[], attempts_end[]; /* hvm.ld */

void on_interrupt(uint8_t vector, void (*handler)(struct frame *frame)) {
    handlers[vector] = handler;
}

static bool was_attempt(struct frame *frame) {
    for (const struct attempt *a = attempts; a < attempts_end; a++)
        if (a->at == frame->rip) {
            frame->rip = a->after;
            frame->r15 = frame->vector;
            return true;
        }
    return false;
}

static _Noreturn void report(const struct frame *frame) {
    say("\nkernel: exception ");
    say_number(frame->vector);
    say(" error ");
    say_hex(frame->error);
    say(" at ");
    say_hex(frame->rip);
    say("\n");
    power_off();
}

void interrupt(struct frame *frame) {
    if (handlers[frame->vector])
        handlers[frame->vector](frame);
    else if (frame->vector >= 32)
        apic_end();
    else if (!was_attempt(frame))
        report(frame);
}

static void make_gates(void) {
    for (unsigned i = 0; i < 256; i++) {
        uint64_t stub = (uint64_t)interrupt_stubs + i * STUB_BYTES;
        idt[i] = (struct gate){.offset_0 = (uint16_t)stub,
                               .selector = SELECTOR_CODE_64,
                               .type = GATE_INTERRUPT,
                               .offset_16 = (uint16_t)(stub >> 16)};
    }
}

static void load_gates(void) {
    struct __attribute__((packed)) {
        uint16_t limit;
        uint64_t base;
    } pointer = {sizeof(idt) - 1, (uint64_t)idt};
    __asm__ volatile("lidt %0" ::"m"(pointer));
}

void apic_enable(void) {
    wrmsr(IA32_APIC_BASE, rdmsr(IA32_APIC_BASE) | APIC_BASE_X2APIC);
    wrmsr(APIC_SPURIOUS, APIC_SPURIOUS_ENABLE | VECTOR_SPURIOUS);
}

static void ioapic_write(uint32_t index, uint32_t value) {
    *(volatile uint32_t *)IOAPIC_SELECT = index;
    *(volatile uint32_t *)IOAPIC_WINDOW = value;
}

void ioapic_route(unsigned pin, uint8_t vector) {
    ioapic_write(IOAPIC_ENTRIES + 2 * pin + 1, 0);
    ioapic_write(IOAPIC_ENTRIES + 2 * pin, vector);
}

/* --- Start and end --- */

void kernel_start(void) {
    out8(PICS_MASK_1, 0xff);
    out8(PICS_MASK_2, 0xff);
    make_gates();
    load_gates();
    apic_enable();
    on_interrupt(VECTOR_COM1, typed);
    ioapic_route(COM1_PIN, VECTOR_COM1);
    out8(COM1 + UART_MCR, MCR_OUT2);
    out8(COM1 + UART_IER, IER_RECEIVED);
    kernel_main((const char *)start_info()->command_line);
    power_off();
}

void power_off(void) {
    out16(POWER_PM1_CONTROL, POWER_S5 << 10 | PM1_SLEEP_ENABLE);
    for (;;)
        __asm__ volatile("cli; hlt");
}

/* --- Further vCPUs --- */

static void (*cpu_function)(void);
static volatile bool cpu_up;

static void cpu_begin(void) {
    load_gates();
    apic_enable();
    void (*function)(void) = cpu_function;
    cpu_up = true;
    function();
}

void cpu_start(uint32_t id, void (*function)(void)) {
    for (size_t i = 0; i < (size_t)(startup_code_end - startup_code); i++)
        ((volatile uint8_t *)STARTUP_PAGE)[i] = startup_code[i];
    cpu_function = function;
    cpu_up = false;
    next_stack = (uint64_t)stacks + (id + 1ull) * STACK_BYTES;
    next_function = (uint64_t)cpu_begin;
    apic_send(id, APIC_COMMAND_INIT);
    apic_send(id, APIC_COMMAND_STARTUP | STARTUP_PAGE >> 12);
    while (!cpu_up)
        __asm__ volatile("pause");
}
