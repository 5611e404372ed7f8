#include "mgmt/vmm/decode.h"

#include <stddef.h>

#include <Zydis/Zydis.h>

#include "abi/vcpu.h"

/* What an instruction names beside its operand in memory. NOTHING: the accumulator, if it needs it.
 */
enum other { NOTHING, REGISTER, IMMEDIATE };
/* Bytes of the operand in memory. FULL: as prefixes say; of two, bit 0 of the opcode chooses. */
enum width { ONE_OR_FULL, ONE_OR_TWO, UP_TO_FOUR, FULL };

#define SECOND_MAP 0x100u /* of opcodes: those after 0F */
#define ANY 0xffu
#define NUMBERED 0u /* by ModRM.reg where there is an immediate, else by the opcode */

/* Opcodes that are the same but for the bits outside `mask`: SDM 2, appendix A.2. */
static const struct form {
    uint16_t opcode, mask;
    uint8_t kind, other, width;
    uint8_t reg; /* the values of ModRM.reg that are meant, a bit each */
    uint8_t operation;
} forms[] = {
    {0x000, 0x1c4, INSTRUCTION_ARITHMETIC, REGISTER, ONE_OR_FULL, ANY, NUMBERED}, /* ADD .. CMP */
    {0x063, 0x1ff, INSTRUCTION_LOAD, REGISTER, UP_TO_FOUR, ANY, 0},               /* MOVSXD */
    {0x080, 0x1fe, INSTRUCTION_ARITHMETIC, IMMEDIATE, ONE_OR_FULL, ANY, NUMBERED},
    {0x083, 0x1ff, INSTRUCTION_ARITHMETIC, IMMEDIATE, ONE_OR_FULL, ANY, NUMBERED},
    {0x084, 0x1fe, INSTRUCTION_ARITHMETIC, REGISTER, ONE_OR_FULL, ANY, OP_TEST},
    {0x086, 0x1fe, INSTRUCTION_EXCHANGE, REGISTER, ONE_OR_FULL, ANY, 0},
    {0x088, 0x1fe, INSTRUCTION_STORE, REGISTER, ONE_OR_FULL, ANY, 0},
    {0x08a, 0x1fe, INSTRUCTION_LOAD, REGISTER, ONE_OR_FULL, ANY, 0},
    {0x0a0, 0x1fe, INSTRUCTION_LOAD, NOTHING, ONE_OR_FULL, ANY, 0},
    {0x0a2, 0x1fe, INSTRUCTION_STORE, NOTHING, ONE_OR_FULL, ANY, 0},
    {0x0a4, 0x1fe, INSTRUCTION_MOVS, NOTHING, ONE_OR_FULL, ANY, 0},
    {0x0aa, 0x1fe, INSTRUCTION_STOS, NOTHING, ONE_OR_FULL, ANY, 0},
    {0x0c6, 0x1fe, INSTRUCTION_STORE, IMMEDIATE, ONE_OR_FULL, 0x01, 0},
    {0x0f6, 0x1fe, INSTRUCTION_ARITHMETIC, IMMEDIATE, ONE_OR_FULL, 0x03, OP_TEST},
    {0x1a3, 0x1e7, INSTRUCTION_BIT, REGISTER, FULL, ANY, NUMBERED}, /* BT .. BTC */
    {0x1ba, 0x1ff, INSTRUCTION_BIT, IMMEDIATE, FULL, 0xf0, NUMBERED},
    {0x1b6, 0x1f6, INSTRUCTION_LOAD, REGISTER, ONE_OR_TWO, ANY, 0}, /* MOVZX, MOVSX */
};

static bool find(const uint8_t *code, unsigned count, unsigned code_bytes,
                 ZydisDecodedInstruction *out) {
    ZydisDecoder decoder;
    ZydisMachineMode mode = code_bytes == 8   ? ZYDIS_MACHINE_MODE_LONG_64
                            : code_bytes == 4 ? ZYDIS_MACHINE_MODE_LEGACY_32
                                              : ZYDIS_MACHINE_MODE_LEGACY_16;
    ZydisStackWidth width = code_bytes == 8   ? ZYDIS_STACK_WIDTH_64
                            : code_bytes == 4 ? ZYDIS_STACK_WIDTH_32
                                              : ZYDIS_STACK_WIDTH_16;
    return ZYAN_SUCCESS(ZydisDecoderInit(&decoder, mode, width)) && count > 0 &&
           ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, NULL, code, count, out));
}

