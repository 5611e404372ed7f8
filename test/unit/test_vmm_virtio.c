/* The transport of virtio devices, seen from the guest's bus; entropy and console on it. */
#include "test/unit/unit.h"

#include "guestlib/loop.h"
#include "mgmt/vmm/bus.h"
#include "mgmt/vmm/virtio/console.h"
#include "mgmt/vmm/virtio/entropy.h"
#include "test/unit/fake_hypercall/guestlib/hypercall.h"
#include "test/unit/virtio_guest.h"

#define FEATURES (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX)

static struct virtio_device *device;
static struct guest_device g;
static struct guest_queue receive, transmit;

static void stop(void *unused) {
    (void)unused;
    loop_stop(0);
}

/* Lets the device's posted work run. */
static void turns(void) {
    static struct loop_work work = {.handler = stop};
    for (unsigned i = 0; i < 8; i++) {
        loop_post(&work);
        loop_run();
    }
}

enum bh_status hc_signal(bh_slot event) {
    (void)event;
    return BH_OK;
}

enum bh_status hc_wait(uint64_t mask, uint64_t deadline_tsc, uint64_t *bits, uint64_t *group) {
    (void)mask;
    (void)deadline_tsc;
    *bits = *group = 0;
    return BH_TIMEOUT;
}

static void fill(void *bytes, size_t count) {
    for (size_t i = 0; i < count; i++)
        ((uint8_t *)bytes)[i] = (uint8_t)(i + 1);
}

static int open_entropy(void **state) {
    (void)state;
    guest_start();
    loop_init(64, 1000000000);
    device = virtio_entropy_open(fill);
    pci_add(&device->function, 1);
    guest_probe(&g);
    return 0;
}

static int close_device(void **state) {
    (void)state;
    free(device);
    return 0;
}

static uint64_t common(unsigned offset, unsigned bytes) {
    return guest_read(g.common + offset, bytes);
}

static void set_common(unsigned offset, unsigned bytes, uint64_t value) {
    guest_write(g.common + offset, bytes, value);
}

static void identity(void **state) {
    (void)state;
    assert_int_equal(guest_config_read(0, 4), 0x10441af4);
    assert_int_equal(guest_config_read(PCI_REVISION, 1), 1);
    assert_true(guest_config_read(PCI_SUBSYSTEM_VENDOR + 2, 2) >= 0x40);
    assert_int_equal(guest_config_read(PCI_INTERRUPT_PIN, 1), 1);
    assert_int_equal(common(VIRTIO_COMMON_QUEUES, 2), 1);
    assert_int_equal(common(VIRTIO_COMMON_QUEUE_SIZE, 2), 16);
    assert_int_equal(common(VIRTIO_COMMON_CONFIG_VECTOR, 2), VIRTIO_VECTOR_NONE);
    set_common(VIRTIO_COMMON_QUEUE_SELECT, 2, 1);
    assert_int_equal(common(VIRTIO_COMMON_QUEUE_SIZE, 2), 0);
    assert_int_equal(g.config, 0); /* no device configuration */
}

static void bars_move_and_go(void **state) {
    (void)state;
    uint32_t at = guest_config_read(PCI_BAR0 + 4, 4);
    guest_config_write(PCI_BAR0 + 4, 4, 0xffffffff);
    assert_int_equal(guest_config_read(PCI_BAR0 + 4, 4), 0xfffff000);
    guest_config_write(PCI_BAR0 + 4, 4, at + 0x10000);
    assert_int_equal(guest_read(g.common + 0x10000 + VIRTIO_COMMON_QUEUES, 2), 1);
    assert_int_equal(common(VIRTIO_COMMON_QUEUES, 2), 0xffff);
    guest_config_write(PCI_COMMAND, 2, 0);
    assert_int_equal(guest_read(g.common + 0x10000 + VIRTIO_COMMON_QUEUES, 2), 0xffff);
}

