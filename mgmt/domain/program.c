#include "mgmt/domain/program.h"

#include <string.h>

#include "mgmt/hv.h"
#include "mgmt/layout.h"

#define READ_WRITE (BH_REGION_READ | BH_REGION_WRITE)
_Static_assert(MGMT_SLOT_PROGRAM + PROGRAM_CHUNKS_MAX <= MGMT_SLOT_HEAP, "slots");

static struct {
    chunk chunk[PROGRAM_CHUNKS_MAX];
    uint32_t chunks;
    uint32_t holders; /* 0: not loaded */
} program;

static bh_ref region_of(uint32_t index) {
    return OWN(MGMT_SLOT_PROGRAM + index);
}

enum bh_status program_write(chunk to, bh_ref region, const uint8_t *from, uint64_t pages) {
    bh_ref view = OWN(MGMT_SLOT_LOAD);
    uint64_t va = MGMT_VA_RAM + memory_base(to);
    enum bh_status status = hv_copy(region, view, READ_WRITE, 0, pages);
    if (status)
        return status;
    status = hv_map(view, OWN(BH_INIT_SPACE), va, READ_WRITE);
    if (!status)
        memcpy((void *)va, from, pages * BH_PAGE_BYTES);
    hv_delete(view);
    return status;
}

static enum bh_status load_chunk(uint32_t index, const uint8_t *from, uint64_t pages) {
    chunk c = program.chunk[index];
    if (memory_base(c) >= MGMT_PHYSICAL_END)
        return BH_NO_MEMORY;
    memory_scrub(c);
    enum bh_status status = hv_retype(OWN(c), BH_TYPE_REGION, memory_pages(c), region_of(index), 0);
    if (!status)
        status = program_write(c, region_of(index), from, pages);
    return status ? status : hv_narrow(region_of(index), BH_REGION_READ | BH_REGION_EXEC);
}

static void unload(void) {
    while (program.chunks > 0)
        memory_free(program.chunk[--program.chunks]);
}

static enum bh_status load(const uint8_t *file, uint64_t left) {
    enum bh_status status =
        memory_alloc_pages(left, program.chunk, PROGRAM_CHUNKS_MAX, &program.chunks);
    for (uint32_t i = 0; i < program.chunks && !status; i++) {
        uint64_t pages = memory_pages(program.chunk[i]);
        if (pages > left)
            pages = left;
        status = load_chunk(i, file, pages);
        file += pages * BH_PAGE_BYTES;
        left -= pages;
    }
    return status;
}

enum bh_status program_hold(const uint8_t *file, const struct image *image) {
    enum bh_status status =
        program.holders ? BH_OK : load(file, image->text_pages + image->rodata_pages);
    if (status)
        unload();
    else
        program.holders++;
    return status;
}

void program_drop(void) {
    if (--program.holders == 0)
        unload();
}

struct stretch program_stretch(void) {
    return (struct stretch){
        .chunk = program.chunk, .region = MGMT_SLOT_PROGRAM, .chunks = program.chunks};
}
