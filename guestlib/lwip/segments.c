#include "guestlib/lwip/segments.h"

#include <stdbool.h>

#include "guestlib/lwip/hooks.h"
#include "lwip/ip4_frag.h"
#include "lwip/ip6_frag.h"
#include "lwip/netif.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/ip6.h"
#include "lwip/prot/tcp.h"

#define SEGMENT_FULL_MAX 16u /* MSS a segment may have; what is lost is sent again in whole */
#define WINDOW_SEGMENTS 4u   /* segments a congestion window has at least */

enum { OPTION_END = 0, OPTION_NOP = 1, OPTION_MSS = 2 };

/* --- reception -----------------------------------------------------------------------------------
 */

/* The options, which may be parted between two buffers. */
struct options {
    const u8_t *first, *second;
    u16_t first_bytes, bytes;
};

static u8_t option_byte(const struct options *options, u16_t at) {
    return at < options->first_bytes ? options->first[at]
                                     : options->second[at - options->first_bytes];
}

static bool has_mss(const struct options *options) {
    for (u16_t at = 0; at < options->bytes;) {
        u8_t kind = option_byte(options, at);
        if (kind == OPTION_MSS)
            return true;
        if (kind == OPTION_END || (kind != OPTION_NOP && at + 1 == options->bytes))
            return false;
        u8_t length = kind == OPTION_NOP ? 1 : option_byte(options, at + 1);
        if (length == 0)
            return false;
        at += length;
    }
    return false;
}

static bool on_link(const struct netif *netif, const ip_addr_t *address) {
    if (IP_IS_V4(address))
        return ip4_addr_netcmp(ip_2_ip4(address), netif_ip4_addr(netif), netif_ip4_netmask(netif));
    const ip6_addr_t *peer = ip_2_ip6(address);
    for (unsigned i = 0; i < LWIP_IPV6_NUM_ADDRESSES; i++)
        if (ip6_addr_isvalid(netif_ip6_addr_state(netif, i)) &&
            ip6_addr_netcmp(peer, netif_ip6_addr(netif, i)))
            return true;
    return false;
}

/* The MSS of a peer that takes whole frames; 0: there is none. */
static u32_t full_bytes(const struct netif *netif, const ip_addr_t *peer) {
    u32_t headers = TCP_HLEN + (IP_IS_V4(peer) ? IP_HLEN : IP6_HLEN);
    return netif->mtu > headers ? netif->mtu - headers : 0;
}

/* Segments only grow: lwIP may hold some of that size. */
static void lengthen(struct tcp_pcb *pcb, const struct netif *netif) {
    u32_t full = full_bytes(netif, &pcb->remote_ip);
    if (full == 0 || pcb->mss % full != 0 || !on_link(netif, &pcb->remote_ip))
        return;
    u32_t most = LWIP_MIN(segments_bytes_max(netif) / full, SEGMENT_FULL_MAX);
    u32_t wanted = LWIP_MIN(pcb->cwnd / WINDOW_SEGMENTS / full, most) * full;
    if (wanted <= pcb->mss)
        return;
    pcb->mss = (u16_t)wanted;
    tcp_nagle_disable(pcb);
}

err_t segments_received(struct tcp_pcb *pcb, const struct tcp_hdr *header, u16_t options_bytes,
                        u16_t first_bytes, const u8_t *second, const struct pbuf *p) {
    (void)p;
    if (TCPH_FLAGS(header) & TCP_SYN)
        return ERR_OK;
    struct options options = {(const u8_t *)(header + 1), second, first_bytes, options_bytes};
    if (has_mss(&options))
        return ERR_VAL;
    if (pcb->state == ESTABLISHED || pcb->state == CLOSE_WAIT)
        lengthen(pcb, ip_current_input_netif());
    return ERR_OK;
}

/* --- transmission --------------------------------------------------------------------------------
 */

/* lwIP's IP cuts up what is longer than a frame, but for a segment the device does that better:
 * calls of these two functions arrive at the ones below (ld's --wrap). */
err_t __real_ip4_frag(struct pbuf *p, struct netif *netif, const ip4_addr_t *dest);
err_t __real_ip6_frag(struct pbuf *p, struct netif *netif, const ip6_addr_t *dest);
err_t __wrap_ip4_frag(struct pbuf *p, struct netif *netif, const ip4_addr_t *dest);
err_t __wrap_ip6_frag(struct pbuf *p, struct netif *netif, const ip6_addr_t *dest);

err_t __wrap_ip4_frag(struct pbuf *p, struct netif *netif, const ip4_addr_t *dest) {
    const struct ip_hdr *header = p->payload;
    if (IPH_PROTO(header) == IP_PROTO_TCP && segments_bytes_max(netif) > 0)
        return netif->output(netif, p, dest);
    return __real_ip4_frag(p, netif, dest);
}

err_t __wrap_ip6_frag(struct pbuf *p, struct netif *netif, const ip6_addr_t *dest) {
    const struct ip6_hdr *header = p->payload;
    if (IP6H_NEXTH(header) == IP6_NEXTH_TCP && segments_bytes_max(netif) > 0)
        return netif->output_ip6(netif, p, dest);
    return __real_ip6_frag(p, netif, dest);
}
