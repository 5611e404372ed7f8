/* On the disk: a sector with a header, from STATE_AT on the machine's state, in whole pages, then
 * RAM in the order of its addresses, holes left out. The header is written last, and voided before
 * a guest goes on from it. */
#include "mgmt/vmm/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guestlib/block_front.h"
#include "guestlib/random.h"
#include "mgmt/vmm/cpuid.h"
#include "mgmt/vmm/fpu.h"
#include "mgmt/vmm/machine.h"
#include "mgmt/vmm/ram.h"

#define MAGIC "BHCHECK1"
#define PAGE_BYTES 4096u
#define STATE_AT 4096u
/* What all devices together, and a vCPU, were seen to take; and a third more. */
#define STATE_BYTES_DEVICES (6 * PAGE_BYTES)
#define STATE_BYTES_VCPU 2560u

struct header {
    char magic[8];
    uint32_t version, vcpus;
    uint64_t cpuid; /* cpuid_hash */
    uint64_t state_bytes, ram_bytes;
    uint64_t digest; /* of all this with 0 here, the state and RAM: by page, see add_pages */
};

static struct {
    struct block_front *disk; /* NULL: there is none */
    uint8_t *state;
    uint64_t state_bytes_max;
    uint64_t ram_bytes;
} checkpoint;

static uint64_t ram_bytes(void) {
    uint64_t all = 0, bytes;
    for (uint32_t i = 0; i < ram_ranges(); i++) {
        ram_range(i, &bytes);
        all += bytes;
    }
    return all;
}