static void window_in_configuration_space(void **state) {
    (void)state;
    unsigned at = g.pci_capability;
    guest_config_write(at + VIRTIO_CAP_BAR, 1, VIRTIO_BAR_MEMORY);
    guest_config_write(at + VIRTIO_CAP_OFFSET, 4, VIRTIO_COMMON_STATUS);
    guest_config_write(at + VIRTIO_CAP_BYTES, 4, 1);
    guest_config_write(at + VIRTIO_CAP_PCI_DATA, 4, 0xffffff01);
    assert_int_equal(guest_status(&g), 1);
    assert_int_equal(guest_config_read(at + VIRTIO_CAP_PCI_DATA, 4), 1);
    const uint32_t bad[][3] = {{2, 0, 4}, {255, 0, 4},  {1, 0, 8},  {1, 0, 0},
                               {1, 2, 4}, {1, 4096, 4}, {0, 64, 2}, {1, 0xfffffffc, 4}};
    for (unsigned i = 0; i < 8; i++) {
        guest_config_write(at + VIRTIO_CAP_BAR, 1, bad[i][0]);
        guest_config_write(at + VIRTIO_CAP_OFFSET, 4, bad[i][1]);
        guest_config_write(at + VIRTIO_CAP_BYTES, 4, bad[i][2]);
        guest_config_write(at + VIRTIO_CAP_PCI_DATA, 4, 0);
        guest_config_read(at + VIRTIO_CAP_PCI_DATA, 4);
    }
    assert_int_equal(guest_status(&g), 1);
}

static void features_are_checked(void **state) {
    (void)state;
    assert_false(guest_negotiate(&g, 0));                     /* not modern */
    assert_false(guest_negotiate(&g, FEATURES | 1));          /* not offered */
    assert_false(guest_negotiate(&g, FEATURES | 1ull << 63)); /* likewise */
    guest_run(&g);
    assert_false(guest_status(&g) & VIRTIO_STATUS_DRIVER_OK);
    assert_true(guest_negotiate(&g, VIRTIO_F_VERSION_1));
    set_common(VIRTIO_COMMON_DRIVER_FEATURE_SELECT, 4, 0); /* settled */
    set_common(VIRTIO_COMMON_DRIVER_FEATURE, 4, 0xffffffff);
    assert_int_equal(common(VIRTIO_COMMON_DRIVER_FEATURE, 4), 0);
    set_common(VIRTIO_COMMON_DEVICE_FEATURE_SELECT, 4, 2);
    assert_int_equal(common(VIRTIO_COMMON_DEVICE_FEATURE, 4), 0);
    set_common(VIRTIO_COMMON_STATUS, 1, VIRTIO_STATUS_ACKNOWLEDGE); /* bits stay */
    assert_true(guest_status(&g) & VIRTIO_STATUS_FEATURES_OK);
}

static void entropy_flows(void **state) {
    (void)state;
    for (unsigned round = 0; round < 3; round++) {
        uint64_t features = round ? FEATURES : VIRTIO_F_VERSION_1;
        assert_true(guest_negotiate(&g, features));
        guest_queue_set(&g, &receive, 0, 8, features);
        guest_run(&g);
        unsigned before = guest_messages[1];
        for (unsigned i = 0; i < 20; i++) {
            uint64_t at = guest_alloc(64, 1);
            struct guest_buffer buffers[] = {{at, 3, true}, {at + 10, 20, true}};
            guest_add(&receive, buffers, 2);
            assert_true(guest_kick(&g, &receive));
            uint32_t id, bytes;
            assert_true(guest_take(&receive, &id, &bytes));
            assert_int_equal(bytes, 23);
            assert_int_equal(guest_ram[at + 2], 3);
            assert_int_equal(guest_ram[at + 10], 4);
            assert_int_equal(guest_ram[at + 29], 23);
        }
        assert_int_equal(guest_messages[1], before + 20);
    }
}

static void polls_without_msix(void **state) {
    (void)state;
    assert_true(guest_negotiate(&g, FEATURES));
    guest_config_write(g.msix_capability + 2u, 2, 0);
    guest_queue_set(&g, &receive, 0, 8, FEATURES);
    guest_run(&g);
    struct guest_buffer buffer = {guest_alloc(64, 1), 64, true};
    guest_add(&receive, &buffer, 1);
    guest_kick(&g, &receive);
    assert_int_equal(guest_read(g.isr, 1), VIRTIO_ISR_QUEUE);
    assert_int_equal(guest_read(g.isr, 1), 0);
    assert_int_equal(guest_messages[1], 0);
}

static void masked_vectors_wait(void **state) {
    (void)state;
    assert_true(guest_negotiate(&g, VIRTIO_F_VERSION_1));
    guest_queue_set(&g, &receive, 0, 8, 0);
    guest_run(&g);
    struct guest_buffer buffer = {guest_alloc(64, 1), 64, true};
    guest_write(g.msix_table + 16 + 12, 4, 1);
    guest_add(&receive, &buffer, 1);
    guest_kick(&g, &receive);
    assert_int_equal(guest_messages[1], 0);
    assert_int_equal(guest_read(g.msix_pending, 8), 2);
    guest_config_write(g.msix_capability + 2u, 2, 0xc000); /* the whole function */
    guest_write(g.msix_table + 16 + 12, 4, 0);
    assert_int_equal(guest_messages[1], 0);
    guest_config_write(g.msix_capability + 2u, 2, 0x8000);
    assert_int_equal(guest_messages[1], 1);
    assert_int_equal(guest_read(g.msix_pending, 8), 0);
    set_common(VIRTIO_COMMON_QUEUE_VECTOR, 2, 2); /* there are two */
    assert_int_equal(common(VIRTIO_COMMON_QUEUE_VECTOR, 2), VIRTIO_VECTOR_NONE);
    guest_write(g.msix_table + 32, 4, 5); /* no such entry */
    assert_int_equal(guest_read(g.msix_table + 32, 4), 0);
}