/* NULL: not known. */
static const struct form *form_of(const ZydisDecodedInstruction *in) {
    unsigned opcode = in->opcode;
    if (in->opcode_map == ZYDIS_OPCODE_MAP_0F)
        opcode |= SECOND_MAP;
    else if (in->opcode_map != ZYDIS_OPCODE_MAP_DEFAULT)
        return NULL;
    for (unsigned i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
        if ((opcode & forms[i].mask) == forms[i].opcode)
            return forms[i].reg >> in->raw.modrm.reg & 1 ? &forms[i] : NULL;
    return NULL;
}

/* REX and the sizes are in in->attributes; LOCK: one VMM, one access at a time. */
static void take_prefixes(struct instruction *out, const ZydisDecodedInstruction *in) {
    static const uint8_t segment[] = {[BH_ES] = 0x26, [BH_CS] = 0x2e, [BH_SS] = 0x36,
                                      [BH_DS] = 0x3e, [BH_FS] = 0x64, [BH_GS] = 0x65};
    out->segment = BH_DS;
    for (unsigned i = 0; i < in->raw.prefix_count; i++) {
        uint8_t value = in->raw.prefixes[i].value;
        out->repeat |= value == 0xf2 || value == 0xf3;
        for (size_t s = 0; s < sizeof(segment); s++)
            if (segment[s] == value)
                out->segment = (uint8_t)s;
    }
}

/* The register that ModRM.reg names. */
static void take_register(struct instruction *out, const ZydisDecodedInstruction *in) {
    out->reg = (uint8_t)(in->raw.modrm.reg | in->raw.rex.R << 3);
    if (out->register_bytes == 1 && !(in->attributes & ZYDIS_ATTRIB_HAS_REX) && out->reg >= 4) {
        out->reg -= 4;
        out->high = true;
    }
}

static void take_immediate(struct instruction *out, const ZydisDecodedInstruction *in) {
    unsigned bits = in->raw.imm[0].size;
    uint64_t value = in->raw.imm[0].value.u;
    if (bits && bits < 64) /* all of these extend the sign */
        value = (uint64_t)((int64_t)(value << (64 - bits)) >> (64 - bits));
    out->immediate = true;
    out->value = value;
}

/* full: of an operand in this mode, by its prefixes. */
static void take_width(struct instruction *out, const struct form *form, uint8_t op, uint8_t full) {
    bool odd = op & 1;
    out->bytes = out->register_bytes = full;
    if (form->width == ONE_OR_FULL && !odd)
        out->bytes = out->register_bytes = 1;
    else if (form->width == ONE_OR_TWO)
        out->bytes = odd ? 2 : 1;
    else if (form->width == UP_TO_FOUR && full > 4)
        out->bytes = 4;
    out->sign = form->width == UP_TO_FOUR || (form->width == ONE_OR_TWO && op & 8);
}

/* What an operand or an address is without REX.W: `other` says that a prefix makes it the other. */
static uint8_t two_or_four(unsigned code_bytes, bool other) {
    return (code_bytes == 2) != other ? 2 : 4;
}

bool decode(const uint8_t *code, unsigned count, unsigned code_bytes, struct instruction *out) {
    ZydisDecodedInstruction in;
    if (!find(code, count, code_bytes, &in) || in.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY ||
        (in.raw.modrm.offset && in.raw.modrm.mod == 3))
        return false; /* not known, or has no memory operand */
    const struct form *form = form_of(&in);
    if (!form || (form->width == UP_TO_FOUR && code_bytes != 8))
        return false; /* before 64-bit mode MOVSXD was another instruction */
    bool address_size = in.attributes & ZYDIS_ATTRIB_HAS_ADDRESSSIZE;
    bool operand_size = in.attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE;
    *out = (struct instruction){
        .kind = form->kind,
        .length = in.length,
        .to_register = form->other == REGISTER && in.opcode & 2,
        .address_bytes =
            code_bytes == 8 ? (address_size ? 4 : 8) : two_or_four(code_bytes, address_size),
    };
    take_prefixes(out, &in);
    take_width(out, form, in.opcode, in.raw.rex.W ? 8 : two_or_four(code_bytes, operand_size));
    if (form->other == REGISTER)
        take_register(out, &in);
    else if (form->other == IMMEDIATE)
        take_immediate(out, &in);
    unsigned number = form->other == IMMEDIATE ? in.raw.modrm.reg : in.opcode >> 3;
    out->operation = form->operation == NUMBERED
                         ? (uint8_t)(number & (form->kind == INSTRUCTION_BIT ? 3 : 7))
                         : form->operation;
    return true;
}

unsigned decode_length(const uint8_t *code, unsigned count, unsigned code_bytes) {
    ZydisDecodedInstruction in;
    return find(code, count, code_bytes, &in) ? in.length : 0;
}
