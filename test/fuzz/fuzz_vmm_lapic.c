/* Guests of three vCPUs that do anything to their local APICs, as memory and by MSRs, and send each
 * other anything, while time passes and devices send messages. What is to be delivered is a vector
 * that may be, above the priority; a message wakes whom it reaches; an interrupt that was taken is
 * ended by no more than one EOI; and no periodic timer fires faster than it may. */
#include <stdlib.h>
#include <string.h>

#include "mgmt/vmm/apic.h"
#include "mgmt/vmm/apicbus.h"
#include "mgmt/vmm/clock.h"
#include "mgmt/vmm/msr.h"

#define STEP_BYTES 8u
#define VCPUS 3u
#define TSC_HZ 2000000000ull
#define FIRST_VECTOR 16

static struct vcpu vcpu[VCPUS];
static uint64_t now_tsc;
static unsigned woken; /* a bit each */
static unsigned ended;

static void require(bool holds) {
    if (!holds)
        abort();
}

static void wake(struct vcpu *which) {
    require(which >= vcpu && which < vcpu + VCPUS);
    woken |= 1u << (which - vcpu);
}

static void end(uint8_t vector) {
    require(vector >= FIRST_VECTOR);
    ended++;
}

static uint64_t tsc(void) {
    return now_tsc;
}

static void start(void) {
    static const struct lapic_host host = {apicbus_command, end, tsc, TSC_HZ};
    memset(vcpu, 0, sizeof(vcpu));
    now_tsc = 1000000;
    apicbus_init(vcpu, VCPUS, wake);
    for (uint32_t i = 0; i < VCPUS; i++) {
        vcpu[i].number = i;
        lapic_reset(&vcpu[i].lapic, &host, i);
    }
}

static unsigned waiting_bits(const struct lapic *lapic) {
    unsigned count = 0;
    for (unsigned i = 0; i < 8; i++)
        count += (unsigned)__builtin_popcount(lapic->request[i]);
    return count;
}

/* All that has come since is known to whom it came. */
static void send(void (*message)(const uint8_t *s), const uint8_t *s) {
    unsigned before[VCPUS];
    woken = 0;
    for (unsigned i = 0; i < VCPUS; i++)
        before[i] = waiting_bits(&vcpu[i].lapic);
    message(s);
    for (unsigned i = 0; i < VCPUS; i++)
        require(waiting_bits(&vcpu[i].lapic) == before[i] || (woken >> i & 1));
}

static uint32_t value_of(const uint8_t *s) {
    uint32_t value;
    memcpy(&value, s + 4, sizeof(value));
    return value;
}

static struct lapic *lapic_of(const uint8_t *s) {
    return &vcpu[s[1] % VCPUS].lapic;
}

static void write_memory(const uint8_t *s) {
    if (lapic_in_memory(lapic_of(s)))
        lapic_write(lapic_of(s), (s[2] | s[3] << 8) & (LAPIC_BYTES - 1), value_of(s));
}

static void write_msr(const uint8_t *s) {
    uint32_t msr = s[2] == 0   ? MSR_APIC_BASE
                   : s[2] == 1 ? MSR_TSC_DEADLINE
                               : 0x800u + (s[2] & 0x3f);
    lapic_write_msr(lapic_of(s), msr, value_of(s) | (uint64_t)s[3] << 32);
}

static void device_message(const uint8_t *s) {
    apicbus_message(LAPIC_BASE | (uint64_t)s[1] << 12 | s[2], value_of(s));
}

static void ioapic_message(const uint8_t *s) {
    apicbus_entry(value_of(s) | (uint64_t)s[1] << 56 | (uint64_t)s[2] << 32);
}

static void read_all(struct lapic *lapic, const uint8_t *s) {
    uint64_t value;
    if (lapic_in_memory(lapic))
        lapic_read(lapic, (s[2] | s[3] << 8) & (LAPIC_BYTES - 1));
    lapic_read_msr(lapic, 0x800u + s[2], &value);
}

/* As whoever runs the vCPU takes interrupts. */
static void take(struct lapic *lapic) {
    int vector = lapic_pending(lapic);
    require(vector == -1 || (vector >= FIRST_VECTOR && vector <= 255));
    if (vector < 0)
        return;
    require((uint32_t)vector >> 4 > lapic_processor_priority(lapic) >> 4);
    lapic_acknowledge(lapic, (uint8_t)vector);
    require(lapic_pending(lapic) <= vector);
}

static void pass(struct lapic *lapic, const uint8_t *s) {
    now_tsc += (uint64_t)value_of(s) >> (s[2] & 31);
    lapic_timer_run(lapic);
    bool periodic = (lapic->lvt[LVT_TIMER] & 0x60000u) == 0x20000u;
    if (periodic && lapic->initial_count)
        require(lapic->due_tsc - lapic->started_tsc >= TIMER_PERIOD_NS_MIN * (TSC_HZ / 1000000000));
}

static void step(const uint8_t *s) {
    struct lapic *lapic = lapic_of(s);
    switch (s[0] % 8) {
    case 0:
    case 1:
        ended = 0;
        send(write_memory, s);
        require(ended <= 1);
        break;
    case 2:
        ended = 0;
        send(write_msr, s);
        require(ended <= 1);
        break;
    case 3:
        send(device_message, s);
        break;
    case 4:
        send(ioapic_message, s);
        break;
    case 5:
        read_all(lapic, s);
        lapic_set_task_priority(lapic, s[3] & 15);
        require(lapic_task_priority(lapic) == (s[3] & 15));
        break;
    case 6:
        pass(lapic, s);
        break;
    default:
        take(lapic);
        if (lapic->init)
            lapic_init(lapic);
        lapic->init = lapic->startup = lapic->nmi = false;
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    start();
    for (size_t i = 0; i + STEP_BYTES <= size; i += STEP_BYTES)
        step(data + i);
    return 0;
}
