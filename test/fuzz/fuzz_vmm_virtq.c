/* A virtqueue whose every byte is the guest's: whatever is taken lies in the guest's RAM. Input:
 * places and size of the queue, then what stands at its beginning. */
#include <stdlib.h>
#include <string.h>

#include "mgmt/vmm/virtq.h"
#include "../unit/vmm_guest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check(const struct virtq_chain *chain) {
    uint64_t total = 0;
    for (unsigned i = 0; i < chain->readable + chain->writable; i++) {
        const struct virtq_segment *s = &chain->segment[i];
        if (s->at < guest_ram || s->bytes > GUEST_RAM_BYTES ||
            s->at + s->bytes > guest_ram + GUEST_RAM_BYTES)
            abort();
        total += s->bytes;
    }
    if (total != (uint64_t)chain->readable_bytes + chain->writable_bytes)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    static struct virtq_chain chain;
    static bool ready;
    uint32_t words[4];
    if (bytes < sizeof(words))
        return 0;
    if (!ready)
        guest_reset();
    ready = true;
    memcpy(words, data, sizeof(words));
    size_t rest = bytes - sizeof(words);
    memset(guest_ram, 0, 0x2000);
    memcpy(guest_ram, data + sizeof(words), rest);
    /* Mostly where the input is. */
    struct virtq q = {.size = (uint16_t)(1u << (words[0] & 15)),
                      .enabled = true,
                      .descriptors = GPA(words[1] & ~15u & (words[0] & 16 ? ~0u : 0x1ff)),
                      .available = GPA(words[2] & ~1u & (words[0] & 32 ? ~0u : 0x1ff)),
                      .used = GPA(words[3] & ~3u & (words[0] & 64 ? ~0u : 0xfff))};
    if (!virtq_is_valid(&q))
        return 0;
    for (unsigned i = 0; i < 300 && virtq_take(&q, &chain) == VIRTQ_TAKEN; i++) {
        uint8_t buffer[64];
        check(&chain);
        virtq_read(&chain, words[0] >> 8 & 0xff, buffer, words[0] >> 16 & 63);
        virtq_write(&chain, words[0] >> 8 & 0xff, buffer, words[0] >> 16 & 63);
        virtq_give(&q, chain.head, chain.writable_bytes);
        virtq_wants_interrupt(&q);
    }
    return 0;
}
