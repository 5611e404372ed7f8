/* Kernels that are anything: a bzImage or an ELF file with a PVH note, changed in places, or bytes
 * as they come. A kernel that is loaded begins in RAM, or where its guest faults; one that is not
 * is refused with a reason; and nothing is written but to the guest's RAM. The first byte says
 * which, the second the length that the file has, the rest is {place, value} or the file. */
#include <stdlib.h>
#include <string.h>

#include "mgmt/vmm/loader.h"
#include "test/unit/vmm_guest.h"

#define CHANGE_BYTES 8u
#define FILE_BYTES 8192u

static uint8_t file_bytes[FILE_BYTES];

static void require(bool holds) {
    if (!holds)
        abort();
}

static bool read_file(const struct loader_file *file, uint64_t at, void *to, uint64_t bytes) {
    require(at <= file->bytes && bytes <= file->bytes - at);
    memcpy(to, (const uint8_t *)file->context + at, bytes);
    return true;
}

static void put(unsigned at, uint64_t value, unsigned bytes) {
    memcpy(file_bytes + at, &value, bytes);
}

/* Documentation/arch/x86/boot.rst: one sector of setup. */
static void make_bzimage(void) {
    put(0x1f1, 1, 1);
    put(0x1f4, (FILE_BYTES - 1024) / 16, 4);
    put(0x202, 0x53726448, 4); /* HdrS */
    put(0x206, 0x20f, 2);
    put(0x22c, 0x7fffffff, 4); /* initrd_addr_max */
    put(0x230, 0x100000, 4);   /* kernel_alignment */
    put(0x234, 1, 1);          /* relocatable */
    put(0x236, 3, 2);          /* xloadflags */
    put(0x238, 255, 4);        /* cmdline_size */
    put(0x258, 0x100000, 8);   /* pref_address */
    put(0x260, 0x10000, 4);    /* init_size */
}

/* ELF-64: a header, a segment of notes and one to load. */
static void make_elf(void) {
    memcpy(file_bytes, "\177ELF\2\1\1", 7);
    put(18, 62, 2);
    put(32, 64, 8);
    put(54, 56, 2);
    put(56, 2, 2);
    put(64, 4, 4); /* PT_NOTE */
    put(64 + 8, 0x200, 8);
    put(64 + 32, 20, 8);
    put(64 + 40, 20, 8);
    put(120, 1, 4); /* PT_LOAD */
    put(120 + 8, 0x400, 8);
    put(120 + 24, 0x100000, 8);
    put(120 + 32, 0x100, 8);
    put(120 + 40, 0x1000, 8);
    put(0x200, 4, 4);
    put(0x204, 4, 4);
    put(0x208, 18, 4); /* XEN_ELFNOTE_PHYS32_ENTRY */
    memcpy(file_bytes + 0x20c, "Xen", 4);
    put(0x210, 0x100000, 4);
}

static void change(const uint8_t *data, size_t size) {
    for (; size >= CHANGE_BYTES; data += CHANGE_BYTES, size -= CHANGE_BYTES) {
        unsigned at = (data[0] | (unsigned)data[1] << 8) % (FILE_BYTES - CHANGE_BYTES);
        memcpy(file_bytes + at, data + 2, CHANGE_BYTES - 2);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t initrd_bytes[5000];
    if (size < 2)
        return 0;
    guest_reset();
    memset(file_bytes, 0, sizeof(file_bytes));
    if (data[0] % 3 == 2) {
        memcpy(file_bytes, data + 2, size - 2 < FILE_BYTES ? size - 2 : FILE_BYTES);
    } else {
        if (data[0] % 3 == 0)
            make_bzimage();
        else
            make_elf();
        change(data + 2, size - 2);
    }
    uint64_t bytes = data[1] & 0x80 ? FILE_BYTES : data[1] * 64u;
    struct loader_file kernel = {bytes, read_file, file_bytes, NULL};
    struct loader_file initrd = {data[0] & 0x40 ? sizeof(initrd_bytes) : 0, read_file, initrd_bytes,
                                 NULL};
    struct loader_entry entry;
    const char *wrong = loader_load(&kernel, &initrd, "console=ttyS0", &entry);
    require(!wrong || wrong[0]);
    if (wrong)
        return 0;
    require(entry.gdt.value == LOADER_GDT);
    require(entry.long_mode ? entry.cr3 == LOADER_TABLES && ram_at(GPA(entry.rip), 1) != NULL
                            : entry.cr3 == 0);
    require(strcmp((const char *)guest_ram + LOADER_COMMAND_LINE, "console=ttyS0") == 0);
    return 0;
}
