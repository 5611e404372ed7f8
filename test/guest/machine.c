/* See machine.h. */
#include "test/guest/machine.h"

enum { MACHINE_OBJECT_PAGES = 16, RAX = 0, RSP = 4 };

/* Descriptor attributes as in abi/vcpu.h. */
enum { DATA = 0x93, CODE = 0x9b, TSS = 0x8b, LDT = 0x82, FLAT_32 = 0xc000, LONG_CODE = 0xa000 };

bh_slot machine_slot(const struct machine *machine, enum machine_slot slot) {
    return MACHINE_SLOT + machine->number * MACHINE_SLOTS + (bh_slot)slot;
}

bh_ref machine_cap(const struct machine *machine, enum machine_slot slot) {
    return OWN(machine_slot(machine, slot));
}

void machines_start(void) {
    if (!boot->vcpu_bytes)
        give_up("no guest mode");
    for (uint32_t i = 0; i < boot->untyped_count; i++) {
        bh_ref untyped = OWN(boot->untyped[i].slot);
        if (boot->untyped[i].kind != BH_KIND_SHARED)
            continue;
        expect_ok(hc_scrub_all(untyped), "scrub");
        expect_ok(hc_retype_all(untyped, BH_TYPE_REGION, MACHINES_MAX, OWN(SHARED_POOL), 0),
                  "state pages");
        return;
    }
    give_up("no shared memory");
}

struct machine machine_make(unsigned number) {
    struct machine m = {.number = number,
                        .state = (void *)(STATE_VA + number * 4096ull),
                        .memory = (void *)(MEMORY_VA + number * 0x100000ull)};
    bh_ref objects = machine_cap(&m, M_OBJECTS), frames = machine_cap(&m, M_FRAMES);
    bh_ref memory = machine_cap(&m, M_MEMORY), guest_memory = machine_cap(&m, M_GUEST_MEMORY);
    bh_ref space = machine_cap(&m, M_SPACE), vcpu = machine_cap(&m, M_VCPU);
    bh_ref state = machine_cap(&m, M_STATE), own_space = OWN(BH_INIT_SPACE);
    uint32_t rw = BH_REGION_READ | BH_REGION_WRITE;
    expect_ok(hc_retype_all(OWN(POOL_OBJECTS), BH_TYPE_UNTYPED, MACHINE_OBJECT_PAGES, objects, 0),
              "objects");
    expect_ok(hc_retype_all(OWN(POOL_FRAMES), BH_TYPE_UNTYPED, MEMORY_PAGES, frames, 0), "frames");
    expect_ok(hc_scrub_all(frames), "scrub");
    expect_ok(hc_retype_all(frames, BH_TYPE_REGION, MEMORY_PAGES, memory, 0), "memory");
    expect_ok(hc_retype_all(objects, BH_TYPE_SPACE, 8, space, BH_SPACE_GUEST), "space");
    expect_ok(hc_retype_all(objects, BH_TYPE_VCPU, 0, vcpu, 0), "vcpu");
    expect_ok(hc_copy(memory, guest_memory, BH_RIGHTS_ALL, 0, 0), "copy");
    expect_ok(hc_copy(OWN(SHARED_POOL), state, BH_RIGHTS_ALL, number, 1), "copy");
    expect_ok(hc_map_all(memory, own_space, (uint64_t)m.memory, rw), "map memory");
    expect_ok(hc_map_all(state, own_space, (uint64_t)m.state, rw), "map state");
    expect_ok(hc_map_all(guest_memory, space, 0, rw | BH_REGION_EXEC), "map guest memory");
    expect_ok(hc_bind(vcpu, BH_BIND_VCPU_SPACE, space), "bind space");
    expect_ok(hc_bind(vcpu, BH_BIND_VCPU_STATE, state), "bind state");
    return m;
}

void machine_destroy(const struct machine *m) {
    bh_ref objects = machine_cap(m, M_OBJECTS), frames = machine_cap(m, M_FRAMES);
    expect_ok(hc_revoke_all(objects), "revoke objects");
    expect_ok(hc_revoke_all(frames), "revoke frames");
    expect_ok(hc_delete_all(machine_cap(m, M_STATE)), "delete state page");
    expect_ok(hc_delete_all(objects), "delete objects");
    expect_ok(hc_delete_all(frames), "delete frames");
}

static void write_guest(struct machine *m, uint64_t gpa, uint64_t value) {
    *machine_64(m, gpa) = value;
}

