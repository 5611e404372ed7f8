#include "mgmt/vmm/emulate.h"

#include <stdio.h>
#include <string.h>

#include "mgmt/vmm/bus.h"
#include "mgmt/vmm/decode.h"
#include "mgmt/vmm/walk.h"

/* Repetitions of one string instruction before events are looked at again. */
#define REPETITIONS_MAX 512u
#define PAGE_BYTES 4096u

static uint64_t mask_of(unsigned bytes) {
    return bytes == 8 ? ~0ull : (1ull << bytes * 8) - 1;
}

/* --- Memory that may be RAM or a device --- */

/* Each vCPU finds its own local APIC at the same address. */
static bool is_own_lapic(const struct vcpu *vcpu, struct gpa gpa) {
    return gpa.value - LAPIC_BASE < LAPIC_BYTES && lapic_in_memory(&vcpu->lapic);
}

static uint64_t read_physical(struct vcpu *vcpu, struct gpa gpa, unsigned bytes) {
    uint64_t value = 0;
    if (ram_read(gpa, &value, bytes))
        return value;
    if (is_own_lapic(vcpu, gpa))
        return lapic_read(&vcpu->lapic, (uint32_t)(gpa.value - LAPIC_BASE));
    return bus_memory_read(gpa.value, bytes);
}

static void write_physical(struct vcpu *vcpu, struct gpa gpa, unsigned bytes, uint64_t value) {
    if (ram_write(gpa, &value, bytes))
        return;
    if (is_own_lapic(vcpu, gpa))
        lapic_write(&vcpu->lapic, (uint32_t)(gpa.value - LAPIC_BASE), (uint32_t)value);
    else
        bus_memory_write(gpa.value, bytes, value);
}

/* --- Registers --- */

static uint64_t get_register(const struct vcpu *vcpu, const struct instruction *in,
                             unsigned bytes) {
    uint64_t value = vcpu->state->general[in->reg];
    return (in->high ? value >> 8 : value) & mask_of(bytes);
}

static void set_register(struct vcpu *vcpu, const struct instruction *in, unsigned bytes,
                         uint64_t value) {
    uint64_t *to = &vcpu->state->general[in->reg];
    if (bytes >= 4)
        *to = value & mask_of(bytes); /* 32 bits clear the upper half */
    else if (in->high)
        *to = (*to & ~0xff00ull) | (value & 0xff) << 8;
    else
        *to = (*to & ~mask_of(bytes)) | (value & mask_of(bytes));
}

static uint64_t operand(const struct vcpu *vcpu, const struct instruction *in) {
    return in->immediate ? in->value & mask_of(in->bytes) : get_register(vcpu, in, in->bytes);
}

/* --- Arithmetic --- */

static uint64_t calculate(struct bh_vcpu_state *state, const struct instruction *in, uint64_t a,
                          uint64_t b) {
    uint64_t mask = mask_of(in->bytes), sign = mask ^ mask >> 1, result;
    uint64_t carry = state->rflags & RFLAGS_CF, flags = 0;
    if (in->operation != OP_ADC && in->operation != OP_SBB)
        carry = 0;
    switch (in->operation) {
    case OP_ADD:
    case OP_ADC:
        result = (a + b + carry) & mask;
        flags |= result < a || (carry && result == a) ? RFLAGS_CF : 0;
        flags |= (a ^ result) & (b ^ result) & sign ? RFLAGS_OF : 0;
        flags |= (a ^ b ^ result) & RFLAGS_AF;
        break;
    case OP_SUB:
    case OP_SBB:
    case OP_CMP:
        result = (a - b - carry) & mask;
        flags |= a < b || (carry && a == b) ? RFLAGS_CF : 0;
        flags |= (a ^ b) & (a ^ result) & sign ? RFLAGS_OF : 0;
        flags |= (a ^ b ^ result) & RFLAGS_AF;
        break;
    case OP_OR:
        result = a | b;
        break;
    case OP_XOR:
        result = a ^ b;
        break;
    default: /* AND, TEST */
        result = a & b;
        break;
    }
    flags |= result == 0 ? RFLAGS_ZF : 0;
    flags |= result & sign ? RFLAGS_SF : 0;
    flags |= __builtin_parity((unsigned)(result & 0xff)) ? 0 : RFLAGS_PF;
    uint64_t all = RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF;
    state->rflags = (state->rflags & ~all) | flags;
    return result;
}

