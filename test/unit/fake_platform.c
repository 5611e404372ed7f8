/* mgmt/platform.h, guestlib/loop.h and mgmt/pci/mmio.h for native tests. */
#include "fake_platform.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guestlib/loop.h"
#include "mgmt/pci/mmio.h"

#define INTERRUPTS_MAX 64u
#define SIGNALS_MAX 256u
#define MSI_ADDRESS 0xfee00000ull
#define CONFIG_ADDRESS 0xcf8u
#define CONFIG_DATA 0xcfcu
#define REGISTER_COMMAND 4u
#define REGISTER_BAR0 0x10u

static struct {
    struct fake_function *functions;
    struct {
        void (*handler)(void *context);
        void *context;
    } interrupt[INTERRUPTS_MAX];
    unsigned interrupts;
    unsigned signal[SIGNALS_MAX];
    uint64_t now_ns;
    struct loop_timer *timers;
    struct loop_work *first, *last;
    unsigned dma_calls;
    uint32_t config_address;
    unsigned lines;
    char line[512];
} fake;

void fake_reset(void) {
    while (fake.first) {
        fake.first->posted = false;
        fake.first = fake.first->next;
    }
    while (fake.timers) {
        fake.timers->set = false;
        fake.timers = fake.timers->next;
    }
    memset(&fake, 0, sizeof(fake));
    fake.dma_calls = ~0u;
    fake.now_ns = 1;
}

/* The event loop. */

uint64_t loop_now_ns(void) {
    return fake.now_ns;
}

void loop_post(struct loop_work *work) {
    if (work->posted)
        return;
    work->posted = true;
    work->next = NULL;
    if (fake.first)
        fake.last->next = work;
    else
        fake.first = work;
    fake.last = work;
}

unsigned fake_run_work(unsigned rounds) {
    unsigned done = 0;
    while (fake.first && done < rounds) {
        struct loop_work *work = fake.first;
        fake.first = NULL;
        while (work) {
            struct loop_work *next = work->next;
            work->posted = false;
            work->handler(work->context);
            work = next;
        }
        done++;
    }
    return done;
}

void loop_timer_cancel(struct loop_timer *timer) {
    struct loop_timer **at = &fake.timers;
    if (!timer->set)
        return;
    while (*at != timer)
        at = &(*at)->next;
    *at = timer->next;
    timer->set = false;
}

void loop_timer_set(struct loop_timer *timer, uint64_t deadline_ns, loop_handler handler,
                    void *context) {
    loop_timer_cancel(timer);
    *timer = (struct loop_timer){deadline_ns, handler, context, fake.timers, true};
    fake.timers = timer;
}

static struct loop_timer *due(void) {
    for (struct loop_timer *t = fake.timers; t; t = t->next)
        if (t->deadline_ns <= fake.now_ns)
            return t;
    return NULL;
}

void fake_advance_ns(uint64_t ns) {
    struct loop_timer *timer;
    fake.now_ns += ns;
    while ((timer = due())) {
        loop_timer_cancel(timer);
        timer->handler(timer->context);
    }
    fake_run_work(100);
}

/* The platform. */

void fake_limit_dma(unsigned calls) {
    fake.dma_calls = calls;
}

enum bh_status dma_alloc(size_t bytes, struct dma_memory *out) {
    if (fake.dma_calls == 0)
        return BH_NO_MEMORY;
    if (fake.dma_calls != ~0u)
        fake.dma_calls--;
    size_t rounded = BH_PAGE_BYTES;
    while (rounded < bytes)
        rounded *= 2;
    void *va = aligned_alloc(BH_PAGE_BYTES, rounded);
    assert(va);
    memset(va, 0, rounded);
    *out = (struct dma_memory){.va = va, .hpa = {(uintptr_t)va}, .bytes = rounded};
    return BH_OK;
}

void dma_free(struct dma_memory *memory) {
    free(memory->va);
    *memory = (struct dma_memory){0};
}

enum bh_status mmio_map(struct hpa base, size_t bytes, volatile void **va) {
    if (base.raw % BH_PAGE_BYTES || bytes % BH_PAGE_BYTES)
        return BH_BAD_ARG;
    *va = (volatile void *)(uintptr_t)base.raw; /* only ever handed to mmio_read and mmio_write */
    return BH_OK;
}

enum bh_status msi_open(void (*handler)(void *context), void *context, struct msi *out) {
    if (fake.interrupts == INTERRUPTS_MAX)
        return BH_NO_MEMORY;
    fake.interrupt[fake.interrupts].handler = handler;
    fake.interrupt[fake.interrupts].context = context;
    *out = (struct msi){MSI_ADDRESS, fake.interrupts++};
    return BH_OK;
}

void fake_interrupt(uint32_t data) {
    assert(data < fake.interrupts);
    fake.interrupt[data].handler(fake.interrupt[data].context);
}

void event_signal(bh_slot signal) {
    assert(signal < SIGNALS_MAX);
    fake.signal[signal]++;
}

unsigned fake_signals(bh_slot slot) {
    return fake.signal[slot];
}

void log_line(const char *part, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int used = snprintf(fake.line, sizeof(fake.line), "%s: ", part);
    vsnprintf(fake.line + used, sizeof(fake.line) - (size_t)used, format, arguments);
    va_end(arguments);
    fake.lines++;
}

unsigned fake_log_lines(void) {
    return fake.lines;
}

const char *fake_last_log(void) {
    return fake.line;
}

/* PCI. */

void fake_add_function(struct fake_function *f) {
    f->next = fake.functions;
    fake.functions = f;
}

void fake_config_set16(struct fake_function *f, unsigned offset, uint16_t value) {
    memcpy(f->config + offset, &value, sizeof(value));
}

