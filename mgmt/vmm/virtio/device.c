/* Life of a virtio device: status, queues being served, interrupts. See device.h; registers.c has
 * the registers. */
#include "mgmt/vmm/virtio/device.h"

#include "mgmt/vmm/virtio/registers.h"

static bool is_up(const struct virtio_device *d) {
    uint8_t relevant = VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_NEEDS_RESET | VIRTIO_STATUS_FAILED;
    return (d->status & relevant) == VIRTIO_STATUS_DRIVER_OK && !d->resetting &&
           pci_get16(&d->function, PCI_COMMAND) & PCI_COMMAND_MASTER;
}

bool virtio_running(const struct virtio_device *d, unsigned queue) {
    return is_up(d) && d->queue[queue].enabled && !d->queue[queue].ring.broken;
}

void virtio_update_intx(struct virtio_device *d) {
    pci_interrupt(&d->function, d->isr && !msix_enabled(&d->msix));
}

/* 4.1.5.1.3, 4.1.5.3: without MSI-X the ISR register says what INTA# is for. */
static void interrupt(struct virtio_device *d, uint16_t vector, uint8_t isr_bit) {
    if (msix_enabled(&d->msix)) {
        msix_signal(&d->msix, vector);
    } else {
        d->isr |= isr_bit;
        virtio_update_intx(d);
    }
}

static void serve_queue(struct virtio_device *d, unsigned queue) {
    d->notified &= ~(1u << queue);
    if (virtio_running(d, queue) && d->class->serve(d, queue))
        virtio_serve_later(d, queue);
}

static void serve_queues(void *context) {
    struct virtio_device *d = context;
    for (uint32_t queues = d->notified; queues; queues &= queues - 1)
        serve_queue(d, (unsigned)__builtin_ctz(queues));
}

void virtio_serve_later(struct virtio_device *d, unsigned queue) {
    d->notified |= 1u << queue;
    loop_post(&d->work);
}

void virtio_notify(struct virtio_device *d, unsigned queue) {
    if (queue < d->queues)
        serve_queue(d, queue);
}

void virtio_notify_all(struct virtio_device *d) {
    for (unsigned i = 0; i < d->queues; i++)
        serve_queue(d, i);
}

bool virtio_take(struct virtio_device *d, unsigned queue, struct virtqueue_chain *chain) {
    if (!virtio_running(d, queue))
        return false;
    enum virtqueue_take take = virtqueue_take(&d->queue[queue].ring, chain);
    if (take == VIRTQUEUE_BROKEN)
        virtio_break(d);
    return take == VIRTQUEUE_TAKEN;
}

void virtio_publish(struct virtio_device *d, unsigned queue) {
    if (virtio_running(d, queue) && virtqueue_publish(&d->queue[queue].ring))
        interrupt(d, d->queue[queue].vector, VIRTIO_ISR_QUEUE);
}

bool virtio_idle(struct virtio_device *d, unsigned queue) {
    return virtio_running(d, queue) && !virtqueue_want_notification(&d->queue[queue].ring);
}

void virtio_break(struct virtio_device *d) {
    if (d->status & VIRTIO_STATUS_NEEDS_RESET)
        return;
    d->status |= VIRTIO_STATUS_NEEDS_RESET; /* 2.1.2 */
    if (d->class->reset)
        d->class->reset(d); /* whatever is in flight is the reset's to wait for */
    virtio_config_changed(d);
}

void virtio_config_changed(struct virtio_device *d) {
    d->generation++;
    if (d->status & VIRTIO_STATUS_DRIVER_OK)
        interrupt(d, d->config_vector, VIRTIO_ISR_CONFIG);
}

static void virtio_forget(struct virtio_device *d) {
    d->status = d->isr = 0;
    d->accepted = 0;
    d->device_feature_select = d->driver_feature_select = 0;
    d->queue_select = 0;
    d->config_vector = VIRTIO_VECTOR_NONE;
    d->notified = 0;
    d->resetting = false;
    for (unsigned i = 0; i < d->queues; i++)
        d->queue[i] = (struct virtio_queue){.size = d->class->queue_size,
                                            .vector = VIRTIO_VECTOR_NONE,
                                            .ring = {.broken = true}}; /* until it is enabled */
    msix_clear(&d->msix);
    virtio_update_intx(d);
}

/* Requests in flight would overtake those of the next driver: the reset waits for them. */
static void reset(struct virtio_device *d) {
    d->resetting = true;
    if (!d->class->reset || d->class->reset(d))
        virtio_forget(d);
}

