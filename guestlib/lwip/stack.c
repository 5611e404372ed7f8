/* lwIP on the network front end. What lwIP sends is collected in a queue and leaves at the end of
 * the turn, when segments that follow each other can leave as one long frame. */
#include "guestlib/lwip/stack.h"

#include <stdlib.h>
#include <string.h>

#include "guestlib/guest.h"
#include "guestlib/loop.h"
#include "guestlib/lwip/hooks.h"
#include "guestlib/lwip/offload.h"
#include "guestlib/lwip/segments.h"
#include "guestlib/net_front.h"
#include "guestlib/random.h"
#include "guestlib/tsc.h"
#include "lwip/dhcp.h"
#include "lwip/etharp.h"
#include "lwip/ethip6.h"
#include "lwip/init.h"
#include "lwip/ip6_addr.h"
#include "lwip/mld6.h"
#include "lwip/sys.h"
#include "lwip/timeouts.h"
#include "netif/ethernet.h"

#define QUEUE_MAX 512u /* a power of two; two full windows of segments */
#define PIECES_MAX 128u

struct stack {
    struct netif netif;
    struct net_front *net;
    u16_t checksum_flags; /* NETIF_CHECKSUM_*: what lwIP does itself */
    uint32_t queue_head, queue_tail;
    struct pbuf *queue[QUEUE_MAX];
    struct loop_work work;
};

/* A frame on its way out. */
struct gather {
    struct net_piece pieces[PIECES_MAX];
    unsigned count;
    size_t bytes;
    struct offload_tcp tcp;
};

static struct loop_timer timer;

u32_t sys_now(void) {
    return (u32_t)(loop_now_ns() / 1000000);
}

u32_t stack_rand(void) {
    return (u32_t)random_u64();
}

/* RFC 6528: a clock that ticks every 4 us plus a secret function of the connection. */
u32_t stack_isn(const ip_addr_t *local, u16_t local_port, const ip_addr_t *remote,
                u16_t remote_port) {
    struct {
        ip6_addr_t local, remote;
        u16_t local_port, remote_port, kind, zero;
    } connection;
    memset(&connection, 0, sizeof connection); /* padding is hashed too */
    connection.kind = IP_GET_TYPE(local);
    if (IP_IS_V6(local)) {
        connection.local = *ip_2_ip6(local);
        connection.remote = *ip_2_ip6(remote);
    } else {
        connection.local.addr[0] = ip_2_ip4(local)->addr;
        connection.remote.addr[0] = ip_2_ip4(remote)->addr;
    }
    connection.local_port = local_port;
    connection.remote_port = remote_port;
    return (u32_t)random_hash(&connection, sizeof connection) + (u32_t)(loop_now_ns() / 4000);
}

/* --- timers --------------------------------------------------------------------------------------
 */

static void run_timeouts(void *unused);

/* After everything that may have changed lwIP's timeouts. */
static void set_timer(void) {
    u32_t ms = sys_timeouts_sleeptime();
    if (ms == SYS_TIMEOUTS_SLEEPTIME_INFINITE)
        loop_timer_cancel(&timer);
    else
        loop_timer_set(&timer, loop_now_ns() + ms * 1000000ull, run_timeouts, NULL);
}

static void run_timeouts(void *unused) {
    (void)unused;
    sys_check_timeouts();
    set_timer();
}

/* --- transmission --------------------------------------------------------------------------------
 */

/* lwIP gives a frame away. Data that may change after this call returns is copied, the rest is held
 * by a reference: lwIP does not touch a segment that somebody else holds. */
static err_t link_output(struct netif *netif, struct pbuf *p) {
    struct stack *stack = netif->state;
    if (stack->queue_tail - stack->queue_head == QUEUE_MAX)
        return ERR_MEM;
    bool copy = pbuf_clen(p) >= PIECES_MAX;
    for (const struct pbuf *q = p; q; q = q->next)
        copy = copy || PBUF_NEEDS_COPY(q);
    if (copy) {
        p = pbuf_clone(PBUF_RAW, PBUF_RAM, p);
        if (!p)
            return ERR_MEM;
    } else {
        pbuf_ref(p);
    }
    stack->queue[stack->queue_tail++ % QUEUE_MAX] = p;
    loop_post(&stack->work);
    return ERR_OK;
}

