#include "mgmt/vmm/machine.h"

#include <stdlib.h>

#include "abi/statistics.h"
#include "guestlib/console_front.h"
#include "guestlib/guest.h"
#include "mgmt/vmm/apicbus.h"
#include "mgmt/vmm/bus.h"
#include "mgmt/vmm/clock.h"
#include "mgmt/vmm/devices.h"
#include "mgmt/vmm/fw_cfg.h"
#include "mgmt/vmm/ioapic.h"
#include "mgmt/vmm/msr.h"
#include "mgmt/vmm/pci.h"
#include "mgmt/vmm/pic.h"
#include "mgmt/vmm/pit.h"
#include "mgmt/vmm/rtc.h"
#include "mgmt/vmm/run.h"
#include "mgmt/vmm/uart.h"
#include "mgmt/vmm/watchdog.h"

enum { IRQ_TIMER = 0, IRQ_COM1 = 4, ISA_IRQS = 16, TIMER_PIN = 2 };
/* PCI slots: the virtio devices follow the host bridge, as in the DSDT and doorbells. */
#define SLOT_BRIDGE 0u
#define SLOT_FIRST 1u
#define SLOT_WATCHDOG 30u
#define SLOT_LPC 31u

static struct {
    const struct bh_guest_info *guest;
    struct vcpu vcpu[BH_GUEST_VCPUS_MAX];
    enum power_end end;
    struct pic pic;
    struct ioapic ioapic;
    struct pit pit;
    struct rtc rtc;
    struct uart uart;
    struct pci_function bridge, lpc;
    struct watchdog watchdog;
} machine;

uint32_t machine_vcpus(void) {
    return machine.guest->vcpus;
}

struct vcpu *machine_vcpu(uint32_t index) {
    return &machine.vcpu[index];
}

enum power_end machine_end(void) {
    return machine.end;
}

void machine_reset(void) {
    machine.end = POWER_RESET;
}

/* --- Interrupts --- */

static void end_of_interrupt(uint8_t vector) {
    ioapic_end_of_interrupt(&machine.ioapic, vector);
}

static bool pic_asks(const struct vcpu *vcpu) {
    return lapic_takes_extint(&vcpu->lapic) && pic_pending(&machine.pic);
}

/* Whoever takes the 8259s' interrupts may have one now. */
static void pic_changed(void) {
    for (uint32_t i = 0; i < machine.guest->vcpus; i++)
        if (pic_asks(&machine.vcpu[i]))
            run_wake(&machine.vcpu[i]);
}

static void set_irq(unsigned irq, bool level) {
    pic_set(&machine.pic, irq, level);
    ioapic_set(&machine.ioapic, irq == IRQ_TIMER ? TIMER_PIN : irq, level);
}

bool machine_wakes(const struct vcpu *vcpu) {
    const struct lapic *lapic = &vcpu->lapic;
    bool enabled = vcpu->state->rflags & RFLAGS_IF;
    return lapic->nmi || lapic->init || (enabled && (lapic_pending(lapic) >= 0 || pic_asks(vcpu)));
}

static bool is_ready(const struct bh_vcpu_state *state) {
    return !(state->event & BH_EVENT_VALID) && !(state->interruptibility & BH_VCPU_SHADOW);
}

static void deliver_nmi(struct vcpu *vcpu) {
    struct bh_vcpu_state *state = vcpu->state;
    if (!is_ready(state) || (state->interruptibility & BH_VCPU_NMI_BLOCKED)) {
        state->want |= BH_VCPU_WANT_NMI;
        return;
    }
    vcpu->lapic.nmi = false;
    state->event = BH_EVENT_VALID | BH_EVENT_NMI | 2;
}

/* What an exit kept from being delivered goes back to the APIC: something else may come first by
 * now. The 8259's stays: it has been told. */
