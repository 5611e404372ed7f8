/* Handmade frames for the net tests: append bytes, then look at them. */
#pragma once

#include <stdint.h>
#include <string.h>

struct bytes {
    uint8_t data[2048];
    uint32_t count;
};

static inline void put(struct bytes *b, const void *data, uint32_t count) {
    memcpy(b->data + b->count, data, count);
    b->count += count;
}

static inline void put8(struct bytes *b, uint8_t value) {
    put(b, &value, 1);
}

static inline void put16(struct bytes *b, unsigned value) {
    put8(b, (uint8_t)(value >> 8));
    put8(b, (uint8_t)value);
}

static inline void put32(struct bytes *b, uint32_t value) {
    put16(b, value >> 16);
    put16(b, value & 0xffff);
}

static inline void put_zeroes(struct bytes *b, uint32_t count) {
    memset(b->data + b->count, 0, count);
    b->count += count;
}

static inline void put_ethernet(struct bytes *b, const uint8_t *to, const uint8_t *from,
                                unsigned type) {
    b->count = 0;
    put(b, to, 6);
    put(b, from, 6);
    put16(b, type);
}

/* Payload bytes are what follows the header. fragment: the flags-and-offset word. */
static inline void put_ipv4(struct bytes *b, const uint8_t *from, uint8_t protocol,
                            unsigned payload, unsigned fragment) {
    put8(b, 0x45);
    put8(b, 0);
    put16(b, 20 + payload);
    put16(b, 1);
    put16(b, fragment);
    put8(b, 64);
    put8(b, protocol);
    put16(b, 0);
    put(b, from, 4);
    put32(b, 0x0a000001);
}

static inline void put_ipv6(struct bytes *b, const uint8_t *from, uint8_t next, unsigned payload) {
    put32(b, 0x60000000);
    put16(b, payload);
    put8(b, next);
    put8(b, 255);
    put(b, from, 16);
    put_zeroes(b, 16);
}

static inline void put_udp(struct bytes *b, unsigned from, unsigned to, unsigned payload) {
    put16(b, from);
    put16(b, to);
    put16(b, 8 + payload);
    put16(b, 0);
    put_zeroes(b, payload);
}

static inline void put_tcp(struct bytes *b, unsigned payload) {
    put32(b, 0x00500051);
    put_zeroes(b, 8);
    put16(b, 0x5010);
    put_zeroes(b, 6 + payload);
}

static inline void put_arp(struct bytes *b, unsigned operation, const uint8_t *mac,
                           const uint8_t *ip) {
    put32(b, 0x00010800);
    put16(b, 0x0604);
    put16(b, operation);
    put(b, mac, 6);
    put(b, ip, 4);
    put_zeroes(b, 10);
}
