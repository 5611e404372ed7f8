/* lwIP's view of compiler and platform: gcc or clang, newlib, guestlib. */
#pragma once

#include <limits.h>
#include <stdint.h>
#include <stdio.h>

#include "guestlib/guest.h"

/* newlib has no such macro, and lwIP's own guess is wrong for 64 bits. */
#define SSIZE_MAX LONG_MAX

uint32_t stack_rand(void); /* stack.c */

#define LWIP_PLATFORM_DIAG(x) printf x
#define LWIP_PLATFORM_ASSERT(message) guest_panic("lwIP: %s", message)