static void take_back(struct vcpu *vcpu) {
    struct bh_vcpu_state *state = vcpu->state;
    const uint32_t external = BH_EVENT_VALID | BH_EVENT_EXTERNAL;
    if ((state->event & (BH_EVENT_VALID | BH_EVENT_TYPE)) == external &&
        lapic_take_back(&vcpu->lapic, (uint8_t)(state->event & BH_EVENT_VECTOR)))
        state->event = 0;
}

/* CR8 is the guest's own; the same priority in the APIC's page has to reach it. */
static void update_cr8(struct vcpu *vcpu) {
    uint64_t priority = lapic_task_priority(&vcpu->lapic);
    if (priority != vcpu->state->exit_cr8 && !(vcpu->modified & BH_VCPU_CONTROL)) {
        vcpu_change(vcpu, BH_VCPU_CONTROL)->cr8 = priority;
        vcpu->state->exit_cr8 = (uint32_t)priority;
    }
}

/* An exit as soon as the guest can take what waits now. */
static void ask_for_window(struct vcpu *vcpu, bool external) {
    int vector = lapic_waiting(&vcpu->lapic);
    if (!external && vector < 0)
        return;
    vcpu->state->want |= BH_VCPU_WANT_INTERRUPT;
    vcpu->state->window_priority = external ? 0 : (uint32_t)vector >> 4;
}

void machine_deliver(struct vcpu *vcpu) {
    struct bh_vcpu_state *state = vcpu->state;
    struct lapic *lapic = &vcpu->lapic;
    state->want = 0;
    take_back(vcpu);
    update_cr8(vcpu);
    if (lapic->nmi)
        deliver_nmi(vcpu);
    if (lapic_waiting(lapic) < 0 && !pic_asks(vcpu))
        return; /* nearly always */
    int vector = lapic_pending(lapic);
    bool external = pic_asks(vcpu);
    if ((vector >= 0 || external) && is_ready(state) && (state->rflags & RFLAGS_IF)) {
        if (external)
            vector = pic_acknowledge(&machine.pic);
        else
            lapic_acknowledge(lapic, (uint8_t)vector);
        state->event = BH_EVENT_VALID | BH_EVENT_EXTERNAL | (uint32_t)vector;
    }
    ask_for_window(vcpu, pic_asks(vcpu));
}

/* --- Ports and memory of the fixed devices --- */

static void add_fixed(void) {
    static struct bus_range ports[] = {
        {0x20, 2, PIC_MASTER, pic_read, pic_write, &machine.pic, NULL},
        {0xa0, 2, PIC_SLAVE, pic_read, pic_write, &machine.pic, NULL},
        {0x4d0, 2, PIC_ELCR, pic_read, pic_write, &machine.pic, NULL},
        {0x40, 4, 0, pit_read, pit_write, &machine.pit, NULL},
        {0x61, 1, PIT_CONTROL, pit_read, pit_write, &machine.pit, NULL},
        {0x70, 2, 0, rtc_read, rtc_write, &machine.rtc, NULL},
        {0x3f8, 8, 0, uart_read, uart_write, &machine.uart, NULL},
    };
    static struct bus_range memory = {.base = IOAPIC_BASE,
                                      .length = IOAPIC_BYTES,
                                      .read = ioapic_read,
                                      .write = ioapic_write,
                                      .device = &machine.ioapic};
    for (unsigned i = 0; i < sizeof(ports) / sizeof(ports[0]); i++)
        bus_add_ports(&ports[i]);
    bus_add_memory(&memory);
}

/* --- Wiring --- */

static void pit_pulse(void) {
    set_irq(IRQ_TIMER, true);
    set_irq(IRQ_TIMER, false);
}

static void com1_irq(bool level) {
    set_irq(IRQ_COM1, level);
}

static void sci(bool level) {
    set_irq(POWER_SCI, level);
}

static void pci_irq(bool level) {
    set_irq(PCI_IRQ, level);
}

static void ended(enum power_end how) {
    machine.end = how;
}

