/* See devices.h. A device's I/O BAR is where its doorbells are: pci_add places them one after the
 * other, as hv was told. */
#include "mgmt/vmm/devices.h"

#include <stdlib.h>
#include <string.h>

#include "guestlib/console_front.h"
#include "guestlib/guest.h"
#include "guestlib/loop.h"
#include "guestlib/random.h"
#include "mgmt/vmm/virtio/blk.h"
#include "mgmt/vmm/virtio/console.h"
#include "mgmt/vmm/virtio/entropy.h"
#include "mgmt/vmm/virtio/net.h"

#define QUEUES_MAX 4u /* all go into one queue pair: more would only be more interrupts */

static struct virtio_device *console;              /* NULL: none */
static struct virtio_device *devices[PCI_DEVICES]; /* all of them, by number */
static unsigned device_count;

static void random_fill(void *bytes, size_t count) {
    for (size_t at = 0; at < count; at += sizeof(uint64_t)) {
        uint64_t word = random_u64();
        size_t left = count - at;
        memcpy((uint8_t *)bytes + at, &word, left < sizeof(word) ? left : sizeof(word));
    }
}

static void doorbell(void *device) {
    virtio_notify_all(device);
}

/* number: among the guest's virtio devices. */
static bool add(const struct bh_guest_info *guest, unsigned first_slot, unsigned number,
                struct virtio_device *device) {
    if (!device || first_slot + number >= PCI_DEVICES)
        return false;
    devices[device_count++] = device;
    pci_add(&device->function, first_slot + number);
    if (number < guest->doorbells)
        loop_on_event(guest->doorbell_bit + number, doorbell, device);
    return true;
}

bool devices_add(const struct bh_guest_info *guest, unsigned first_slot) {
    unsigned number = 0;
    uint32_t queues = guest->vcpus < QUEUES_MAX ? guest->vcpus : QUEUES_MAX;
    for (uint32_t i = 0; i < guest->guest_disks; i++)
        if (!add(guest, first_slot, number++, virtio_blk_open(i, queues)))
            return false;
    for (unsigned i = 0; guest_device(BH_CLASS_NET, i); i++)
        if (!add(guest, first_slot, number++, virtio_net_open(i, queues)))
            return false;
    if (!add(guest, first_slot, number++, virtio_entropy_open(random_fill)))
        return false;
    if (!(guest->flags & BH_GUEST_CONSOLE))
        return true;
    console = virtio_console_open(console_write, console_input_again);
    return add(guest, first_slot, number, console);
}

bool devices_are_quiet(void) {
    for (unsigned i = 0; i < device_count; i++)
        if (!virtio_is_quiet(devices[i]))
            return false;
    return true;
}

void devices_state(struct state *s) {
    for (unsigned i = 0; i < device_count; i++)
        virtio_state(s, devices[i]);
}

bool devices_type(const char *text, size_t bytes, size_t *taken) {
    return console && virtio_console_input(console, text, bytes, taken);
}