void virtio_reset_done(struct virtio_device *d) {
    if (d->resetting)
        virtio_forget(d);
}

static bool features_acceptable(const struct virtio_device *d) {
    return !(d->accepted & ~d->offered) && d->accepted & VIRTIO_F_VERSION_1;
}

void virtio_write_status(struct virtio_device *d, uint8_t value) {
    const uint8_t drivers = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER |
                            VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK |
                            VIRTIO_STATUS_FAILED;
    if (d->resetting)
        return;
    if (value == 0) {
        reset(d);
        return;
    }
    uint8_t added = value & drivers & (uint8_t)~d->status; /* 2.1.1: never cleared but by reset */
    if (added & VIRTIO_STATUS_FEATURES_OK && !features_acceptable(d))
        added &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
    if (!((d->status | added) & VIRTIO_STATUS_FEATURES_OK))
        added &= (uint8_t)~VIRTIO_STATUS_DRIVER_OK; /* 3.1.1 */
    d->status |= added;
    if (!(added & VIRTIO_STATUS_DRIVER_OK))
        return;
    if (d->class->start)
        d->class->start(d);
    virtio_notify_all(d); /* there may be chains from before */
}

static bool open_queue(const struct virtio_device *d, struct virtio_queue *q) {
    return virtqueue_open(&q->ring, &(struct virtqueue_settings){
                                        .size = q->size,
                                        .indirect = d->accepted & VIRTIO_F_INDIRECT_DESC,
                                        .event_index = d->accepted & VIRTIO_F_EVENT_IDX,
                                        .desc = {q->desc},
                                        .avail = {q->avail},
                                        .used = {q->used},
                                    });
}

void virtio_enable_queue(struct virtio_device *d, struct virtio_queue *q) {
    if (q->enabled || !(d->status & VIRTIO_STATUS_FEATURES_OK))
        return;
    q->enabled = open_queue(d, q);
    if (!q->enabled)
        virtio_break(d);
}

/* --- saving and loading --- */

bool virtio_is_quiet(const struct virtio_device *d) {
    return !d->resetting && !d->notified && !(d->class->is_busy && d->class->is_busy(d));
}

static bool vector_exists(const struct virtio_device *d, uint16_t vector) {
    return vector < d->msix.vectors || vector == VIRTIO_VECTOR_NONE;
}

/* All that was given back is published: nothing is in flight. */
static void queue_state(struct state *s, struct virtio_device *d, struct virtio_queue *q) {
    uint16_t avail_next = q->ring.avail_next, used_next = q->ring.used_next;
    bool broken = q->ring.broken;
    STATE_SPAN(s, q, size, vector);
    STATE(s, q->enabled);
    STATE_SPAN(s, q, desc, used);
    STATE(s, broken);
    STATE(s, avail_next);
    STATE(s, used_next);
    state_check(s, q->size <= d->class->queue_size && vector_exists(d, q->vector),
                "a queue that cannot be");
    if (!s->loading || s->wrong || !q->enabled)
        return;
    state_check(s, open_queue(d, q), "a queue's rings are not in RAM");
    q->ring.broken |= broken;
    q->ring.avail_next = avail_next;
    q->ring.used_next = q->ring.used_published = used_next;
}

void virtio_state(struct state *s, struct virtio_device *d) {
    state_section(s, "virtio");
    STATE_SPAN(s, d, accepted, generation);
    msix_state(s, &d->msix);
    state_check(s, vector_exists(d, d->config_vector), "a vector that does not exist");
    state_check(s, !(d->status & VIRTIO_STATUS_FEATURES_OK) || features_acceptable(d),
                "features that are not offered");
    state_check(s, d->status & VIRTIO_STATUS_FEATURES_OK || !(d->status & VIRTIO_STATUS_DRIVER_OK),
                "a driver without features");
    for (unsigned i = 0; i < d->queues; i++)
        queue_state(s, d, &d->queue[i]);
    if (d->class->state)
        d->class->state(s, d);
    virtio_update_intx(d);
    for (unsigned i = 0; i < d->queues && s->loading && !s->wrong; i++)
        virtio_serve_later(d, i);
}

void virtio_init(struct virtio_device *d) {
    d->offered |= VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX;
    d->work = (struct loop_work){.handler = serve_queues, .context = d};
    virtio_add_registers(d);
    virtio_forget(d);
}