/* Adds a frame from offset `at` on. False: too many pieces, or the frame would grow too long. */
static bool gather_add(struct gather *gather, const struct pbuf *p, size_t at, size_t bytes_max) {
    unsigned count = gather->count;
    if (gather->bytes + p->tot_len - at > bytes_max)
        return false;
    for (const struct pbuf *q = p; q; q = q->next) {
        if (at >= q->len) {
            at -= q->len;
            continue;
        }
        if (count == PIECES_MAX)
            return false;
        gather->pieces[count++] = (struct net_piece){(const uint8_t *)q->payload + at, q->len - at};
        gather->bytes += q->len - at;
        at = 0;
    }
    gather->count = count;
    return true;
}

static bool parse_tcp(const struct stack *stack, const struct pbuf *p, struct offload_tcp *tcp) {
    uint8_t start[OFFLOAD_HEADER_BYTES_MAX];
    if (stack->checksum_flags & NETIF_CHECKSUM_GEN_TCP)
        return false; /* the device can do nothing for us */
    u16_t bytes = pbuf_copy_partial(p, start, sizeof start, 0);
    return offload_parse(start, bytes, p->tot_len, stack->netif.mtu, tcp);
}

static bool cuts_frames(const struct stack *stack) {
    const uint32_t needed = BH_NET_FEATURE_GSO | BH_NET_FEATURE_CHECKSUM;
    return (net_front_info(stack->net)->features & needed) == needed;
}

uint32_t segments_bytes_max(const struct netif *netif) {
    const struct stack *stack = netif->state;
    size_t bytes = net_front_frame_bytes_max(stack->net);
    if (!cuts_frames(stack) || bytes < OFFLOAD_HEADER_BYTES_MAX)
        return 0;
    return (uint32_t)bytes - OFFLOAD_HEADER_BYTES_MAX;
}

/* Collects the first frame of the queue and all that can leave with it; returns how many. */
static uint32_t collect(struct stack *stack, struct gather *gather,
                        struct bh_net_offload *offload) {
    const struct pbuf *p = stack->queue[stack->queue_head % QUEUE_MAX];
    size_t bytes_max = net_front_frame_bytes_max(stack->net);
    struct offload_tcp last;
    gather->count = 0;
    gather->bytes = 0;
    *offload = (struct bh_net_offload){0};
    if (!parse_tcp(stack, p, &gather->tcp)) {
        gather_add(gather, p, 0, SIZE_MAX);
        return 1;
    }
    gather->pieces[gather->count++] =
        (struct net_piece){gather->tcp.header, gather->tcp.header_bytes};
    gather->bytes = gather->tcp.header_bytes;
    gather_add(gather, p, gather->tcp.header_bytes, SIZE_MAX);
    last = gather->tcp;
    uint32_t frames = 1, payload = gather->tcp.payload_bytes;
    while (cuts_frames(stack) && stack->queue_head + frames != stack->queue_tail) {
        struct offload_tcp next;
        p = stack->queue[(stack->queue_head + frames) % QUEUE_MAX];
        if (!parse_tcp(stack, p, &next) || !offload_follows(&gather->tcp, payload, &next) ||
            !gather_add(gather, p, next.header_bytes, bytes_max))
            break;
        payload += next.payload_bytes;
        last = next;
        frames++;
    }
    *offload = offload_finish(&gather->tcp, payload, &last);
    return frames;
}

static void flush(void *context) {
    struct stack *stack = context;
    while (stack->queue_head != stack->queue_tail) {
        struct gather gather;
        struct bh_net_offload offload;
        uint32_t frames = collect(stack, &gather, &offload);
        if (!net_front_transmit(stack->net, gather.pieces, gather.count, offload))
            break; /* `room` calls again */
        while (frames-- > 0)
            pbuf_free(stack->queue[stack->queue_head++ % QUEUE_MAX]);
    }
}

