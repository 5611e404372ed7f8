/* What every unit test of the core includes. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "test/unit/fake_arch/world.h"

/* Every test starts on a fresh machine: 4 MiB of object memory, 16 MiB of frames, all dirty. */
static inline int boot(void **state) {
    (void)state;
    world_boot(1024, 4096);
    return 0;
}
#define TEST(function) cmocka_unit_test_setup(function, boot)

#define OK(expression) assert_int_equal((expression), BH_OK)
#define STATUS(expected, expression) assert_int_equal((expression), (expected))
