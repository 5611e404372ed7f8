/* The pair of 8259A interrupt controllers. Reference: Intel 8259A data sheet; ICH9 data sheet, 13.4
 * (ELCR). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "mgmt/vmm/state.h"

struct pic {
    struct pic_chip {
        uint8_t irr, isr, imr, lines, elcr;
        uint8_t base;     /* ICW2: vector of its first input */
        uint8_t icw;      /* which initialization word comes next; 0: none */
        bool icw4;        /* one will come */
        bool auto_eoi;    /* ICW4 */
        bool read_isr;    /* OCW3: the command port reads ISR instead of IRR */
        uint8_t priority; /* the input of lowest priority: 7 unless rotated */
    } chip[2];            /* 0: master, with the second one at input 2 */
};

void pic_reset(struct pic *pic);
void pic_state(struct state *s, struct pic *pic);
/* irq: 0..15 */
void pic_set(struct pic *pic, unsigned irq, bool level);
/* Whether it asks for an interrupt. */
bool pic_pending(const struct pic *pic);
/* The interrupt acknowledge cycle: the vector. */
uint8_t pic_acknowledge(struct pic *pic);

/* Ports: 0x20, 0x21 (chip 0), 0xa0, 0xa1 (chip 1): which = 0 command, 1 data. */
uint8_t pic_read(struct pic *pic, unsigned chip, unsigned which);
void pic_write(struct pic *pic, unsigned chip, unsigned which, uint8_t value);
/* ELCR of a chip, ports 0x4d0 and 0x4d1. */
void pic_write_elcr(struct pic *pic, unsigned chip, uint8_t value);
