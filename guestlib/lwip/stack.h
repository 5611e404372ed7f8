/* TCP/IP for guests: lwIP's raw API on a network device. Use lwIP's own headers (lwip/tcp.h,
 * lwip/udp.h) for everything else; all callbacks run from the event loop. */
#pragma once

#include "lwip/netif.h"

/* Brings the index-th network device up with the addresses of the definition: IPv4 by DHCP when
 * none is given, IPv6 by router advertisements when none is given. The first device gets the
 * default route. NULL: there is no such device, or no memory. lwIP's netif status callback tells
 * when an address comes. */
struct netif *stack_open(unsigned index);