static void no_master_no_memory_access(void **state) {
    (void)state;
    assert_true(guest_negotiate(&g, VIRTIO_F_VERSION_1));
    guest_queue_set(&g, &receive, 0, 8, 0);
    guest_run(&g);
    guest_config_write(PCI_COMMAND, 2, 3);
    struct guest_buffer buffer = {guest_alloc(64, 1), 64, true};
    guest_add(&receive, &buffer, 1);
    guest_kick(&g, &receive);
    turns();
    assert_int_equal(guest_ram[buffer.gpa], 0);
    assert_int_equal(guest_used(&receive)[1], 0);
}

static void assert_needs_reset(void) {
    assert_true(guest_status(&g) & VIRTIO_STATUS_NEEDS_RESET);
    guest_kick(&g, &receive);
    turns();
    set_common(VIRTIO_COMMON_STATUS, 1, 0);
    assert_int_equal(guest_status(&g), 0);
}

static void bad_queues_need_a_reset(void **state) {
    (void)state;
    assert_true(guest_negotiate(&g, VIRTIO_F_VERSION_1));
    set_common(VIRTIO_COMMON_QUEUE_DESC, 4, 0x1001);
    set_common(VIRTIO_COMMON_QUEUE_ENABLE, 2, 1);
    assert_int_equal(common(VIRTIO_COMMON_QUEUE_ENABLE, 2), 0);
    assert_needs_reset();

    assert_true(guest_negotiate(&g, VIRTIO_F_VERSION_1));
    guest_queue_set(&g, &receive, 0, 8, 0);
    set_common(VIRTIO_COMMON_QUEUE_DESC, 4, 0x1001); /* enabled: it stays where it is */
    assert_int_equal(common(VIRTIO_COMMON_QUEUE_DESC, 4), receive.desc);
    guest_run(&g);
    uint16_t *ring = guest_avail(&receive);
    ring[2] = 99;
    receive.avail_next = 1;
    guest_kick(&g, &receive);
    assert_int_equal(guest_messages[0], 1); /* the configuration's vector */
    assert_needs_reset();

    entropy_flows(NULL);
}

static uint8_t add_buffer_and_take_isr(void) {
    struct guest_buffer buffer = {guest_alloc(64, 1), 64, true};
    guest_add(&receive, &buffer, 1);
    guest_kick(&g, &receive);
    assert_true(guest_wire);
    return (uint8_t)guest_read(g.isr, 1);
}

