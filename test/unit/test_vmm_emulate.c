/* Page walks, the decoder and what is done with what it finds. */
#include <string.h>

#include "mgmt/vmm/bus.h"
#include "mgmt/vmm/decode.h"
#include "mgmt/vmm/emulate.h"
#include "mgmt/vmm/walk.h"
#include "unit.h"
#include "vmm_guest.h"

#define DEVICE 0x50000000ull
#define CODE 0x10000u

static uint64_t device_value;
static struct {
    unsigned reads, writes, bytes;
    uint64_t offset, value;
} seen;

static uint64_t on_read(const struct bus_access *access) {
    seen.reads++;
    seen.offset = access->offset;
    seen.bytes = access->bytes;
    return device_value;
}

static void on_write(const struct bus_access *access) {
    seen.writes++;
    seen.offset = access->offset;
    seen.bytes = access->bytes;
    seen.value = access->value;
}

static uint64_t port_value;

static uint64_t port_read(const struct bus_access *access) {
    (void)access;
    return 0xabcd;
}

static void port_write(const struct bus_access *access) {
    port_value = access->value;
}

static int setup(void **state) {
    static struct bus_range port = {
        .base = 0x70, .length = 4, .read = port_read, .write = port_write};
    static struct bus_range range = {
        .base = DEVICE, .length = 4096, .read = on_read, .write = on_write};
    static bool added;
    (void)state;
    if (!added) {
        bus_add_memory(&range);
        bus_add_ports(&port);
    }
    added = true;
    guest_reset();
    guest_long_mode();
    memset(&seen, 0, sizeof(seen));
    device_value = 0;
    return 0;
}

/* Executes `code`, whose access is to DEVICE + 0x10. */
static bool execute(const char *code, unsigned length) {
    memcpy(guest_ram + CODE, code, length);
    guest_state.rip = CODE;
    guest_state.address = DEVICE + 0x10;
    guest_state.event = 0;
    return emulate_memory_access(&guest_vcpu);
}
#define DO(bytes) execute(bytes, sizeof(bytes) - 1)
#define LENGTH_WAS(n) assert_int_equal(guest_state.rip, CODE + (n))

static void loads(void **state) {
    (void)state;
    device_value = 0x8877665544332211;
    guest_state.general[RAX] = guest_state.general[RBX] = ~0ull;
    assert_true(DO("\x8b\x03")); /* mov (%rbx), %eax */
    assert_true(guest_state.general[RAX] == 0x44332211);
    LENGTH_WAS(2);
    assert_true(DO("\x48\x8b\x03"));
    assert_true(guest_state.general[RAX] == 0x8877665544332211);
    guest_state.general[RAX] = ~0ull;
    assert_true(DO("\x8a\x23")); /* mov (%rbx), %ah */
    assert_true(guest_state.general[RAX] == 0xffffffffffff11ff);
    assert_true(DO("\x66\x44\x8b\x4b\x08")); /* mov 8(%rbx), %r9w */
    assert_int_equal(guest_state.general[9], 0x2211);
    device_value = 0x80;
    assert_true(DO("\x0f\xb6\x03")); /* movzbl */
    assert_int_equal(guest_state.general[RAX], 0x80);
    assert_true(DO("\x48\x0f\xbe\x03")); /* movsbq */
    assert_true(guest_state.general[RAX] == 0xffffffffffffff80);
    assert_true(DO("\x0f\xbe\x03")); /* movsbl */
    assert_true(guest_state.general[RAX] == 0xffffff80);
    device_value = 0x80000000;
    assert_true(DO("\x48\x63\x03")); /* movslq */
    assert_true(guest_state.general[RAX] == 0xffffffff80000000);
    assert_int_equal(seen.writes, 0);
}

