/* Functions of stack.c and segments.c that lwIP calls by the macros of lwipopts.h. */
#pragma once

#include "lwip/arch.h"
#include "lwip/err.h"
#include "lwip/ip_addr.h"

struct pbuf;
struct tcp_hdr;
struct tcp_pcb;

u32_t stack_isn(const ip_addr_t *local, u16_t local_port, const ip_addr_t *remote,
                u16_t remote_port);
err_t segments_received(struct tcp_pcb *pcb, const struct tcp_hdr *header, u16_t options_bytes,
                        u16_t first_bytes, const u8_t *second, const struct pbuf *p);
