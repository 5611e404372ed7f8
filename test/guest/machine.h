/* Virtual machines of one Vcpu and 64 KiB for the programs in init's place. Guests are a few
 * instructions of position-independent code, which run at CODE_GPA. */
#pragma once

#include "abi/vcpu.h"
#include "test/guest/harness.h"

#define OWN(slot) BH_REF(BH_INIT_TABLE, slot)

/* name, name_end: code of a guest. bits: 16, 32, 64. */
#define GUEST(name, bits, text)                                                                    \
    __asm__(".pushsection .rodata\n.code" #bits "\n" #name ":\n" text "\n" #name                   \
            "_end:\n.code64\n.popsection");                                                        \
    extern const uint8_t name[], name##_end[];

/* Guest-physical addresses. Below CODE_GPA: interrupt vectors and stack. */
#define CODE_GPA 0x1000ull
#define TABLES_GPA 0x4000ull /* long mode: the first GiB one to one, and its IDT */
#define IDT_GPA 0x7000ull
#define DATA_GPA 0x8000ull
#define MEMORY_PAGES 16u
#define NOTHING_GPA 0x10000000ull /* no memory there */

#define MEMORY_VA 0x50000000ull /* where init sees guest memory; a MiB for each machine */
#define STATE_VA 0x60000000ull  /* and the state pages */
#define MACHINES_MAX 64u

enum { SHARED_POOL = 2990, MACHINE_SLOT = 3000, MACHINE_SLOTS = 16 };
enum machine_slot { M_OBJECTS, M_FRAMES, M_MEMORY, M_GUEST_MEMORY, M_SPACE, M_VCPU, M_STATE };

struct machine {
    unsigned number;
    volatile struct bh_vcpu_state *state;
    volatile uint8_t *memory;
    uint32_t groups; /* to be loaded by the next run */
    uint64_t exit;   /* of the last run */
};

/* Guest memory, in words. */
static inline volatile uint64_t *machine_64(const struct machine *machine, uint64_t gpa) {
    return (volatile uint64_t *)((uint64_t)machine->memory + gpa);
}
static inline volatile uint32_t *machine_32(const struct machine *machine, uint64_t gpa) {
    return (volatile uint32_t *)((uint64_t)machine->memory + gpa);
}

void machines_start(void); /* once; gives up if there is no guest mode */
struct machine machine_make(unsigned number);
void machine_destroy(const struct machine *machine);
bh_ref machine_cap(const struct machine *machine, enum machine_slot slot);
bh_slot machine_slot(const struct machine *machine, enum machine_slot slot);

/* The state after INIT, but CS:RIP at the code, and a stack below it. */
#define START(machine, bits, guest) machine_start_##bits(machine, guest, guest##_end)
void machine_start_16(struct machine *machine, const uint8_t *code, const uint8_t *end);
void machine_start_32(struct machine *machine, const uint8_t *code, const uint8_t *end);
void machine_start_64(struct machine *machine, const uint8_t *code, const uint8_t *end);
/* A gate of the IDT in long mode, or a vector in real mode, to an offset in the code. */
void machine_gate_64(struct machine *machine, unsigned vector, uint64_t offset);
void machine_gate_16(struct machine *machine, unsigned vector, uint64_t offset);

/* Enters it, for a second at most. False if another exit came; then it says which. */
bool machine_exits(struct machine *machine, enum bh_exit exit);
/* The instruction at RIP has been done; its length where the processor does not tell. */
void machine_skip(struct machine *machine, unsigned length);
