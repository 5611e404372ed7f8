/* lwIP as guests use it: raw API, no threads, IPv4 and IPv6, memory from malloc, so that what a
 * guest does not use costs nothing, and its heap is the only limit. Sizes are for 1 Gb/s at 2 ms.
 */
#pragma once

#define NO_SYS 1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_NETCONN 0
#define LWIP_SOCKET 0
#define LWIP_STATS 0

#define MEM_LIBC_MALLOC 1
#define MEMP_MEM_MALLOC 1
#define MEM_ALIGNMENT 16

#define LWIP_IPV4 1
#define LWIP_IPV6 1
#define LWIP_IPV6_MLD 1
#define LWIP_IPV6_AUTOCONFIG 1
/* With pointers of 64 bits lwIP's bookkeeping does not fit into the fragment's header. */
#define IPV6_FRAG_COPYHEADER 1
#define LWIP_ARP 1
/* What is sent while an address is being resolved waits; without a queue only the newest does, and
 * the first clients of a guest that just started are answered a retransmission later. */
#define ARP_QUEUEING 1
#define ARP_QUEUE_LEN 64
#define LWIP_ICMP 1
#define LWIP_ICMP6 1
#define LWIP_DHCP 1
#define LWIP_DNS 0
#define LWIP_RAW 0
#define LWIP_UDP 1
#define LWIP_TCP 1
#define LWIP_NETIF_HOSTNAME 1
#define LWIP_NETIF_STATUS_CALLBACK 1

/* A datagram of 64 KiB comes in 45 fragments. */
#define IP_REASS_MAX_PBUFS 64

/* 1 Gb/s * 2 ms = 250 KB in flight, so windows need the scale option. */
#define TCP_MSS 1460
#define LWIP_WND_SCALE 1
#define TCP_RCV_SCALE 3
#define TCP_WND (256 * 1024)
#define TCP_WND_UPDATE_THRESHOLD (TCP_WND / 4) /* not for every long frame */
#define TCP_SND_BUF (256 * 1024)
#define TCP_SND_QUEUELEN (4 * TCP_SND_BUF / TCP_MSS)
#define TCP_SNDLOWAT (32 * 1024)
#define TCP_LISTEN_BACKLOG 1
#define TCP_DEFAULT_LISTEN_BACKLOG 64
#define LWIP_TCP_KEEPALIVE 1
#define LWIP_TCP_SACK_OUT 1

/* stack.c decides by device (transmit) and by packet (receive). */
#define LWIP_CHECKSUM_CTRL_PER_NETIF 1

/* Ports, DHCP transaction numbers and the like, and RFC 6528's initial sequence numbers. */
#define LWIP_HOOK_FILENAME "guestlib/lwip/hooks.h"
#define LWIP_RAND() stack_rand()
#define LWIP_HOOK_TCP_ISN stack_isn

/* Long segments where the device cuts them. */
#define LWIP_HOOK_TCP_INPACKET_PCB segments_received