static void do_arithmetic(struct vcpu *vcpu, const struct instruction *in, struct gpa gpa) {
    uint64_t memory = read_physical(vcpu, gpa, in->bytes), other = operand(vcpu, in);
    uint64_t result = in->to_register ? calculate(vcpu->state, in, other, memory)
                                      : calculate(vcpu->state, in, memory, other);
    if (in->operation == OP_CMP || in->operation == OP_TEST)
        return;
    if (in->to_register)
        set_register(vcpu, in, in->bytes, result);
    else
        write_physical(vcpu, gpa, in->bytes, result);
}

/* BT with a register may address far beyond its operand; the exit's address is where it points. */
static void do_bit(struct vcpu *vcpu, const struct instruction *in, struct gpa gpa) {
    uint64_t bit = 1ull << operand(vcpu, in) % (in->bytes * 8u);
    uint64_t old = read_physical(vcpu, gpa, in->bytes), new = old;
    if (in->operation == BIT_SET)
        new |= bit;
    else if (in->operation == BIT_RESET)
        new &= ~bit;
    else if (in->operation == BIT_COMPLEMENT)
        new ^= bit;
    if (in->operation != BIT_TEST)
        write_physical(vcpu, gpa, in->bytes, new);
    vcpu->state->rflags &= ~(uint64_t)RFLAGS_CF;
    vcpu->state->rflags |= old & bit ? RFLAGS_CF : 0;
}

/* --- Operands in the guest's linear memory --- */

/* Where the bytes of one are: they may lie on two pages that are no neighbours. */
struct operand {
    unsigned bytes, first; /* on the first page */
    struct gpa at[2];
};

/* False: a page fault was raised. */
static bool find_page(struct vcpu *vcpu, uint64_t linear, uint32_t access, struct gpa *gpa) {
    uint32_t error = 0;
    if (walk(vcpu, linear, access, gpa, &error))
        return true;
    vcpu_change(vcpu, BH_VCPU_CONTROL)->cr2 = linear;
    vcpu_raise_error(vcpu, EXCEPTION_PF, error);
    return false;
}

/* The same. access: ACCESS_WRITE or 0. */
static bool find_operand(struct vcpu *vcpu, uint64_t linear, unsigned bytes, uint32_t access,
                         struct operand *out) {
    unsigned left = PAGE_BYTES - (unsigned)(linear % PAGE_BYTES);
    out->bytes = bytes;
    out->first = bytes < left ? bytes : left;
    access |= vcpu_privilege(vcpu) == 3 ? ACCESS_USER : 0;
    return find_page(vcpu, linear, access, &out->at[0]) &&
           (bytes <= left || find_page(vcpu, linear + left, access, &out->at[1]));
}

static struct gpa byte_of(const struct operand *o, unsigned i) {
    return i < o->first ? GPA(o->at[0].value + i) : GPA(o->at[1].value + i - o->first);
}

static uint64_t read_operand(struct vcpu *vcpu, const struct operand *o) {
    uint64_t value = 0;
    if (o->first == o->bytes)
        return read_physical(vcpu, o->at[0], o->bytes);
    for (unsigned i = 0; i < o->bytes; i++)
        value |= read_physical(vcpu, byte_of(o, i), 1) << 8 * i;
    return value;
}

static void write_operand(struct vcpu *vcpu, const struct operand *o, uint64_t value) {
    if (o->first == o->bytes)
        write_physical(vcpu, o->at[0], o->bytes, value);
    for (unsigned i = 0; i < o->bytes && o->first != o->bytes; i++)
        write_physical(vcpu, byte_of(o, i), 1, value >> 8 * i & 0xff);
}

/* --- String instructions --- */

static uint64_t string_address(struct vcpu *vcpu, const struct instruction *in,
                               enum general_register reg, unsigned segment) {
    const struct bh_vcpu_state *state = vcpu_look(vcpu, BH_VCPU_SEGMENTS);
    uint64_t address = state->general[reg] & mask_of(in->address_bytes);
    bool flat = vcpu_code_bytes(vcpu) == 8;
    if (!flat || segment == BH_FS || segment == BH_GS)
        address += state->segment[segment].base;
    return flat ? address : address & 0xffffffffu;
}

static void advance(struct vcpu *vcpu, const struct instruction *in, enum general_register reg,
                    uint64_t by) {
    uint64_t *value = &vcpu->state->general[reg], mask = mask_of(in->address_bytes);
    uint64_t next = (*value + by) & mask;
    *value = in->address_bytes == 2 ? (*value & ~mask) | next : next;
}

