#include "mgmt/domain/image.h"

#include <string.h>

#include "abi/cap.h"

const char *image_check(const uint8_t *file, size_t bytes, struct image *out) {
    struct bh_image_header h;
    if (bytes < sizeof(h))
        return "the file is shorter than an image's header";
    memcpy(&h, file, sizeof(h));
    if (h.magic != BH_IMAGE_MAGIC)
        return "it is not a program image (its first bytes are wrong)";
    if (h.version != BH_IMAGE_VERSION)
        return "it is an image of another version";
    if (h.text_pages == 0 || h.stack_pages == 0)
        return "its header names no text or no stack";
    /* Sums of 32-bit numbers: none overflows 64 bits. */
    uint64_t file_pages = (uint64_t)h.text_pages + h.rodata_pages + h.data_pages;
    if (bytes % BH_PAGE_BYTES != 0 || bytes / BH_PAGE_BYTES != file_pages)
        return "the file is not as long as its header says";
    if (h.entry < BH_IMAGE_VA || (h.entry - BH_IMAGE_VA) / BH_PAGE_BYTES >= h.text_pages)
        return "its entry point is outside its text";
    *out = (struct image){
        .text_pages = h.text_pages,
        .rodata_pages = h.rodata_pages,
        .data_pages = (uint64_t)h.data_pages + h.bss_pages,
        .file_pages = file_pages,
        .guard_page = file_pages + h.bss_pages,
        .stack_end = file_pages + h.bss_pages + 1 + h.stack_pages,
        .entry = h.entry,
    };
    return NULL;
}
