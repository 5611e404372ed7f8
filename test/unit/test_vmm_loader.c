/* Kernels, whole and broken. */
#include <string.h>

#include "mgmt/vmm/loader.h"
#include "unit.h"
#include "vmm_guest.h"

static uint8_t kernel_bytes[64 << 10], initrd_bytes[5000];

static bool read_memory(const struct loader_file *file, uint64_t at, void *to, uint64_t bytes) {
    assert_true(at <= file->bytes && bytes <= file->bytes - at);
    memcpy(to, (const uint8_t *)file->context + at, bytes);
    return true;
}

static bool read_nothing(const struct loader_file *file, uint64_t at, void *to, uint64_t bytes) {
    (void)file, (void)at, (void)to, (void)bytes;
    return false;
}

static struct loader_file kernel, initrd;
static struct loader_entry entry;

static void put(unsigned at, uint64_t value, unsigned bytes) {
    memcpy(kernel_bytes + at, &value, bytes);
}

/* A bzImage with one sector of setup and 3 KiB behind it. */
static int bzimage(void **state) {
    (void)state;
    guest_reset();
    memset(kernel_bytes, 0, sizeof(kernel_bytes));
    put(0x1f1, 1, 1);
    put(0x1f4, 3072 / 16, 4);
    put(0x202, 0x53726448, 4);
    put(0x206, 0x20f, 2);
    put(0x22c, 0x7fffffff, 4);
    put(0x230, 0x100000, 4);
    put(0x234, 1, 1);
    put(0x236, 3, 2);
    put(0x238, 255, 4);
    put(0x258, 0x100000, 8);
    put(0x260, 0x10000, 4);
    put(1024, 0xfeedface, 4);
    kernel = (struct loader_file){1024 + 3072, read_memory, kernel_bytes, NULL};
    memset(initrd_bytes, 0xee, sizeof(initrd_bytes));
    initrd = (struct loader_file){sizeof(initrd_bytes), read_memory, initrd_bytes, NULL};
    return 0;
}

static const char *load(void) {
    return loader_load(&kernel, &initrd, "console=ttyS0", &entry);
}

static void bzimage_is_loaded(void **state) {
    (void)state;
    assert_null(load());
    assert_true(entry.long_mode && entry.rip == 0x100200 && entry.rsi == LOADER_PARAMETERS);
    assert_memory_equal(guest_ram + 0x100000, kernel_bytes + 1024, 3072);
    const uint8_t *parameters = guest_ram + LOADER_PARAMETERS;
    uint32_t initrd_at, count = parameters[0x1e8], type;
    memcpy(&initrd_at, parameters + 0x218, 4);
    assert_int_equal(initrd_at, GUEST_RAM_BYTES - 8192);
    assert_memory_equal(guest_ram + initrd_at, initrd_bytes, sizeof(initrd_bytes));
    assert_string_equal((char *)guest_ram + LOADER_COMMAND_LINE, "console=ttyS0");
    assert_int_equal(count, 4); /* low, tables, high, ECAM */
    memcpy(&type, parameters + 0x2d0 + 20 + 16, 4);
    assert_int_equal(type, 2);
    uint64_t large;
    memcpy(&large, guest_ram + LOADER_TABLES + 0x2000 + 8, 8);
    assert_int_equal(large, 0x200083);
}

/* Without an entry for 64-bit mode: an i386 kernel, entered where it begins. */
static void bzimage_of_32_bits(void **state) {
    (void)state;
    put(0x236, 0, 2);
    put(0x22c, 0x2fffff, 4); /* the initrd no higher than that */
    assert_null(load());
    assert_true(!entry.long_mode && entry.rip == 0x100000 && entry.rsi == LOADER_PARAMETERS);
    uint32_t initrd_at;
    memcpy(&initrd_at, guest_ram + LOADER_PARAMETERS + 0x218, 4);
    assert_int_equal(initrd_at, 0x300000 - 8192);
    uint64_t code;
    memcpy(&code, guest_ram + LOADER_GDT + 16, 8);
    assert_true(code == 0x00cf9b000000ffff);
}

static void expect_refused(unsigned at, uint64_t value, unsigned bytes) {
    uint64_t old = 0;
    memcpy(&old, kernel_bytes + at, bytes);
    put(at, value, bytes);
    assert_non_null(load());
    put(at, old, bytes);
    assert_null(load());
}