static void stores(void **state) {
    (void)state;
    guest_state.general[RDX] = 0x1122334455667788;
    assert_true(DO("\x89\x13"));
    assert_true(seen.value == 0x55667788 && seen.bytes == 4 && seen.offset == 0x10);
    assert_true(DO("\x88\x33")); /* mov %dh, (%rbx) */
    assert_true(seen.value == 0x77 && seen.bytes == 1);
    assert_true(DO("\x40\x88\x33")); /* with REX: %sil */
    assert_true(seen.value == 0);
    assert_true(DO("\x48\xc7\x03\xff\xff\xff\xff"));
    assert_true(seen.value == ~0ull && seen.bytes == 8);
    LENGTH_WAS(7);
    assert_true(DO("\x66\xc7\x03\x34\x12"));
    assert_true(seen.value == 0x1234 && seen.bytes == 2);
    assert_int_equal(seen.reads, 0);
}

static void arithmetic(void **state) {
    (void)state;
    device_value = 0xff;
    guest_state.general[RAX] = 0x0f;
    assert_true(DO("\x21\x03")); /* and %eax, (%rbx) */
    assert_int_equal(seen.value, 0x0f);
    assert_true(DO("\x83\x0b\xff")); /* orl $-1, (%rbx) */
    assert_true(seen.value == 0xffffffff);
    assert_true(guest_state.rflags & RFLAGS_SF);
    assert_true(DO("\x80\x03\x01")); /* addb $1, (%rbx) */
    assert_true(seen.value == 0 && (guest_state.rflags & RFLAGS_ZF) &&
                (guest_state.rflags & RFLAGS_CF));
    seen.writes = 0;
    device_value = 0x80000000;
    assert_true(DO("\x3b\x03")); /* cmp (%rbx), %eax */
    assert_true((guest_state.rflags & RFLAGS_CF) && (guest_state.rflags & RFLAGS_OF));
    assert_true(DO("\xf7\x03\x00\x00\x00\x80")); /* testl */
    assert_false(guest_state.rflags & RFLAGS_ZF);
    assert_int_equal(seen.writes, 0);
    assert_true(DO("\x2b\x03")); /* sub (%rbx), %eax */
    assert_true(guest_state.general[RAX] == 0x8000000f);
    assert_true(DO("\xf0\x0f\xba\x2b\x03")); /* lock btsl $3, (%rbx) */
    assert_true(seen.value == 0x80000008 && !(guest_state.rflags & RFLAGS_CF));
    assert_true(DO("\x87\x03")); /* xchg */
    assert_true(seen.value == 0x8000000f && guest_state.general[RAX] == 0x80000000);
}

static void strings(void **state) {
    (void)state;
    guest_state.general[RAX] = 7;
    guest_state.general[RDI] = DEVICE + 0x10;
    guest_state.general[RCX] = 3;
    assert_true(DO("\xf3\xab")); /* rep stosl */
    assert_true(seen.writes == 3 && seen.offset == 0x18 && guest_state.general[RCX] == 0);
    LENGTH_WAS(2);
    guest_state.general[RSI] = 0x20000;
    guest_state.general[RDI] = DEVICE + 0x10;
    guest_ram[0x20000] = 9;
    assert_true(DO("\xa4")); /* movsb, from RAM */
    assert_true(seen.value == 9 && guest_state.general[RSI] == 0x20001);
    guest_state.general[RSI] = DEVICE + 0x10;
    guest_state.general[RDI] = 0x30000;
    guest_state.rflags |= RFLAGS_DF;
    device_value = 0xabcd;
    assert_true(DO("\x66\xa5")); /* movsw, to RAM, downwards */
    assert_true(guest_ram[0x30000] == 0xcd && guest_state.general[RDI] == 0x2fffe);
    guest_state.general[RDI] = 1ull << 40; /* not mapped */
    assert_true(DO("\xa4"));
    assert_int_equal(guest_state.event & 0xff, EXCEPTION_PF);
    assert_true(guest_state.cr2 == 1ull << 40);
    LENGTH_WAS(0);
    guest_state.general[RDI] = DEVICE;
    guest_state.general[RCX] = ~0ull; /* as long as it likes, in pieces */
    assert_true(DO("\xf3\xaa"));
    LENGTH_WAS(0);
}

