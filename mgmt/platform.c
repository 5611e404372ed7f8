/* mgmt/platform.h and mgmt/host.h on hypercalls. */
#include "mgmt/platform.h"

#include <cpuid.h>
#include <string.h>

#include "guestlib/loop.h"
#include "guestlib/tsc.h"
#include "mgmt/domain/memory.h"
#include "mgmt/host.h"
#include "mgmt/hv.h"
#include "mgmt/layout.h"

#define READ_WRITE (BH_REGION_READ | BH_REGION_WRITE)

/* A dma_memory's `chunk`: the chunk, and above it the index of its Region's slot. */
#define DMA_INDEX_SHIFT 16u
_Static_assert(BH_CAPTABLE_SLOTS_MAX <= 1u << DMA_INDEX_SHIFT, "a chunk is a slot");

static struct host {
    const struct bh_bootinfo *info;
    bh_ref archive; /* its Region; 0: there is none */
    uint32_t domains_max;
    uint32_t device_regions;           /* slots of MGMT_SLOT_DEVICE in use, from the first */
    uint16_t dma_free[MGMT_SLOT_DMAS]; /* stack of free slots of MGMT_SLOT_DMA */
    uint32_t dma_free_count;
    uint32_t irqs; /* in use, from the first */
    struct {
        void (*handler)(void *context);
        void *context;
    } irq[MGMT_BIT_IRQS];
    bool has_rdrand;
    uint64_t random_state;
} host;

enum bh_status host_start(const struct bh_bootinfo *info) {
    uint64_t slots, unused;
    enum bh_status status = hv_cap_info(OWN(BH_INIT_TABLE), 1, &slots, &unused);
    if (status)
        return status;
    host = (struct host){.info = info, .domains_max = mgmt_domains(slots)};
    for (uint32_t i = 0; i < MGMT_SLOT_DMAS; i++)
        host.dma_free[host.dma_free_count++] = (uint16_t)(MGMT_SLOT_DMAS - 1 - i);
    unsigned eax, ebx, ecx = 0, edx;
    host.has_rdrand = __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_RDRND);
    host.random_state = tsc_read();
    bh_slot first = MGMT_SLOT_CHUNK(host.domains_max);
    return memory_start(info, first, (uint32_t)(slots - first));
}

const struct bh_bootinfo *host_info(void) {
    return host.info;
}

uint32_t host_domains_max(void) {
    return host.domains_max;
}

const uint8_t *host_map_archive(size_t *bytes) {
    for (uint32_t i = 0; i < host.info->module_count; i++) {
        const struct bh_boot_module *module = &host.info->module[i];
        if (strncmp(module->name, "boot", sizeof(module->name)) != 0)
            continue;
        host.archive = OWN(module->slot);
        if (hv_map(host.archive, OWN(BH_INIT_SPACE), MGMT_VA_ARCHIVE, BH_REGION_READ))
            return NULL;
        *bytes = module->bytes;
        return (const uint8_t *)MGMT_VA_ARCHIVE;
    }
    return NULL;
}

bh_ref host_archive(void) {
    return host.archive;
}

size_t host_hv_log(char *out, size_t bytes) {
    const struct bh_log *log = (const struct bh_log *)BH_LOG_VA;
    uint64_t written = *(const volatile uint64_t *)&log->written;
    uint64_t count = written < log->bytes ? written : log->bytes;
    if (count > bytes)
        count = bytes;
    for (uint64_t i = 0; i < count; i++)
        out[i] = log->text[(written - count + i) % log->bytes];
    return count;
}

/* --- DMA memory and device registers -----------------------------------------------------------
 */

enum bh_status dma_alloc(size_t bytes, struct dma_memory *out) {
    if (bytes == 0 || host.dma_free_count == 0)
        return BH_NO_MEMORY;
    unsigned order = memory_order_for((bytes + BH_PAGE_BYTES - 1) / BH_PAGE_BYTES);
    chunk c;
    enum bh_status status = memory_alloc(BH_KIND_FRAME, order, &c);
    if (status)
        return status;
    memory_scrub(c);
    uint32_t index = host.dma_free[host.dma_free_count - 1];
    bh_ref region = OWN(MGMT_SLOT_DMA + index);
    uint64_t base = memory_base(c);
    status = hv_retype(OWN(c), BH_TYPE_REGION, memory_pages(c), region, 0);
    if (!status)
        status = base < MGMT_PHYSICAL_END
                     ? hv_map(region, OWN(BH_INIT_SPACE), MGMT_VA_RAM + base, READ_WRITE)
                     : BH_NO_MEMORY;
    if (status) {
        memory_free(c);
        return BH_NO_MEMORY;
    }
    host.dma_free_count--;
    *out = (struct dma_memory){.va = (void *)(MGMT_VA_RAM + base),
                               .hpa = {base},
                               .bytes = memory_pages(c) * BH_PAGE_BYTES,
                               .chunk = index << DMA_INDEX_SHIFT | c};
    return BH_OK;
}

void dma_free(struct dma_memory *memory) {
    memory_free(memory->chunk & ((1u << DMA_INDEX_SHIFT) - 1));
    host.dma_free[host.dma_free_count++] = (uint16_t)(memory->chunk >> DMA_INDEX_SHIFT);
    *memory = (struct dma_memory){0};
}