static void broken_bzimages(void **state) {
    (void)state;
    expect_refused(0x202, 0, 4);
    expect_refused(0x206, 0x20b, 2);
    expect_refused(0x1f1, 255, 1);        /* all setup */
    expect_refused(0x1f4, 0xffffffff, 4); /* longer than the file */
    expect_refused(0x260, 0xffffffff, 4); /* wants more memory than there is */
    expect_refused(0x238, 5, 4);          /* a short command line */
    uint64_t bytes = kernel.bytes;
    for (kernel.bytes = 0; kernel.bytes < bytes - 16; kernel.bytes++)
        assert_non_null(load());
    kernel.bytes = bytes;
    put(0x258, ~0ull, 8); /* prefers where nothing is: moved */
    assert_null(load());
    put(0x230, 3, 4); /* no power of two */
    assert_non_null(load());
    kernel.read = read_nothing;
    assert_non_null(load());
}

static void initrds(void **state) {
    (void)state;
    initrd.bytes = GUEST_RAM_BYTES;
    assert_non_null(load());
    initrd.bytes = ~0ull;
    assert_non_null(load());
    initrd.bytes = 0;
    assert_null(load());
    initrd = (struct loader_file){10, read_nothing, NULL, NULL};
    assert_non_null(load());
}

/* An ELF file: header, two segments (note, code), the note, the code. */
static int elf(void **state) {
    bzimage(state);
    memset(kernel_bytes, 0, sizeof(kernel_bytes));
    memcpy(kernel_bytes, "\177ELF\2\1\1", 7);
    put(18, 62, 2);
    put(32, 64, 8);
    put(54, 56, 2);
    put(56, 2, 2);
    put(64, 4, 4);
    put(64 + 8, 0x200, 8);
    put(64 + 32, 20, 8);
    put(120, 1, 4);
    put(120 + 8, 0x400, 8);
    put(120 + 24, 0x100000, 8);
    put(120 + 32, 0x100, 8);
    put(120 + 40, 0x1000, 8);
    put(0x200, 4, 4);
    put(0x204, 4, 4);
    put(0x208, 18, 4);
    memcpy(kernel_bytes + 0x20c, "Xen", 4);
    put(0x210, 0x100010, 4);
    memset(kernel_bytes + 0x400, 0x90, 0x100);
    kernel.bytes = 0x500;
    return 0;
}

static void elf_is_loaded(void **state) {
    (void)state;
    memset(guest_ram + 0x100000, 1, 0x1000);
    assert_null(load());
    assert_true(!entry.long_mode && entry.rip == 0x100010 && entry.rbx == LOADER_PARAMETERS);
    assert_true(guest_ram[0x1000ff] == 0x90 && guest_ram[0x100100] == 0 &&
                guest_ram[0x100fff] == 0);
    uint32_t magic;
    memcpy(&magic, guest_ram + LOADER_PARAMETERS, 4);
    assert_int_equal(magic, 0x336ec578);
}

static void broken_elfs(void **state) {
    (void)state;
    expect_refused(4, 1, 1);      /* 32 bits */
    expect_refused(18, 3, 2);     /* another machine */
    expect_refused(32, ~0ull, 8); /* segments beyond the file */
    expect_refused(54, 32, 2);
    expect_refused(56, 0xffff, 2);
    expect_refused(72, ~0ull - 4, 8);      /* a note beyond it */
    expect_refused(96, 0x10000, 8);        /* a long one */
    expect_refused(128, 0x500, 8);         /* a segment beyond it */
    expect_refused(144, 0, 8);             /* at 0 */
    expect_refused(144, ~0ull - 0x800, 8); /* at the end */
    expect_refused(160, 1, 8);             /* smaller in memory */
    expect_refused(160, ~0ull, 8);
    expect_refused(0x200, 0xffffffff, 4);
    expect_refused(0x204, 0xfffffffc, 4);
    expect_refused(0x208, 1, 4);
    uint64_t bytes = kernel.bytes;
    for (kernel.bytes = 0; kernel.bytes < bytes; kernel.bytes++)
        assert_non_null(load());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(bzimage_is_loaded, bzimage),
        cmocka_unit_test_setup(bzimage_of_32_bits, bzimage),
        cmocka_unit_test_setup(broken_bzimages, bzimage),
        cmocka_unit_test_setup(initrds, bzimage),
        cmocka_unit_test_setup(elf_is_loaded, elf),
        cmocka_unit_test_setup(broken_elfs, elf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