void fake_config_set32(struct fake_function *f, unsigned offset, uint32_t value) {
    memcpy(f->config + offset, &value, sizeof(value));
}

uint16_t fake_command(const struct fake_function *f) {
    return (uint16_t)(f->config[REGISTER_COMMAND] | f->config[REGISTER_COMMAND + 1] << 8);
}

bool fake_bus_master(const struct fake_function *f) {
    return fake_command(f) & 4u;
}

static struct fake_function *find_function(unsigned bus, unsigned device, unsigned function) {
    struct fake_function *f = fake.functions;
    while (f && (f->bus != bus || f->device != device || f->function != function))
        f = f->next;
    return f;
}

static uint32_t config_read(const struct fake_function *f, unsigned offset, unsigned width) {
    uint32_t value = ~0u;
    assert(offset + width <= 256 && offset % width == 0);
    if (f) {
        value = 0;
        memcpy(&value, f->config + offset, width);
    }
    return value;
}

static void config_write(struct fake_function *f, unsigned offset, unsigned width, uint32_t value) {
    assert(offset + width <= 256 && offset % width == 0);
    if (!f)
        return;
    bool bridge = (f->config[0x0e] & 0x7fu) == 1;
    if (offset >= REGISTER_BAR0 && offset < REGISTER_BAR0 + 4 * FAKE_BARS && !bridge) {
        unsigned index = (offset - REGISTER_BAR0) / 4;
        assert(!(fake_command(f) & 2u)); /* sizing a BAR that decodes would hit others */
        bool upper = index > 0 && (f->config[offset - 4] & 6u) == 4;
        if (upper)
            fake_config_set32(f, offset, f->bar_bytes[index - 1] ? value : 0);
        else
            fake_config_set32(f, offset,
                              f->bar_bytes[index] ? (value & ~(f->bar_bytes[index] - 1)) |
                                                        (f->config[offset] & 0xfu)
                                                  : 0);
    } else if (offset >= 4) {
        memcpy(f->config + offset, &value, width);
    }
}

uint32_t port_in(uint16_t port, unsigned width) {
    uint32_t a = fake.config_address;
    assert(port >= CONFIG_DATA && port < CONFIG_DATA + 4 && a >> 31);
    struct fake_function *f = find_function(a >> 16 & 0xff, a >> 11 & 0x1f, a >> 8 & 7);
    uint32_t value = config_read(f, (a & 0xfc) + (port & 3u), width);
    return width == 4 ? value : value & ((1u << width * 8) - 1);
}

void port_out(uint16_t port, unsigned width, uint32_t value) {
    uint32_t a = fake.config_address;
    if (port == CONFIG_ADDRESS) {
        fake.config_address = value;
        return;
    }
    assert(port >= CONFIG_DATA && port < CONFIG_DATA + 4 && a >> 31);
    config_write(find_function(a >> 16 & 0xff, a >> 11 & 0x1f, a >> 8 & 7),
                 (a & 0xfc) + (port & 3u), width, value);
}

/* Whose register it is. Every access must hit one: a driver has no business elsewhere. */
static struct fake_function *decode(uintptr_t address, unsigned width, unsigned *bar,
                                    uint32_t *offset) {
    for (struct fake_function *f = fake.functions; f; f = f->next) {
        for (unsigned i = 0; i < FAKE_BARS; i++) {
            uint64_t base;
            memcpy(&base, f->config + REGISTER_BAR0 + (size_t)4 * i, sizeof(base));
            bool wide = (base & 6u) == 4;
            base &= wide ? ~0xfull : 0xfffffff0ull;
            if (f->bar_bytes[i] && address >= base && address + width <= base + f->bar_bytes[i]) {
                assert(fake_command(f) & 2u);
                *bar = i;
                *offset = (uint32_t)(address - base);
                assert(*offset % width == 0);
                return f;
            }
        }
    }
    assert(!"an access beside all registers");
    return NULL;
}

static bool is_ecam(uintptr_t address) {
    return address >= FAKE_ECAM && address < FAKE_ECAM + ((FAKE_ECAM_LAST_BUS + 1ull) << 20);
}

static struct fake_function *ecam_function(uintptr_t address) {
    uint64_t a = address - FAKE_ECAM;
    return find_function(a >> 20, a >> 15 & 0x1f, a >> 12 & 7);
}

static uint32_t any_read(const volatile void *address, unsigned width) {
    uintptr_t a = (uintptr_t)address;
    unsigned bar;
    uint32_t offset;
    if (is_ecam(a))
        return config_read(ecam_function(a), a & 0xfff, width);
    struct fake_function *f = decode(a, width, &bar, &offset);
    return f->read(f, bar, offset, width);
}

static void any_write(volatile void *address, unsigned width, uint32_t value) {
    uintptr_t a = (uintptr_t)address;
    unsigned bar;
    uint32_t offset;
    if (is_ecam(a)) {
        config_write(ecam_function(a), a & 0xfff, width, value);
        return;
    }
    struct fake_function *f = decode(a, width, &bar, &offset);
    f->write(f, bar, offset, width, value);
}

uint8_t mmio_read8(const volatile void *address) {
    return (uint8_t)any_read(address, 1);
}

uint16_t mmio_read16(const volatile void *address) {
    return (uint16_t)any_read(address, 2);
}

uint32_t mmio_read32(const volatile void *address) {
    return any_read(address, 4);
}

void mmio_write8(volatile void *address, uint8_t value) {
    any_write(address, 1, value);
}

void mmio_write16(volatile void *address, uint16_t value) {
    any_write(address, 2, value);
}

void mmio_write32(volatile void *address, uint32_t value) {
    any_write(address, 4, value);
}
