/* Between the state page and the VMCB. The page is another's memory: each field is read once, and
 * what could hurt the host is refused; the processor checks the rest at VMRUN. */
#include "hv/x86/svm.h"

typedef const volatile struct bh_vcpu_state source;
typedef volatile struct bh_vcpu_state target;

/* Bits that exist, and what a VMM may set of EFER. */
#define RFLAGS_DEFINED 0x3f7fd5
#define EFER_ALLOWED (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE | EFER_FFXSR)
/* Memory types of the PAT: APM 2, 7.8.2. A bit for each valid number. */
#define PAT_TYPES (1u << 0 | 1u << 1 | 1u << 4 | 1u << 5 | 1u << 6 | 1u << 7)
#define TSC_RATIO_BITS 40 /* 8.32 */

/* Attributes: SVM leaves out the four bits of the limit, and has no `unusable`. */
enum { LOW_BITS = 0xff, HIGH_BITS = 0xf00, HIGH_SHIFT = 4 };
enum { PRESENT = 1 << 7, DPL_SHIFT = 5, DPL = 3 };

/* What is the same in the page and here, groups in rising order: 64-bit words, and segment
 * registers. Addresses are made canonical, because VMLOAD takes them as they are. */
struct field {
    uint16_t group, page, own;
    bool address;
};
#define ENTRY(group, in_page, in_own, address)                                                     \
    {                                                                                              \
        BH_VCPU_##group, offsetof(struct bh_vcpu_state, in_page),                                  \
            offsetof(struct svm_vcpu, in_own), address                                             \
    }
#define FIELD(group, in_page, in_own) ENTRY(group, in_page, in_own, false)
#define ADDRESS(group, in_page, in_own) ENTRY(group, in_page, in_own, true)
static const struct field words[] = {
    FIELD(CONTROL, cr0, vmcb.cr0),
    FIELD(CONTROL, cr2, vmcb.cr2),
    FIELD(CONTROL, cr3, vmcb.cr3),
    FIELD(CONTROL, cr4, vmcb.cr4),
    FIELD(CONTROL, xcr0, vcpu.arch.xcr0),
    FIELD(DEBUG, dr[0], vcpu.arch.dr[0]),
    FIELD(DEBUG, dr[1], vcpu.arch.dr[1]),
    FIELD(DEBUG, dr[2], vcpu.arch.dr[2]),
    FIELD(DEBUG, dr[3], vcpu.arch.dr[3]),
    FIELD(DEBUG, dr6, vmcb.dr6),
    FIELD(DEBUG, dr7, vmcb.dr7),
    FIELD(SYSCALL, star, vmcb.star),
    ADDRESS(SYSCALL, lstar, vmcb.lstar),
    ADDRESS(SYSCALL, cstar, vmcb.cstar),
    FIELD(SYSCALL, sfmask, vmcb.sfmask),
    ADDRESS(SYSCALL, kernel_gs_base, vmcb.kernel_gs_base),
    FIELD(SYSCALL, sysenter_cs, vmcb.sysenter_cs),
    ADDRESS(SYSCALL, sysenter_esp, vmcb.sysenter_esp),
    ADDRESS(SYSCALL, sysenter_eip, vmcb.sysenter_eip),
    FIELD(OTHER, pat, vmcb.g_pat),
    FIELD(OTHER, tsc_aux, vcpu.arch.tsc_aux),
    FIELD(OTHER, xss, vcpu.arch.xss),
    FIELD(TSC, tsc_offset, vmcb.tsc_offset),
    FIELD(TSC, tsc_ratio, vcpu.arch.tsc_ratio),
};
static const struct field segments[] = {
    FIELD(SEGMENTS, segment[BH_CS], vmcb.cs), FIELD(SEGMENTS, segment[BH_SS], vmcb.ss),
    FIELD(SEGMENTS, segment[BH_DS], vmcb.ds), FIELD(SEGMENTS, segment[BH_ES], vmcb.es),
    FIELD(SEGMENTS, segment[BH_FS], vmcb.fs), FIELD(SEGMENTS, segment[BH_GS], vmcb.gs),
    FIELD(SEGMENTS, segment[BH_TR], vmcb.tr), FIELD(SEGMENTS, segment[BH_LDTR], vmcb.ldtr),
    FIELD(TABLES, gdtr, vmcb.gdtr),           FIELD(TABLES, idtr, vmcb.idtr),
};

static volatile void *page_at(const struct vcpu *vcpu, const struct field *field) {
    return (volatile uint8_t *)vcpu->page + field->page;
}

static void *own_at(const struct vcpu *vcpu, const struct field *field) {
    return (uint8_t *)vmcb_of(vcpu) + field->own;
}

static uint64_t canonical(uint64_t address) {
    unsigned unused = 64u - features.virtual_bits;
    return (uint64_t)((int64_t)(address << unused) >> unused);
}

static void load_word(const struct vcpu *vcpu, const struct field *field) {
    uint64_t value = *(const volatile uint64_t *)page_at(vcpu, field);
    *(uint64_t *)own_at(vcpu, field) = field->address ? canonical(value) : value;
}