const char *checkpoint_open(const struct bh_guest_info *guest) {
    if (guest->checkpoint_disk == BH_GUEST_NO_DISK)
        return NULL;
    uint64_t bytes = STATE_BYTES_DEVICES + guest->vcpus * STATE_BYTES_VCPU;
    checkpoint.state_bytes_max = (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    checkpoint.ram_bytes = ram_bytes();
    checkpoint.disk = block_front_open(guest->checkpoint_disk);
    checkpoint.state = calloc(1, checkpoint.state_bytes_max);
    uint8_t *fpu = aligned_alloc(FPU_ALIGN, guest->vcpus * (size_t)FPU_BYTES);
    if (!checkpoint.disk || !checkpoint.state || !fpu)
        return "out of memory";
    memset(fpu, 0, guest->vcpus * (size_t)FPU_BYTES);
    for (uint32_t i = 0; i < guest->vcpus; i++)
        machine_vcpu(i)->fpu = fpu + i * (size_t)FPU_BYTES;
    return NULL;
}

/* --- the disk --- */

static const char *transfer(enum bh_block_operation operation, uint64_t at, void *bytes,
                            uint64_t count) {
    return block_front_transfer(checkpoint.disk, operation, at / BH_SECTOR_BYTES, bytes, count)
               ? "the checkpoint disk fails"
               : NULL;
}

static const char *flush(void) {
    return block_front_flush(checkpoint.disk) ? "the checkpoint disk fails" : NULL;
}

/* header: NULL to void what there is. All that was written before is there when it is. */
static const char *write_header(const struct header *header) {
    uint8_t sector[BH_SECTOR_BYTES] = {0};
    if (header)
        memcpy(sector, header, sizeof(*header));
    const char *wrong = flush();
    if (!wrong)
        wrong = transfer(BH_BLOCK_WRITE, 0, sector, sizeof(sector));
    return wrong ? wrong : flush();
}

/* --- the parts --- */

static void add_pages(uint64_t *digest, const uint8_t *bytes, uint64_t count) {
    for (uint64_t at = 0; at < count; at += PAGE_BYTES)
        *digest = siphash((uint64_t[2]){*digest, at}, bytes + at, PAGE_BYTES);
}

static uint64_t digest_of(const struct header *header) {
    struct header copy = *header;
    copy.digest = 0;
    return siphash((uint64_t[2]){0}, &copy, sizeof(copy));
}

/* Either way; the digest goes on with it. */
static const char *transfer_parts(enum bh_block_operation operation, const struct header *header,
                                  uint64_t *digest) {
    *digest = digest_of(header);
    const char *wrong = transfer(operation, STATE_AT, checkpoint.state, header->state_bytes);
    add_pages(digest, checkpoint.state, header->state_bytes);
    uint64_t at = STATE_AT + header->state_bytes, left = header->ram_bytes;
    for (uint32_t i = 0; left > 0 && !wrong; i++) {
        uint64_t bytes;
        struct gpa base = ram_range(i, &bytes);
        bytes = bytes < left ? bytes : left;
        uint8_t *ram = ram_at(base, bytes);
        wrong = transfer(operation, at, ram, bytes);
        add_pages(digest, ram, bytes);
        at += bytes;
        left -= bytes;
    }
    return wrong;
}

/* --- saving --- */

const char *checkpoint_save(void) {
    struct header header = {.magic = MAGIC,
                            .version = STATE_VERSION,
                            .vcpus = machine_vcpus(),
                            .cpuid = cpuid_hash(),
                            .ram_bytes = checkpoint.ram_bytes};
    struct state s = {.at = checkpoint.state, .left = checkpoint.state_bytes_max};
    machine_state(&s);
    if (s.wrong)
        return s.wrong;
    header.state_bytes =
        (uint64_t)(s.at - checkpoint.state + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1ull);
    if ((STATE_AT + header.state_bytes + header.ram_bytes) / BH_SECTOR_BYTES >
        block_front_info(checkpoint.disk)->sectors)
        return "its checkpoint disk is too small: it takes its memory and 128 KiB";
    const char *wrong = write_header(NULL);
    if (!wrong)
        wrong = transfer_parts(BH_BLOCK_WRITE, &header, &header.digest);
    return wrong ? wrong : write_header(&header);
}

const char *checkpoint_forget(void) {
    return checkpoint.disk ? write_header(NULL) : NULL;
}

/* --- loading --- */

/* What the checkpoint says of itself: nothing in it is used for more than this machine has. */
static const char *refuse(const struct header *h) {
    if (memcmp(h->magic, MAGIC, sizeof(h->magic)) != 0)
        return "there is none on its disk, or it has been used";
    if (h->version != STATE_VERSION)
        return "it was made by another version";
    if (h->vcpus != machine_vcpus())
        return "it has another number of vCPUs";
    if (h->ram_bytes > checkpoint.ram_bytes || h->ram_bytes % PAGE_BYTES)
        return "it has more memory than the guest is given now";
    if (h->state_bytes > checkpoint.state_bytes_max || h->state_bytes % PAGE_BYTES)
        return "it is longer than it can be";
    if (h->cpuid != cpuid_hash())
        return "it was made on another processor";
    return NULL;
}

static const char *load_machine(uint64_t state_bytes) {
    static char text[96];
    struct state s = {.at = checkpoint.state, .left = state_bytes, .loading = true};
    machine_state(&s);
    if (!s.wrong)
        return NULL;
    snprintf(text, sizeof(text), "%s: %s", s.section, s.wrong);
    return text;
}

const char *checkpoint_load(void) {
    uint8_t sector[BH_SECTOR_BYTES];
    struct header header;
    uint64_t digest = 0;
    if (!checkpoint.disk)
        return "it has no checkpoint disk";
    const char *wrong = transfer(BH_BLOCK_READ, 0, sector, sizeof(sector));
    memcpy(&header, sector, sizeof(header));
    if (!wrong)
        wrong = refuse(&header);
    if (!wrong)
        wrong = transfer_parts(BH_BLOCK_READ, &header, &digest);
    if (!wrong && digest != header.digest)
        wrong = "it is damaged";
    if (!wrong)
        wrong = load_machine(header.state_bytes);
    return wrong ? wrong : write_header(NULL);
}
