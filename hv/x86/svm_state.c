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

static const uint16_t segment_offset[] = {
    [BH_CS] = offsetof(struct vmcb, cs), [BH_SS] = offsetof(struct vmcb, ss),
    [BH_DS] = offsetof(struct vmcb, ds), [BH_ES] = offsetof(struct vmcb, es),
    [BH_FS] = offsetof(struct vmcb, fs), [BH_GS] = offsetof(struct vmcb, gs),
    [BH_TR] = offsetof(struct vmcb, tr), [BH_LDTR] = offsetof(struct vmcb, ldtr)};
enum { SEGMENTS = sizeof(segment_offset) / sizeof(segment_offset[0]) };

static struct vmcb_segment *segment_of(struct vmcb *vmcb, unsigned index) {
    return (void *)((uint8_t *)vmcb + segment_offset[index]);
}

/* Attributes: SVM leaves out the four bits of the limit, and has no `unusable`. */
enum {
    LOW_BITS = 0xff,
    HIGH_BITS = 0xf00,
    HIGH_SHIFT = 4,
    PRESENT = 1 << 7,
    DPL_SHIFT = 5,
    DPL = 3
};

static uint64_t canonical(uint64_t address) {
    unsigned unused = 64u - features.virtual_bits;
    return (uint64_t)((int64_t)(address << unused) >> unused);
}

static void load_segments(struct vmcb *vmcb, source *page) {
    for (unsigned i = 0; i < SEGMENTS; i++) {
        uint32_t attributes = page->segment[i].attributes;
        uint32_t own = (attributes & LOW_BITS) | (attributes >> HIGH_SHIFT & HIGH_BITS);
        if (attributes & BH_SEGMENT_UNUSABLE)
            own &= ~(uint32_t)PRESENT;
        *segment_of(vmcb, i) = (struct vmcb_segment){.selector = page->segment[i].selector,
                                                     .attributes = (uint16_t)own,
                                                     .limit = page->segment[i].limit,
                                                     .base = canonical(page->segment[i].base)};
    }
    vmcb->cpl = vmcb->ss.attributes >> DPL_SHIFT & DPL;
}

static void store_segments(struct vmcb *vmcb, target *page) {
    vmcb->ss.attributes =
        (uint16_t)((vmcb->ss.attributes & ~(DPL << DPL_SHIFT)) | (vmcb->cpl & DPL) << DPL_SHIFT);
    for (unsigned i = 0; i < SEGMENTS; i++) {
        const struct vmcb_segment *segment = segment_of(vmcb, i);
        uint32_t own = segment->attributes;
        page->segment[i].selector = segment->selector;
        page->segment[i].limit = segment->limit;
        page->segment[i].base = segment->base;
        page->segment[i].attributes = (own & LOW_BITS) | (own & HIGH_BITS) << HIGH_SHIFT |
                                      (own & PRESENT ? 0 : BH_SEGMENT_UNUSABLE);
    }
}

