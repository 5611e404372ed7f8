/* Flat program images: the form of init, mgmt and every PV guest. Version 1.
 *
 * The file is the memory image, loaded at BH_IMAGE_VA; this header is its first bytes. The segments
 * follow each other on page boundaries: text (read, execute; the header lies in its first page),
 * rodata (read), data (read, write), then bss and stack, which are not in the file. */
#pragma once

#include <stdint.h>

#define BH_IMAGE_MAGIC 0x474d49444b4c4842ull /* "BHLKDIMG" */
#define BH_IMAGE_VERSION 1u
#define BH_IMAGE_VA 0x400000ull

struct bh_image_header {
    uint64_t magic;
    uint32_t version;
    uint32_t text_pages; /* 1 and up */
    uint32_t rodata_pages;
    uint32_t data_pages;
    uint32_t bss_pages;   /* zeroed, after data */
    uint32_t stack_pages; /* zeroed, after bss, below an unmapped guard page; 1 and up */
    uint64_t entry;       /* inside text */
};
/* File size in pages = text + rodata + data; a file that is shorter or longer is refused. Start
 * state: RIP = entry, RDI = address of the boot information (init) or of the domain information
 * (others), RSP = the end of the stack minus 8 (as after a CALL), flags clear, FPU in its initial
 * state. The guard page takes one page of addresses between bss and stack. RAM beyond the stack
 * follows at once, read and write: the heap. */

_Static_assert(sizeof(struct bh_image_header) == 40, "layout");