static void refused(void **state) {
    (void)state;
    assert_true(DO("\x0f\x6f\x03")); /* movq (%rbx), %mm0 */
    assert_int_equal(guest_state.event, BH_EVENT_VALID | BH_EVENT_EXCEPTION | EXCEPTION_UD);
    assert_true(DO("\x0f\xb1\x13")); /* cmpxchg */
    assert_int_equal(guest_state.event & 0xff, EXCEPTION_UD);
    assert_true(DO("\x89\xc3")); /* no memory operand at all */
    assert_int_equal(guest_state.event & 0xff, EXCEPTION_UD);
    guest_state.event = 0;
    guest_state.qualification = BH_EXIT_MEMORY_DELIVERY;
    assert_false(emulate_memory_access(&guest_vcpu));
    guest_state.qualification = BH_EXIT_MEMORY_FETCH;
    assert_false(emulate_memory_access(&guest_vcpu));
    assert_int_equal(seen.reads + seen.writes, 0);
}

/* What waits to be injected says nothing of the access, and goes on waiting. */
static void event_waits(void **state) {
    (void)state;
    assert_true(DO("\x8b\x03")); /* mov (%rbx), %eax */
    guest_state.rip = CODE;
    guest_state.event = BH_EVENT_VALID | 0x20;
    assert_true(emulate_memory_access(&guest_vcpu));
    assert_int_equal(guest_state.event, BH_EVENT_VALID | 0x20);
    assert_int_equal(seen.reads, 2);
}

/* An instruction at the end of a page whose neighbour is not there. */
static void code_at_an_edge(void **state) {
    (void)state;
    uint64_t *tables = (uint64_t *)(void *)(guest_ram + 0x1000);
    tables[512] = 0x3007;
    tables[1024] = 0x4007;
    for (uint64_t i = 0; i < 0x20; i++)
        tables[1536 + i] = i << 12 | 7;
    memcpy(guest_ram + 0x1fffe, "\x8b\x03", 2);
    guest_state.rip = 0x1fffe;
    guest_state.address = DEVICE;
    assert_true(emulate_memory_access(&guest_vcpu));
    assert_int_equal(seen.reads, 1);
    memcpy(guest_ram + 0x1ffff, "\x8b", 1);
    guest_state.rip = 0x1ffff;
    assert_true(emulate_memory_access(&guest_vcpu));
    assert_int_equal(guest_state.event & 0xff, EXCEPTION_UD);
}

/* The pages 0x20 to 0x2f of the guest's memory as small ones; the one at `linear` lies at `gpa`. */
static void map_small(uint64_t linear, uint64_t gpa, uint64_t flags) {
    uint64_t *tables = (uint64_t *)(void *)(guest_ram + 0x1000);
    tables[512] = 0x3007;
    tables[1024] = 0x4007;
    for (uint64_t i = 0x10; i < 0x30; i++)
        tables[1536 + i] = i << 12 | 7;
    tables[1536 + (linear >> 12)] = gpa | flags;
}

/* A word whose halves lie on pages that are no neighbours in memory: what lies behind the first one
 * is somebody else's. */
static void strings_across_pages(void **state) {
    (void)state;
    map_small(0x21000, 0x28000, 7);
    memcpy(guest_ram + 0x20fff, "\x11", 1);
    memcpy(guest_ram + 0x21000, "\x99", 1);
    memcpy(guest_ram + 0x28000, "\x22", 1);
    guest_state.qualification = 0x70 | BH_EXIT_PORT_STRING | 2u << 24 | 8u << 28;
    guest_state.next_rip = CODE + 2;
    guest_state.general[RSI] = 0x20fff;
    emulate_port_string(&guest_vcpu);
    assert_int_equal(port_value, 0x2211);
    guest_state.qualification |= BH_EXIT_PORT_IN;
    guest_state.general[RDI] = 0x20fff;
    emulate_port_string(&guest_vcpu);
    assert_int_equal(guest_ram[0x20fff], 0xcd);
    assert_int_equal(guest_ram[0x28000], 0xab);
    assert_int_equal(guest_ram[0x21000], 0x99);

    guest_state.qualification = 0x70 | BH_EXIT_PORT_STRING | 4u << 24 | 8u << 28;
    memcpy(guest_ram + 0x28000, "\x22\x33\x44\x55", 4);
    for (unsigned first = 1; first < 4; first++) { /* so many bytes on the first page */
        memcpy(guest_ram + 0x20ffd, "\x0d\x0e\x0f", 3);
        guest_state.general[RSI] = 0x21000 - first;
        emulate_port_string(&guest_vcpu);
        static const uint32_t expected[] = {0, 0x4433220f, 0x33220f0e, 0x220f0e0d};
        assert_int_equal(port_value, expected[first]);
    }
    guest_ram[0x20fff] = 0xcd;

    memcpy(guest_ram + CODE, "\x66\xa5", 2); /* MOVSW: the device is behind the second page */
    guest_state.rip = CODE;
    guest_state.qualification = 0;
    guest_state.general[RSI] = 0x22000;
    guest_state.general[RDI] = 0x20fff;
    map_small(0x21000, 0, 0);
    assert_true(emulate_memory_access(&guest_vcpu));
    assert_int_equal(guest_state.event & 0xff, EXCEPTION_PF);
    assert_int_equal(guest_state.cr2, 0x21000);
    assert_int_equal(guest_ram[0x20fff], 0xcd); /* nothing of it is done */
    assert_int_equal(guest_state.general[RSI], 0x22000);
}

