/* The 8259A interrupt controllers, which nothing uses: moved out of the exceptions' way and masked
 * (Intel 8259A data sheet, ICW1 to ICW4). */
#include "hv/boot/boot.h"

enum { MASTER = 0x20, SLAVE = 0xa0, ICW1_INIT = 0x11, ICW4_8086 = 1, MASK_ALL = 0xff };
enum { ICW3_MASTER = 4, ICW3_SLAVE = 2 }; /* the slave is at pin 2 */

static void set(uint16_t port, uint8_t vector, uint8_t icw3) {
    out8(port, ICW1_INIT);
    out8(port + 1, vector);
    out8(port + 1, icw3);
    out8(port + 1, ICW4_8086);
    out8(port + 1, MASK_ALL);
}

void pic_disable(void) {
    set(MASTER, VECTOR_PIC, ICW3_MASTER);
    set(SLAVE, VECTOR_PIC + 8, ICW3_SLAVE);
}
