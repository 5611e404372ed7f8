/* fw_cfg: what a PC's firmware asks its emulator for. The items that SeaBIOS and OVMF need first,
 * read-only: signature, interface, RAM, processors, and a directory of files, of which there is
 * etc/e820. Reference: QEMU, docs/specs/fw_cfg. */
#pragma once

#include <stdint.h>

#include "mgmt/vmm/state.h"

/* Selector (16 bits), behind it data (8 bits); DMA address (two times 32 bits, big-endian). */
#define FW_CFG_SELECTOR 0x510u
#define FW_CFG_DATA 0x511u
#define FW_CFG_DMA 0x514u

/* A DMA request may ask for at most so many bytes, several times what any item has: each is done at
 * once. */
#define FW_CFG_DMA_BYTES_MAX 65536u

/* After ram_init. */
void fw_cfg_init(uint32_t vcpus);

/* What is selected, and how far it was read. */
void fw_cfg_state(struct state *s);