/* Memory that the host made of two pieces is one to the guest. */
static void memory_of_pieces(void **state) {
    (void)state;
    struct bh_guest_ram pieces[] = {{0, 0x100000, (uint64_t)guest_ram},
                                    {0x100000, 0x100000, (uint64_t)guest_ram + 0x100000},
                                    {0x300000, 0x100000, (uint64_t)guest_ram + 0x200000}};
    ram_init(pieces, 3);
    assert_int_equal(ram_ranges(), 2);
    assert_ptr_equal(ram_at(GPA(0xff000), 0x2000), guest_ram + 0xff000);
    assert_null(ram_at(GPA(0x1ff000), 0x2000));
    assert_null(ram_at(GPA(0x200000), 1));
    assert_ptr_equal(ram_at(GPA(0x300000), 0x100000), guest_ram + 0x200000);
    assert_null(ram_at(GPA(0x300000), ~0ull));
}

static void walks(void **state) {
    (void)state;
    struct gpa gpa;
    uint32_t error;
    assert_true(walk(&guest_vcpu, 0x40123456, ACCESS_WRITE | ACCESS_USER, &gpa, &error));
    assert_true(gpa.value == 0x40123456);
    assert_false(walk(&guest_vcpu, 0x80000000, 0, &gpa, &error));
    assert_int_equal(error, 0);
    uint64_t *tables = (uint64_t *)(void *)(guest_ram + 0x1000);
    tables[512] = 0x85 | 1ull << 63;                               /* read-only, no execution */
    assert_true(walk(&guest_vcpu, 0, ACCESS_WRITE, &gpa, &error)); /* WP is clear */
    assert_false(walk(&guest_vcpu, 0, ACCESS_WRITE | ACCESS_USER, &gpa, &error));
    assert_int_equal(error, ACCESS_WRITE | ACCESS_USER | 1);
    guest_state.efer |= EFER_NXE;
    assert_false(walk(&guest_vcpu, 0, ACCESS_FETCH, &gpa, &error));
    tables[1] = 0x1007; /* a table that is its own */
    assert_true(walk(&guest_vcpu, 0x8000000000 | 0x1000, 0, &gpa, &error) || error == 0);
    tables[0] = 0xfffffffff000 | 7; /* a table where no RAM is */
    assert_false(walk(&guest_vcpu, 0, 0, &gpa, &error));
    guest_state.efer = 0; /* PAE */
    guest_state.cr3 = 0x1000;
    tables[3] = 0x2001;
    tables[512] = 0x87;
    assert_true(walk(&guest_vcpu, 0xc0012345, ACCESS_USER, &gpa, &error));
    assert_true(gpa.value == 0x12345);
    guest_state.cr4 = CR4_PSE; /* 32 bits, with a page of 4 MiB */
    ((uint32_t *)(void *)(guest_ram + 0x1000))[1] = 0x00800000 | 0x2000 | 0x87;
    assert_true(walk(&guest_vcpu, 0x00712345, 0, &gpa, &error));
    assert_true(gpa.value == 0x100b12345);
    guest_state.cr0 &= ~(uint64_t)CR0_PG;
    assert_true(walk(&guest_vcpu, 0xffff1234, 0, &gpa, &error) && gpa.value == 0xffff1234);
}

