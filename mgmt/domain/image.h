/* Flat program images (abi/image.h) as files: whether one is sound, and where its segments go. The
 * file is hostile input. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/image.h"

/* All in pages from BH_IMAGE_VA on. */
struct image {
    uint64_t text_pages, rodata_pages;
    uint64_t data_pages; /* bss included */
    uint64_t file_pages;
    uint64_t guard_page; /* the page that is left out */
    uint64_t stack_end;
    uint64_t entry; /* virtual address */
};

/* NULL: sound. Else what is wrong with it, for a message. */
const char *image_check(const uint8_t *file, size_t bytes, struct image *out);
