/* The pair of 8259A interrupt controllers. Reference: Intel 8259A data sheet; ICH9 data sheet, 13.4
 * (ELCR). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "mgmt/vmm/bus.h"
#include "mgmt/vmm/state.h"

/* Registers: each chip's command and data, then the ELCR of both. */
enum { PIC_MASTER = 0, PIC_SLAVE = 2, PIC_ELCR = 4 };

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
    void (*changed)(void);
};

void pic_reset(struct pic *pic, void (*changed)(void));
void pic_state(struct state *s, struct pic *pic);
/* irq: 0..15. What it asks for may change by this, and by a write: `changed` is called. */
void pic_set(struct pic *pic, unsigned irq, bool level);
/* Whether it asks for an interrupt. */
bool pic_pending(const struct pic *pic);
/* The interrupt acknowledge cycle: the vector. */
uint8_t pic_acknowledge(struct pic *pic);

uint64_t pic_read(const struct bus_access *access);
void pic_write(const struct bus_access *access);
