/* virtio-blk: see virtio_blk.c. */
#pragma once

#include "mgmt/pci/pci.h"

void virtio_blk_probe(struct pci_function *function);