static void start(struct machine *m, const uint8_t *code, const uint8_t *end, uint32_t limit,
                  uint32_t code_bits, uint32_t data_bits) {
    volatile struct bh_vcpu_state *state = m->state;
    for (unsigned i = 0; i < 4096 / 8; i++)
        ((volatile uint64_t *)state)[i] = 0;
    for (uint64_t gpa = 0; gpa < MEMORY_PAGES * 4096; gpa += 8)
        write_guest(m, gpa, 0);
    for (unsigned i = 0; code + i < end; i++)
        m->memory[CODE_GPA + i] = code[i];
    for (unsigned i = 0; i < 8; i++) {
        state->segment[i].limit = limit;
        state->segment[i].attributes = DATA | data_bits;
    }
    state->segment[BH_CS].attributes = CODE | code_bits;
    state->segment[BH_TR].attributes = TSS;
    state->segment[BH_LDTR].attributes = LDT;
    state->gdtr.limit = state->idtr.limit = 0xffff;
    state->rip = CODE_GPA;
    state->general[RSP] = CODE_GPA;
    state->rflags = 2;
    state->cr0 = 0x60000010;
    state->xcr0 = 1;
    state->dr6 = 0xffff0ff0;
    state->dr7 = 0x400;
    state->pat = 0x0007040600070406ull;
    state->tsc_ratio = 1ull << 32;
    m->groups = BH_VCPU_ALL;
}

void machine_start_16(struct machine *m, const uint8_t *code, const uint8_t *end) {
    start(m, code, end, 0xffff, 0, 0);
}

/* Flat, without paging, nothing in the IDT. */
void machine_start_32(struct machine *m, const uint8_t *code, const uint8_t *end) {
    start(m, code, end, 0xffffffff, FLAT_32, FLAT_32);
    m->state->segment[BH_CS].selector = 8;
    m->state->segment[BH_SS].selector = 16;
    m->state->cr0 = 0x60000011;
    m->state->idtr.limit = 0;
}

void machine_start_64(struct machine *m, const uint8_t *code, const uint8_t *end) {
    start(m, code, end, 0xffffffff, LONG_CODE, FLAT_32);
    write_guest(m, TABLES_GPA, (TABLES_GPA + 0x1000) | 7);
    write_guest(m, TABLES_GPA + 0x1000, (TABLES_GPA + 0x2000) | 7);
    for (uint64_t i = 0; i < 512; i++)
        write_guest(m, TABLES_GPA + 0x2000 + i * 8, i << 21 | 0x87);
    /* The GDT, for what interrupts load: its second descriptor is the code segment. */
    write_guest(m, DATA_GPA + 0x800 + 8, 0x00209b0000000000ull);
    m->state->gdtr.base = DATA_GPA + 0x800;
    m->state->gdtr.limit = 15;
    m->state->segment[BH_CS].selector = 8;
    m->state->idtr.base = IDT_GPA;
    m->state->idtr.limit = 0xfff;
    m->state->cr0 = 0x80000011;
    m->state->cr3 = TABLES_GPA;
    m->state->cr4 = 0x220; /* PAE, OSFXSR */
    m->state->efer = 0x500;
}

void machine_gate_64(struct machine *m, unsigned vector, uint64_t offset) {
    uint64_t handler = CODE_GPA + offset;
    write_guest(m, IDT_GPA + vector * 16, handler | 8 << 16 | 0x8e00ull << 32);
    write_guest(m, IDT_GPA + vector * 16 + 8, 0);
}

void machine_gate_16(struct machine *m, unsigned vector, uint64_t offset) {
    *machine_32(m, vector * 4ull) = (uint32_t)(CODE_GPA + offset);
}

bool machine_exits(struct machine *m, enum bh_exit exit) {
    enum bh_status status =
        hc_vcpu_run(machine_slot(m, M_VCPU), m->groups, now() + boot->tsc_hz, 0, &m->exit);
    m->groups = 0;
    if (status == BH_OK && m->exit == exit && m->state->exit == exit)
        return true;
    say("test: status ");
    say_number(status);
    say(" exit ");
    say_number(m->exit);
    say(" instead of ");
    say_number(exit);
    say(" qualification ");
    say_number(m->state->qualification);
    say(" address ");
    say_number(m->state->address);
    say(" at ");
    say_number(m->state->rip);
    say("\n");
    return false;
}

void machine_skip(struct machine *m, unsigned length) {
    m->state->rip = m->state->next_rip ? m->state->next_rip : m->state->rip + length;
    m->state->interruptibility &= ~BH_VCPU_SHADOW;
}
