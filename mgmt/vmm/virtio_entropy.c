#include "mgmt/vmm/virtio_entropy.h"

#include <stdlib.h>
#include <string.h>

#include "guestlib/random.h"
#include "mgmt/vmm/virtio.h"

#define CLASS_CODE 0x00ff00u
#define BYTES_MAX 256u /* of one request; the guest asks again */

static void notify(struct virtio *virtio, unsigned queue) {
    struct virtq *q = &virtio->queue[queue];
    struct virtq_chain chain;
    for (unsigned i = 0; i < VIRTQ_SIZE_MAX; i++) {
        enum virtq_take took = virtq_take(q, &chain);
        if (took == VIRTQ_EMPTY)
            break;
        if (took == VIRTQ_BROKEN) {
            virtio_break(virtio);
            return;
        }
        uint64_t random[BYTES_MAX / sizeof(uint64_t)];
        uint32_t bytes = chain.writable_bytes < BYTES_MAX ? chain.writable_bytes : BYTES_MAX;
        for (unsigned word = 0; word < sizeof(random) / sizeof(random[0]); word++)
            random[word] = random_u64();
        virtq_write(&chain, 0, random, bytes);
        virtq_give(q, chain.head, bytes);
    }
    virtio_signal(virtio, queue);
}

bool virtio_entropy_add(unsigned slot) {
    static const struct virtio_class class = {
        .type = VIRTIO_ENTROPY, .class_code = CLASS_CODE, .queues = 1, .notify = notify};
    struct virtio *virtio = calloc(1, sizeof(*virtio));
    if (!virtio)
        return false;
    virtio_init(virtio, &class, slot, 0, NULL, 0);
    return true;
}