static void lengths(void **state) {
    (void)state;
    assert_int_equal(decode_length((const uint8_t *)"\x0f\xa2", 2, 8), 2);
    assert_int_equal(decode_length((const uint8_t *)"\xf4", 1, 2), 1);
    assert_int_equal(decode_length((const uint8_t *)"\x0f", 1, 8), 0);
    assert_int_equal(decode_length(NULL, 0, 8), 0);
}

static unsigned length_at(uint64_t rip, uint32_t exit, const char *code, unsigned bytes) {
    memcpy(guest_ram + rip % GUEST_RAM_BYTES, code, bytes);
    guest_state.rip = rip;
    guest_state.exit = exit;
    guest_vcpu.fresh = 0;
    return emulate_length(&guest_vcpu);
}
#define LENGTH(rip, exit, code) length_at(rip, exit, code, sizeof(code) - 1)

/* Of the instruction that exited: with and without prefixes, below and above 4 GiB. */
static void lengths_of_exits(void **state) {
    (void)state;
    uint64_t *tables = (uint64_t *)(void *)(guest_ram + 0x1000);
    tables[1] = tables[0]; /* the first 512 GiB again */
    uint64_t high = 0x8000000000 | CODE;
    assert_int_equal(LENGTH(high, BH_EXIT_CPUID, "\x0f\xa2"), 2);
    assert_int_equal(guest_vcpu.fresh & BH_VCPU_SEGMENTS, 0);
    assert_int_equal(LENGTH(high, BH_EXIT_HLT, "\xf4\xff"), 1);
    assert_int_equal(LENGTH(high, BH_EXIT_XSETBV, "\x0f\x01\xd1"), 3);
    assert_int_equal(LENGTH(high, BH_EXIT_CPUID, "\x66\x48\x0f\xa2"), 4);
    assert_int_equal(LENGTH(high, BH_EXIT_MSR_READ, "\x0f\xa2"), 0); /* rewritten meanwhile */
    assert_int_equal(LENGTH(high, BH_EXIT_CPUID, "\x66\x48\x0f\x32"), 0);
    assert_int_equal(LENGTH(high, BH_EXIT_CPUID, "\x90\x0f\xa2"), 0);
    assert_int_equal(LENGTH(high, BH_EXIT_XSETBV, "\xd1\xd1\xd1"), 0);
    assert_int_equal(LENGTH(CODE, BH_EXIT_HLT, "\x06"), 0); /* no instruction in 64-bit code */
    assert_int_equal(LENGTH(CODE, BH_EXIT_MSR_WRITE, "\x0f\x30"), 2);
    assert_int_equal(LENGTH(CODE, BH_EXIT_WBINVD, "\x0f\x08"), 2); /* INVD */
    assert_int_equal(LENGTH(CODE, BH_EXIT_WBINVD, "\x67\x0f\x09"), 3);
    uint64_t edge = (high & ~0xfffull) + 0xfff;
    assert_int_equal(LENGTH(edge, BH_EXIT_CPUID, "\x0f\xa2"), 2);
    tables[512] = 0; /* unmapped meanwhile */
    assert_int_equal(LENGTH(high, BH_EXIT_CPUID, "\x0f\xa2"), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(loads, setup),
        cmocka_unit_test_setup(stores, setup),
        cmocka_unit_test_setup(arithmetic, setup),
        cmocka_unit_test_setup(strings, setup),
        cmocka_unit_test_setup(refused, setup),
        cmocka_unit_test_setup(event_waits, setup),
        cmocka_unit_test_setup(code_at_an_edge, setup),
        cmocka_unit_test_setup(walks, setup),
        cmocka_unit_test(lengths),
        cmocka_unit_test_setup(lengths_of_exits, setup),
        cmocka_unit_test_setup(strings_across_pages, setup),
        cmocka_unit_test_setup(memory_of_pieces, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