/* Maps one piece of a range, as large as the device memory around it allows. */
static enum bh_status mmio_map_piece(uint64_t base, uint64_t pages, chunk *c) {
    bool fresh;
    if (host.device_regions == MGMT_SLOT_DEVICES)
        return BH_NO_MEMORY;
    enum bh_status status = memory_device(base, pages, c, &fresh);
    if (status)
        return status;
    if (!fresh)
        return BH_BAD_ARG;
    bh_ref region = OWN(MGMT_SLOT_DEVICE + host.device_regions);
    status = hv_retype(OWN(*c), BH_TYPE_REGION, memory_pages(*c), region, 0);
    if (!status)
        status = hv_map(region, OWN(BH_INIT_SPACE), MGMT_VA_DEVICE + base, READ_WRITE);
    if (status) {
        memory_free(*c);
        return BH_NO_MEMORY;
    }
    host.device_regions++;
    return BH_OK;
}

/* A range is at most this many aligned powers of two: twice the bits of an address. */
#define PIECES_MAX 96u

enum bh_status mmio_map(struct hpa base, size_t bytes, volatile void **va) {
    if (base.raw % BH_PAGE_BYTES || bytes == 0 || bytes % BH_PAGE_BYTES ||
        base.raw >= MGMT_PHYSICAL_END || bytes > MGMT_PHYSICAL_END - base.raw)
        return BH_BAD_ARG;
    chunk pieces[PIECES_MAX];
    uint32_t count = 0;
    uint64_t at = base.raw, end = base.raw + bytes;
    while (at < end) {
        enum bh_status status = mmio_map_piece(at, (end - at) / BH_PAGE_BYTES, &pieces[count]);
        if (status) {
            host.device_regions -= count;
            while (count > 0)
                memory_free(pieces[--count]);
            return status;
        }
        at += memory_pages(pieces[count++]) * BH_PAGE_BYTES;
    }
    *va = (volatile void *)(MGMT_VA_DEVICE + base.raw);
    return BH_OK;
}

/* --- Interrupts and ports ----------------------------------------------------------------------
 */

static bh_slot irq_slot(uint32_t index) {
    return MGMT_SLOT_IRQ + 2 * index;
}

static void irq_event(void *context) {
    uint32_t index = (uint32_t)(uintptr_t)context;
    hv_irq_acknowledge(irq_slot(index));
    host.irq[index].handler(host.irq[index].context);
}

static enum bh_status irq_make(chunk c, uint32_t index, uint64_t source, struct msi *out) {
    bh_ref irq = OWN(irq_slot(index)), event = OWN(irq_slot(index) + 1);
    uint64_t address, data;
    enum bh_status status = hv_retype(OWN(c), BH_TYPE_IRQ, 0, irq, 0);
    if (!status)
        status = hv_copy(OWN(BH_INIT_EVENT), event, BH_EVENT_SIGNAL, MGMT_BIT_IRQ_FIRST + index, 0);
    if (!status)
        status = hv_bind(irq, BH_BIND_IRQ_EVENT, event);
    if (!status)
        status = hv_irq_attach(irq, source, &address, &data);
    if (!status)
        *out = (struct msi){.address = address, .data = (uint32_t)data};
    return status;
}

static enum bh_status irq_open(uint64_t source, void (*handler)(void *context), void *context,
                               struct msi *out) {
    if (host.irqs == MGMT_BIT_IRQS)
        return BH_NO_MEMORY;
    uint32_t index = host.irqs;
    chunk c;
    enum bh_status status = memory_alloc(BH_KIND_OBJECT, memory_order_for(1), &c);
    if (status)
        return status;
    host.irq[index].handler = handler;
    host.irq[index].context = context;
    status = irq_make(c, index, source, out);
    if (status) {
        memory_free(c);
        hv_delete(OWN(irq_slot(index) + 1));
        return status;
    }
    host.irqs++;
    loop_on_event(MGMT_BIT_IRQ_FIRST + index, irq_event, (void *)(uintptr_t)index);
    hv_irq_acknowledge(irq_slot(index));
    return BH_OK;
}

enum bh_status msi_open(void (*handler)(void *context), void *context, struct msi *out) {
    return irq_open(BH_IRQ_SOURCE_MSI, handler, context, out);
}

enum bh_status gsi_open(unsigned gsi, void (*handler)(void *context), void *context) {
    struct msi ignored;
    return irq_open(gsi, handler, context, &ignored);
}

void event_signal(bh_slot signal) {
    hv_signal(signal);
}

uint32_t port_in(uint16_t port, unsigned width_bytes) {
    return hv_port_in(port, width_bytes);
}

void port_out(uint16_t port, unsigned width_bytes, uint32_t value) {
    hv_port_out(port, width_bytes, value);
}

/* --- Random numbers ----------------------------------------------------------------------------
 */

bool host_random_is_good(void) {
    return host.has_rdrand;
}

static uint64_t random_word(void) {
    uint64_t word;
    bool good = false;
    /* Intel SDM 1, 7.3.17.1: ten tries, then the generator is broken. */
    for (unsigned tries = 0; host.has_rdrand && !good && tries < 10; tries++)
        __asm__ volatile("rdrand %0" : "=r"(word), "=@ccc"(good));
    if (good)
        return word;
    /* splitmix64, stirred with the time */
    host.random_state += 0x9e3779b97f4a7c15ull ^ tsc_read();
    word = (host.random_state ^ host.random_state >> 30) * 0xbf58476d1ce4e5b9ull;
    word = (word ^ word >> 27) * 0x94d049bb133111ebull;
    return word ^ word >> 31;
}

void host_random(void *out, size_t bytes) {
    uint8_t *at = out;
    while (bytes > 0) {
        uint64_t word = random_word();
        size_t count = bytes < sizeof(word) ? bytes : sizeof(word);
        memcpy(at, &word, count);
        at += count;
        bytes -= count;
    }
}
