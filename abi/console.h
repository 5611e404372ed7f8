/* Class console: bytes both ways. Version 1. */
#pragma once

#include <stdint.h>

enum bh_console_operation {
    BH_CONSOLE_WRITE =
        0,               /* segments: bytes to show; completes when they are taken; value = bytes */
    BH_CONSOLE_READ = 1, /* one segment: buffer; completes when input is there; value = bytes */
};