static void turn_end(void *context) {
    flush(context);
    set_timer();
}

/* --- reception -----------------------------------------------------------------------------------
 */

static void receive(void *context, const struct net_frame *frame) {
    struct stack *stack = context;
    if (frame->bytes > UINT16_MAX)
        return; /* lwIP counts in 16 bits */
    struct pbuf *p = pbuf_alloc(PBUF_RAW, (u16_t)frame->bytes, PBUF_RAM);
    if (!p)
        return; /* as on any network: lost */
    net_frame_read(frame, 0, p->payload, frame->bytes);
    u16_t flags = stack->checksum_flags;
    if (frame->flags & (BH_NET_NEEDS_CHECKSUM | BH_NET_CHECKSUM_GOOD))
        flags &= (u16_t) ~(NETIF_CHECKSUM_CHECK_TCP | NETIF_CHECKSUM_CHECK_UDP);
    NETIF_SET_CHECKSUM_CTRL(&stack->netif, flags);
    if (stack->netif.input(p, &stack->netif) != ERR_OK)
        pbuf_free(p);
    loop_post(&stack->work);
}

/* --- start-up ------------------------------------------------------------------------------------
 */

static err_t init_netif(struct netif *netif) {
    struct stack *stack = netif->state;
    const struct bh_net_info *info = net_front_info(stack->net);
    netif->name[0] = 'b';
    netif->name[1] = 'h';
    netif->mtu = info->mtu;
    netif->hwaddr_len = sizeof info->mac;
    memcpy(netif->hwaddr, info->mac, sizeof info->mac);
    netif->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET | NETIF_FLAG_MLD6;
    netif->output = etharp_output;
    netif->output_ip6 = ethip6_output;
    netif->linkoutput = link_output;
    netif_set_hostname(netif, guest_domain()->name);
    stack->checksum_flags = NETIF_CHECKSUM_ENABLE_ALL;
    if (info->features & BH_NET_FEATURE_CHECKSUM)
        stack->checksum_flags &= (u16_t)~NETIF_CHECKSUM_GEN_TCP;
    NETIF_SET_CHECKSUM_CTRL(netif, stack->checksum_flags);
    return ERR_OK;
}

static u32_t netmask(unsigned prefix) {
    return prefix == 0 ? 0 : PP_HTONL(0xffffffffu << (32 - prefix));
}

static void configure(struct netif *netif, const struct bh_net_info *info) {
    static const uint8_t none[sizeof info->ipv6_address];
    netif_create_ip6_linklocal_address(netif, 1);
    if (memcmp(info->ipv6_address, none, sizeof none) == 0) {
        netif_set_ip6_autoconfig_enabled(netif, 1);
    } else {
        ip6_addr_t address = {0};
        memcpy(address.addr, info->ipv6_address, sizeof none);
        netif_ip6_addr_set(netif, 1, &address);
        netif_ip6_addr_set_state(netif, 1, IP6_ADDR_TENTATIVE);
    }
    if (info->ipv4_address == 0)
        dhcp_start(netif);
}

struct netif *stack_open(unsigned index) {
    static bool initialised;
    if (!initialised) {
        lwip_init();
        initialised = true;
    }
    struct stack *stack = calloc(1, sizeof *stack);
    if (!stack)
        return NULL;
    stack->work.handler = turn_end;
    stack->work.context = stack;
    stack->net = net_front_open(
        index, &(struct net_handlers){.receive = receive, .room = flush, .context = stack});
    if (!stack->net) {
        free(stack);
        return NULL;
    }
    const struct bh_net_info *info = net_front_info(stack->net);
    ip4_addr_t address = {info->ipv4_address}, mask = {netmask(info->ipv4_prefix)},
               gateway = {info->ipv4_gateway};
    netif_add(&stack->netif, &address, &mask, &gateway, stack, init_netif, ethernet_input);
    if (!netif_default)
        netif_set_default(&stack->netif);
    netif_set_link_up(&stack->netif);
    netif_set_up(&stack->netif);
    configure(&stack->netif, info);
    set_timer();
    return &stack->netif;
}