/* One element. False: a page fault was raised. */
static bool string_step(struct vcpu *vcpu, const struct instruction *in) {
    bool reads = in->kind == INSTRUCTION_MOVS || in->kind == INSTRUCTION_OUTS;
    bool writes = in->kind != INSTRUCTION_OUTS;
    uint64_t value = vcpu->state->general[RAX];
    uint64_t by = vcpu->state->rflags & RFLAGS_DF ? 0 - (uint64_t)in->bytes : in->bytes;
    struct operand from, to;
    if (reads &&
        !find_operand(vcpu, string_address(vcpu, in, RSI, in->segment), in->bytes, 0, &from))
        return false;
    if (writes &&
        !find_operand(vcpu, string_address(vcpu, in, RDI, BH_ES), in->bytes, ACCESS_WRITE, &to))
        return false;
    if (reads)
        value = read_operand(vcpu, &from);
    else if (in->kind == INSTRUCTION_INS)
        value = bus_port_read((uint16_t)in->value, in->bytes);
    if (writes)
        write_operand(vcpu, &to, value);
    else
        bus_port_write((uint16_t)in->value, in->bytes, value);
    if (reads)
        advance(vcpu, in, RSI, by);
    if (writes)
        advance(vcpu, in, RDI, by);
    return true;
}

/* Up to REPETITIONS_MAX elements; the instruction comes again for the rest. */
static void do_string(struct vcpu *vcpu, const struct instruction *in) {
    const uint64_t *count = &vcpu->state->general[RCX], mask = mask_of(in->address_bytes);
    bool more = !in->repeat || *count & mask;
    for (unsigned i = 0; more && i < REPETITIONS_MAX; i++) {
        if (!string_step(vcpu, in))
            return;
        if (in->repeat)
            advance(vcpu, in, RCX, ~0ull);
        more = in->repeat && *count & mask;
    }
    if (!more)
        vcpu_skip(vcpu, in->length);
}

void emulate_port_string(struct vcpu *vcpu) {
    uint64_t q = vcpu->state->qualification;
    /* A segment override of OUTS is not looked at: nobody uses one. */
    struct instruction in = {
        .kind = q & BH_EXIT_PORT_IN ? INSTRUCTION_INS : INSTRUCTION_OUTS,
        .bytes = (uint8_t)BH_EXIT_PORT_WIDTH(q),
        .address_bytes = (uint8_t)BH_EXIT_PORT_ADDRESS_SIZE(q),
        .segment = BH_DS,
        .repeat = q & BH_EXIT_PORT_REP,
        .value = (uint16_t)q,
    };
    if (in.address_bytes == 0) /* the processor does not tell */
        in.address_bytes = (uint8_t)vcpu_code_bytes(vcpu);
    do_string(vcpu, &in);
}

/* --- The exit --- */

static void carry_out(struct vcpu *vcpu, const struct instruction *in, struct gpa gpa) {
    uint64_t value;
    switch (in->kind) {
    case INSTRUCTION_LOAD:
        value = read_physical(vcpu, gpa, in->bytes);
        if (in->sign && value >> (in->bytes * 8 - 1))
            value |= ~mask_of(in->bytes);
        set_register(vcpu, in, in->register_bytes, value);
        break;
    case INSTRUCTION_STORE:
        write_physical(vcpu, gpa, in->bytes, operand(vcpu, in));
        break;
    case INSTRUCTION_EXCHANGE:
        value = read_physical(vcpu, gpa, in->bytes);
        write_physical(vcpu, gpa, in->bytes, get_register(vcpu, in, in->bytes));
        set_register(vcpu, in, in->bytes, value);
        break;
    case INSTRUCTION_ARITHMETIC:
        do_arithmetic(vcpu, in, gpa);
        break;
    case INSTRUCTION_BIT:
        do_bit(vcpu, in, gpa);
        break;
    case INSTRUCTION_STOS:
    case INSTRUCTION_MOVS:
    case INSTRUCTION_INS:
    case INSTRUCTION_OUTS:
        do_string(vcpu, in); /* may come back for more */
        return;
    }
    vcpu_skip(vcpu, in->length);
}

/* Where decode assists give the bytes, they are what the processor has executed. */
static unsigned fetch(struct vcpu *vcpu, uint8_t *code) {
    const struct bh_vcpu_state *state = vcpu->state;
    unsigned count = state->instruction_bytes;
    if (count == 0 || count > INSTRUCTION_BYTES_MAX)
        return walk_fetch(vcpu, code, INSTRUCTION_BYTES_MAX);
    memcpy(code, state->instruction, count);
    return count;
}

