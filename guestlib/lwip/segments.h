/* Long TCP segments. lwIP makes a segment of at most the peer's MSS, and its work is the same for
 * each. Where the device cuts long frames up (GSO), a connection with a peer on the same link gets
 * segments of several MSS as soon as its congestion window is several of those; the wire sees no
 * difference. Not beyond a router: lwIP's congestion window grows by its segment, and strangers
 * share the way. Such a connection does not wait to fill a segment (TCP_NODELAY).
 *
 * segments_received() in hooks.h is lwIP's LWIP_HOOK_TCP_INPACKET_PCB; it also drops what would
 * make lwIP 2.1.3 give up: an MSS that changes in mid-connection (RFC 9293, 3.7.1). */
#pragma once

#include <stdint.h>

struct netif;

/* The longest segment that goes to this interface in one frame, in bytes of payload; 0: its device
 * does not cut frames. */
uint32_t segments_bytes_max(const struct netif *netif);
