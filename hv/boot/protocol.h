/* How start.S tells boot_main which loader it was. */
#pragma once

#define MULTIBOOT2_MAGIC 0x36d76289 /* Multiboot2 specification 2.0, 3.5 */
#define PVH_MAGIC 0x336ec578        /* struct hvm_start_info begins with it */
