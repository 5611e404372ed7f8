/* What an instruction that touched device memory wants: Zydis finds its parts, this file says what
 * they mean. Only what compilers and kernels use on device memory is known; all else is refused,
 * never guessed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define INSTRUCTION_BYTES_MAX 15u

enum instruction_kind {
    INSTRUCTION_LOAD,     /* register = memory, extended to register_bytes */
    INSTRUCTION_STORE,    /* memory = register or immediate */
    INSTRUCTION_EXCHANGE, /* XCHG */
    INSTRUCTION_STOS,
    INSTRUCTION_MOVS,
    INSTRUCTION_INS, /* these two exit for their port, and are not decoded; value: the port */
    INSTRUCTION_OUTS,
    INSTRUCTION_ARITHMETIC, /* see operation; to_register: the result goes there, else to memory */
    INSTRUCTION_BIT,        /* see bit_operation */
};

/* Numbered as in bits 3..5 of their opcodes; TEST is AND that stores nothing. */
enum arithmetic { OP_ADD, OP_OR, OP_ADC, OP_SBB, OP_AND, OP_SUB, OP_XOR, OP_CMP, OP_TEST };
/* Numbered as in the opcode's bits 3..4. */
enum bit_operation { BIT_TEST, BIT_SET, BIT_RESET, BIT_COMPLEMENT };

struct instruction {
    enum instruction_kind kind;
    uint8_t length;
    uint8_t bytes;          /* of memory accessed at a time */
    uint8_t register_bytes; /* what a load fills */
    uint8_t reg;            /* index in general[]; in a byte operation see high */
    bool high;              /* AH, CH, DH, BH: bits 8..15 of general[reg] */
    bool sign;              /* a load extends the sign */
    bool immediate;         /* instead of the register */
    bool to_register;
    bool repeat;           /* REP */
    uint8_t address_bytes; /* of string instructions' registers */
    uint8_t segment;       /* enum bh_segment_index, of a string instruction's source */
    uint8_t operation;
    uint64_t value; /* the immediate, extended to 64 bits */
};

/* code_bytes: 2, 4 or 8, the mode. False: not known, or not all there. */
bool decode(const uint8_t *code, unsigned count, unsigned code_bytes, struct instruction *out);

/* The length alone, of any instruction that Zydis knows; 0: not known. */
unsigned decode_length(const uint8_t *code, unsigned count, unsigned code_bytes);