static void load_segment(const struct vcpu *vcpu, const struct field *field) {
    const volatile struct bh_segment_register *from = page_at(vcpu, field);
    uint32_t attributes = from->attributes;
    uint32_t own = (attributes & LOW_BITS) | (attributes >> HIGH_SHIFT & HIGH_BITS);
    if (attributes & BH_SEGMENT_UNUSABLE)
        own &= ~(uint32_t)PRESENT;
    *(struct vmcb_segment *)own_at(vcpu, field) =
        (struct vmcb_segment){.selector = from->selector,
                              .attributes = (uint16_t)own,
                              .limit = from->limit,
                              .base = canonical(from->base)};
}

static void store_segment(const struct vcpu *vcpu, const struct field *field) {
    const struct vmcb_segment *segment = own_at(vcpu, field);
    volatile struct bh_segment_register *to = page_at(vcpu, field);
    uint32_t own = segment->attributes;
    to->selector = segment->selector;
    to->limit = segment->limit;
    to->base = segment->base;
    to->attributes = (own & LOW_BITS) | (own & HIGH_BITS) << HIGH_SHIFT |
                     (own & PRESENT ? 0 : BH_SEGMENT_UNUSABLE);
}

static bool pat_valid(uint64_t pat) {
    for (unsigned shift = 0; shift < 64; shift += 8) {
        uint64_t type = pat >> shift & 0xff;
        if (type > 7 || !(PAT_TYPES >> type & 1))
            return false;
    }
    return true;
}

/* The first group with a value that could hurt the host, or 0. EFER.SVME must be set, and is hv's:
 * the page has it inverted. */
static uint32_t find_dangerous(const struct vcpu *vcpu) {
    const struct vmcb *vmcb = vmcb_of(vcpu);
    const struct arch_vcpu *own = &vcpu->arch;
    if ((vmcb->efer & ~(uint64_t)EFER_ALLOWED) != EFER_SVME || !fpu_xcr0_valid(own->xcr0))
        return BH_VCPU_CONTROL;
    if (!pat_valid(vmcb->g_pat) || own->xss || own->tsc_aux > (svm.tsc_aux ? UINT32_MAX : 0))
        return BH_VCPU_OTHER;
    if (!own->tsc_ratio || own->tsc_ratio >> TSC_RATIO_BITS ||
        (own->tsc_ratio != TSC_RATIO_1 && !svm.tsc_ratio))
        return BH_VCPU_TSC;
    return 0;
}

static void load_general(struct vmcb *vmcb, source *page) {
    vmcb->rax = page->general[0];
    vmcb->rsp = page->general[4];
    vmcb->rip = page->rip;
    vmcb->rflags = (page->rflags & RFLAGS_DEFINED) | RFLAGS_FIXED;
}

static bool load_injection(struct vmcb *vmcb, source *page) {
    uint32_t event = page->event, type = event & BH_EVENT_TYPE, vector = event & BH_EVENT_VECTOR;
    bool valid = type == BH_EVENT_EXTERNAL || (type == BH_EVENT_NMI && vector == VECTOR_NMI) ||
                 (type == BH_EVENT_EXCEPTION && vector < VECTOR_EXTERNAL && vector != VECTOR_NMI);
    vmcb->eventinj = 0;
    if (!(event & BH_EVENT_VALID))
        return true;
    vmcb->eventinj =
        (event & (BH_EVENT_VALID | BH_EVENT_ERROR_CODE | BH_EVENT_TYPE | BH_EVENT_VECTOR)) |
        (uint64_t)page->event_error_code << EVENT_ERROR_SHIFT;
    return valid;
}
_Static_assert(BH_EVENT_VALID == EVENT_V && BH_EVENT_ERROR_CODE == EVENT_EV &&
                   BH_EVENT_TYPE == EVENT_TYPE && BH_EVENT_VECTOR == EVENT_VECTOR &&
                   BH_EVENT_NMI == EVENT_TYPE_NMI && BH_EVENT_EXCEPTION == EVENT_TYPE_EXCEPTION,
               "the ABI's form is the processor's");

/* Windows and NMI blocking. */
static void load_interruptibility(struct vcpu *vcpu, struct vmcb *vmcb, source *page) {
    uint32_t interruptibility = page->interruptibility, want = page->want;
    uint64_t virtual = V_INTR_MASKING | (vmcb->virtual_interrupt & V_TPR);
    vmcb->interrupt_shadow = interruptibility & BH_VCPU_SHADOW ? INTERRUPT_SHADOW : 0;
    if (want & BH_VCPU_WANT_INTERRUPT) {
        uint64_t priority = page->window_priority & V_TPR;
        virtual |= V_IRQ | (priority ? priority << V_INTR_PRIO_SHIFT : V_IGN_TPR);
    }
    if (vmcb->virtual_interrupt != virtual) {
        vmcb->virtual_interrupt = virtual;
        vmcb->clean = 0;
    }
    vcpu->arch.wants_nmi = want & BH_VCPU_WANT_NMI;
    vcpu->arch.undecided = false;
    bool nmi = (vmcb->eventinj & EVENT_V) && (vmcb->eventinj & EVENT_TYPE) == EVENT_TYPE_NMI;
    svm_nmi_set(vcpu, nmi || (interruptibility & BH_VCPU_NMI_BLOCKED) ? NMI_BLOCKED : NMI_OPEN);
}

