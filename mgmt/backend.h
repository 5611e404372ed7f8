/* The server's side of one queue pair, as the policy role hands it to a back end, and the interface
 * that every back end offers to the domain life cycle. A back end sees queues and a window, never a
 * domain: `name` is for messages only. */
#pragma once

#include "abi/domain.h"
#include "guestlib/queue.h"
#include "mgmt/platform.h"

/* Of an HVM guest's RAM, physically contiguous. */
struct ram_part {
    struct hpa hpa;
    uint64_t bytes;
};
#define CHANNEL_RAM_MAX 10u

struct channel {
    const char *name;                   /* "webd/net0", lives as long as the channel */
    struct bh_queue_header *own;        /* completions, writable */
    const struct bh_queue_header *peer; /* submissions; the client may change them at any time */
    uint32_t own_units, peer_units;
    uint8_t *window; /* mapped here, writable; the client may change it at any time */
    uint64_t window_bytes;
    struct hpa window_hpa; /* the window is physically contiguous */
    /* io='direct': behind window_bytes the offsets go on through the guest's RAM, which is not
     * mapped here: devices reach it, back ends do not. Only a block device has any. */
    struct ram_part ram[CHANNEL_RAM_MAX];
    uint32_t ram_parts;
    bh_slot signal;      /* SIGNAL this to wake the client */
    uint32_t generation; /* published to the client; 1 for the first server */
};

/* Life of a back end's client:
 *
 * X_attach(&channel, settings, &info) gives a handle, or NULL with a status, and fills the class
 * part of bh_device_info.
 *
 * X_service(handle): the client's Event bit was set. Schedules work, bounded, never blocks.
 *
 * X_detach(handle, done, context) stops taking requests, waits for the device to be done with the
 * window (or resets it), then calls done(context), after which the memory may be revoked. done may
 * be called before X_detach returns. */

/* block (mgmt/block/): volumes are opened by name. */
struct block_volume; /* a disk, a partition, or a file of the boot archive */
struct block_client;
struct block_settings {
    char source[128]; /* "disk:0", "partition:NAME" (GPT name), "archive:FILE" */
    bool read_only;
    bool throw_away;            /* writes go to memory and are lost at destroy */
    uint64_t iops_limit;        /* 0: none */
    uint64_t bytes_per_s_limit; /* 0: none */
};
/* NULL and *status: BAD_ARG no such volume, BUSY in use by a writer, NO_MEMORY, AGAIN the disks'
 * partition tables are still being read (see block_when_ready). `error` gets a message. */
struct block_client *block_attach(const struct channel *channel,
                                  const struct block_settings *settings, struct bh_block_info *info,
                                  enum bh_status *status, char *error, size_t error_bytes);
void block_service(struct block_client *client);
void block_detach(struct block_client *client, void (*done)(void *context), void *context);

/* net (mgmt/net/): a port of the learning switch. */
struct net_client;
struct net_settings {
    uint8_t mac[6];
    uint16_t vlan;         /* 0: untagged; else 1..4094, an access port */
    uint32_t ipv4_address; /* network byte order; 0: no IPv4 anti-spoofing */
    uint8_t ipv4_prefix;
    uint32_t ipv4_gateway;
    uint8_t ipv6_address[16]; /* all zero: no IPv6 anti-spoofing */
    uint8_t ipv6_prefix;
    uint64_t bytes_per_s_limit; /* transmit; 0: none */
    uint64_t burst_bytes;
};
struct net_client *net_attach(const struct channel *channel, const struct net_settings *settings,
                              struct bh_net_info *info, enum bh_status *status, char *error,
                              size_t error_bytes);
void net_service(struct net_client *client);
void net_detach(struct net_client *client, void (*done)(void *context), void *context);

/* Statistics, for `info` and tests. */
struct block_statistics {
    uint64_t reads, writes, flushes, read_bytes, written_bytes, errors;
};
struct net_statistics {
    uint64_t transmitted, transmitted_bytes, received, received_bytes, dropped_spoofed,
        dropped_rate, dropped_full;
};
void block_get_statistics(const struct block_client *client, struct block_statistics *out);
void net_get_statistics(const struct net_client *client, struct net_statistics *out);

/* Start-up of the device side, called once each, in this order; a host without the device is no
 * error. */
void pci_start(uint64_t ecam_base, unsigned first_bus,
               unsigned last_bus); /* resets every function first */
void block_start(const uint8_t *archive, size_t archive_bytes);
/* ready(context) is called once, when all partition tables are read or given up (disks have a
 * time-out): at once if that is so already. Attach block devices from then on. After block_start;
 * one waiter. */
void block_when_ready(void (*ready)(void *context), void *context);
void net_start(void);