/* A driver without MSI-X: the interrupt stays until the ISR register was read. */
static void without_msix_there_is_a_wire(void **state) {
    (void)state;
    assert_int_equal(guest_config_read(PCI_INTERRUPT_PIN, 1), 1);
    assert_int_equal(guest_config_read(PCI_INTERRUPT_LINE, 1), PCI_IRQ);
    assert_true(guest_negotiate(&g, VIRTIO_F_VERSION_1));
    guest_config_write(g.msix_capability + 2u, 2, 0);
    guest_queue_set(&g, &receive, 0, 8, 0);
    guest_run(&g);
    assert_false(guest_wire);
    assert_int_equal(add_buffer_and_take_isr(), 1);
    assert_false(guest_wire);
    assert_int_equal(guest_read(g.isr, 1), 0);

    guest_config_write(PCI_COMMAND, 2, 7 | PCI_COMMAND_NO_INTX);
    struct guest_buffer buffer = {guest_alloc(64, 1), 64, true};
    guest_add(&receive, &buffer, 1);
    guest_kick(&g, &receive);
    assert_false(guest_wire);
    assert_true(guest_config_read(PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
    guest_config_write(PCI_COMMAND, 2, 7);
    assert_true(guest_wire);
    set_common(VIRTIO_COMMON_STATUS, 1, 0); /* a reset takes it back */
    assert_false(guest_wire);
}

static void nothing_before_driver_ok(void **state) {
    (void)state;
    set_common(VIRTIO_COMMON_QUEUE_ENABLE, 2, 1); /* before FEATURES_OK */
    assert_int_equal(common(VIRTIO_COMMON_QUEUE_ENABLE, 2), 0);
    assert_true(guest_negotiate(&g, VIRTIO_F_VERSION_1));
    guest_queue_set(&g, &receive, 0, 8, 0);
    struct guest_buffer buffer = {guest_alloc(64, 1), 64, true};
    guest_add(&receive, &buffer, 1);
    guest_kick(&g, &receive);
    assert_int_equal(guest_used(&receive)[1], 0);
    guest_run(&g);
    assert_int_equal(guest_used(&receive)[1], 1);         /* found at the start */
    bus_port_write((uint16_t)(g.notify_port + 62), 2, 0); /* no such queue */
    bus_port_write((uint16_t)(g.notify_port + 1), 4, 0xffffffff);
}

/* --- saving and loading --- */

#define STATE_BYTES_MAX 4096u

static size_t save(uint8_t *to) {
    struct state s = {.at = to, .left = STATE_BYTES_MAX};
    assert_true(virtio_is_quiet(device));
    pci_state(&s);
    virtio_state(&s, device);
    assert_null(s.wrong);
    return STATE_BYTES_MAX - s.left;
}

/* Into a fresh device before the same RAM. NULL: taken. */
static const char *load(uint8_t *from, size_t bytes, const uint8_t *ram) {
    close_device(NULL);
    open_entropy(NULL);
    memcpy(guest_ram, ram, GUEST_RAM_BYTES);
    struct state s = {.at = from, .left = bytes, .loading = true};
    pci_state(&s);
    virtio_state(&s, device);
    return s.wrong;
}

static void state_comes_back(void **state) {
    (void)state;
    static uint8_t ram[GUEST_RAM_BYTES], saved[STATE_BYTES_MAX], again[STATE_BYTES_MAX];
    assert_true(guest_negotiate(&g, FEATURES));
    guest_queue_set(&g, &receive, 0, 8, FEATURES);
    guest_run(&g);
    struct guest_buffer buffer = {guest_alloc(64, 1), 64, true};
    uint32_t id, bytes;
    for (unsigned i = 0; i < 11; i++) {
        guest_add(&receive, &buffer, 1);
        guest_kick(&g, &receive);
        assert_true(guest_take(&receive, &id, &bytes));
    }
    turns();
    size_t all = save(saved);
    guest_add(&receive, &buffer, 1);
    guest_avail(&receive)[1] = receive.avail_next; /* given, and the device has not been told */
    memcpy(ram, guest_ram, sizeof(ram));
    assert_null(load(saved, all, ram));
    assert_false(virtio_is_quiet(device)); /* it looks by itself */
    turns();
    assert_true(guest_take(&receive, &id, &bytes));
    assert_int_equal(bytes, 64);
    unsigned before = guest_messages[1];
    guest_add(&receive, &buffer, 1);
    guest_kick(&g, &receive);
    assert_true(guest_take(&receive, &id, &bytes));
    assert_int_equal(guest_messages[1], before + 1);
    assert_null(load(saved, all, ram));
    turns();
    assert_int_equal(save(again), all);

    unsigned refused = 0;
    for (uint32_t seed = 1, round = 0; round < 1500; round++) {
        memcpy(again, saved, all);
        for (unsigned i = 0; i < 1 + round % 4; i++) {
            seed = seed * 1664525 + 1013904223;
            again[(seed >> 8) % all] = (uint8_t)(seed >> 24);
        }
        if (load(again, all, ram)) {
            refused++;
            continue;
        }
        turns();
        virtio_notify_all(device);
        virtio_config_changed(device);
    }
    assert_in_range(refused, 100, 1400);
    assert_non_null(load(saved, all - 1, ram));
}

/* --- console --- */

static uint8_t shown[100000];
static size_t shown_bytes;
static const char *typed; /* once, while the device writes */

static const char *waiting; /* refused so far */

static void input(const char *text) {
    size_t taken;
    assert_true(virtio_console_input(device, text, strlen(text), &taken));
    waiting = text + taken;
}

static void type_on(void) {
    if (*waiting)
        input(waiting);
}

static void port_write(const char *text, size_t bytes) {
    const char *now = typed;
    typed = NULL;
    if (now)
        input(now);
    memcpy(shown + shown_bytes, text, bytes);
    shown_bytes += bytes;
}

static int open_console(void **state) {
    (void)state;
    guest_start();
    loop_init(64, 1000000000);
    shown_bytes = 0;
    waiting = "";
    device = virtio_console_open(port_write, type_on);
    pci_add(&device->function, 1);
    guest_probe(&g);
    assert_true(guest_negotiate(&g, FEATURES));
    guest_queue_set(&g, &receive, 0, 16, FEATURES);
    guest_queue_set(&g, &transmit, 1, 16, FEATURES);
    guest_run(&g);
    return 0;
}

static void console_writes(void **state) {
    (void)state;
    uint64_t text = guest_alloc(60000, 1);
    for (unsigned i = 0; i < 60000; i++)
        guest_ram[text + i] = (uint8_t)(i * 7 + i / 251);
    struct guest_buffer buffers[] = {{text, 5, false}, {text + 5, 50000, false}};
    guest_add(&transmit, buffers, 2);
    buffers[0] = (struct guest_buffer){text + 50005, 9995, false};
    guest_add(&transmit, buffers, 1);
    guest_kick(&g, &transmit);
    assert_true(shown_bytes > 0 && shown_bytes < 50000); /* others have their turn */
    assert_int_equal(guest_used(&transmit)[1], 0);
    turns();
    turns();
    assert_int_equal(shown_bytes, 60000);
    assert_memory_equal(shown, guest_ram + text, 60000);
    assert_int_equal(guest_used(&transmit)[1], 2);
}

static void console_takes_input(void **state) {
    (void)state;
    uint64_t at = guest_alloc(64, 1);
    struct guest_buffer buffers[] = {{at, 3, true}, {at + 8, 40, true}};
    guest_add(&receive, &buffers[0], 1);
    guest_add(&receive, &buffers[1], 1);
    guest_kick(&g, &receive);
    input("typed");
    assert_memory_equal(guest_ram + at, "typ", 3);
    assert_memory_equal(guest_ram + at + 8, "ed", 3);
    assert_int_equal(guest_used(&receive)[1], 2);
    struct guest_buffer wrong = {at, 8, false};
    guest_add(&receive, &wrong, 1);
    guest_kick(&g, &receive);
    input("more");
    assert_int_equal(guest_used(&receive)[1], 3);
    set_common(VIRTIO_COMMON_STATUS, 1, 0);
    size_t taken;
    assert_false(virtio_console_input(device, "more", 4, &taken)); /* it is for somebody else */
}

/* What finds no buffers waits for them, and the driver is asked to tell. */
static void console_holds_input_back(void **state) {
    (void)state;
    static const char text[] = "a line that is longer than its buffers";
    uint64_t at = guest_alloc(64, 1);
    input(text);
    for (unsigned i = 0; i < sizeof(text) - 1; i += 5) {
        assert_ptr_equal(waiting, text + i);
        guest_add(&receive, &(struct guest_buffer){at + i, 5, true}, 1);
        assert_true(guest_kick(&g, &receive));
    }
    assert_memory_equal(guest_ram + at, text, sizeof(text));
}

/* The host's console takes what is typed while the VMM waits until it has room for output. */
static void console_takes_input_while_it_writes(void **state) {
    (void)state;
    uint64_t at = guest_alloc(64, 1), text = guest_alloc(1000, 1);
    memset(guest_ram + text, 'x', 1000);
    guest_add(&receive, &(struct guest_buffer){at, 40, true}, 1);
    guest_kick(&g, &receive);
    typed = "typed";
    guest_add(&transmit, &(struct guest_buffer){text, 1000, false}, 1);
    guest_kick(&g, &transmit);
    assert_null(typed);
    assert_memory_equal(guest_ram + at, "typed", 6);
    assert_int_equal(shown_bytes, 1000);
    assert_memory_equal(shown, guest_ram + text, 1000);
    assert_int_equal(guest_used(&receive)[1], 1);
    assert_int_equal(guest_used(&transmit)[1], 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define ENTROPY(f) cmocka_unit_test_setup_teardown(f, open_entropy, close_device)
        ENTROPY(identity),
        ENTROPY(bars_move_and_go),
        ENTROPY(window_in_configuration_space),
        ENTROPY(features_are_checked),
        ENTROPY(entropy_flows),
        ENTROPY(polls_without_msix),
        ENTROPY(masked_vectors_wait),
        ENTROPY(no_master_no_memory_access),
        ENTROPY(bad_queues_need_a_reset),
        ENTROPY(without_msix_there_is_a_wire),
        ENTROPY(nothing_before_driver_ok),
        ENTROPY(state_comes_back),
        cmocka_unit_test_setup_teardown(console_writes, open_console, close_device),
        cmocka_unit_test_setup_teardown(console_takes_input, open_console, close_device),
        cmocka_unit_test_setup_teardown(console_holds_input_back, open_console, close_device),
        cmocka_unit_test_setup_teardown(console_takes_input_while_it_writes, open_console,
                                        close_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