/* The first group that is refused, or 0. What is refused has been copied, but svm_refuse() follows.
 */
__attribute__((noinline)) static uint32_t load_groups(struct vcpu *vcpu, struct vmcb *vmcb,
                                                      source *page, uint32_t groups) {
    vmcb->clean = 0;
    for (unsigned i = 0; i < COUNT(words) && words[i].group <= groups; i++)
        if (words[i].group & groups)
            load_word(vcpu, &words[i]);
    for (unsigned i = 0; i < COUNT(segments) && segments[i].group <= groups; i++)
        if (segments[i].group & groups)
            load_segment(vcpu, &segments[i]);
    if (groups & BH_VCPU_SEGMENTS)
        vmcb->cpl = vmcb->ss.attributes >> DPL_SHIFT & DPL;
    if (groups & BH_VCPU_CONTROL) {
        vmcb->efer = page->efer ^ EFER_SVME;
        vmcb->virtual_interrupt = (vmcb->virtual_interrupt & ~V_TPR) | (page->cr8 & V_TPR);
    }
    return find_dangerous(vcpu);
}

bool arch_vcpu_load(struct vcpu *vcpu, uint32_t groups) {
    struct vmcb *vmcb = vmcb_of(vcpu);
    uint32_t refused = groups ? load_groups(vcpu, vmcb, vcpu->page, groups) : 0;
    if (!refused && !load_injection(vmcb, vcpu->page))
        refused = BH_VCPU_GENERAL;
    if (refused) {
        svm_refuse(vcpu, refused);
        return false;
    }
    load_general(vmcb, vcpu->page);
    load_interruptibility(vcpu, vmcb, vcpu->page); /* after CR8 and the event */
    return true;
}

/* What a processor leaves behind of a state that it refused is not defined, and may be the host's.
 */
void svm_refuse(struct vcpu *vcpu, uint32_t group) {
    target *page = vcpu->page;
    __builtin_memset(vmcb_of(vcpu), 0, sizeof(struct vmcb));
    vcpu->arch = (struct arch_vcpu){0};
    arch_vcpu_init(vcpu);
    page->exit = BH_EXIT_INVALID_STATE;
    page->qualification = group;
}

void arch_vcpu_store(struct vcpu *vcpu, uint32_t groups) {
    struct vmcb *vmcb = vmcb_of(vcpu);
    target *page = vcpu->page;
    for (unsigned i = 0; i < COUNT(words) && words[i].group <= groups; i++)
        if (words[i].group & groups)
            *(volatile uint64_t *)page_at(vcpu, &words[i]) = *(uint64_t *)own_at(vcpu, &words[i]);
    vmcb->ss.attributes =
        (uint16_t)((vmcb->ss.attributes & ~(DPL << DPL_SHIFT)) | (vmcb->cpl & DPL) << DPL_SHIFT);
    /* Below CONTROL are their groups only: a VMM that asks for it alone passes none of them. */
    for (unsigned i = 0; i < COUNT(segments) && segments[i].group <= groups % BH_VCPU_CONTROL; i++)
        if (segments[i].group & groups)
            store_segment(vcpu, &segments[i]);
    if (groups & BH_VCPU_CONTROL) {
        page->efer = vmcb->efer ^ EFER_SVME;
        page->cr8 = vmcb->virtual_interrupt & V_TPR;
    }
}

void arch_vcpu_store_exit(struct vcpu *vcpu, enum bh_exit exit) {
    const struct vmcb *vmcb = vmcb_of(vcpu);
    target *page = vcpu->page;
    if (vcpu->arch.nmi == NMI_RETURNING) /* the run ends before its step */
        svm_iret_undo(vcpu);
    uint64_t shadow = vmcb->interrupt_shadow & INTERRUPT_SHADOW;
    if (exit == BH_EXIT_INVALID_STATE)
        return; /* the page stays as the VMM wrote it */
    page->exit = exit;
    page->exit_cr8 = (uint32_t)(vmcb->virtual_interrupt & V_TPR);
    page->general[0] = vmcb->rax;
    page->general[4] = vmcb->rsp;
    page->rip = vmcb->rip;
    page->rflags = vmcb->rflags;
    page->exit_rflags_if = (vmcb->rflags & RFLAGS_IF) && !shadow;
    page->event = (uint32_t)vmcb->eventinj;
    page->event_error_code = (uint32_t)(vmcb->eventinj >> EVENT_ERROR_SHIFT);
    page->interruptibility =
        (shadow ? BH_VCPU_SHADOW : 0) | (vcpu->arch.nmi == NMI_BLOCKED ? BH_VCPU_NMI_BLOCKED : 0);
}
