/* The kernel and the initrd: mostly mapped, the rest on block devices that the guest does not see.
 */
#include "mgmt/vmm/file.h"

#include <string.h>

#include "guestlib/block_front.h"

static bool read_sectors(struct block_front *disk, uint64_t sector, void *to, uint64_t bytes) {
    return block_front_transfer(disk, BH_BLOCK_READ, sector, to, bytes) == BH_OK;
}

/* A part of one sector. */
static bool read_part(struct block_front *disk, uint64_t at, uint8_t *to, uint64_t bytes) {
    static uint8_t sector[BH_SECTOR_BYTES];
    if (!read_sectors(disk, at / BH_SECTOR_BYTES, sector, BH_SECTOR_BYTES))
        return false;
    memcpy(to, sector + at % BH_SECTOR_BYTES, bytes);
    return true;
}

static bool read_disk(const struct loader_file *file, uint64_t at, uint8_t *to, uint64_t bytes) {
    bool good = true;
    while (good && bytes > 0) {
        uint64_t offset = at % BH_SECTOR_BYTES, piece = BH_SECTOR_BYTES - offset;
        if (offset == 0 && bytes >= BH_SECTOR_BYTES) {
            piece = bytes / BH_SECTOR_BYTES * BH_SECTOR_BYTES;
            good = read_sectors(file->context, at / BH_SECTOR_BYTES, to, piece);
        } else {
            piece = bytes < piece ? bytes : piece;
            good = read_part(file->context, at, to, piece);
        }
        at += piece;
        to += piece;
        bytes -= piece;
    }
    return good;
}

static bool read_file(const struct loader_file *file, uint64_t at, void *to, uint64_t bytes) {
    const struct bh_guest_file *mapped = file->mapped;
    uint64_t here = at < mapped->bytes ? mapped->bytes - at : 0;
    if (here > bytes)
        here = bytes;
    memcpy(to, (const uint8_t *)mapped->va + at, here);
    return read_disk(file, at + here, (uint8_t *)to + here, bytes - here);
}

struct loader_file file_open(uint32_t disk, uint64_t bytes, const struct bh_guest_file *mapped) {
    struct loader_file file = {.read = read_file, .mapped = mapped};
    if (disk != BH_GUEST_NO_DISK)
        file.context = block_front_open(disk);
    if (file.context && mapped->bytes <= bytes &&
        block_front_info(file.context)->sectors >= (bytes + BH_SECTOR_BYTES - 1) / BH_SECTOR_BYTES)
        file.bytes = bytes;
    return file;
}
