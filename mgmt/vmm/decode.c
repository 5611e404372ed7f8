#include "mgmt/vmm/decode.h"

#include <stddef.h>

#include <Zydis/Zydis.h>

#include "abi/vcpu.h"

/* What prefixes say. */
struct prefixes {
    bool operand_size, address_size, rep, rex;
    uint8_t segment;
    bool wide;                 /* REX.W */
    uint8_t reg_high, rm_high; /* REX.R, REX.B: 0 or 8 */
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

static struct prefixes read_prefixes(const ZydisDecodedInstruction *in) {
    struct prefixes p = {.segment = BH_DS};
    for (unsigned i = 0; i < in->raw.prefix_count; i++) {
        uint8_t value = in->raw.prefixes[i].value;
        switch (value) {
        case 0x66:
            p.operand_size = true;
            break;
        case 0x67:
            p.address_size = true;
            break;
        case 0xf2:
        case 0xf3:
            p.rep = true;
            break;
        case 0x2e:
            p.segment = BH_CS;
            break;
        case 0x36:
            p.segment = BH_SS;
            break;
        case 0x3e:
            p.segment = BH_DS;
            break;
        case 0x26:
            p.segment = BH_ES;
            break;
        case 0x64:
            p.segment = BH_FS;
            break;
        case 0x65:
            p.segment = BH_GS;
            break;
        default: /* LOCK: one VMM, one access at a time; REX: below */
            break;
        }
        if (in->raw.prefixes[i].type == ZYDIS_PREFIX_TYPE_EFFECTIVE && (value & 0xf0) == 0x40 &&
            in->machine_mode == ZYDIS_MACHINE_MODE_LONG_64) {
            p.rex = true;
            p.wide = value & 8;
            p.reg_high = value & 4 ? 8 : 0;
            p.rm_high = value & 1 ? 8 : 0;
        }
    }
    return p;
}

/* The register operand of `bytes` width named by ModRM.reg. */
static void name_register(struct instruction *out, const ZydisDecodedInstruction *in,
                          const struct prefixes *p, unsigned bytes) {
    out->reg = (uint8_t)(in->raw.modrm.reg | p->reg_high);
    if (bytes == 1 && !p->rex && out->reg >= 4) {
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

static bool decode_one_byte(struct instruction *out, const ZydisDecodedInstruction *in,
                            const struct prefixes *p, unsigned full) {
    uint8_t op = in->opcode;
    unsigned width = op & 1 ? full : 1;
    out->bytes = out->register_bytes = (uint8_t)width;
    if (op < 0x40 && (op & 7) < 4) { /* ADD .. CMP: r/m, r and r, r/m */
        out->kind = INSTRUCTION_ARITHMETIC;
        out->operation = op >> 3;
        out->to_register = op & 2;
        name_register(out, in, p, width);
        return true;
    }
    switch (op) {
    case 0x80:
    case 0x81:
    case 0x83: /* ADD .. CMP: r/m, immediate */
        out->kind = INSTRUCTION_ARITHMETIC;
        out->operation = in->raw.modrm.reg;
        take_immediate(out, in);
        return true;
    case 0x84:
    case 0x85:
        out->kind = INSTRUCTION_ARITHMETIC;
        out->operation = OP_TEST;
        name_register(out, in, p, width);
        return true;
    case 0xf6:
    case 0xf7:
        out->kind = INSTRUCTION_ARITHMETIC;
        out->operation = OP_TEST;
        take_immediate(out, in);
        return in->raw.modrm.reg <= 1;
    case 0x86:
    case 0x87:
        out->kind = INSTRUCTION_EXCHANGE;
        name_register(out, in, p, width);
        return true;
    case 0x88:
    case 0x89:
        out->kind = INSTRUCTION_STORE;
        name_register(out, in, p, width);
        return true;
    case 0x8a:
    case 0x8b:
        out->kind = INSTRUCTION_LOAD;
        name_register(out, in, p, width);
        return true;
    case 0xa0:
    case 0xa1:
    case 0xa2:
    case 0xa3: /* MOV accumulator, address */
        out->kind = op < 0xa2 ? INSTRUCTION_LOAD : INSTRUCTION_STORE;
        return true;
    case 0xa4:
    case 0xa5:
        out->kind = INSTRUCTION_MOVS;
        return true;
    case 0xaa:
    case 0xab:
        out->kind = INSTRUCTION_STOS;
        return true;
    case 0xc6:
    case 0xc7:
        out->kind = INSTRUCTION_STORE;
        take_immediate(out, in);
        return in->raw.modrm.reg == 0;
    case 0x63: /* MOVSXD */
        out->kind = INSTRUCTION_LOAD;
        out->bytes = full < 4 ? 2 : 4;
        out->register_bytes = (uint8_t)full;
        out->sign = true;
        name_register(out, in, p, full);
        return in->machine_mode == ZYDIS_MACHINE_MODE_LONG_64;
    default:
        return false;
    }
}

static bool decode_two_bytes(struct instruction *out, const ZydisDecodedInstruction *in,
                             const struct prefixes *p, unsigned full) {
    uint8_t op = in->opcode;
    out->bytes = out->register_bytes = (uint8_t)full;
    name_register(out, in, p, full);
    switch (op) {
    case 0xb6:
    case 0xb7:
    case 0xbe:
    case 0xbf: /* MOVZX, MOVSX */
        out->kind = INSTRUCTION_LOAD;
        out->bytes = op & 1 ? 2 : 1;
        out->sign = op & 8;
        return true;
    case 0xa3:
    case 0xab:
    case 0xb3:
    case 0xbb: /* BT, BTS, BTR, BTC: r/m, r */
        out->kind = INSTRUCTION_BIT;
        out->operation = op >> 3 & 3;
        return true;
    case 0xba:
        out->kind = INSTRUCTION_BIT;
        out->operation = in->raw.modrm.reg & 3;
        take_immediate(out, in);
        return in->raw.modrm.reg >= 4;
    default:
        return false;
    }
}

bool decode(const uint8_t *code, unsigned count, unsigned code_bytes, struct instruction *out) {
    ZydisDecodedInstruction in;
    if (!find(code, count, code_bytes, &in) || in.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY)
        return false;
    struct prefixes p = read_prefixes(&in);
    unsigned full = p.wide ? 8 : ((code_bytes == 2) != p.operand_size ? 2 : 4);
    unsigned address =
        code_bytes == 8 ? (p.address_size ? 4 : 8) : ((code_bytes == 2) != p.address_size ? 2 : 4);
    *out = (struct instruction){
        .length = in.length,
        .segment = p.segment,
        .repeat = p.rep,
        .address_bytes = (uint8_t)address,
    };
    if (in.raw.modrm.offset && in.raw.modrm.mod == 3)
        return false; /* has no memory operand */
    if (in.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT)
        return decode_one_byte(out, &in, &p, full);
    return in.opcode_map == ZYDIS_OPCODE_MAP_0F && decode_two_bytes(out, &in, &p, full);
}

unsigned decode_length(const uint8_t *code, unsigned count, unsigned code_bytes) {
    ZydisDecodedInstruction in;
    return find(code, count, code_bytes, &in) ? in.length : 0;
}