static void report_once(const struct vcpu *vcpu, const uint8_t *code, unsigned count) {
    static bool reported;
    if (reported)
        return;
    reported = true;
    char text[3 * INSTRUCTION_BYTES_MAX + 1] = "";
    for (unsigned i = 0; i < count; i++)
        snprintf(text + 3 * i, 4, " %02x", code[i]);
    printf("vmm: instruction%s at %llx on device memory %llx is not known; the guest gets #UD\n",
           text, (unsigned long long)vcpu->state->rip, (unsigned long long)vcpu->state->address);
}

bool emulate_memory_access(struct vcpu *vcpu) {
    const struct bh_vcpu_state *state = vcpu->state;
    if (state->qualification &
        (BH_EXIT_MEMORY_FETCH | BH_EXIT_MEMORY_TABLE | BH_EXIT_MEMORY_DELIVERY))
        return false;
    uint8_t code[INSTRUCTION_BYTES_MAX];
    struct instruction in;
    unsigned count = fetch(vcpu, code);
    if (decode(code, count, vcpu_code_bytes(vcpu), &in)) {
        carry_out(vcpu, &in, GPA(state->address));
        return true;
    }
    report_once(vcpu, code, count);
    vcpu_raise(vcpu, EXCEPTION_UD);
    return true;
}

/* The instructions that exit, without prefixes: how long they are, and their bytes, lowest first,
 * with the bits that do not count. */
static const struct plain {
    uint32_t bytes, code, any;
} plain[BH_EXIT_COUNT] = {
    [BH_EXIT_CPUID] = {2, 0xa20f, 0},       [BH_EXIT_MSR_READ] = {2, 0x320f, 0},
    [BH_EXIT_MSR_WRITE] = {2, 0x300f, 0},   [BH_EXIT_HLT] = {1, 0xf4, 0},
    [BH_EXIT_HYPERCALL] = {3, 0xd9010f, 0}, [BH_EXIT_WBINVD] = {2, 0x090f, 0x0100}, /* and INVD */
    [BH_EXIT_XSETBV] = {3, 0xd1010f, 0},
};

/* Whether the first bytes of the code are the plain instruction of this exit: its length, or 0. */
static unsigned plain_length(uint32_t exit, uint32_t code) {
    if (exit >= BH_EXIT_COUNT || !plain[exit].bytes)
        return 0;
    const struct plain *p = &plain[exit];
    return ((code ^ p->code) & ~p->any) << (32 - 8 * p->bytes) == 0 ? p->bytes : 0;
}

/* The first bytes of the code where it lies above 4 GiB, in one page: only 64-bit code can be
 * there, so the segments, which cost another look into hv, are not asked. That it may be fetched is
 * known: it has been. 0: not so. */
static uint32_t high_code(struct vcpu *vcpu) {
    uint64_t rip = vcpu->state->rip;
    uint32_t error, code;
    struct gpa gpa;
    if (rip >> 32 == 0 || rip % PAGE_BYTES > PAGE_BYTES - sizeof(code) ||
        !walk(vcpu, rip, 0, &gpa, &error))
        return 0;
    const void *at = ram_at(gpa, sizeof(code));
    if (!at)
        return 0;
    memcpy(&code, at, sizeof(code));
    return code;
}

/* Any code: with prefixes an instruction still ends in its plain bytes. Not inlined, so that what
 * is cheap does not save registers for it. */
__attribute__((noinline)) static unsigned find_length(struct vcpu *vcpu) {
    uint8_t code[INSTRUCTION_BYTES_MAX] = {0};
    uint32_t exit = vcpu->state->exit, end = 0;
    unsigned count = walk_fetch(vcpu, code, sizeof(code));
    memcpy(&end, code, sizeof(end));
    unsigned length = plain_length(exit, end); /* nearly always */
    if (length && length <= count)
        return length;
    length = decode_length(code, count, vcpu_code_bytes(vcpu));
    unsigned bytes = exit < BH_EXIT_COUNT ? plain[exit].bytes : 0;
    if (length < bytes)
        return 0;
    end = 0;
    memcpy(&end, code + length - bytes, bytes);
    return plain_length(exit, end) ? length : 0;
}

unsigned emulate_length(struct vcpu *vcpu) {
    unsigned length = plain_length(vcpu->state->exit, high_code(vcpu));
    return length ? length : find_length(vcpu);
}
