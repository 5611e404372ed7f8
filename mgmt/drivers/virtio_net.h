/* virtio-net: see virtio_net.c. */
#pragma once

#include "mgmt/pci/pci.h"

void virtio_net_probe(struct pci_function *function);
