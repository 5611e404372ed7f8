/* Functions of stack.c that lwIP calls by the macros of lwipopts.h. */
#pragma once

#include "lwip/arch.h"
#include "lwip/ip_addr.h"

u32_t stack_isn(const ip_addr_t *local, u16_t local_port, const ip_addr_t *remote,
                u16_t remote_port);
