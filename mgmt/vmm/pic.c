#include "mgmt/vmm/pic.h"

#define INPUTS 8u
#define CASCADE 2u /* input of the master that the other one drives */
#define SPURIOUS 7u
#define DATA 1u /* register; the other is for commands */

#define ICW1 0x10u
#define ICW1_ICW4 0x01u
#define ICW4_AUTO_EOI 0x02u
#define OCW3 0x08u
#define OCW3_READ 0x02u /* READ | ISR: read ISR next; READ alone: IRR */
#define OCW3_ISR 0x01u
#define OCW2_ROTATE 0x80u
#define OCW2_SPECIFIC 0x40u
#define OCW2_EOI 0x20u
#define ELCR_MASTER 0xf8u /* timer, keyboard and cascade are always edge-triggered */
#define ELCR_SLAVE 0xdeu  /* so are RTC and coprocessor */

void pic_reset(struct pic *pic, void (*changed)(void)) {
    *pic = (struct pic){.chip = {{.imr = 0xff, .priority = 7}, {.imr = 0xff, .priority = 7}},
                        .changed = changed};
}

/* The input of highest priority among `bits`; INPUTS: none. */
static unsigned highest(const struct pic_chip *chip, uint8_t bits) {
    for (unsigned i = 1; i <= INPUTS; i++) {
        unsigned input = (chip->priority + i) % INPUTS;
        if (bits >> input & 1)
            return input;
    }
    return INPUTS;
}

/* How far from the highest priority an input is; INPUTS for none. */
static unsigned rank(const struct pic_chip *chip, unsigned input) {
    return input == INPUTS ? INPUTS : (input - chip->priority - 1u) % INPUTS;
}

/* What the chip asks for; INPUTS: nothing. */
static unsigned request(const struct pic_chip *chip) {
    unsigned input = highest(chip, chip->irr & (uint8_t)~chip->imr);
    return rank(chip, input) < rank(chip, highest(chip, chip->isr)) ? input : INPUTS;
}

static void set_input(struct pic_chip *chip, unsigned input, bool level) {
    uint8_t bit = (uint8_t)(1u << input);
    if (chip->elcr & bit)
        chip->irr = level ? chip->irr | bit : chip->irr & (uint8_t)~bit;
    else if (level && !(chip->lines & bit))
        chip->irr |= bit;
    chip->lines = level ? chip->lines | bit : chip->lines & (uint8_t)~bit;
}

static void cascade(struct pic *pic) {
    struct pic_chip *master = &pic->chip[0];
    uint8_t bit = 1u << CASCADE;
    bool asks = request(&pic->chip[1]) != INPUTS;
    master->irr = asks ? master->irr | bit : master->irr & (uint8_t)~bit;
}

void pic_set(struct pic *pic, unsigned irq, bool level) {
    set_input(&pic->chip[irq / INPUTS], irq % INPUTS, level);
    cascade(pic);
    pic->changed();
}

bool pic_pending(const struct pic *pic) {
    return request(&pic->chip[0]) != INPUTS;
}

static uint8_t acknowledge(struct pic_chip *chip) {
    unsigned input = request(chip);
    if (input == INPUTS)
        return chip->base + SPURIOUS;
    uint8_t bit = (uint8_t)(1u << input);
    if (!(chip->elcr & bit))
        chip->irr &= (uint8_t)~bit;
    if (!chip->auto_eoi)
        chip->isr |= bit;
    return (uint8_t)(chip->base + input);
}

uint8_t pic_acknowledge(struct pic *pic) {
    bool second = request(&pic->chip[0]) == CASCADE;
    uint8_t vector = acknowledge(&pic->chip[0]);
    if (second)
        vector = acknowledge(&pic->chip[1]);
    cascade(pic);
    return vector;
}

uint64_t pic_read(const struct bus_access *a) {
    const struct pic *pic = a->device;
    if (a->offset >= PIC_ELCR)
        return pic->chip[a->offset - PIC_ELCR].elcr;
    const struct pic_chip *c = &pic->chip[a->offset / PIC_SLAVE];
    if (a->offset % PIC_SLAVE == DATA)
        return c->imr;
    return c->read_isr ? c->isr : c->irr;
}

static void initialize(struct pic_chip *chip, uint8_t icw1) {
    *chip = (struct pic_chip){
        .lines = chip->lines, .elcr = chip->elcr, .base = chip->base, .priority = 7};
    chip->irr = chip->lines & chip->elcr;
    chip->icw4 = icw1 & ICW1_ICW4;
    chip->icw = 2;
}

/* OCW2: end of interrupt, priority. */
static void end_of_interrupt(struct pic_chip *chip, uint8_t ocw2) {
    unsigned input = ocw2 & OCW2_SPECIFIC ? ocw2 & 7u : highest(chip, chip->isr);
    if (input == INPUTS)
        return;
    if (ocw2 & OCW2_EOI)
        chip->isr &= (uint8_t) ~(1u << input);
    if (ocw2 & OCW2_ROTATE)
        chip->priority = (uint8_t)input;
}

static void write_command(struct pic_chip *chip, uint8_t value) {
    if (value & ICW1)
        initialize(chip, value);
    else if (!(value & OCW3))
        end_of_interrupt(chip, value);
    else if (value & OCW3_READ)
        chip->read_isr = value & OCW3_ISR;
}

static void write_data(struct pic_chip *chip, uint8_t value) {
    switch (chip->icw) {
    case 2:
        chip->base = value & 0xf8;
        chip->icw = 3;
        break;
    case 3: /* the wiring is fixed */
        chip->icw = chip->icw4 ? 4 : 0;
        break;
    case 4:
        chip->auto_eoi = value & ICW4_AUTO_EOI;
        chip->icw = 0;
        break;
    default:
        chip->imr = value;
        break;
    }
}

void pic_write(const struct bus_access *a) {
    struct pic *pic = a->device;
    uint8_t value = (uint8_t)a->value;
    if (a->offset >= PIC_ELCR)
        pic->chip[a->offset - PIC_ELCR].elcr =
            value & (a->offset > PIC_ELCR ? ELCR_SLAVE : ELCR_MASTER);
    else if (a->offset % PIC_SLAVE == DATA)
        write_data(&pic->chip[a->offset / PIC_SLAVE], value);
    else
        write_command(&pic->chip[a->offset / PIC_SLAVE], value);
    cascade(pic);
    pic->changed();
}

void pic_state(struct state *s, struct pic *pic) {
    state_section(s, "pic");
    for (unsigned i = 0; i < 2; i++) {
        struct pic_chip *chip = &pic->chip[i];
        STATE_SPAN(s, chip, irr, icw);
        STATE_SPAN(s, chip, icw4, read_isr);
        STATE(s, chip->priority);
        state_check(s, chip->priority < INPUTS, "the input of lowest priority is none");
    }
}