void machine_switch_off(void) {
    ended(POWER_OFF);
}

static void watchdog_expired(void) {
    ended(POWER_WATCHDOG);
}

size_t machine_type(const char *text, size_t bytes) {
    size_t taken;
    if (!devices_type(text, bytes, &taken))
        taken = uart_receive(&machine.uart, text, bytes);
    return taken;
}

void machine_flush(void) {
    uart_flush(&machine.uart);
}

static void add_chipset(void) {
    pci_init(pci_irq, apicbus_message);
    pci_function_init(&machine.bridge, 0x8086, 0x29c0, 0x060000, 2); /* Q35 host bridge */
    pci_add(&machine.bridge, SLOT_BRIDGE);
    pci_function_init(&machine.lpc, 0x8086, 0x2918, 0x060100, 2); /* ICH9 */
    pci_add(&machine.lpc, SLOT_LPC);
    if (machine.guest->flags & BH_GUEST_WATCHDOG) {
        watchdog_init(&machine.watchdog, watchdog_expired);
        pci_add(&machine.watchdog.function, SLOT_WATCHDOG);
    }
}

/* Nothing else is in the control channel's window: no request of its class has buffers. */
static struct bh_guest_statistics *find_statistics(void) {
    const struct bh_device_info *control = guest_device(BH_CLASS_CONTROL, 0);
    if (!control || control->window_bytes < sizeof(struct bh_guest_statistics))
        return NULL;
    return (struct bh_guest_statistics *)control->window_va;
}

/* What has lines comes after what they lead to. */
void machine_state(struct state *s) {
    clock_state(s);
    msr_state(s);
    for (uint32_t i = 0; i < machine.guest->vcpus; i++) {
        vcpu_state(s, &machine.vcpu[i]);
        if (s->loading && !s->wrong)
            state_check(s, clock_resume(&machine.vcpu[i]), "its clock's page is not in RAM");
    }
    pic_state(s, &machine.pic);
    ioapic_state(s, &machine.ioapic);
    pit_state(s, &machine.pit);
    rtc_state(s, &machine.rtc);
    uart_state(s, &machine.uart);
    power_state(s);
    fw_cfg_state(s);
    pci_state(s);
    if (machine.guest->flags & BH_GUEST_WATCHDOG)
        watchdog_state(s, &machine.watchdog);
    devices_state(s);
}

bool machine_init(const struct bh_guest_info *guest) {
    static struct lapic_host lapic_host = {apicbus_command, end_of_interrupt, clock_guest_tsc, 0};
    lapic_host.tsc_hz = guest_domain()->tsc_hz;
    machine.guest = guest;
    struct bh_guest_statistics *statistics = find_statistics();
    apicbus_init(machine.vcpu, guest->vcpus, run_wake);
    for (uint32_t i = 0; i < guest->vcpus; i++) {
        struct vcpu *vcpu = &machine.vcpu[i];
        *vcpu = (struct vcpu){.number = i,
                              .state = (struct bh_vcpu_state *)guest->vcpu[i].state_va,
                              .slot = guest->vcpu[i].slot,
                              .kick_slot = guest->vcpu[i].kick_slot,
                              .exits = statistics ? statistics->exits[i] : NULL,
                              .waiting = i != 0};
        lapic_reset(&vcpu->lapic, &lapic_host, i);
        clock_start(vcpu);
        vcpu_reset(vcpu);
    }
    pic_reset(&machine.pic, pic_changed);
    ioapic_reset(&machine.ioapic, apicbus_entry);
    pit_init(&machine.pit, pit_pulse);
    rtc_init(&machine.rtc, guest_wall_ns);
    uart_init(&machine.uart, com1_irq, console_write, console_input_again);
    add_fixed();
    add_chipset();
    fw_cfg_init(guest->vcpus);
    power_init(sci, ended); /* after the chipset: its port CF9 lies within CF8..CFF */
    return devices_add(guest, SLOT_FIRST);
}