/* Fields that are the same in both, groups in rising order. */
#define FIELD(group, in_page, in_vmcb)                                                             \
    { BH_VCPU_##group, offsetof(struct bh_vcpu_state, in_page), offsetof(struct vmcb, in_vmcb) }
static const struct field {
    uint16_t group, page, vmcb;
} fields[] = {
    FIELD(TABLES, gdtr.base, gdtr.base),
    FIELD(TABLES, idtr.base, idtr.base),
    FIELD(CONTROL, cr0, cr0),
    FIELD(CONTROL, cr2, cr2),
    FIELD(CONTROL, cr3, cr3),
    FIELD(CONTROL, cr4, cr4),
    FIELD(DEBUG, dr6, dr6),
    FIELD(DEBUG, dr7, dr7),
    FIELD(SYSCALL, star, star),
    FIELD(SYSCALL, lstar, lstar),
    FIELD(SYSCALL, cstar, cstar),
    FIELD(SYSCALL, sfmask, sfmask),
    FIELD(SYSCALL, kernel_gs_base, kernel_gs_base),
    FIELD(SYSCALL, sysenter_cs, sysenter_cs),
    FIELD(SYSCALL, sysenter_esp, sysenter_esp),
    FIELD(SYSCALL, sysenter_eip, sysenter_eip),
    FIELD(TSC, tsc_offset, tsc_offset),
};
enum { FIELDS = sizeof(fields) / sizeof(fields[0]) };

static volatile uint64_t *page_word(const struct vcpu *vcpu, const struct field *field) {
    return (volatile uint64_t *)((uint64_t)vcpu->page + field->page);
}

static uint64_t *vmcb_word(const struct vcpu *vcpu, const struct field *field) {
    return (uint64_t *)((uint64_t)vmcb_of(vcpu) + field->vmcb);
}

static void load_fields(const struct vcpu *vcpu, uint32_t groups) {
    for (unsigned i = 0; i < FIELDS && fields[i].group <= groups; i++)
        if (fields[i].group & groups)
            *vmcb_word(vcpu, &fields[i]) = *page_word(vcpu, &fields[i]);
}

static void store_fields(const struct vcpu *vcpu, uint32_t groups) {
    for (unsigned i = 0; i < FIELDS && fields[i].group <= groups; i++)
        if (fields[i].group & groups)
            *page_word(vcpu, &fields[i]) = *vmcb_word(vcpu, &fields[i]);
}

static bool load_control(struct vcpu *vcpu, struct vmcb *vmcb, source *page) {
    uint64_t efer = page->efer, xcr0 = page->xcr0;
    if ((efer & ~(uint64_t)EFER_ALLOWED) || !fpu_xcr0_valid(xcr0))
        return false;
    vmcb->efer = efer | EFER_SVME; /* VMRUN wants it: APM 2, 15.5.1 */
    vcpu->arch.xcr0 = xcr0;
    vmcb->virtual_interrupt = (vmcb->virtual_interrupt & ~V_TPR) | (page->cr8 & V_TPR);
    return true;
}

static void store_control(const struct vcpu *vcpu, const struct vmcb *vmcb, target *page) {
    page->efer = vmcb->efer & ~(uint64_t)EFER_SVME;
    page->xcr0 = vcpu->arch.xcr0;
    page->cr8 = vmcb->virtual_interrupt & V_TPR;
}

/* VMLOAD takes these as they are. */
static void make_canonical(struct vmcb *vmcb) {
    uint64_t *addresses[] = {&vmcb->lstar, &vmcb->cstar, &vmcb->kernel_gs_base, &vmcb->sysenter_esp,
                             &vmcb->sysenter_eip};
    for (unsigned i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++)
        *addresses[i] = canonical(*addresses[i]);
}

static bool load_other(struct vcpu *vcpu, struct vmcb *vmcb, source *page) {
    uint64_t pat = page->pat, xss = page->xss, tsc_aux = page->tsc_aux;
    for (unsigned shift = 0; shift < 64; shift += 8) {
        uint64_t type = pat >> shift & 0xff;
        if (type > 7 || !(PAT_TYPES >> type & 1))
            return false;
    }
    if (xss || tsc_aux > UINT32_MAX || (tsc_aux && !svm.tsc_aux))
        return false;
    vmcb->g_pat = pat;
    vcpu->arch.tsc_aux = (uint32_t)tsc_aux;
    return true;
}

static void store_other(const struct vcpu *vcpu, const struct vmcb *vmcb, target *page) {
    page->pat = vmcb->g_pat;
    page->tsc_aux = vcpu->arch.tsc_aux;
    page->xss = 0;
}

static bool load_tsc(struct vcpu *vcpu, source *page) {
    uint64_t ratio = page->tsc_ratio;
    if (!ratio || ratio >> TSC_RATIO_BITS || (ratio != TSC_RATIO_1 && !svm.tsc_ratio))
        return false;
    vcpu->arch.tsc_ratio = ratio;
    return true;
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
    bool nmi = (vmcb->eventinj & EVENT_V) && (vmcb->eventinj & EVENT_TYPE) == EVENT_TYPE_NMI;
    svm_nmi_set(vcpu, nmi || (interruptibility & BH_VCPU_NMI_BLOCKED) ? NMI_BLOCKED : NMI_OPEN);
}

/* The first group that is refused, or 0. */
__attribute__((noinline)) static uint32_t load_groups(struct vcpu *vcpu, struct vmcb *vmcb,
                                                      source *page, uint32_t groups) {
    vmcb->clean = 0;
    load_fields(vcpu, groups);
    if (groups & BH_VCPU_SEGMENTS)
        load_segments(vmcb, page);
    if (groups & BH_VCPU_TABLES) {
        vmcb->gdtr.limit = page->gdtr.limit;
        vmcb->idtr.limit = page->idtr.limit;
    }
    if ((groups & BH_VCPU_CONTROL) && !load_control(vcpu, vmcb, page))
        return BH_VCPU_CONTROL;
    for (unsigned i = 0; i < 4 && (groups & BH_VCPU_DEBUG); i++)
        vcpu->arch.dr[i] = page->dr[i];
    if (groups & BH_VCPU_SYSCALL)
        make_canonical(vmcb);
    if ((groups & BH_VCPU_OTHER) && !load_other(vcpu, vmcb, page))
        return BH_VCPU_OTHER;
    if ((groups & BH_VCPU_TSC) && !load_tsc(vcpu, page))
        return BH_VCPU_TSC;
    return 0;
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
    store_fields(vcpu, groups);
    if (groups & BH_VCPU_SEGMENTS)
        store_segments(vmcb, page);
    if (groups & BH_VCPU_TABLES) {
        page->gdtr.limit = vmcb->gdtr.limit;
        page->idtr.limit = vmcb->idtr.limit;
    }
    if (groups & BH_VCPU_CONTROL)
        store_control(vcpu, vmcb, page);
    for (unsigned i = 0; i < 4 && (groups & BH_VCPU_DEBUG); i++)
        page->dr[i] = vcpu->arch.dr[i];
    if (groups & BH_VCPU_OTHER)
        store_other(vcpu, vmcb, page);
    if (groups & BH_VCPU_TSC)
        page->tsc_ratio = vcpu->arch.tsc_ratio;
}

void arch_vcpu_store_exit(struct vcpu *vcpu, enum bh_exit exit) {
    const struct vmcb *vmcb = vmcb_of(vcpu);
    target *page = vcpu->page;
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
