/* An ELF file with a PVH note, which names the address where it is entered in 32-bit protected mode
 * with EBX pointing to hvm_start_info (Xen, public/arch-x86/hvm/start_info.h). */
#include <string.h>

#include "mgmt/vmm/acpi.h"
#include "mgmt/vmm/loader.h"

#define SEGMENTS_MAX 32u
#define NOTES_BYTES_MAX 4096u
#define FLOOR 0x100000ull

/* ELF-64 object file format, 1.5: headers. */
struct elf_header {
    uint8_t identity[16];
    uint16_t type, machine;
    uint32_t version;
    uint64_t entry, segments_at, sections_at;
    uint32_t flags;
    uint16_t header_bytes, segment_bytes, segments, section_bytes, sections, names;
};
struct elf_segment {
    uint32_t type, flags;
    uint64_t offset, va, address, file_bytes, memory_bytes, alignment;
};
enum { IDENTITY_CLASS = 4, CLASS_64 = 2, MACHINE_X86_64 = 62, SEGMENT_LOAD = 1, SEGMENT_NOTE = 4 };
struct elf_note {
    uint32_t name_bytes, body_bytes, type;
};
#define NOTE_PHYS32_ENTRY 18u

#define START_MAGIC 0x336ec578u
struct start_info {
    uint32_t magic, version, flags, modules;
    uint64_t modules_at, command_line, rsdp, map_at;
    uint32_t map_entries, reserved;
};
struct start_module {
    uint64_t address, bytes, command_line, reserved;
};

static bool in_file(const struct loader_file *file, uint64_t at, uint64_t bytes) {
    return at <= file->bytes && bytes <= file->bytes - at;
}

static const char *load_segment(const struct loader_file *kernel, const struct elf_segment *s,
                                uint64_t *end) {
    if (s->file_bytes > s->memory_bytes || !in_file(kernel, s->offset, s->file_bytes))
        return "a segment of the kernel lies outside its file; put the whole file into the boot "
               "archive";
    if (s->memory_bytes == 0)
        return NULL;
    uint8_t *to = ram_at(GPA(s->address), s->memory_bytes);
    if (!to || s->address < FLOOR)
        return "the kernel does not fit into the guest's memory, or wants the lowest MiB; raise "
               "<memory>";
    if (s->file_bytes && !kernel->read(kernel, s->offset, to, s->file_bytes))
        return "the kernel cannot be read";
    memset(to + s->file_bytes, 0, s->memory_bytes - s->file_bytes);
    if (s->address + s->memory_bytes > *end)
        *end = s->address + s->memory_bytes;
    return NULL;
}

/* The entry point in a segment of notes; 0: not there. */
static uint32_t find_entry(const struct loader_file *kernel, const struct elf_segment *s) {
    uint8_t notes[NOTES_BYTES_MAX];
    if (s->file_bytes > sizeof(notes) || !in_file(kernel, s->offset, s->file_bytes) ||
        !kernel->read(kernel, s->offset, notes, s->file_bytes))
        return 0;
    uint64_t at = 0;
    struct elf_note note;
    while (s->file_bytes - at >= sizeof(note)) {
        memcpy(&note, notes + at, sizeof(note));
        uint64_t body = at + sizeof(note) + ((note.name_bytes + 3ull) & ~3ull);
        uint64_t next = body + ((note.body_bytes + 3ull) & ~3ull);
        if (next > s->file_bytes)
            return 0;
        uint32_t entry;
        if (note.type == NOTE_PHYS32_ENTRY && note.name_bytes == 4 && note.body_bytes >= 4 &&
            memcmp(notes + at + sizeof(note), "Xen", 4) == 0) {
            memcpy(&entry, notes + body, sizeof(entry));
            return entry;
        }
        at = next;
    }
    return 0;
}

/* hvm_start_info, then the module, then the memory map. */
static bool put_start_info(struct gpa initrd_at, uint64_t initrd_bytes) {
    struct {
        struct start_info info;
        struct start_module module;
        struct loader_map map[LOADER_MAP_MAX];
    } start = {
        .info = {.magic = START_MAGIC,
                 .version = 1,
                 .modules = initrd_bytes != 0,
                 .modules_at = LOADER_PARAMETERS + sizeof(struct start_info),
                 .command_line = LOADER_COMMAND_LINE,
                 .rsdp = ACPI_BASE,
                 .map_at =
                     LOADER_PARAMETERS + sizeof(struct start_info) + sizeof(struct start_module)},
        .module = {.address = initrd_at.value, .bytes = initrd_bytes},
    };
    start.info.map_entries = loader_memory_map(start.map);
    return ram_write(GPA(LOADER_PARAMETERS), &start, sizeof(start));
}

const char *pvh_load(const struct loader_file *kernel, const struct loader_file *initrd,
                     const char *command_line, struct loader_entry *entry) {
    struct elf_header header;
    struct elf_segment segments[SEGMENTS_MAX];
    if (kernel->bytes < sizeof(header) || !kernel->read(kernel, 0, &header, sizeof(header)))
        return "the kernel is shorter than an ELF header, or cannot be read; name the whole file "
               "in "
               "<kernel>";
    if (header.identity[IDENTITY_CLASS] != CLASS_64 || header.machine != MACHINE_X86_64 ||
        header.segment_bytes != sizeof(segments[0]))
        return "the kernel is not a 64-bit x86 ELF file; name one, or a bzImage, in <kernel>";
    uint64_t bytes = header.segments * sizeof(segments[0]);
    if (header.segments > SEGMENTS_MAX || !in_file(kernel, header.segments_at, bytes) ||
        !kernel->read(kernel, header.segments_at, segments, bytes))
        return "the kernel's segment table lies outside its file; put the whole file into the boot "
               "archive";
    uint64_t end = FLOOR;
    uint32_t rip = 0;
    for (unsigned i = 0; i < header.segments; i++) {
        const char *wrong = NULL;
        if (segments[i].type == SEGMENT_LOAD)
            wrong = load_segment(kernel, &segments[i], &end);
        else if (segments[i].type == SEGMENT_NOTE && rip == 0)
            rip = find_entry(kernel, &segments[i]);
        if (wrong)
            return wrong;
    }
    if (rip == 0)
        return "the kernel has no PVH note; use its bzImage, or build it with CONFIG_PVH";
    struct gpa initrd_at;
    const char *wrong = loader_put_initrd(initrd, end, 1ull << 32, &initrd_at);
    if (!wrong)
        wrong = loader_put_command_line(command_line, ~0ull);
    if (wrong)
        return wrong;
    *entry = (struct loader_entry){.rip = rip, .rbx = LOADER_PARAMETERS};
    return put_start_info(initrd_at, initrd->bytes) ? NULL : "no memory";
}
