#include "mgmt/vmm/watchdog.h"

#include "guestlib/tsc.h"

#define VENDOR_INTEL 0x8086u
#define DEVICE_6300ESB_WATCHDOG 0x25abu
#define CLASS_SYSTEM_OTHER 0x088000u

/* Configuration space. */
#define CONFIG 0x60u /* 16 bits */
#define CONFIG_WRITABLE 0x27u
#define CONFIG_INTERRUPT 0x03u /* what the first stage's end leads to: */
#define INTERRUPT_IRQ 0u       /* an interrupt; 2: an SMI, 3: nothing */
#define CONFIG_FAST 0x04u      /* a tick is 2^5 cycles of 33 MHz instead of 2^15 */
#define CONFIG_NO_RESET 0x20u  /* the second stage's end has no effect */
#define LOCK 0x68u             /* 8 bits */
#define LOCK_LOCKED 0x01u      /* and stays so */
#define LOCK_ENABLE 0x02u

/* Memory. */
#define BAR_BYTES 16u
enum { PRELOAD_1 = 0x0, PRELOAD_2 = 0x4, INTERRUPT = 0x8, RELOAD = 0xc };
#define PRELOAD_MASK 0xfffffu
#define RELOAD_RELOAD 0x100u
#define RELOAD_TIMED_OUT 0x200u /* written: clears */
#define KEY_1 0x80u
#define KEY_2 0x86u
enum { LOCKED = 0, HALF_UNLOCKED = 1, UNLOCKED = 2 };

static void stage_ends(void *context);

/* 33 MHz: ticks of 2^5 or 2^15 cycles. At most 2^35 cycles: 18 minutes. */
static uint64_t stage_ns(const struct watchdog *w) {
    unsigned shift = w->function.config[CONFIG] & CONFIG_FAST ? 5 : 15;
    uint64_t ticks = w->preload[w->second] ? w->preload[w->second] : 1;
    return (ticks << shift) * 1000 / 33;
}

static void start_stage(struct watchdog *w, bool second) {
    w->second = second;
    loop_timer_set(&w->timer, loop_now_ns() + stage_ns(w), stage_ends, w);
}

static void set_interrupt(struct watchdog *w, bool interrupt) {
    w->interrupt = interrupt;
    pci_interrupt(&w->function,
                  interrupt && (w->function.config[CONFIG] & CONFIG_INTERRUPT) == INTERRUPT_IRQ);
}

static void stage_ends(void *context) {
    struct watchdog *w = context;
    if (!w->second) {
        set_interrupt(w, true);
        start_stage(w, true);
        return;
    }
    w->counting = false;
    w->timed_out = true;
    if (!(w->function.config[CONFIG] & CONFIG_NO_RESET))
        w->expired();
}

static uint64_t memory_read(const struct bus_access *a) {
    const struct watchdog *w = a->device;
    switch (a->offset) {
    case PRELOAD_1:
        return w->preload[0];
    case PRELOAD_2:
        return w->preload[1];
    case INTERRUPT:
        return w->interrupt;
    case RELOAD:
        return w->timed_out ? RELOAD_TIMED_OUT : 0;
    default:
        return 0;
    }
}

/* The key's two bytes; true: that was one of them. */
static bool unlock(struct watchdog *w, const struct bus_access *a) {
    if (a->offset == RELOAD && a->value == KEY_1)
        w->unlocked = HALF_UNLOCKED;
    else if (a->offset == RELOAD && a->value == KEY_2 && w->unlocked == HALF_UNLOCKED)
        w->unlocked = UNLOCKED;
    else
        return false;
    return true;
}

static void reload(struct watchdog *w, uint64_t value) {
    if (value & RELOAD_TIMED_OUT)
        w->timed_out = false;
    if ((value & RELOAD_RELOAD) && w->counting)
        start_stage(w, false);
}

static void memory_write(const struct bus_access *a) {
    struct watchdog *w = a->device;
    if (unlock(w, a))
        return;
    bool open = w->unlocked == UNLOCKED;
    w->unlocked = LOCKED;
    if (a->offset == INTERRUPT && (a->value & 1))
        set_interrupt(w, false);
    if (!open)
        return;
    if (a->offset == PRELOAD_1)
        w->preload[0] = a->value & PRELOAD_MASK;
    else if (a->offset == PRELOAD_2)
        w->preload[1] = a->value & PRELOAD_MASK;
    else if (a->offset == RELOAD)
        reload(w, a->value);
}

static void config_changed(struct pci_function *function, unsigned offset, unsigned bytes) {
    struct watchdog *w = function->device;
    set_interrupt(w, w->interrupt); /* CONFIG may have changed */
    if (offset > LOCK || LOCK - offset >= bytes)
        return;
    uint8_t lock = function->config[LOCK];
    bool enabled = lock & LOCK_ENABLE;
    if (lock & LOCK_LOCKED)
        function->writable[LOCK] = 0;
    if (enabled && !w->counting)
        start_stage(w, false);
    else if (!enabled)
        loop_timer_cancel(&w->timer);
    w->counting = enabled;
}

void watchdog_init(struct watchdog *w, void (*expired)(void)) {
    const struct bus_range memory = {.read = memory_read, .write = memory_write, .device = w};
    *w = (struct watchdog){.preload = {PRELOAD_MASK, PRELOAD_MASK}, .expired = expired};
    pci_function_init(&w->function, VENDOR_INTEL, DEVICE_6300ESB_WATCHDOG, CLASS_SYSTEM_OTHER, 2);
    w->function.writable[CONFIG] = CONFIG_WRITABLE;
    w->function.writable[LOCK] = LOCK_LOCKED | LOCK_ENABLE;
    w->function.changed = config_changed;
    w->function.device = w;
    pci_add_bar(&w->function, 0, false, BAR_BYTES, &memory);
    pci_add_interrupt(&w->function);
}

void watchdog_state(struct state *s, struct watchdog *w) {
    state_section(s, "watchdog");
    STATE(s, w->preload);
    STATE_SPAN(s, w, second, timed_out);
    STATE(s, w->unlocked);
    state_timer(s, &w->timer, stage_ends, w);
    if (w->function.config[LOCK] & LOCK_LOCKED)
        w->function.writable[LOCK] = 0;
    set_interrupt(w, w->interrupt);
}
