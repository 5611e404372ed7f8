/* virtio entropy (virtio 1.2, 5.4). */
#pragma once

#include <stdbool.h>

bool virtio_entropy_add(unsigned slot);
